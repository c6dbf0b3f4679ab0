//! What crosses the border between the kernel programs and user space.
//!
//! Every layout that both sides read is defined here once, with explicit padding, a size that is
//! asserted, and the unit of each field; so is the one list of outcomes, and the unwinder's step.
//! This crate does no IO, knows neither aya nor std, and has no dependencies.

#![no_std]

pub mod config;
pub mod reasons;
pub mod records;
pub mod samples;
pub mod tables;
pub mod unwind;
pub mod waits;

/// The most frames of a user stack that one sample holds; a deeper one is cut and marked.
pub const MAX_USER_FRAMES: usize = 512;

/// The most frames of a kernel stack, the kernel's own default for `perf_event_max_stack`.
pub const MAX_KERNEL_FRAMES: usize = 127;

/// How many events (`-e`) one recording may count at a time.
pub const MAX_EVENTS: usize = 8;

/// Where the counters of the programs that follow processes are, behind those of the events.
pub const FOLLOWING: u32 = MAX_EVENTS as u32;

/// Where the counters of the programs at the scheduler are.
pub const WAITS: u32 = FOLLOWING + 1;

/// The length of a thread's name in the kernel, its terminating NUL included.
pub const COMM_BYTES: usize = 16;
