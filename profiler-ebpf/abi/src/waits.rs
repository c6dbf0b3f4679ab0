//! Time in which a thread did not run, as the programs at the scheduler count it: exact, per thread,
//! in nanoseconds of the monotonic clock.
//!
//! A thread that leaves the CPU is asleep until something wakes it, then queued until it runs. One
//! that was ready all the time, because another had the CPU, is queued from the first moment on.

use crate::{COMM_BYTES, samples::StackHash};

/// Since when a thread that gets a CPU now has been in the queue for one, as if it had been in one queue
/// for all that time.
///
/// The scheduler's clock and ours show the moment at which the thread got the CPU before: `arrived_ns` and
/// `entered_ns`, which is 0 where it was not seen. By the scheduler's, it came into the queue that it is in
/// at `queued_ns`, which is 0 where it is in none, and has been in others for `delayed_ns` since it left
/// the CPU. What is not known of the last queue counts as no time in it.
#[must_use]
#[inline(always)]
pub const fn queued_since(
    now: u64,
    (entered_ns, arrived_ns): (u64, u64),
    queued_ns: u64,
    delayed_ns: u64,
) -> u64 {
    let last = if entered_ns > 0 && queued_ns >= arrived_ns {
        entered_ns + (queued_ns - arrived_ns)
    } else {
        now
    };
    last.saturating_sub(delayed_ns)
}

/// How many buckets a [`Histogram`] has.
pub const BUCKETS: usize = 64;

/// The power of two below which all times are in bucket 0: about a microsecond.
const FIRST_POWER: u32 = 10;

/// How often a time was about this long. Bucket 0 is below 1,024 ns; from there on two buckets
/// share each doubling, `[2^n, 1.5·2^n)` and `[1.5·2^n, 2^(n+1))`, and the last takes all that is
/// longer than half an hour.
pub type Histogram = [u32; BUCKETS];

/// The longest time that is told from longer ones, in nanoseconds.
const LONGEST: u64 = (3 << 40) - 1;

/// The bucket of a time.
#[must_use]
#[inline(always)]
pub const fn bucket(ns: u64) -> usize {
    let ns = if ns < LONGEST { ns } else { LONGEST };
    let mut power = 0;
    let mut rest = ns;
    let mut half = 32;
    while half > 0 {
        if rest >> half != 0 {
            rest >>= half;
            power += half;
        }
        half /= 2;
    }
    if power < FIRST_POWER {
        return 0;
    }
    let upper_half = (ns >> (power - 1)) & 1;
    1 + 2 * (power - FIRST_POWER) as usize + upper_half as usize
}

/// The shortest time of a bucket, in nanoseconds.
#[must_use]
pub const fn bucket_start(bucket: usize) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let power = FIRST_POWER + (bucket as u32 - 1) / 2;
    let upper_half = (bucket as u64 - 1) & 1;
    (1 << power) + (upper_half << (power - 1))
}

/// Bits of [`WaitKey::flags`].
pub mod flags {
    /// The thread had left the CPU before the recording, or its window, began; what is counted begins
    /// with it.
    pub const SEEDED: u32 = 1;
    /// The thread was still away from the CPU when the recording, or its window, ended; what is counted
    /// ends there.
    pub const OPEN: u32 = 2;
}

/// What is counted: a thread, under the names that it had, away from the CPU with these stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct WaitKey {
    /// The user stack, or [`StackHash::NONE`].
    pub user: StackHash,
    /// The kernel stack, or [`StackHash::NONE`].
    pub kernel: StackHash,
    /// The [`Waker`] that ended it, or [`StackHash::NONE`].
    pub waker: StackHash,
    /// The process id, in the initial pid namespace.
    pub pid: u32,
    /// The thread id, in the initial pid namespace.
    pub tid: u32,
    /// The thread's name, padded with NUL.
    pub thread: [u8; COMM_BYTES],
    /// The name of the process's first thread, padded with NUL.
    pub process: [u8; COMM_BYTES],
    /// The id of the process's cgroup (version 2); 0 where that is not wanted.
    pub cgroup: u64,
    /// A [`crate::reasons::State`].
    pub state: u32,
    /// Bits of [`flags`].
    pub flags: u32,
}

const _: () = assert!(size_of::<WaitKey>() == 104);

/// How often and for how long. Where stacks are taken of a part of the waits only, each one that
/// was taken stands for as many as its weight says, in all of these but the longest.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct WaitCount {
    /// Waits.
    pub times: u64,
    /// From leaving the CPU to the wake-up, in nanoseconds; 0 where the thread was ready all the
    /// time.
    pub asleep_ns: u64,
    /// From there to running, in nanoseconds.
    pub queued_ns: u64,
    /// The longest time asleep, in nanoseconds.
    pub longest_asleep_ns: u64,
    /// The longest time in the queue, in nanoseconds.
    pub longest_queued_ns: u64,
    /// Times asleep, of the waits that had some.
    pub asleep: Histogram,
    /// Times in the queue.
    pub queued: Histogram,
}

const _: () = assert!(size_of::<WaitCount>() == 40 + 2 * 4 * BUCKETS);

impl Default for WaitCount {
    fn default() -> Self {
        Self::ZERO
    }
}

impl WaitCount {
    /// Nothing counted.
    pub const ZERO: Self = Self {
        times: 0,
        asleep_ns: 0,
        queued_ns: 0,
        longest_asleep_ns: 0,
        longest_queued_ns: 0,
        asleep: [0; BUCKETS],
        queued: [0; BUCKETS],
    };

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.times += other.times;
        self.asleep_ns += other.asleep_ns;
        self.queued_ns += other.queued_ns;
        self.longest_asleep_ns = self.longest_asleep_ns.max(other.longest_asleep_ns);
        self.longest_queued_ns = self.longest_queued_ns.max(other.longest_queued_ns);
        for (into, from) in [
            (&mut self.asleep, &other.asleep),
            (&mut self.queued, &other.queued),
        ] {
            for (total, count) in into.iter_mut().zip(from) {
                *total = total.saturating_add(*count);
            }
        }
    }
}

/// Who woke a thread: sent through the ring once for each distinct one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Waker {
    /// [`crate::records::kind::WAKER`].
    pub kind: u32,
    /// Always 0.
    pub padding: u32,
    /// What waits call this waker.
    pub hash: StackHash,
    /// The user stack, or [`StackHash::NONE`].
    pub user: StackHash,
    /// The kernel stack, or [`StackHash::NONE`].
    pub kernel: StackHash,
    /// The process id.
    pub pid: u32,
    /// The thread id; 0 where an interrupt did it on an idle CPU.
    pub tid: u32,
    /// The thread's name, padded with NUL.
    pub thread: [u8; COMM_BYTES],
    /// The name of the process's first thread, padded with NUL.
    pub process: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<Waker>() == 96);

/// All the time of one thread while it was watched:
/// `ended_ns - began_ns = on_ns + asleep_ns + queued_ns`, and what is left over is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadTimes {
    /// [`crate::records::kind::THREAD`].
    pub kind: u32,
    /// 1 where the thread ended, 0 where the recording did.
    pub has_ended: u32,
    /// The process id.
    pub pid: u32,
    /// The thread id.
    pub tid: u32,
    /// The thread's name, padded with NUL.
    pub thread: [u8; COMM_BYTES],
    /// The name of the process's first thread, padded with NUL.
    pub process: [u8; COMM_BYTES],
    /// When the thread was first seen, on the monotonic clock.
    pub began_ns: u64,
    /// When it ended, or the recording did.
    pub ended_ns: u64,
    /// Time on a CPU.
    pub on_ns: u64,
    /// Time asleep or stopped.
    pub asleep_ns: u64,
    /// Time ready and waiting for a CPU, all of it.
    pub queued_ns: u64,
    /// The part of `queued_ns` that began by losing the CPU to another thread.
    pub preempted_ns: u64,
    /// How often the thread left the CPU.
    pub switches: u64,
    /// Waits whose wake-up was not seen, the one that the end of the recording cuts included; all of
    /// their time is `asleep_ns`.
    pub wakeups_missed: u64,
}

const _: () = assert!(size_of::<ThreadTimes>() == 112);

#[cfg(test)]
mod tests {
    use super::*;

    /// The time in the last queue is known by when the thread got the CPU before, and that in others
    /// comes before it; in none, it has left them all.
    #[test]
    fn queues_are_one() {
        let before = (1_000, 50);
        assert_eq!(queued_since(2_000, before, 850, 0), 1_800);
        assert_eq!(queued_since(2_000, before, 850, 30), 1_770);
        assert_eq!(queued_since(2_000, before, 0, 30), 1_970);
        // Not seen to get the CPU before; a clock that goes back.
        assert_eq!(queued_since(2_000, (0, 50), 850, 30), 1_970);
        assert_eq!(queued_since(2_000, before, 49, 0), 2_000);
        assert_eq!(queued_since(20, before, 0, 30), 0);
    }

    /// Each bucket begins where the one before it ends, and takes what lies between.
    #[test]
    fn buckets_join() {
        assert_eq!((bucket(0), bucket(1023), bucket(1024)), (0, 0, 1));
        for number in 1..BUCKETS {
            assert_eq!(bucket(bucket_start(number)), number);
            assert_eq!(bucket(bucket_start(number) - 1), number - 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!(bucket_start(BUCKETS - 1) > 120_000_000_000);
    }

    /// Sums add and the longest stays.
    #[test]
    fn counts_add_up() {
        let mut total = WaitCount::ZERO;
        let mut one = WaitCount {
            times: 1,
            asleep_ns: 5,
            queued_ns: 7,
            longest_asleep_ns: 5,
            longest_queued_ns: 7,
            ..WaitCount::ZERO
        };
        one.asleep[3] = u32::MAX;
        total.add(&one);
        total.add(&one);
        assert_eq!((total.times, total.asleep_ns, total.queued_ns), (2, 10, 14));
        assert_eq!((total.longest_asleep_ns, total.longest_queued_ns), (5, 7));
        assert_eq!(total.asleep[3], u32::MAX);
    }
}
