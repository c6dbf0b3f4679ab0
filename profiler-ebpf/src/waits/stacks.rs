//! The stacks of a wait, and the names of who waits.

use abi::{
    WAITS,
    reasons::{Miss, Outcome, StackEnd},
    samples::StackHash,
    unwind::Registers,
};
use aya_ebpf::{
    bindings::task_struct,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_task_stack},
};
use core::ffi::c_void;

use super::{
    count, repeat,
    thread::{self, Thread, miss, phase},
};
use crate::{
    frames::{Noted, OfTask},
    kernel::{Object, config, this_task},
    mapping::{self, Space},
    maps::{PENDING, Scratch, counters, scratch},
    registers, sample,
};

/// The stacks of a wait.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stacks {
    pub(crate) user: StackHash,
    pub(crate) kernel: StackHash,
    /// A [`StackEnd`], of the user stack.
    pub(crate) end: u32,
    /// Always 0.
    padding: u32,
}

impl Stacks {
    /// Those that are in scratch.
    #[inline(always)]
    pub(super) fn of(scratch: &Scratch) -> Self {
        Self {
            user: scratch.key.user,
            kernel: scratch.key.kernel,
            end: scratch.end,
            padding: 0,
        }
    }
}

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
    let task = this_task();
    scratch.trail.space = begin(scratch, thread, task);
    let (pc, state) = (registers::pc(task), thread.key.state);
    let mut known = thread.repeats.of(pc, state, &mut scratch.trail);
    if let Some(known) = &mut known
        && repeat::holds(ctx, task, scratch, known)
    {
        let stacks = known.stacks;
        thread.take(&stacks);
        scratch.release();
        return;
    }
    let space = scratch.trail.space;
    mapping::enter(scratch, &space);
    sample::kernel_stack(ctx, scratch);
    let leaf = leaf(scratch, &space, task);
    sample::user_stack(scratch, leaf, Noted);
    if sample::send_stacks(scratch)
        && let Some(known) = known
    {
        repeat::learn(ctx, task, scratch, known);
    }
    thread.take(&Stacks::of(scratch));
    scratch.release();
}

/// Takes the stacks of another thread, one that does not run. May sleep: the memory of its user stack
/// may have to be read from a disk.
#[inline(always)]
pub(crate) fn take_of(task: *mut task_struct, thread: &mut Thread) -> Option<Stacks> {
    let Some(scratch) = scratch::hold(scratch::THREADS) else {
        outcome(Outcome::ScratchBusy);
        return None;
    };
    let space = begin(scratch, thread, task);
    mapping::enter(scratch, &space);
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
    let leaf = leaf(scratch, &space, task);
    sample::user_stack(scratch, leaf, OfTask(task));
    sample::send_stacks(scratch);
    let stacks = Stacks::of(scratch);
    scratch.release();
    Some(stacks)
}

#[inline(always)]
fn begin(scratch: &mut Scratch, thread: &mut Thread, task: *const task_struct) -> Space {
    scratch.event = WAITS;
    identify(thread, task);
    scratch.key.pid = thread.key.pid;
    scratch.key.tid = thread.key.tid;
    let task = Object::of(task);
    let leader = task.object(config!(offsets.task_group_leader));
    Space::of(scratch, task, leader)
}

/// The registers that a walk of the user stack begins with.
#[inline(always)]
fn leaf(
    scratch: &mut Scratch,
    space: &Space,
    task: *mut task_struct,
) -> Result<Registers, StackEnd> {
    if space.is_some() {
        registers::saved(scratch, task)
    } else {
        Err(StackEnd::NoUserStack)
    }
}

/// Who a thread is, and the names that it and its process have at this moment.
#[inline(always)]
pub(crate) fn identify(thread: &mut Thread, task: *const task_struct) {
    let task = Object::of(task);
    let leader = task.object(config!(offsets.task_group_leader));
    thread.key.pid = task.field(config!(offsets.task_tgid));
    thread.key.tid = task.field(config!(offsets.task_pid));
    sample::copy_comm(task, &mut thread.key.thread);
    sample::copy_comm(leader, &mut thread.key.process);
    if config!(with_cgroups) != 0 {
        let set = task.object(config!(offsets.task_cgroups));
        let group = set.object(config!(offsets.css_set_dfl_cgrp));
        let node = group.object(config!(offsets.cgroup_kn));
        thread.key.cgroup = node.field(config!(offsets.kernfs_node_id));
    }
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
    let Some(thread) = thread::of(this_task()).filter(|thread| thread.phase == phase::RUNNING)
    else {
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
