//! One sample, from the perf event to the count.

use abi::{
    COMM_BYTES, MAX_EVENTS, MAX_KERNEL_FRAMES,
    reasons::{Outcome, StackEnd},
    records::kind,
    samples::{SampleCount, StackHash},
    unwind::Registers,
};
use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_NOEXIST, bpf_perf_event_data},
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_attach_cookie, bpf_get_stack},
    },
    programs::PerfEventContext,
};
use core::ffi::c_void;

use crate::{
    emit, frames,
    kernel::{config, current_task, read},
    mapping,
    maps::{COUNTERS, COUNTS_0, COUNTS_1, SCRATCH, Scratch, control},
    registers::{self, Hit},
    targets,
};

/// Takes a sample and counts how that ended.
#[inline(always)]
pub(crate) fn run(ctx: &PerfEventContext) {
    // SAFETY: the helper takes the program's own context; user space numbers the events.
    let event = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) } as u32 & (MAX_EVENTS as u32 - 1);
    let outcome = take(ctx, event);
    if let Some(counters) = COUNTERS.get_ptr_mut(event) {
        // SAFETY: the counters are this CPU's own.
        unsafe { (*counters).outcomes[outcome as usize] += 1 };
    }
}

#[inline(always)]
fn take(ctx: &PerfEventContext, event: u32) -> Outcome {
    let id = bpf_get_current_pid_tgid();
    let (pid, tid) = ((id >> 32) as u32, id as u32);
    if tid == 0 {
        return Outcome::Idle;
    }
    if !targets::wants(pid, tid) {
        return Outcome::Elsewhere;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Outcome::ScratchBusy;
    };
    // SAFETY: the scratch is this CPU's own; `busy` keeps out an event that interrupts this one.
    let scratch = unsafe { &mut *scratch };
    let busy = &raw mut scratch.busy;
    // SAFETY: volatile, so that the flag is written before and after all that it guards.
    unsafe {
        if busy.read_volatile() != 0 {
            return Outcome::ScratchBusy;
        }
        busy.write_volatile(1);
    }
    scratch.event = event;
    scratch.key.pid = pid;
    scratch.key.tid = tid;
    scratch.key.event = event;
    let outcome = count(ctx, scratch);
    // SAFETY: as above.
    unsafe { busy.write_volatile(0) };
    outcome
}

#[inline(always)]
fn count(ctx: &PerfEventContext, scratch: &mut Scratch) -> Outcome {
    let task = current_task();
    let leader = if scratch.key.pid == scratch.key.tid {
        task
    } else {
        read(task, config!(offsets.task_group_leader)).unwrap_or(task)
    };
    name(scratch, task, leader);
    mapping::enter(scratch, task, leader);
    let leaf = match registers::user(ctx, scratch) {
        Hit::User(leaf) => {
            scratch.key.kernel = StackHash::NONE;
            leaf
        }
        Hit::Kernel(leaf) => {
            kernel_stack(ctx, scratch);
            leaf
        }
    };
    user_stack(scratch, leaf);
    // SAFETY: the context is valid for the program's run; volatile keeps it one plain load.
    let period = unsafe {
        let data = ctx.as_ptr().cast::<bpf_perf_event_data>();
        (&raw const (*data).sample_period).read_volatile()
    };
    add(scratch, period)
}

/// The names that the thread and its process have at this moment.
#[inline(always)]
fn name(scratch: &mut Scratch, task: u64, leader: u64) {
    let comm = read(task, config!(offsets.task_comm)).unwrap_or([0; COMM_BYTES]);
    scratch.key.thread = comm;
    scratch.key.process = if task == leader {
        comm
    } else {
        read(leader, config!(offsets.task_comm)).unwrap_or(comm)
    };
}

#[inline(always)]
fn user_stack(scratch: &mut Scratch, leaf: Result<Registers, StackEnd>) {
    scratch.hash = StackHash::seeded(config!(hash_seed));
    scratch.user.header.frames = 0;
    match leaf {
        Ok(leaf) => frames::walk(scratch, leaf),
        Err(end) => scratch.end = end as u32,
    }
    if let Some(counters) = COUNTERS.get_ptr_mut(scratch.event)
        // SAFETY: the counters are this CPU's own.
        && let Some(ends) = unsafe { (*counters).ends.get_mut(scratch.end as usize) }
    {
        *ends += 1;
    }
    if scratch.end == StackEnd::NoUserStack as u32 {
        scratch.key.user = StackHash::NONE;
        return;
    }
    let hash = scratch.hash.finish(scratch.user.header.frames, scratch.end);
    scratch.user.header.kind = kind::USER_STACK;
    scratch.user.header.hash = hash;
    scratch.user.header.end = scratch.end;
    scratch.key.user = hash;
    emit::user_stack(scratch);
}

#[inline(always)]
fn kernel_stack(ctx: &PerfEventContext, scratch: &mut Scratch) {
    // SAFETY: the helper writes at most the array's size.
    let bytes = unsafe {
        bpf_get_stack(
            ctx.as_ptr(),
            (&raw mut scratch.kernel.addresses).cast::<c_void>(),
            (MAX_KERNEL_FRAMES * size_of::<u64>()) as u32,
            0,
        )
    };
    let frames = if bytes < 0 {
        0
    } else {
        bytes as usize / size_of::<u64>()
    };
    let end = if frames == 0 {
        StackEnd::Unreadable
    } else if frames >= MAX_KERNEL_FRAMES {
        StackEnd::Truncated
    } else {
        StackEnd::Outermost
    };
    let mut hash = StackHash::seeded(config!(hash_seed));
    for index in 0..MAX_KERNEL_FRAMES {
        if index >= frames {
            break;
        }
        hash.mix(scratch.kernel.addresses[index]);
    }
    let hash = hash.finish(frames as u32, end as u32);
    scratch.kernel.header.kind = kind::KERNEL_STACK;
    scratch.kernel.header.frames = frames as u32;
    scratch.kernel.header.hash = hash;
    scratch.kernel.header.end = end as u32;
    scratch.key.kernel = hash;
    emit::kernel_stack(scratch);
}

/// Adds one sample to the count of the key in scratch. A thread runs on one CPU at a time, so no
/// other CPU writes the same entry.
#[inline(always)]
fn add(scratch: &Scratch, period: u64) -> Outcome {
    let counts = match control().active_counts {
        0 => &COUNTS_0,
        _ => &COUNTS_1,
    };
    if let Some(count) = counts.get_ptr_mut(&scratch.key) {
        // SAFETY: see above; the entry is valid until the program ends.
        unsafe {
            (*count).samples += 1;
            (*count).weight += period;
        }
        return Outcome::Sampled;
    }
    let first = SampleCount {
        samples: 1,
        weight: period,
    };
    match counts.insert(&scratch.key, &first, u64::from(BPF_NOEXIST)) {
        Ok(()) => Outcome::Sampled,
        Err(_) => Outcome::CountMapFull,
    }
}
