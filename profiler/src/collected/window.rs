//! One window of what goes on: its counts, and of all else what these refer to.
//!
//! Stacks and files stay where they are, since the kernel programs tell of each but once; the window
//! has copies, so that names can be found while the next one is being collected.
//!
//! Where processes of one name come and go by the dozen, those that have gone are shown as one, without
//! their numbers: nobody asks for one of them, and each would be a series of its own in the store.

use std::{
    collections::{HashMap, HashSet},
    mem::take,
    path::Path,
};

use abi::{samples::StackHash, waits::flags};

use super::Collected;
use crate::decode::Stack;

impl Collected {
    /// What was counted since the last window.
    #[must_use]
    pub fn window(&mut self) -> Self {
        let mut window = Self::within(self.bounds, self.files.identify());
        window.cgroups = self.cgroups.clone();
        window.moments = self.moments;
        self.momentary = 0;
        window.counts = take(&mut self.counts);
        window.overflow = take(&mut self.overflow);
        window.waits = take(&mut self.waits);
        window.waits_overflow = take(&mut self.waits_overflow);
        window.threads = take(&mut self.threads);
        window.threads_dropped = take(&mut self.threads_dropped);
        window.wakers_dropped = take(&mut self.wakers_dropped);
        window.stacks_dropped = take(&mut self.stacks_dropped);
        window.sideband_lost = take(&mut self.sideband_lost);
        window.files_from(self);
        window.count_each_wait_once();
        window.crowd = window.find_crowd();
        window
    }

    /// Copies what the counts refer to.
    fn files_from(&mut self, all: &mut Self) {
        for key in self.waits.keys() {
            if let Some(waker) = all.wakers.get(&key.waker) {
                self.wakers.insert(waker.hash, *waker);
            }
        }
        let samples = self
            .counts
            .keys()
            .map(|key| (key.pid, key.user, key.kernel));
        let waits = self.waits.keys().map(|key| (key.pid, key.user, key.kernel));
        let wakers = self.wakers.values();
        let wakers = wakers.map(|waker| (waker.pid, waker.user, waker.kernel));
        let all_of: HashSet<_> = samples.chain(waits).chain(wakers).collect();
        self.user = copies(&all.user, all_of.iter().map(|&(_, user, _)| user));
        self.kernel = copies(&all.kernel, all_of.iter().map(|&(_, _, kernel)| kernel));
        let frames = self.user.values().flat_map(|stack| &stack.frames);
        let files: HashSet<u32> = frames.map(|frame| frame.file).collect();
        self.files = all.files.copy_of(&files);
        self.files.paths_dropped = take(&mut all.files.paths_dropped);
        self.files.given_up = take(&mut all.files.given_up);
        let pids: HashSet<u32> = all_of.iter().map(|&(pid, _, _)| pid).collect();
        self.jit = all.jit.part(&pids);
        if !self.kernel.is_empty() {
            self.kernel_code = all.kernel_code.window();
        }
    }

    /// A wait that goes on counts when it ends: in the windows before, its time alone does.
    fn count_each_wait_once(&mut self) {
        for (key, count) in &mut self.waits {
            if key.flags & flags::OPEN != 0 {
                count.times = 0;
            }
        }
    }
}

/// How many processes of one name may come and go in a window and be shown each by itself.
const MAX_GONE: usize = 8;

impl Collected {
    fn find_crowd(&self) -> HashSet<u32> {
        let samples = self.counts.keys().map(|key| (key.process, key.pid));
        let waits = self.waits.keys().map(|key| (key.process, key.pid));
        let mut by_name: HashMap<_, HashSet<u32>> = HashMap::new();
        for (name, pid) in samples.chain(waits) {
            by_name.entry(name).or_default().insert(pid);
        }
        let is_gone = |pid: &u32| !Path::new("/proc").join(pid.to_string()).exists();
        let many = by_name.into_values().filter(|pids| pids.len() > MAX_GONE);
        let gone = many.map(|pids| pids.into_iter().filter(is_gone).collect::<Vec<_>>());
        gone.filter(|gone| gone.len() > MAX_GONE)
            .flatten()
            .collect()
    }
}

fn copies<Frame: Clone>(
    all: &HashMap<StackHash, Stack<Frame>>,
    wanted: impl Iterator<Item = StackHash>,
) -> HashMap<StackHash, Stack<Frame>> {
    wanted
        .filter_map(|hash| Some((hash, all.get(&hash)?.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use abi::{
        samples::{SampleCount, SampleKey},
        waits::{WaitCount, WaitKey},
    };

    use super::*;
    use crate::{collected::Bounds, identity::ByStat};

    fn key(pid: u32, process: &[u8; 16]) -> SampleKey {
        SampleKey {
            user: StackHash::NONE,
            kernel: StackHash::NONE,
            pid,
            tid: pid,
            thread: *process,
            process: *process,
            cgroup: 0,
            event: 0,
            moment: 0,
        }
    }

    /// Of many processes of one name those that have gone share a number; one that lives, and a few of
    /// another name, keep theirs.
    #[test]
    fn a_crowd_that_has_gone_is_shown_as_one() {
        // No process has a number beyond the kernel's limit.
        let gone = 1 << 23;
        let mut all = Collected::within(Bounds::default(), std::sync::Arc::new(ByStat));
        let one = SampleCount {
            samples: 1,
            weight: 1,
        };
        let crowd = (gone..gone + 20).chain([std::process::id()]);
        let crowd = crowd.map(|pid| (key(pid, b"many............"), one));
        let few = (gone + 30..gone + 33).map(|pid| (key(pid, b"few............."), one));
        all.take_counts(crowd.chain(few), 0);
        let window = all.window();
        assert_eq!(window.counts.len(), 24);
        assert!(all.counts.is_empty());
        assert_eq!(window.shown(gone + 3, gone + 3), (0, 0));
        let living = std::process::id();
        assert_eq!(window.shown(living, living), (living, living));
        assert_eq!(window.shown(gone + 31, 7), (gone + 31, 7));
    }

    /// The pieces of a wait have their time each, and are one wait.
    #[test]
    fn a_wait_counts_where_it_ends() {
        let mut all = Collected::within(Bounds::default(), std::sync::Arc::new(ByStat));
        let wait = |flags| WaitKey {
            user: StackHash::NONE,
            kernel: StackHash::NONE,
            waker: StackHash::NONE,
            pid: 1,
            tid: 1,
            thread: [0; 16],
            process: [0; 16],
            cgroup: 0,
            state: 0,
            flags,
        };
        let piece = WaitCount {
            times: 1,
            asleep_ns: 5,
            ..WaitCount::ZERO
        };
        let mut sum = |flags| {
            all.take_waits([(wait(flags), piece)]);
            let window = all.window();
            let waits = window.waits.values();
            waits.fold((0, 0), |(times, ns), wait| {
                (times + wait.times, ns + wait.asleep_ns)
            })
        };
        assert_eq!(sum(flags::OPEN), (0, 5));
        assert_eq!(sum(flags::SEEDED | flags::OPEN), (0, 5));
        assert_eq!(sum(flags::SEEDED), (1, 5));
    }
}
