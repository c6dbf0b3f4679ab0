//! Who wakes a thread.

use abi::{WAITS, reasons::StackEnd, records::kind, samples::StackHash, waits::Waker};
use aya_ebpf::{
    EbpfContext, bindings::task_struct, helpers::bpf_get_current_pid_tgid,
    programs::BtfTracePointContext,
};

use super::{thread, watching};
use crate::{
    emit,
    frames::Own,
    kernel::{Object, config, this_task},
    mapping::{self, Space},
    maps::{Scratch, scratch},
    registers, sample,
};

/// The running thread, or an interrupt on top of it, wakes another one: the stacks that tell who did
/// are kept with the wait.
#[inline(always)]
pub(crate) fn waking(ctx: &BtfTracePointContext) {
    if watching().is_none() {
        return;
    }
    let Some(thread) = thread::of(ctx.arg::<*mut task_struct>(0)) else {
        return;
    };
    let Some(scratch) = scratch::hold(scratch::SCHEDULER) else {
        return;
    };
    thread.key.waker = take(ctx, scratch);
    scratch.release();
}

#[inline(always)]
fn take(ctx: &BtfTracePointContext, scratch: &mut Scratch) -> StackHash {
    let who = bpf_get_current_pid_tgid();
    let (pid, tid) = ((who >> 32) as u32, who as u32);
    scratch.event = WAITS;
    scratch.key.pid = pid;
    scratch.key.tid = tid;
    let task = this_task();
    let object = Object::of(task);
    let leader = object.object(config!(offsets.task_group_leader));
    sample::name(scratch, object, leader);
    let space = Space::of(scratch, object, leader);
    mapping::enter(scratch, &space);
    sample::kernel_stack(ctx.as_ptr(), scratch);
    let leaf = if scratch.mm != 0 && tid != 0 {
        registers::saved(scratch, task)
    } else {
        Err(StackEnd::NoUserStack)
    };
    sample::user_stack(scratch, leaf, Own);
    let mut hash = StackHash::seeded(config!(hash_seed));
    for word in [
        who,
        scratch.key.user.low,
        scratch.key.user.high,
        scratch.key.kernel.low,
        scratch.key.kernel.high,
    ] {
        hash.mix(word);
    }
    let hash = hash.finish(0, kind::WAKER);
    sample::send_stacks(scratch);
    emit::waker(&Waker {
        kind: kind::WAKER,
        padding: 0,
        hash,
        user: scratch.key.user,
        kernel: scratch.key.kernel,
        pid,
        tid,
        thread: scratch.key.thread,
        process: scratch.key.process,
    });
    hash
}
