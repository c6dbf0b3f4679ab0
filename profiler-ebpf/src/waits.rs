//! Where threads wait: what happens at the scheduler.
//!
//! Each watched thread has a [`Thread`] in the kernel's storage for tasks, with the moment from which
//! on it has been running or away. It is written on the CPU that switches the thread out or in, or
//! wakes it, under the scheduler's own locks, so no two programs write it at a time.

mod count;
mod repeat;
mod stacks;
mod thread;
mod threads;
mod waker;

use abi::{
    WAITS,
    reasons::{Miss, Outcome, State},
    samples::StackHash,
    tables::Control,
};
use aya_ebpf::{
    EbpfContext,
    bindings::task_struct,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns},
    programs::BtfTracePointContext,
};
pub(crate) use repeat::Trail;
pub(crate) use stacks::end_of_wait;
use thread::{Thread, phase};
pub(crate) use threads::each;
pub(crate) use waker::waking;

use crate::{
    maps::{CONTROL, EVENTS},
    targets,
};

/// `TASK_INTERRUPTIBLE` of `linux/sched.h`.
const INTERRUPTIBLE: u32 = 1;
/// `__TASK_STOPPED` and `__TASK_TRACED`.
const STOPPED: u32 = 4 | 8;
/// `TASK_DEAD`.
const DEAD: u32 = 0x80;
/// `TASK_NOLOAD`: with it an uninterruptible sleep is the idleness of a kernel thread.
const NO_LOAD: u32 = 0x400;
/// `TASK_FROZEN`.
const FROZEN: u32 = 0x8000;

/// What user space wants of waits, while it wants any.
#[inline(always)]
fn watching() -> Option<&'static Control> {
    CONTROL.get(0).filter(|control| control.waits == 1)
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The running thread `previous` gives the CPU to `next`.
#[inline(always)]
pub(crate) fn switched(ctx: &BtfTracePointContext) {
    let Some(control) = watching() else {
        return;
    };
    let preempted = ctx.arg::<u32>(0) & 1 != 0;
    let now = now();
    leave(ctx, control, now, preempted);
    enter(control, now, ctx.arg::<*mut task_struct>(2));
}

#[inline(always)]
fn leave(ctx: &BtfTracePointContext, control: &Control, now: u64, preempted: bool) {
    let who = bpf_get_current_pid_tgid();
    if who as u32 == 0 {
        return;
    }
    let task = ctx.arg::<*mut task_struct>(1);
    let Some(thread) = thread::of(task).or_else(|| first_sight(task, who, now)) else {
        return;
    };
    thread.times.switches += 1;
    let since = thread.until(now);
    match thread.phase {
        phase::RUNNING => thread.times.on_ns += now.saturating_sub(since),
        phase::AWAY => entered_unseen(thread, task, since, now),
        _ => {}
    }
    thread.take_account(task);
    thread.woken_ns = 0;
    thread.key.pid = (who >> 32) as u32;
    thread.key.tid = who as u32;
    thread.key.flags = 0;
    let state = ctx.arg::<u32>(3);
    if state & DEAD != 0 {
        stacks::identify(thread, task);
        thread.end(now);
        return;
    }
    thread.key.state = state_of(preempted, task, state) as u32;
    thread.phase = phase::AWAY;
    if control.takes_every_stack() {
        stacks::take(ctx.as_ptr(), thread);
    } else {
        thread.key.user = StackHash::NONE;
        thread.key.kernel = StackHash::NONE;
    }
}

/// The running thread, which leaves, was not seen to get the CPU. How long it has run is known, and it is
/// taken to have run at the end.
#[inline(always)]
fn entered_unseen(thread: &mut Thread, task: *const task_struct, since: u64, now: u64) {
    thread::miss(Miss::SwitchUnseen);
    let away_ns = now.saturating_sub(since);
    let ran_ns = thread::exec_ns(task)
        .saturating_sub(thread.exec_ns)
        .min(away_ns);
    let entered_ns = now.saturating_sub(ran_ns);
    let wait = thread.wait(task, since, entered_ns);
    thread.entered_ns = entered_ns;
    thread.times.on_ns += ran_ns;
    count::add(&thread.key, &wait.alone(thread.key.tid));
}

/// A thread gets the CPU that was not seen to leave one. How long it has run is known; the rest of the
/// time was spent in a way that is not.
#[inline(always)]
fn left_unseen(thread: &mut Thread, task: *const task_struct) {
    thread::miss(Miss::SwitchUnseen);
    let exec_ns = thread::exec_ns(task);
    thread.times.on_ns += exec_ns.saturating_sub(thread.exec_ns);
    thread.exec_ns = exec_ns;
}

/// How the running thread leaves the CPU. A thread that a signal keeps from sleeping shows the state
/// that it was about to have in the argument, and none in its task.
#[inline(always)]
fn state_of(preempted: bool, task: *const task_struct, state: u32) -> State {
    let is_ready = || thread::state(task) == 0;
    match state {
        _ if preempted => State::Preempted,
        0 => State::Preempted,
        _ if is_ready() => State::Preempted,
        _ => asleep_in(state),
    }
}

/// What a state other than running is called.
#[inline(always)]
fn asleep_in(state: u32) -> State {
    if state & STOPPED != 0 {
        State::Stopped
    } else if state & (INTERRUPTIBLE | NO_LOAD | FROZEN) != 0 {
        State::Blocked
    } else {
        State::Uninterruptible
    }
}

/// Begins to watch the running thread where it is wanted.
#[inline(always)]
fn first_sight(task: *mut task_struct, who: u64, now: u64) -> Option<&'static mut Thread> {
    let state = EVENTS.get_ptr_mut(WAITS)?;
    // SAFETY: the state is this CPU's own, and the scheduler's programs do not nest.
    let state = unsafe { &mut *state };
    if !targets::wants(&mut state.verdicts, who) {
        state.counters.outcomes[Outcome::Elsewhere as usize] += 1;
        return None;
    }
    let thread = thread::watch(task)?;
    thread.times.began_ns = now;
    Some(thread)
}

/// A thread gets the CPU: its wait is over and counts.
#[inline(always)]
fn enter(control: &Control, now: u64, next: *mut task_struct) {
    let Some(thread) = thread::of(next) else {
        return;
    };
    let since = thread.until(now);
    match thread.phase {
        phase::AWAY => {
            let wait = thread.wait(next, since, now);
            count::ended(control, thread, &wait);
        }
        phase::RUNNING => left_unseen(thread, next),
        _ => {
            thread.times.began_ns = now;
            thread.take_account(next);
        }
    }
    thread.entered_ns = now;
    thread.phase = phase::RUNNING;
}

/// A thread that was asleep is ready to run.
#[inline(always)]
pub(crate) fn woken(ctx: &BtfTracePointContext) {
    if watching().is_none() {
        return;
    }
    if let Some(thread) = thread::of(ctx.arg::<*mut task_struct>(0))
        && thread.phase == phase::AWAY
        && thread.woken_ns == 0
    {
        thread.woken_ns = now();
    }
}

/// A new thread is ready to run for the first time.
#[inline(always)]
pub(crate) fn created(ctx: &BtfTracePointContext) {
    if watching().is_none() {
        return;
    }
    let task = ctx.arg::<*mut task_struct>(0);
    if !threads::is_wanted(task) {
        return;
    }
    if let Some(thread) = thread::watch(task)
        && thread.phase == phase::NEW
    {
        let now = now();
        thread.times.began_ns = now;
        thread.since_ns = now;
        thread.key.state = State::Starting as u32;
        thread.phase = phase::AWAY;
        stacks::identify(thread, task);
    }
}

/// The running thread begins a new program. A command that is recorded becomes a target while it
/// waits to begin; its account begins here.
#[inline(always)]
pub(crate) fn executed(ctx: &BtfTracePointContext) {
    if watching().is_none() {
        return;
    }
    let task = ctx.arg::<*mut task_struct>(0);
    if thread::of(task).is_none()
        && let Some(thread) = first_sight(task, bpf_get_current_pid_tgid(), now())
    {
        thread.since_ns = thread.times.began_ns;
        thread.take_account(task);
        thread.phase = phase::RUNNING;
    }
}
