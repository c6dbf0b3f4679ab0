//! All threads of the machine, one after another: at the beginning those that are away from the CPU
//! already, at the end the accounts of all.

use abi::{
    config::{Scope, target},
    reasons::State,
    samples::StackHash,
    tables::Control,
    waits::{ThreadTimes, flags},
};
use aya_ebpf::{
    bindings::{seq_file, task_struct},
    helpers::generated::bpf_seq_write,
};
use core::ffi::c_void;

use super::{
    asleep_in, count, now, stacks,
    thread::{self, Thread, phase, untyped},
};
use crate::{
    kernel::{config, read},
    maps::{CONTROL, PendingWait},
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
    let address = untyped(ctx as u64 + size_of::<*mut IterMeta>() as u64);
    match control.waits {
        1 if is_wanted(address) => begin(task, address),
        2 => {
            let Some(thread) = thread::of(task) else {
                return;
            };
            if let Some(account) = close(control, thread, task, address) {
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
        _ => {}
    }
}

/// Whether a thread is wanted, by the address of its task.
#[inline(always)]
pub(crate) fn is_wanted(task: u64) -> bool {
    let pid = read::<u32>(task, config!(offsets.task_tgid)).unwrap_or(0);
    let tid = read::<u32>(task, config!(offsets.task_pid)).unwrap_or(0);
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
fn is_in_cgroup(task: u64) -> bool {
    let level = config!(cgroup_level);
    let ancestor = || -> Option<u64> {
        let set = read::<u64>(task, config!(offsets.task_cgroups))?;
        let group = read::<u64>(set, config!(offsets.css_set_dfl_cgrp))?;
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

/// Begins to watch a thread that is away from the CPU or runs on another one. Between the looks it may
/// be switched; then the programs at the scheduler have seen it, or will.
#[inline(always)]
fn begin(task: *mut task_struct, address: u64) {
    let switches = || {
        let count = |offset| read::<u64>(address, offset).unwrap_or(0);
        count(config!(offsets.task_nvcsw)) + count(config!(offsets.task_nivcsw))
    };
    let before = switches();
    let Some(thread) = thread::watch(task).filter(|thread| thread.phase == phase::NEW) else {
        return;
    };
    let is_running = read::<u32>(address, config!(offsets.task_on_cpu)) != Some(0);
    let state = read::<u32>(address, config!(offsets.task_state)).unwrap_or(0);
    stacks::identify(thread, address);
    if !is_running {
        stacks::take_of(task, address, thread);
    }
    if switches() != before || thread.phase != phase::NEW {
        return;
    }
    let now = now();
    thread.since_ns = now;
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

/// Closes the account of a thread. A wait that goes on is counted up to the end.
#[inline(always)]
fn close(
    control: &Control,
    thread: &mut Thread,
    task: *mut task_struct,
    address: u64,
) -> Option<ThreadTimes> {
    let stopped = control.stopped_ns;
    match thread.phase {
        phase::RUNNING => {
            stacks::identify(thread, address);
            thread.times.on_ns += stopped.saturating_sub(thread.since_ns);
        }
        phase::AWAY => {
            if thread.key.kernel == StackHash::NONE && thread.key.user == StackHash::NONE {
                stacks::take_of(task, address, thread);
            }
            thread.key.flags |= flags::OPEN;
            let wait = thread.wait(stopped);
            let counted = PendingWait {
                tid: thread.key.tid,
                weight: 1,
                asleep_ns: wait.asleep_ns,
                queued_ns: wait.queued_ns,
            };
            count::add(&thread.key, &counted);
        }
        _ => return None,
    }
    thread.phase = phase::CLOSED;
    Some(thread.account(false, stopped))
}
