//! The kernel's counts: how often each thread was found with each pair of stacks.

use crate::COMM_BYTES;

/// 128 bits that stand for a stack. Both halves are seeded at random per recording, so two stacks
/// share a hash only by an accident of about 2^-128; all zero means that there is no stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct StackHash {
    /// The half that multiplies by the golden ratio's bits.
    pub low: u64,
    /// The half that adds, multiplies by another odd constant and rotates.
    pub high: u64,
}

impl StackHash {
    /// No stack at all.
    pub const NONE: Self = Self { low: 0, high: 0 };

    /// The hash of an empty stack under a recording's seed.
    #[must_use]
    #[inline(always)]
    pub const fn seeded(seed: [u64; 2]) -> Self {
        Self {
            low: seed[0],
            high: seed[1],
        }
    }

    /// Takes one more word in. The halves mix differently, so they do not collide together.
    ///
    /// `low = (low ^ word) · 0x9e3779b97f4a7c15, folded`; `high = rotl(high + word, 23) · 0xd6e8feb86659fd93, folded`
    #[inline(always)]
    pub const fn mix(&mut self, word: u64) {
        self.low = (self.low ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.low ^= self.low >> 32;
        self.high = self
            .high
            .wrapping_add(word)
            .rotate_left(23)
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.high ^= self.high >> 29;
    }

    /// Closes the hash with the number of frames and the reason of the end; never [`Self::NONE`].
    #[must_use]
    #[inline(always)]
    pub const fn finish(mut self, frames: u32, end: u32) -> Self {
        self.mix(((end as u64) << 32) | frames as u64);
        self.low |= 1;
        self
    }
}

/// What is counted: a thread, under the names that it had, with a user and a kernel stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SampleKey {
    /// The user stack, or [`StackHash::NONE`].
    pub user: StackHash,
    /// The kernel stack, or [`StackHash::NONE`].
    pub kernel: StackHash,
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
    /// Which event of the recording, from 0.
    pub event: u32,
    /// When the sample was taken, where a frame of its user stack lies in memory without a file, since
    /// what a JIT has there changes with time, or where all times are wanted. In units of
    /// 2^[`MOMENT_SHIFT`] ns of the monotonic clock, without their upper bits and without those that
    /// [`crate::tables::Control`] or [`crate::config::Config`] masks; 0 for other samples, which share
    /// a count.
    pub moment: u32,
}

const _: () = assert!(size_of::<SampleKey>() == 88);

/// The unit of [`SampleKey::moment`] as a power of two of nanoseconds: 65 µs, of which a `u32` counts
/// 78 hours.
pub const MOMENT_SHIFT: u32 = 16;

/// How often, and how much of the event that stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SampleCount {
    /// Samples.
    pub samples: u64,
    /// The sum of their periods, in the event's own unit: nanoseconds for the clocks, misses for
    /// `cache-misses`, and so on.
    pub weight: u64,
}

const _: () = assert!(size_of::<SampleCount>() == 16);
