//! All threads of the machine, one after another: at the beginning those that are away from the CPU
//! already, at the end the accounts of all.

use abi::{
    config::{Scope, target},
    reasons::{StackEnd, State},
    samples::StackHash,
    tables::{Control, visit},
    waits::{ThreadTimes, flags},
};
use aya_ebpf::{
    bindings::{seq_file, task_struct},
    helpers::generated::bpf_seq_write,
};
use core::ffi::c_void;

use super::{
    asleep_in, count, now, stacks,
    thread::{self, Thread, phase},
};
use crate::{
    kernel::{Object, config, read},
    maps::{CONTROL, TURNED},
    targets,
};

/// `bpf_iter_meta` of `linux/bpf.h`, its first member.
#[repr(C)]
pub(crate) struct IterMeta {
    seq: *mut seq_file,
}

/// `bpf_iter__task`.
#[repr(C)]
pub(crate) struct IterTask {
    meta: *mut IterMeta,
    task: *mut task_struct,
}

/// Visits one thread.
#[inline(always)]
pub(crate) fn each(ctx: *mut IterTask) {
    // SAFETY: the context is valid for the program's run, and the verifier knows its members.
    let (task, meta) = unsafe { ((*ctx).task, (*ctx).meta) };
    if task.is_null() {
        return;
    }
    let Some(control) = CONTROL.get(0) else {
        return;
    };
    if control.visit == visit::BEGIN {
        if is_wanted(task) {
            begin(task);
        }
        return;
    }
    let Some(thread) = thread::of(task) else {
        return;
    };
    let account = match control.visit {
        visit::AGAIN => {
            again(thread, task);
            None
        }
        _ => turn(control, thread, task),
    };
    if let Some(account) = account {
        // SAFETY: the verifier knows the file, and the length is the record's.
        unsafe {
            bpf_seq_write(
                (*meta).seq,
                (&raw const account).cast::<c_void>(),
                size_of::<ThreadTimes>() as u32,
            );
        }
    }
}

/// Whether a thread is wanted.
#[inline(always)]
pub(crate) fn is_wanted(task: *const task_struct) -> bool {
    let object = Object::of(task);
    let pid: u32 = object.field(config!(offsets.task_tgid));
    let tid: u32 = object.field(config!(offsets.task_pid));
    let scope = config!(scope);
    if tid == 0 {
        false
    } else if scope == Scope::Machine as u32 {
        true
    } else if scope == Scope::Cgroup as u32 {
        is_in_cgroup(task)
    } else {
        targets::is_target(pid, target::PROCESS)
            || (config!(has_threads) != 0 && targets::is_target(tid, target::THREAD))
    }
}

/// Whether a thread is in the cgroup that is recorded, or below it.
#[inline(always)]
fn is_in_cgroup(task: *const task_struct) -> bool {
    let level = config!(cgroup_level);
    let ancestor = || -> Option<u64> {
        let set = Object::of(task).object(config!(offsets.task_cgroups));
        let group: u64 = set.field(config!(offsets.css_set_dfl_cgrp));
        if read::<u32>(group, config!(offsets.cgroup_level))? < level {
            return None;
        }
        let ancestors = config!(offsets.cgroup_ancestors);
        let ancestor = read::<u64>(group, ancestors + level * size_of::<u64>() as u32)?;
        let node = read::<u64>(ancestor, config!(offsets.cgroup_kn))?;
        read::<u64>(node, config!(offsets.kernfs_node_id))
    };
    ancestor() == Some(config!(cgroup_id))
}

/// How often a thread has left the CPU, by the kernel's count.
#[inline(always)]
fn switches(task: *const task_struct) -> u64 {
    let count = |offset| Object::of(task).field::<u64>(offset);
    count(config!(offsets.task_nvcsw)) + count(config!(offsets.task_nivcsw))
}

/// Takes the stack of a waiting thread again, where a table was not there when it was taken.
#[inline(always)]
fn again(thread: &mut Thread, task: *mut task_struct) {
    if thread.phase != phase::AWAY || thread.end != StackEnd::TableMissing as u32 {
        return;
    }
    let before = switches(task);
    if let Some(stacks) = stacks::take_of(task, thread)
        && switches(task) == before
        && thread.phase == phase::AWAY
    {
        thread.take(&stacks);
    }
}

/// Begins to watch a thread that is away from the CPU or runs on another one. Between the looks it may
/// be switched; then the programs at the scheduler have seen it, or will.
#[inline(always)]
fn begin(task: *mut task_struct) {
    let before = switches(task);
    let Some(thread) = thread::watch(task).filter(|thread| thread.phase == phase::NEW) else {
        return;
    };
    let object = Object::of(task);
    let is_running = object.field::<u32>(config!(offsets.task_on_cpu)) != 0;
    let state = thread::state(task);
    stacks::identify(thread, task);
    let stacks = match is_running {
        true => None,
        false => stacks::take_of(task, thread),
    };
    if switches(task) != before || thread.phase != phase::NEW {
        return;
    }
    if let Some(stacks) = stacks {
        thread.take(&stacks);
    }
    let now = now();
    thread.since_ns = now;
    thread.take_account(task);
    thread.times.began_ns = now;
    thread.key.flags = flags::SEEDED;
    thread.key.state = match state {
        0 => State::Preempted,
        _ => asleep_in(state),
    } as u32;
    thread.phase = if is_running {
        phase::RUNNING
    } else {
        phase::AWAY
    };
}

/// Counts what a thread has been doing up to now; at the end of the recording, its account is closed.
/// Before that it may be switched on another CPU meanwhile: then the programs at the scheduler have
/// counted it. The sums of its times are added to without a lock; where the thread is switched in that
/// very moment, one of the two may be lost, which the residual tells.
#[inline(always)]
fn turn(control: &Control, thread: &mut Thread, task: *mut task_struct) -> Option<ThreadTimes> {
    // SAFETY: the entry is this CPU's own, and threads are visited one after another.
    let key = unsafe { TURNED.get_ptr_mut(0)?.as_mut()? };
    let since = thread.since();
    let (phase, woken_ns) = (thread.phase, thread.woken_ns);
    *key = thread.key;
    if phase == phase::RUNNING {
        stacks::identify(thread, task);
    } else if phase != phase::AWAY {
        return None;
    } else if key.kernel == StackHash::NONE && key.user == StackHash::NONE {
        if let Some(stacks) = stacks::take_of(task, thread) {
            (key.user, key.kernel) = (stacks.user, stacks.kernel);
        }
    }
    // Looked at here, since the verifier goes through what follows a branch once for each of its ways.
    // SAFETY: the entry of the map stays in place.
    let is_end = unsafe { (&raw const control.visit).read_volatile() } == visit::END;
    let now = if is_end { control.stopped_ns } else { now() };
    if thread.until_if(since, now) {
        if phase == phase::RUNNING {
            thread.times.on_ns += now.saturating_sub(since);
        } else {
            if is_end && woken_ns == 0 && !thread::is_ready(key.state) && thread::state(task) == 0 {
                thread.times.wakeups_missed += 1;
            }
            let wait = thread.part(key.state, woken_ns, since, now);
            // It has not ended, by whomever.
            key.waker = StackHash::NONE;
            key.flags |= flags::OPEN;
            thread.key.flags |= flags::SEEDED;
            count::add(key, &wait.alone(key.tid));
        }
    }
    if is_end {
        thread.phase = phase::CLOSED;
    }
    Some(thread.account(false, now))
}
