//! Whose samples are wanted, and keeping that true while processes come and go.

use abi::{
    FOLLOWING,
    config::{Scope, Target, target},
    reasons::{Miss, VERDICTS, Verdict},
};
use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_ancestor_cgroup_id},
};

use crate::{
    kernel::{config, read},
    maps::{TARGETS, TARGETS_VERSION, counters},
};

/// Whether the running thread is wanted.
#[inline(always)]
pub(crate) fn wants(verdicts: &mut [Verdict; VERDICTS], thread: u64) -> bool {
    let (pid, tid) = ((thread >> 32) as u32, thread as u32);
    let scope = config!(scope);
    if scope == Scope::Machine as u32 {
        return true;
    }
    if scope == Scope::Cgroup as u32 {
        let level = config!(cgroup_level) as i32;
        // SAFETY: the helper has no preconditions; it answers 0 where there is no such ancestor.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        return id == config!(cgroup_id);
    }
    let version = TARGETS_VERSION.get(0).map_or(0, |version| version + 1);
    // All threads of a process are judged alike where no single one can be a target.
    let thread = if config!(has_threads) != 0 {
        thread
    } else {
        u64::from(pid)
    };
    let verdict = &mut verdicts[thread as usize & (VERDICTS - 1)];
    if verdict.thread != thread || verdict.version != version {
        let wanted = is_target(pid, target::PROCESS)
            || (config!(has_threads) != 0 && is_target(tid, target::THREAD));
        *verdict = Verdict {
            thread,
            version,
            wanted: u32::from(wanted),
        };
    }
    verdict.wanted != 0
}

/// Tells that the targets were changed, after they were. Where two CPUs do so at once, the version
/// rises by one, which is enough.
#[inline(always)]
fn changed() {
    if let Some(version) = TARGETS_VERSION.get_ptr_mut(0) {
        // SAFETY: the entry stays in place; volatile, so that it is read after the change.
        unsafe { version.write_volatile(version.read_volatile() + 1) };
    }
}

/// Makes a new task a target where it is a process whose parent, the running one, is a target.
#[inline(always)]
pub(crate) fn follow(child: u64) {
    let parent = (bpf_get_current_pid_tgid() >> 32) as u32;
    if config!(scope) != Scope::Tasks as u32 || !is_target(parent, target::PROCESS) {
        return;
    }
    let Some(pid) = read::<u32>(child, config!(offsets.task_tgid)) else {
        return;
    };
    if pid == parent {
        return;
    }
    let start_ns = read::<u64>(child, config!(offsets.task_start_boottime)).unwrap_or(0);
    let new = Target {
        kind: target::PROCESS,
        padding: 0,
        start_ns,
    };
    if TARGETS.insert(&pid, &new, u64::from(BPF_ANY)).is_err()
        && let Some(counters) = counters(FOLLOWING)
    {
        counters.misses[Miss::TargetMapFull as usize] += 1;
    }
    changed();
}

/// Removes a process that is gone, unless its number has been given to another one already.
#[inline(always)]
pub(crate) fn forget(task: u64) {
    let (Some(tid), Some(pid)) = (
        read::<u32>(task, config!(offsets.task_pid)),
        read::<u32>(task, config!(offsets.task_tgid)),
    ) else {
        return;
    };
    if tid != pid {
        return;
    }
    // SAFETY: the entry is read at once; a concurrent change can at worst keep it a while longer.
    let Some(known) = (unsafe { TARGETS.get(&pid) }) else {
        return;
    };
    let start_ns = read::<u64>(task, config!(offsets.task_start_boottime)).unwrap_or(0);
    if known.start_ns == 0 || known.start_ns == start_ns {
        // Another CPU may have removed it meanwhile, which is as good.
        let _ = TARGETS.remove(&pid);
        changed();
    }
}

/// Whether a number is that of a target of a kind.
#[inline(always)]
pub(crate) fn is_target(number: u32, kind: u32) -> bool {
    // SAFETY: only the kind is read, which never changes for an entry's lifetime.
    unsafe { TARGETS.get(&number) }.is_some_and(|target| target.kind & kind != 0)
}
