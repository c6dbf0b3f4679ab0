//! One sample, from the perf event to the count.

use abi::{
    COMM_BYTES, MAX_EVENTS, MAX_KERNEL_FRAMES,
    reasons::{Outcome, StackEnd, VERDICTS, Verdict},
    records::kind,
    samples::{MOMENT_SHIFT, SampleCount, SampleKey, StackHash},
    unwind::Registers,
};
use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_NOEXIST, bpf_perf_event_data},
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{
            bpf_get_attach_cookie, bpf_get_current_cgroup_id, bpf_get_stack, bpf_ktime_get_ns,
        },
    },
    maps::HashMap,
    programs::PerfEventContext,
};
use core::ffi::c_void;

use crate::{
    emit,
    frames::{self, Memory, Own},
    kernel::{Object, config, this_task},
    mapping::{self, Space},
    maps::{COUNTS_0, COUNTS_1, EVENTS, Scratch, control, counters, scratch},
    registers::{self, Hit},
    targets,
};

/// Takes a sample and counts how that ended.
#[inline(always)]
pub(crate) fn run(ctx: &PerfEventContext) {
    // SAFETY: the helper takes the program's own context; user space numbers the events.
    let event = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) } as u32 & (MAX_EVENTS as u32 - 1);
    let Some(state) = EVENTS.get_ptr_mut(event) else {
        return;
    };
    // SAFETY: the state is this CPU's own, and an event does not interrupt itself.
    let state = unsafe { &mut *state };
    let outcome = take(ctx, event, &mut state.verdicts);
    state.counters.outcomes[outcome as usize] += 1;
}

#[inline(always)]
fn take(ctx: &PerfEventContext, event: u32, verdicts: &mut [Verdict; VERDICTS]) -> Outcome {
    let thread = bpf_get_current_pid_tgid();
    let (pid, tid) = ((thread >> 32) as u32, thread as u32);
    if tid == 0 {
        return Outcome::Idle;
    }
    if !targets::wants(verdicts, thread) {
        return Outcome::Elsewhere;
    }
    let Some(scratch) = scratch::hold(scratch::SAMPLES) else {
        return Outcome::ScratchBusy;
    };
    scratch.event = event;
    scratch.key.pid = pid;
    scratch.key.tid = tid;
    scratch.key.event = event;
    if config!(with_cgroups) != 0 {
        // SAFETY: the helper has no preconditions.
        scratch.key.cgroup = unsafe { bpf_get_current_cgroup_id() };
    }
    let outcome = count(ctx, scratch);
    scratch.release();
    outcome
}

#[inline(always)]
fn count(ctx: &PerfEventContext, scratch: &mut Scratch) -> Outcome {
    let task = Object::of(this_task());
    let leader = task.object(config!(offsets.task_group_leader));
    name(scratch, task, leader);
    let space = Space::of(scratch, task, leader);
    mapping::enter(scratch, &space);
    let leaf = match registers::user(ctx, scratch) {
        Hit::User(leaf) => {
            scratch.key.kernel = StackHash::NONE;
            leaf
        }
        Hit::Kernel(leaf) => {
            kernel_stack(ctx.as_ptr(), scratch);
            leaf
        }
    };
    user_stack(scratch, leaf, Own);
    scratch.key.moment = moment(scratch);
    // SAFETY: the context is valid for the program's run; volatile keeps it one plain load.
    let period = unsafe {
        let data = ctx.as_ptr().cast::<bpf_perf_event_data>();
        (&raw const (*data).sample_period).read_volatile()
    };
    add(scratch, period)
}

/// The moment of a sample whose names depend on it, or of any where all moments are wanted.
#[inline(always)]
fn moment(scratch: &Scratch) -> u32 {
    let mask = if scratch.has_anonymous != 0 && scratch.key.user != StackHash::NONE {
        control().moment_mask
    } else {
        config!(moment_mask)
    };
    if mask == 0 {
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    (now_ns >> MOMENT_SHIFT) as u32 & mask
}

/// The names that the thread and its process have at this moment.
#[inline(always)]
pub(crate) fn name(scratch: &mut Scratch, task: Object, leader: Object) {
    copy_comm(task, &mut scratch.key.thread);
    copy_comm(leader, &mut scratch.key.process);
}

/// Copies a thread's name in words, since those of keys are aligned to them.
#[inline(always)]
pub(crate) fn copy_comm(task: Object, into: &mut [u8; COMM_BYTES]) {
    let offset = config!(offsets.task_comm);
    let words = into.as_mut_ptr().cast::<u64>();
    // SAFETY: a name has two words.
    unsafe {
        words.write(task.field(offset));
        words.add(1).write(task.field(offset + 8));
    }
}

/// Walks a user stack, from its registers, into scratch.
#[inline(always)]
pub(crate) fn user_stack(
    scratch: &mut Scratch,
    leaf: Result<Registers, StackEnd>,
    memory: impl Memory,
) {
    scratch.hash = StackHash::seeded(config!(hash_seed));
    scratch.user.header.frames = 0;
    scratch.has_anonymous = 0;
    match leaf {
        Ok(leaf) => frames::walk(scratch, leaf, memory),
        Err(end) => scratch.end = end as u32,
    }
    count_end(scratch.event, scratch.end);
    if scratch.end == StackEnd::NoUserStack as u32 {
        scratch.key.user = StackHash::NONE;
        return;
    }
    let hash = scratch.hash.finish(scratch.user.header.frames, scratch.end);
    scratch.user.header.kind = kind::USER_STACK;
    scratch.user.header.hash = hash;
    scratch.user.header.end = scratch.end;
    scratch.user.header.pid = scratch.key.pid;
    scratch.key.user = hash;
}

/// Takes the kernel stack on which a program runs into scratch.
#[inline(always)]
pub(crate) fn kernel_stack(ctx: *mut c_void, scratch: &mut Scratch) {
    // SAFETY: the helper writes at most the array's size.
    let bytes = unsafe {
        bpf_get_stack(
            ctx,
            (&raw mut scratch.kernel.addresses).cast::<c_void>(),
            (MAX_KERNEL_FRAMES * size_of::<u64>()) as u32,
            0,
        )
    };
    keep_kernel_stack(scratch, bytes);
}

/// Closes the kernel stack whose addresses are in scratch; `bytes` is their length, or an error.
#[inline(always)]
pub(crate) fn keep_kernel_stack(scratch: &mut Scratch, bytes: i64) {
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
}

/// Sends the stacks in scratch unless user space has them, and tells whether it has them now.
#[inline(always)]
pub(crate) fn send_stacks(scratch: &Scratch) -> bool {
    let has_user = scratch.key.user == StackHash::NONE || emit::user_stack(scratch);
    let has_kernel = scratch.key.kernel == StackHash::NONE || emit::kernel_stack(scratch);
    has_user && has_kernel
}

/// Counts how the walk of a user stack ended.
#[inline(always)]
pub(crate) fn count_end(event: u32, end: u32) {
    if let Some(counters) = counters(event)
        && let Some(ends) = counters.ends.get_mut(end as usize)
    {
        *ends += 1;
    }
}

/// Adds one sample to the count of the key in scratch. A thread runs on one CPU at a time, so no
/// other CPU writes the same entry. The stacks of a key that has no count yet are sent, unless user
/// space has them; those that found no room in the ring go when the key is next counted anew.
#[inline(always)]
fn add(scratch: &Scratch, period: u64) -> Outcome {
    if let Some(count) = counts().get_ptr_mut(&scratch.key) {
        // SAFETY: see above; the entry is valid until the program ends.
        unsafe {
            (*count).samples += 1;
            (*count).weight += period;
        }
        return Outcome::Sampled;
    }
    match add_first(scratch, period) {
        true => Outcome::Sampled,
        false => Outcome::CountMapFull,
    }
}

/// The map of counts that user space does not read.
#[inline(always)]
fn counts() -> &'static HashMap<SampleKey, SampleCount> {
    match control().active_counts {
        0 => &COUNTS_0,
        _ => &COUNTS_1,
    }
}

/// Adds the first sample of a key.
#[inline(never)]
fn add_first(scratch: &Scratch, period: u64) -> bool {
    send_stacks(scratch);
    let first = SampleCount {
        samples: 1,
        weight: period,
    };
    let counts = counts();
    counts
        .insert(&scratch.key, &first, u64::from(BPF_NOEXIST))
        .is_ok()
}
