//! All that the kernel sent in one recording, within bounds.

mod window;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::SystemTime,
};

use abi::{
    records::{UserFrame, file},
    samples::{SampleCount, SampleKey, StackHash},
    waits::{ThreadTimes, WaitCount, WaitKey, Waker},
};

use crate::{
    cgroups::Cgroups,
    code_files::CodeFile,
    decode::{self, Record, Stack},
    files::Files,
    identity::Identify,
    jit::JitMaps,
    kernel_code::KernelCode,
    moments::Moments,
    sideband::Told,
};

/// How much is kept of what grows with the machine.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Threads and stacks that are counted apart.
    pub counts: usize,
    /// Threads and stacks whose waits are counted apart; each takes several times as much memory.
    pub waits: usize,
    /// Threads whose times are kept.
    pub threads: usize,
    /// Distinct ends of waits that are kept.
    pub wakers: usize,
    /// Bytes of distinct stacks.
    pub stack_bytes: usize,
    /// Bytes of copies of files that others may not answer for.
    pub copy_bytes: u64,
    /// Counts with a moment of their own.
    pub moments: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            counts: 1 << 20,
            waits: 1 << 18,
            threads: 1 << 20,
            wakers: 1 << 18,
            stack_bytes: 256 << 20,
            copy_bytes: 512 << 20,
            moments: 1 << 18,
        }
    }
}

impl Bounds {
    /// So much memory for each of samples, waits, distinct stacks and copies of files.
    #[must_use]
    pub fn of_each(bytes: usize) -> Self {
        Self {
            counts: bytes / size_of::<(SampleKey, SampleCount)>(),
            waits: bytes / size_of::<(WaitKey, WaitCount)>(),
            stack_bytes: bytes,
            copy_bytes: bytes as u64,
            ..Self::default()
        }
    }
}

/// The slices of a recording, or of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// When the first begins, on the monotonic clock.
    pub began_ns: u64,
    /// How long each is.
    pub slice_ns: u64,
}

/// Counts, stacks and files of a recording.
#[derive(Debug)]
pub struct Collected {
    /// How often each thread was found with each pair of stacks.
    pub counts: HashMap<SampleKey, SampleCount>,
    /// How often and how long each thread waited with each pair of stacks.
    pub waits: HashMap<WaitKey, WaitCount>,
    /// Waits beyond the bound on counts.
    pub waits_overflow: WaitCount,
    /// All the time of each thread whose waits were watched, once it or the recording has ended.
    pub threads: Vec<ThreadTimes>,
    /// Threads beyond the bound on them, whose times are not known.
    pub threads_dropped: u64,
    /// Who woke threads.
    pub wakers: HashMap<StackHash, Waker>,
    /// Those beyond the bound on them; the waits that they ended are shown without one.
    pub wakers_dropped: u64,
    /// What the user halves stand for.
    pub user: HashMap<StackHash, Stack<UserFrame>>,
    /// What the kernel halves stand for.
    pub kernel: HashMap<StackHash, Stack<u64>>,
    /// The files that the user stacks name.
    pub files: Files,
    /// The code that the kernel stacks name.
    pub kernel_code: KernelCode,
    /// Samples beyond the bound on counts, by event.
    pub overflow: HashMap<u32, SampleCount>,
    /// Stacks beyond the bound on their bytes; their samples have no stack.
    pub stacks_dropped: u64,
    /// Records of the side-band that found no room.
    pub sideband_lost: u64,
    /// What the moments of counts mean.
    pub moments: Moments,
    /// How times become slices, where they are told.
    pub slices: Option<Slices>,
    /// The paths of control groups.
    pub cgroups: Cgroups,
    /// Processes that are shown without their number: [`window`](Self::window) tells which.
    pub crowd: HashSet<u32>,
    /// The maps of JITs.
    pub jit: JitMaps,
    bounds: Bounds,
    stack_bytes: usize,
    /// Counts with a moment of their own.
    momentary: usize,
}

impl Collected {
    /// Nothing yet, with bounds.
    #[must_use]
    pub fn within(bounds: Bounds, identify: Arc<dyn Identify>) -> Self {
        Self {
            counts: HashMap::new(),
            waits: HashMap::new(),
            waits_overflow: WaitCount::ZERO,
            threads: Vec::new(),
            threads_dropped: 0,
            wakers: HashMap::new(),
            wakers_dropped: 0,
            user: HashMap::new(),
            kernel: HashMap::new(),
            files: Files::new(identify, bounds.copy_bytes),
            kernel_code: KernelCode::default(),
            overflow: HashMap::new(),
            stacks_dropped: 0,
            sideband_lost: 0,
            moments: Moments::since(0),
            slices: None,
            cgroups: Cgroups::of_machine(),
            crowd: HashSet::new(),
            jit: JitMaps::since(SystemTime::UNIX_EPOCH),
            bounds,
            stack_bytes: 0,
            momentary: 0,
        }
    }

    /// Takes in the bytes of one record of the ring, and gives the file that it tells of.
    pub fn take_record(&mut self, bytes: &[u8], now_ns: u64) -> Option<CodeFile> {
        match decode::record(bytes) {
            Some(Record::UserStack(hash, stack, pid)) => {
                if has_anonymous(&stack) {
                    self.jit.see(pid, now_ns);
                }
                let room = self.bounds.stack_bytes - self.stack_bytes;
                let kept = keep(&mut self.user, hash, stack, room);
                self.stack_bytes += kept.unwrap_or(0);
                self.stacks_dropped += u64::from(kept.is_none());
            }
            Some(Record::KernelStack(hash, stack)) => {
                let room = self.bounds.stack_bytes - self.stack_bytes;
                let kept = keep(&mut self.kernel, hash, stack, room);
                self.stack_bytes += kept.unwrap_or(0);
                self.stacks_dropped += u64::from(kept.is_none());
            }
            Some(Record::File(seen)) => return self.files.see(&seen),
            Some(Record::Thread(times)) => self.take_threads([times]),
            Some(Record::Waker(waker)) => {
                if self.wakers.len() < self.bounds.wakers {
                    self.wakers.insert(waker.hash, waker);
                } else {
                    self.wakers_dropped += 1;
                }
            }
            None => {}
        }
        None
    }

    /// Takes in a record of the side-band.
    pub fn take_told(&mut self, told: Told) {
        match told {
            Told::KernelCode(image) => self.kernel_code.take(image),
            Told::Mapped {
                pid,
                identity,
                path,
            } => {
                self.jit.mapped(pid, &path);
                self.files.mapped(identity, path);
            }
            Told::Executed { pid, time_ns } => self.jit.executed(pid, time_ns),
            Told::Lost(records) => self.sideband_lost += records,
        }
    }

    /// Takes in the times of threads.
    pub fn take_threads(&mut self, threads: impl IntoIterator<Item = ThreadTimes>) {
        for thread in threads {
            if self.threads.len() < self.bounds.threads {
                self.threads.push(thread);
            } else {
                self.threads_dropped += 1;
            }
        }
    }

    /// Adds what the kernel counted since the last time.
    pub fn take_counts(
        &mut self,
        counts: impl IntoIterator<Item = (SampleKey, SampleCount)>,
        now_ns: u64,
    ) {
        for (mut key, count) in counts {
            self.cgroups.see(key.cgroup);
            if key.moment != 0 {
                let stack = self.user.get(&key.user);
                if stack.is_some_and(has_anonymous) {
                    self.jit.see(key.pid, now_ns);
                }
                key.moment = self.moments.of_kernel(key.moment, now_ns);
                let is_new = !self.counts.contains_key(&key);
                self.momentary += usize::from(is_new && key.moment != 0);
            }
            let total = if self.counts.len() < self.bounds.counts || self.counts.contains_key(&key)
            {
                self.counts.entry(key).or_default()
            } else {
                self.overflow.entry(key.event).or_default()
            };
            total.samples += count.samples;
            total.weight += count.weight;
        }
        while self.momentary > self.bounds.moments {
            self.coarsen();
        }
    }

    /// Has samples of JIT code share counts with others of about the same time.
    pub fn coarsen(&mut self) {
        self.moments.coarsen();
        self.momentary = 0;
        for (key, count) in std::mem::take(&mut self.counts) {
            let moment = self.moments.coarse(key.moment);
            let total = self.counts.entry(SampleKey { moment, ..key });
            let is_new = matches!(total, Entry::Vacant(_));
            self.momentary += usize::from(is_new && moment != 0);
            let total = total.or_default();
            total.samples += count.samples;
            total.weight += count.weight;
        }
    }

    /// Adds the waits that the kernel counted since the last time.
    pub fn take_waits(&mut self, waits: impl IntoIterator<Item = (WaitKey, WaitCount)>) {
        for (key, count) in waits {
            self.cgroups.see(key.cgroup);
            let has_room = self.waits.len() < self.bounds.waits;
            let total = if has_room || self.waits.contains_key(&key) {
                self.waits.entry(key).or_default()
            } else {
                &mut self.waits_overflow
            };
            total.add(&count);
        }
    }

    /// The slice of a count.
    #[must_use]
    pub fn slice(&self, key: &SampleKey) -> Option<u32> {
        let slices = self.slices?;
        let since_ns = self
            .moments
            .end_ns(key.moment)?
            .saturating_sub(slices.began_ns);
        u32::try_from(since_ns / slices.slice_ns).ok()
    }

    /// The numbers of a process and a thread as shown.
    #[must_use]
    pub fn shown(&self, pid: u32, tid: u32) -> (u32, u32) {
        match self.crowd.contains(&pid) {
            true => (0, 0),
            false => (pid, tid),
        }
    }

    /// How full the fullest of what is kept from window to window is, from 0 to 1.
    #[must_use]
    pub fn fullness(&self) -> f64 {
        let stacks = self.stack_bytes as f64 / self.bounds.stack_bytes as f64;
        stacks.max(self.files.fullness())
    }

    /// Whether both stacks have arrived, where there are any.
    #[must_use]
    pub fn has_stacks(&self, user: StackHash, kernel: StackHash) -> bool {
        (user == StackHash::NONE || self.user.contains_key(&user))
            && (kernel == StackHash::NONE || self.kernel.contains_key(&kernel))
    }
}

/// Whether a frame lies in memory without a file, as a JIT's code does.
fn has_anonymous(stack: &Stack<UserFrame>) -> bool {
    let mut frames = stack.frames.iter();
    frames.any(|frame| frame.file == file::ANONYMOUS)
}

/// Keeps a stack and tells the bytes that it takes, or `None` where they are more than `room`.
fn keep<Frame>(
    stacks: &mut HashMap<StackHash, Stack<Frame>>,
    hash: StackHash,
    stack: Stack<Frame>,
    room: usize,
) -> Option<usize> {
    if stacks.contains_key(&hash) {
        return Some(0);
    }
    let bytes = size_of_val(stack.frames.as_slice()) + size_of::<(StackHash, Stack<Frame>)>();
    if bytes > room {
        return None;
    }
    stacks.insert(hash, stack);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ByStat;
    use abi::records::kind;

    fn key(tid: u32) -> SampleKey {
        SampleKey {
            user: StackHash::NONE,
            kernel: StackHash::NONE,
            pid: 1,
            tid,
            thread: [0; 16],
            process: [0; 16],
            cgroup: 0,
            event: 0,
            moment: 0,
        }
    }

    /// Beyond its bound a map takes nothing new, goes on counting what it has, and loses no sample.
    #[test]
    fn counts_are_bounded_and_add_up() {
        let bounds = Bounds {
            counts: 2,
            ..Bounds::default()
        };
        let mut collected = Collected::within(bounds, Arc::new(ByStat));
        let one = SampleCount {
            samples: 1,
            weight: 10,
        };
        collected.take_counts([1, 2, 3, 1, 4].map(|tid| (key(tid), one)), 0);
        assert_eq!(collected.counts[&key(1)].samples, 2);
        assert_eq!(collected.counts.len(), 2);
        assert_eq!(collected.overflow[&0].samples, 2);
        assert_eq!(collected.overflow[&0].weight, 20);
    }

    /// Waits beyond their bound keep their time, threads beyond theirs are counted.
    #[test]
    fn waits_and_threads_are_bounded() {
        let bounds = Bounds {
            waits: 1,
            threads: 1,
            ..Bounds::default()
        };
        let mut collected = Collected::within(bounds, Arc::new(ByStat));
        let wait = |tid| WaitKey {
            user: StackHash::NONE,
            kernel: StackHash::NONE,
            waker: StackHash::NONE,
            pid: 1,
            tid,
            thread: [0; 16],
            process: [0; 16],
            cgroup: 0,
            state: 0,
            flags: 0,
        };
        let one = WaitCount {
            times: 1,
            asleep_ns: 7,
            ..WaitCount::ZERO
        };
        collected.take_waits([1, 2, 1, 3].map(|tid| (wait(tid), one)));
        assert_eq!(collected.waits[&wait(1)].asleep_ns, 14);
        assert_eq!(collected.waits_overflow.asleep_ns, 14);
        let bytes = [0; size_of::<ThreadTimes>()];
        let threads = [bytes, bytes, bytes].map(|bytes| decode::thread(&bytes).unwrap());
        collected.take_threads(threads);
        assert_eq!((collected.threads.len(), collected.threads_dropped), (1, 2));
    }

    /// A stack beyond the bound is counted, and its samples are known to have none.
    #[test]
    fn stacks_are_bounded() {
        let bounds = Bounds {
            stack_bytes: 120,
            ..Bounds::default()
        };
        let mut collected = Collected::within(bounds, Arc::new(ByStat));
        for hash in 1..=3u32 {
            let words = [kind::KERNEL_STACK, 1, hash, 0, 0, 0, 0, 0, 7, 0];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            collected.take_record(&bytes, 0);
        }
        let kept = collected.kernel.len();
        assert!(kept > 0 && collected.stacks_dropped == 3 - kept as u64);
        let missing = StackHash { low: 3, high: 0 };
        let lost = SampleKey {
            kernel: missing,
            ..key(1)
        };
        assert!(!collected.has_stacks(lost.user, lost.kernel));
        assert!(collected.has_stacks(StackHash::NONE, StackHash::NONE));
    }

    /// Samples of JIT code that become too many share counts, and none is lost.
    #[test]
    fn moments_are_bounded_and_add_up() {
        let bounds = Bounds {
            moments: 10,
            ..Bounds::default()
        };
        let mut collected = Collected::within(bounds, Arc::new(ByStat));
        let one = SampleCount {
            samples: 1,
            weight: 10,
        };
        let second = 1 << 14;
        let samples = (1..=100).map(|moment| SampleKey {
            moment: moment * 40,
            ..key(1)
        });
        let others = (0..5).map(key);
        let all = samples.chain(others).map(|key| (key, one));
        collected.take_counts(all, (2 * second) << abi::samples::MOMENT_SHIFT);
        let momentary = collected.counts.keys().filter(|key| key.moment != 0);
        let momentary = momentary.count();
        assert!((2..=10).contains(&momentary), "{momentary}");
        let samples: u64 = collected.counts.values().map(|count| count.samples).sum();
        assert_eq!(samples, 105);
        assert!(collected.overflow.is_empty());
    }
}
