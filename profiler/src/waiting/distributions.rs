//! How long waits took: a table of the places that took most, with percentiles.
//!
//! A percentile is the middle of the bucket in which it lies, so it is off by a quarter at most; the longest
//! time is exact. Idleness would be all that the table has and is told as a sum.

use std::{collections::HashMap, fmt::Write};

use abi::waits::{BUCKETS, Histogram, WaitCount, bucket_start};
use output::{Profile, human_duration, shorten};

use super::{Wait, Waiting};
use crate::names::{comm, function_of};

/// How many rows each part of the table has.
const ROWS: usize = 10;
/// Characters of a function's name.
const FUNCTION_CHARS: usize = 50;

/// A time below which `percent` of those in a histogram lie, in nanoseconds. `sum_ns` is the sum of them
/// and `longest_ns` the longest; where all are in one bucket, their mean says more than its middle.
#[must_use]
pub fn percentile(histogram: &Histogram, percent: u64, sum_ns: u64, longest_ns: u64) -> u64 {
    let all: u64 = histogram.iter().map(|&count| u64::from(count)).sum();
    let rank = (all * percent).div_ceil(100).max(1);
    let mut below = 0;
    for (bucket, &count) in histogram.iter().enumerate() {
        let count = u64::from(count);
        below += count;
        if count == all && all > 0 {
            return (sum_ns / all).min(longest_ns);
        }
        if below >= rank {
            return middle(bucket).map_or(longest_ns, |middle| middle.min(longest_ns));
        }
    }
    longest_ns
}

/// The middle of a bucket, in nanoseconds; the last one has none.
#[must_use]
pub const fn middle(bucket: usize) -> Option<u64> {
    if bucket + 1 < BUCKETS {
        Some(bucket_start(bucket).midpoint(bucket_start(bucket + 1)))
    } else {
        None
    }
}

/// One of the two times of a wait.
struct Part {
    title: &'static str,
    total: fn(&WaitCount) -> u64,
    longest: fn(&WaitCount) -> u64,
    histogram: fn(&WaitCount) -> &Histogram,
}

const PARTS: [Part; 2] = [
    Part {
        title: "time asleep",
        total: |count| count.asleep_ns,
        longest: |count| count.longest_asleep_ns,
        histogram: |count| &count.asleep,
    },
    Part {
        title: "time in the run queue",
        total: |count| count.queued_ns,
        longest: |count| count.longest_queued_ns,
        histogram: |count| &count.queued,
    },
];

/// Waits with one line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    thread: String,
    cause: String,
    function: String,
}

/// The places in which threads waited longest, asleep and in the queue; apart by thread where
/// `by_thread`, else by the threads' name.
#[must_use]
pub fn table(waiting: &Waiting<'_>, profile: &Profile, by_thread: bool) -> String {
    let mut text = String::new();
    for (is_queue, part) in [false, true].into_iter().zip(PARTS) {
        let mut rows: HashMap<Place, WaitCount> = HashMap::new();
        let mut idle_ns = 0;
        let waits = waiting.waits.iter();
        for wait in waits.filter(|wait| (part.total)(wait.count) > 0) {
            if wait.is_idle && !is_queue {
                idle_ns += (part.total)(wait.count);
                continue;
            }
            let place = place(wait, profile, by_thread, is_queue);
            rows.entry(place).or_default().add(wait.count);
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_cached_key(|(place, count)| {
            let total = std::cmp::Reverse((part.total)(count));
            (total, place.thread.clone(), place.cause.clone())
        });
        write_part(&mut text, &part, &rows);
        if idle_ns > 0 {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:>10} besides, in idleness", human_duration(idle_ns));
        }
    }
    text
}

fn place(wait: &Wait<'_>, profile: &Profile, by_thread: bool, is_queue: bool) -> Place {
    let thread = output::clean(&comm(&wait.key.thread)).into_owned();
    let cause = match (is_queue, wait.is_ready()) {
        (true, true) => wait.state.name().to_owned(),
        (true, false) => "woken".to_owned(),
        (false, _) => wait.cause.name.clone().into_owned(),
    };
    Place {
        thread: match by_thread {
            true => format!("{thread} ({})", wait.key.tid),
            false => thread,
        },
        cause,
        function: wait
            .function
            .map_or("-", |frame| function_of(profile, frame))
            .to_owned(),
    }
}

fn write_part(text: &mut String, part: &Part, rows: &[(Place, WaitCount)]) {
    let shown = &rows[..rows.len().min(ROWS)];
    let width = |of: fn(&Place) -> &String, title: &str| {
        let widths = shown.iter().map(|(place, _)| of(place).chars().count());
        widths.max().unwrap_or(0).max(title.len())
    };
    let thread_width = width(|place| &place.thread, "thread");
    let cause_width = width(|place| &place.cause, "cause");
    for (index, (place, count)) in shown.iter().enumerate() {
        if index == 0 {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "timesink: waits: {}\n{:>10} {:>9} {:>9} {:>9} {:>9} {:>9}  {:thread_width$}  {:cause_width$}  function",
                part.title, "total", "times", "p50", "p90", "p99", "max", "thread", "cause",
            );
        }
        let (histogram, longest) = ((part.histogram)(count), (part.longest)(count));
        let [p50, p90, p99] = [50, 90, 99].map(|percent| {
            let ns = percentile(histogram, percent, (part.total)(count), longest);
            human_duration(ns)
        });
        let times: u64 = histogram.iter().map(|&times| u64::from(times)).sum();
        let _ = writeln!(
            text,
            "{:>10} {times:>9} {p50:>9} {p90:>9} {p99:>9} {:>9}  {:thread_width$}  {:cause_width$}  {}",
            human_duration((part.total)(count)),
            human_duration(longest),
            place.thread,
            place.cause,
            shorten(&place.function, FUNCTION_CHARS),
        );
    }
    if rows.len() > ROWS {
        let _ = writeln!(text, "{:>10} and {} more", "", rows.len() - ROWS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::waits::bucket;

    fn histogram(times: &[(u64, u32)]) -> Histogram {
        let mut histogram = [0; BUCKETS];
        for &(ns, count) in times {
            histogram[bucket(ns)] += count;
        }
        histogram
    }

    /// A percentile lies in the bucket of the time with that rank, and is never above the longest.
    #[test]
    fn percentiles_have_their_rank() {
        let times = histogram(&[(5_000, 89), (1_000_000, 10), (70_000_000, 1)]);
        let near = |percent, ns: u64| {
            let found = percentile(&times, percent, 80_445_000, 70_000_000);
            assert!(
                found.abs_diff(ns) * 5 <= ns,
                "p{percent}: {found}, not {ns}"
            );
        };
        near(50, 5_000);
        near(90, 1_000_000);
        near(99, 1_000_000);
        near(100, 70_000_000);
        assert_eq!(
            percentile(&histogram(&[(1_100, 3)]), 50, 3_300, 1_101),
            1_100
        );
        assert_eq!(percentile(&histogram(&[]), 50, 0, 7), 7);
    }

    /// What is longer than all buckets is the longest.
    #[test]
    fn the_last_bucket_has_no_middle() {
        let hour = 3_600_000_000_000;
        assert_eq!(
            percentile(&histogram(&[(5, 1), (hour, 1)]), 99, hour, hour),
            hour
        );
    }
}
