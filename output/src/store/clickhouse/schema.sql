-- What timesink keeps in ClickHouse. Each server has these three tables.
--
-- A window is written to one server in three statements, in this order: the stacks that are new, its samples,
-- its row in `windows`. Every attempt to write it has a number of its own, `copy`, and samples count only if
-- their `copy` is the one that is chosen of their window's rows in `windows`: the smallest. So a window whose
-- writing broke off does not count, and one that was written twice, at whichever servers, counts once.
--
-- `day` is that on which the window begins, in UTC, so that a window, its samples and its stacks go in one day.
-- All text is UTF-8 without control characters. All times are nanoseconds from the Unix epoch.

CREATE DATABASE IF NOT EXISTS `{database}`;

-- Stacks by the first half of the SHA-256 of their content. A stack is here for each day that has samples of it.
CREATE TABLE IF NOT EXISTS `{database}`.stacks
(
    day Date,
    id FixedString(16),

    -- One for each machine address, the leaf first.
    frame Nested
    (
        kind Enum8('user' = 1, 'kernel' = 2, 'synthetic' = 3),
        -- The offset in the file, or the address in the kernel.
        address UInt64,
        -- 'none': code of no file.
        mapping_kind Enum8('none' = 0, 'file' = 1, 'vdso' = 2, 'kernel' = 3, 'jit' = 4),
        mapping String,
        -- As bytes: hex(...) is what other tools show.
        build_id String,
        size_bytes UInt64,
        -- How many of the entries of `line` this frame has.
        lines UInt32
    ),

    -- The functions of all frames, one frame after the other, the innermost first: in each frame all but the
    -- last are inlined into the next.
    line Nested
    (
        function String,
        system_name String,
        -- Empty where it is not known, and 0 for numbers.
        file String,
        start_line UInt32,
        line UInt32
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY id;

-- One row for each thread, stack, slice of time and sample type that has a value.
CREATE TABLE IF NOT EXISTS `{database}`.samples
(
    day Date,
    copy UInt64,
    -- When its slice of the window begins, or the window where that has no slices.
    time_ns Int64,
    host String,
    process String,
    pid UInt32,
    thread String,
    tid UInt32,
    -- Empty where it is not known or does not apply, as are the two that follow from it.
    cgroup String,
    container String,
    unit String,
    -- Whether the thread waited; if not, what follows of the wait is empty.
    waited UInt8,
    wait_state String,
    wait_cause String,
    wait_waker String,
    wait_interval String,
    wait_is_idle UInt8,
    type String,
    type_unit Enum8('count' = 1, 'nanoseconds' = 2, 'bytes' = 3),
    stack FixedString(16),
    value UInt64
)
ENGINE = MergeTree
PARTITION BY day
ORDER BY (host, process, type, time_ns, stack);

-- One row for each copy of a window that is complete.
CREATE TABLE IF NOT EXISTS `{database}`.windows
(
    day Date,
    -- The first half of the SHA-256 of all that the window holds: equal for what is the same window.
    id FixedString(16),
    copy UInt64,
    host String,
    begin_ns Int64,
    end_ns Int64,
    -- All its samples begin before: at its beginning where it has no slices.
    until_ns Int64,
    -- 0 where the window has no slices.
    slice_ns UInt64,
    title String,
    command String,
    event String,
    -- How much of what passes between two samples; the name is empty where every event was recorded.
    period_type String,
    period_unit Enum8('count' = 1, 'nanoseconds' = 2, 'bytes' = 3),
    period UInt64,
    -- The program that was recorded.
    main_kind Enum8('none' = 0, 'file' = 1, 'vdso' = 2, 'kernel' = 3, 'jit' = 4),
    main_mapping String,
    main_build_id String,
    main_size_bytes UInt64,
    by_thread UInt8,
    short_names UInt8,
    comments Array(String),
    -- What the values of samples are, in order. Those that folded stacks add up have `is_folded`.
    type Nested
    (
        name String,
        unit Enum8('count' = 1, 'nanoseconds' = 2, 'bytes' = 3),
        is_folded UInt8
    ),
    -- What was expected, got and lost.
    ledger Nested
    (
        kind Enum8('expected' = 1, 'got' = 2, 'elsewhere' = 3, 'lost' = 4, 'note' = 5),
        name String,
        count UInt64,
        meaning String
    )
)
ENGINE = MergeTree
PARTITION BY day
ORDER BY (begin_ns, id);
