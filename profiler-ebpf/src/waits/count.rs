//! Waits that are over go into the map of waits.

use abi::{
    reasons::{Miss, Outcome, State},
    tables::Control,
    waits::{BUCKETS, WaitCount, WaitKey, bucket},
};
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_prandom_u32};

use super::{
    stacks::outcome,
    thread::{Thread, Wait, miss},
};
use crate::maps::{NEW_WAIT, PENDING, PendingWait, WAITS_0, WAITS_1, control};

/// Counts the wait that a thread has had, or has its stack taken first.
#[inline(always)]
pub(crate) fn ended(control: &Control, thread: &mut Thread, wait: &Wait) {
    let mut counted = wait.alone(thread.key.tid);
    if control.takes_every_stack() || thread.key.state == State::Starting as u32 {
        add(&thread.key, &counted);
        return;
    }
    let length = wait.asleep_ns + wait.queued_ns;
    if length < control.shortest_wait_ns {
        add(&thread.key, &counted);
        return;
    }
    counted.weight = weight(length, control.wait_period_ns);
    if counted.weight == 0 {
        return;
    }
    if let Some(pending) = PENDING.get_ptr_mut(0) {
        // SAFETY: the entry is this CPU's own.
        let pending = unsafe { &mut *pending };
        if pending.tid != 0 {
            miss(Miss::WaiterMoved);
        }
        *pending = counted;
    }
}

/// How many waits of this length one that is taken stands for, 0 where this one is not taken. With
/// `w = ceil(period / length)` one of `w` is taken, so each counts once on average.
#[inline(always)]
fn weight(length_ns: u64, period_ns: u64) -> u32 {
    if length_ns >= period_ns {
        return 1;
    }
    let of = (period_ns / (length_ns + 1) + 1).min(u64::from(u32::MAX)) as u32;
    // SAFETY: the helper has no preconditions.
    let random = unsafe { bpf_get_prandom_u32() };
    if random % of == 0 { of } else { 0 }
}

/// Adds a wait to the count of its key. A thread is switched in on one CPU at a time, so no other CPU
/// writes the same entry.
#[inline(always)]
pub(crate) fn add(key: &WaitKey, wait: &PendingWait) {
    let waits = match control().active_counts {
        0 => &WAITS_0,
        _ => &WAITS_1,
    };
    if let Some(count) = waits.get_ptr_mut(key) {
        // SAFETY: see above; the entry is valid until the program ends.
        sum(unsafe { &mut *count }, wait);
        outcome(Outcome::Sampled);
        return;
    }
    let Some(new) = NEW_WAIT.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the entry is this CPU's own, and what two programs that interrupt each other put into
    // it is of one layout; at worst a wait is counted with another's length.
    let new = unsafe { &mut *new };
    *new = WaitCount::ZERO;
    sum(new, wait);
    outcome(match waits.insert(key, &*new, u64::from(BPF_NOEXIST)) {
        Ok(()) => Outcome::Sampled,
        Err(_) => Outcome::CountMapFull,
    });
}

#[inline(always)]
fn sum(count: &mut WaitCount, wait: &PendingWait) {
    let weight = u64::from(wait.weight);
    count.times += weight;
    count.asleep_ns += weight * wait.asleep_ns;
    count.queued_ns += weight * wait.queued_ns;
    if wait.asleep_ns > 0 {
        count.longest_asleep_ns = count.longest_asleep_ns.max(wait.asleep_ns);
        count.asleep[bucket(wait.asleep_ns) & (BUCKETS - 1)] += wait.weight;
    }
    count.longest_queued_ns = count.longest_queued_ns.max(wait.queued_ns);
    count.queued[bucket(wait.queued_ns) & (BUCKETS - 1)] += wait.weight;
}
