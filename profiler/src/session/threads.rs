//! The times of threads in one window: what the kernel programs tell is all of it since a thread was
//! first seen.

use std::collections::{HashMap, HashSet};

use abi::waits::ThreadTimes;

/// Where the threads that live stood when the last window ended.
#[derive(Debug, Default)]
pub(super) struct ThreadWindows {
    /// By thread id and the moment from which on the thread is watched: ids are used again.
    before: HashMap<(u32, u64), ThreadTimes>,
}

impl ThreadWindows {
    /// What has come since the last time, of threads that have ended and of those that live on. A thread
    /// may have ended after it was found to live.
    pub(super) fn since_last(
        &mut self,
        ended: Vec<ThreadTimes>,
        mut living: Vec<ThreadTimes>,
    ) -> Vec<ThreadTimes> {
        let gone: HashSet<_> = ended.iter().map(key).collect();
        living.retain(|thread| !gone.contains(&key(thread)));
        let since = |now: &ThreadTimes| match self.before.get(&key(now)) {
            Some(before) => since(now, before),
            None => *now,
        };
        let times = ended.iter().chain(&living).map(since).collect();
        self.before = living.into_iter().map(|now| (key(&now), now)).collect();
        times
    }
}

const fn key(thread: &ThreadTimes) -> (u32, u64) {
    (thread.tid, thread.began_ns)
}

/// The clocks of two CPUs may differ a little, so nothing is taken to be never less than before.
fn since(now: &ThreadTimes, before: &ThreadTimes) -> ThreadTimes {
    ThreadTimes {
        began_ns: before.ended_ns,
        on_ns: now.on_ns.saturating_sub(before.on_ns),
        asleep_ns: now.asleep_ns.saturating_sub(before.asleep_ns),
        queued_ns: now.queued_ns.saturating_sub(before.queued_ns),
        preempted_ns: now.preempted_ns.saturating_sub(before.preempted_ns),
        switches: now.switches.saturating_sub(before.switches),
        wakeups_missed: now.wakeups_missed.saturating_sub(before.wakeups_missed),
        ..*now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(tid: u32, began_ns: u64, ended_ns: u64, on_ns: u64) -> ThreadTimes {
        ThreadTimes {
            kind: 0,
            has_ended: 0,
            pid: 1,
            tid,
            thread: [0; 16],
            process: [0; 16],
            began_ns,
            ended_ns,
            on_ns,
            asleep_ns: 0,
            queued_ns: 0,
            preempted_ns: 0,
            switches: 0,
            wakeups_missed: 0,
        }
    }

    /// Each window has what came in it, of a thread that lives on, of one that ends as the window
    /// does, and of a new one with the number of another.
    #[test]
    fn windows_have_their_own_times() {
        let mut windows = ThreadWindows::default();
        let first = windows.since_last(
            Vec::new(),
            vec![thread(7, 100, 200, 50), thread(8, 100, 200, 9)],
        );
        assert_eq!((first[0].began_ns, first[0].on_ns), (100, 50));
        let second = windows.since_last(
            vec![thread(7, 100, 250, 60)],
            vec![
                thread(7, 100, 240, 55),
                thread(8, 100, 300, 9),
                thread(7, 260, 300, 5),
            ],
        );
        let times = second.iter().map(|of| (of.began_ns, of.ended_ns, of.on_ns));
        let expected = [(200, 250, 10), (200, 300, 0), (260, 300, 5)];
        assert_eq!(times.collect::<Vec<_>>(), expected);
    }
}
