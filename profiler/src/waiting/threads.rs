//! The time of each thread as a table: what it was there for, and the parts of that, beside what the
//! scheduler itself says.

use std::{
    cmp::Reverse,
    fmt::{self, Write},
};

use abi::waits::ThreadTimes;

use crate::{
    names::comm,
    schedstat::{Schedstat, Schedstats},
};

/// How many threads are shown.
const ROWS: usize = 50;

/// The table, the threads that were there longest first.
#[must_use]
pub fn table(threads: &[ThreadTimes], scheduler: &Schedstats) -> String {
    let mut text = String::new();
    if threads.is_empty() {
        return text;
    }
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "timesink: threads, in ms: wall = on-CPU + runnable + blocked + residual; the last two are \
         the scheduler's (schedstat)\n\
         {:>12} {:>12} {:>12} {:>12} {:>9}  {:>12} {:>12}  thread",
        "wall", "on-CPU", "runnable", "blocked", "residual", "on-CPU", "runnable"
    );
    let mut threads: Vec<&ThreadTimes> = threads.iter().collect();
    threads.sort_by_key(|thread| (Reverse(wall_ns(thread)), thread.pid, thread.tid));
    for thread in threads.iter().take(ROWS) {
        let _ = writeln!(text, "{}", row(thread, scheduler));
    }
    if threads.len() > ROWS {
        let _ = writeln!(text, "{:>12} and {} more", "", threads.len() - ROWS);
    }
    text
}

const fn wall_ns(thread: &ThreadTimes) -> u64 {
    thread.ended_ns.saturating_sub(thread.began_ns)
}

fn row(thread: &ThreadTimes, scheduler: &Schedstats) -> String {
    let parts = thread.on_ns + thread.queued_ns + thread.asleep_ns;
    let residual = i128::from(wall_ns(thread)) - i128::from(parts);
    let told = match thread.has_ended {
        0 => scheduler.during(thread.tid),
        _ => None,
    };
    let told = |part: fn(Schedstat) -> u64| {
        told.map_or_else(|| "-".to_owned(), |told| Ms(part(told).into()).to_string())
    };
    format!(
        "{:>12} {:>12} {:>12} {:>12} {:>9}  {:>12} {:>12}  {} ({}/{})",
        Ms(wall_ns(thread).into()),
        Ms(thread.on_ns.into()),
        Ms(thread.queued_ns.into()),
        Ms(thread.asleep_ns.into()),
        Ms(residual),
        told(|told| told.on_ns),
        told(|told| told.queued_ns),
        output::clean(&comm(&thread.thread)),
        thread.pid,
        thread.tid,
    )
}

/// Nanoseconds, shown in milliseconds.
struct Ms(i128);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.3}", self.0 as f64 / 1e6);
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn thread(tid: u32, wall_ms: u64, has_ended: u32) -> ThreadTimes {
        ThreadTimes {
            kind: 0,
            has_ended,
            pid: 1,
            tid,
            thread: *b"worker\0\0\0\0\0\0\0\0\0\0",
            process: [0; 16],
            began_ns: 5,
            ended_ns: 5 + wall_ms * 1_000_000,
            on_ns: 1_000_000,
            asleep_ns: (wall_ms - 1) * 1_000_000 + 250_000,
            queued_ns: 0,
            preempted_ns: 0,
            switches: 3,
            wakeups_missed: 0,
        }
    }

    fn told(on_ns: u64, queued_ns: u64) -> HashMap<u32, Schedstat> {
        HashMap::from([(7, Schedstat { on_ns, queued_ns })])
    }

    /// The longest is first, too much time is a negative residual, and the scheduler's figures are
    /// those of the recording, of threads that live.
    #[test]
    fn rows_add_up() {
        let scheduler = Schedstats {
            before: told(1_000_000, 0),
            after: told(2_500_000, 40_000),
        };
        let text = table(&[thread(7, 10, 0), thread(8, 20, 1)], &scheduler);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .map(|line| line.split_whitespace().collect())
            .collect();
        let expected = "20.000 1.000 0.000 19.250 -0.250 - - worker (1/8)";
        assert_eq!(rows[0].join(" "), expected);
        let expected = "10.000 1.000 0.000 9.250 -0.250 1.500 0.040 worker (1/7)";
        assert_eq!(rows[1].join(" "), expected);
    }

    /// The table is bounded, and says by how much.
    #[test]
    fn many_threads_are_cut() {
        let threads: Vec<_> = (0..60).map(|tid| thread(tid, 10, 0)).collect();
        let text = table(&threads, &Schedstats::default());
        assert_eq!(text.lines().count(), 2 + ROWS + 1);
        assert!(text.trim_end().ends_with("and 10 more"));
    }
}
