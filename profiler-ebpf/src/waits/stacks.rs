//! The stacks of a wait, and the names of who waits.

use abi::{
    COMM_BYTES, WAITS,
    reasons::{Miss, Outcome, StackEnd},
    samples::StackHash,
};
use aya_ebpf::{
    bindings::task_struct,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task_btf, bpf_get_task_stack},
    },
};
use core::ffi::c_void;

use super::{
    count,
    thread::{self, Thread, miss, phase},
};
use crate::{
    emit,
    frames::{Memory, OfTask, Own},
    kernel::{config, current_task, read},
    mapping,
    maps::{PENDING, Scratch, counters, scratch},
    registers, sample,
};

/// Takes the stacks of the running thread into the key of its wait, and sends them unless user space
/// has them.
#[inline(always)]
pub(crate) fn take(ctx: *mut c_void, thread: &mut Thread) {
    let Some(scratch) = scratch::hold(scratch::SCHEDULER) else {
        thread.key.user = StackHash::NONE;
        thread.key.kernel = StackHash::NONE;
        outcome(Outcome::ScratchBusy);
        return;
    };
    let task = current_task();
    begin(scratch, thread, task);
    sample::kernel_stack(ctx, scratch);
    // SAFETY: the helper has no preconditions.
    finish(scratch, thread, unsafe { bpf_get_current_task_btf() }, Own);
    scratch.release();
}

/// Takes the stacks of another thread, one that does not run. May sleep: the memory of its user stack
/// may have to be read from a disk.
#[inline(always)]
pub(crate) fn take_of(task: *mut task_struct, address: u64, thread: &mut Thread) {
    let Some(scratch) = scratch::hold(scratch::THREADS) else {
        outcome(Outcome::ScratchBusy);
        return;
    };
    begin(scratch, thread, address);
    // SAFETY: the helper writes at most the array's size.
    let bytes = unsafe {
        bpf_get_task_stack(
            task,
            (&raw mut scratch.kernel.addresses).cast::<c_void>(),
            size_of_val(&scratch.kernel.addresses) as u32,
            0,
        )
    };
    sample::keep_kernel_stack(scratch, bytes);
    finish(scratch, thread, task, OfTask(task));
    scratch.release();
}

#[inline(always)]
fn begin(scratch: &mut Scratch, thread: &mut Thread, task: u64) {
    scratch.event = WAITS;
    scratch.key.pid = thread.key.pid;
    scratch.key.tid = thread.key.tid;
    let leader = leader(thread, task);
    sample::name(scratch, task, leader);
    thread.key.thread = scratch.key.thread;
    thread.key.process = scratch.key.process;
    mapping::enter(scratch, task, leader);
}

#[inline(always)]
fn finish(scratch: &mut Scratch, thread: &mut Thread, task: *mut task_struct, memory: impl Memory) {
    let leaf = if scratch.mm != 0 {
        registers::saved(scratch, task)
    } else {
        Err(StackEnd::NoUserStack)
    };
    sample::user_stack(scratch, leaf, memory);
    thread.key.user = scratch.key.user;
    thread.key.kernel = scratch.key.kernel;
    if scratch.key.user != StackHash::NONE {
        emit::user_stack(scratch);
    }
    if scratch.key.kernel != StackHash::NONE {
        emit::kernel_stack(scratch);
    }
}

#[inline(always)]
fn leader(thread: &Thread, task: u64) -> u64 {
    if thread.key.pid == thread.key.tid {
        task
    } else {
        read(task, config!(offsets.task_group_leader)).unwrap_or(task)
    }
}

/// The names that the running thread and its process have at this moment.
#[inline(always)]
pub(crate) fn names(thread: &mut Thread) {
    name_of(thread, current_task());
}

/// Who a thread is, by the address of its task.
#[inline(always)]
pub(crate) fn identify(thread: &mut Thread, task: u64) {
    thread.key.pid = read(task, config!(offsets.task_tgid)).unwrap_or(0);
    thread.key.tid = read(task, config!(offsets.task_pid)).unwrap_or(0);
    name_of(thread, task);
}

#[inline(always)]
fn name_of(thread: &mut Thread, task: u64) {
    let leader = leader(thread, task);
    let name = |task| read(task, config!(offsets.task_comm)).unwrap_or([0; COMM_BYTES]);
    thread.key.thread = name(task);
    thread.key.process = name(leader);
}

/// Takes the stack of a wait at its end, in the thread's own context, and counts the wait.
#[inline(always)]
pub(crate) fn end_of_wait(ctx: *mut c_void) {
    let Some(pending) = PENDING.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the entry is this CPU's own; the scheduler's program, the only other one that writes
    // it, may come between two lines here only by taking the CPU from this thread, and then the
    // thread that it writes is another one.
    let pending = unsafe { &mut *pending };
    let tid = bpf_get_current_pid_tgid() as u32;
    if pending.tid == 0 || pending.tid != tid {
        return;
    }
    let wait = *pending;
    pending.tid = 0;
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task_btf() };
    let Some(thread) = thread::of(task).filter(|thread| thread.phase == phase::RUNNING) else {
        miss(Miss::WaiterMoved);
        return;
    };
    take(ctx, thread);
    count::add(&thread.key, &wait);
}

#[inline(always)]
pub(crate) fn outcome(outcome: Outcome) {
    if let Some(counters) = counters(WAITS) {
        counters.outcomes[outcome as usize] += 1;
    }
}
