//! The kernel programs: one that samples, two that follow processes, one that user space asks, and
//! those that see threads wait.
//!
//! `on_cpu` runs at each overflow of a perf event: it decides whether the running thread is wanted,
//! walks its stacks, counts them, and sends what user space has not seen yet. `process_fork` and
//! `process_free` keep the map of targets. `identify` is attached to nothing: user space runs it.
//! Nothing here knows what the recording is for.

#![no_std]
#![no_main]
#![allow(
    internal_features,
    reason = "stable Rust has no atomic exchange for this target"
)]
#![feature(core_intrinsics)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "aya's macros make public functions without documentation of the programs"
)]

mod atomic;
mod emit;
mod frames;
mod identify;
mod kernel;
mod mapping;
mod maps;
mod registers;
mod sample;
mod targets;
mod waits;

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, fexit, perf_event, raw_tracepoint},
    programs::{BtfTracePointContext, FExitContext, PerfEventContext, RawTracePointContext},
};
use core::ffi::c_void;

/// Counts one sample of the running thread.
#[perf_event]
pub fn on_cpu(ctx: PerfEventContext) -> u32 {
    sample::run(&ctx);
    0
}

/// Makes the children of a target targets.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    targets::follow(ctx.arg(1));
    0
}

/// Forgets a target whose last thread is gone.
#[raw_tracepoint(tracepoint = "sched_process_free")]
pub fn process_free(ctx: RawTracePointContext) -> i32 {
    targets::forget(ctx.arg(0));
    0
}

/// One thread leaves a CPU and another gets it.
#[btf_tracepoint(function = "sched_switch")]
pub fn thread_switched(ctx: BtfTracePointContext) -> i32 {
    waits::switched(&ctx);
    0
}

/// A thread is ready to run again.
#[btf_tracepoint(function = "sched_wakeup")]
pub fn thread_woken(ctx: BtfTracePointContext) -> i32 {
    waits::woken(&ctx);
    0
}

/// A new thread is ready to run.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn thread_created(ctx: BtfTracePointContext) -> i32 {
    waits::created(&ctx);
    0
}

/// A program begins to run.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_executed(ctx: BtfTracePointContext) -> i32 {
    waits::executed(&ctx);
    0
}

/// A thread is about to be woken, by the running one or an interrupt.
#[btf_tracepoint(function = "sched_waking")]
pub fn thread_waking(ctx: BtfTracePointContext) -> i32 {
    waits::waking(&ctx);
    0
}

/// A thread runs again. Kernels have this tracepoint from 6.16 on.
#[btf_tracepoint(function = "sched_exit_tp")]
pub fn wait_ended(ctx: BtfTracePointContext) -> i32 {
    waits::end_of_wait(ctx.as_ptr());
    0
}

/// A thread runs again, on kernels without that tracepoint.
#[fexit(function = "schedule")]
pub fn schedule_returned(ctx: FExitContext) -> i32 {
    waits::end_of_wait(ctx.as_ptr());
    0
}

/// Visits one thread of the machine. aya has no attribute for programs of this kind.
#[unsafe(link_section = "iter.s/task")]
#[unsafe(no_mangle)]
pub extern "C" fn each_thread(ctx: *mut c_void) -> i32 {
    waits::each(ctx.cast());
    0
}

/// Tells what the files of stacks are called: the arguments are an address and a descriptor of the
/// process that runs this.
#[raw_tracepoint]
pub fn identify(ctx: RawTracePointContext) -> i32 {
    identify::answer(ctx.arg(0), ctx.arg(1));
    0
}

/// The licence that the kernel asks for before it lets a program call its GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: the verifier refuses programs that can reach a panic, so this is never run.
    unsafe { core::hint::unreachable_unchecked() }
}
