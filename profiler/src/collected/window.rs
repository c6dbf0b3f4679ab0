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
