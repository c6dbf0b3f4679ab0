//! What goes into the ring: stacks and files that user space has not seen.

use abi::{
    MAX_KERNEL_FRAMES, MAX_USER_FRAMES, WAITS,
    reasons::Miss,
    records::{FileIdentity, FileSeen, StackHeader, UserFrame, kind},
    samples::StackHash,
    waits::Waker,
};
use aya_ebpf::bindings::{
    BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE,
};

use crate::maps::{RING, SENT, SENT_SLOTS, Scratch, counters};

/// Tells user space of a file, at once, since the process that maps it may end soon. The answer is
/// 1 where that went well, and 0 where the ring was full.
#[inline(always)]
pub(crate) fn file_seen(
    scratch: &Scratch,
    number: u32,
    identity: &FileIdentity,
    start: u64,
    end: u64,
) -> u32 {
    let Some(mut record) = RING.reserve::<FileSeen>(0) else {
        count(scratch.event, Miss::FileUnannounced);
        return 0;
    };
    record.write(FileSeen {
        kind: kind::FILE,
        file: number,
        identity: *identity,
        start,
        end,
        pid: scratch.key.pid,
        padding: 0,
    });
    record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
    1
}

/// Sends the user stack in scratch unless user space has it, and tells whether it has it now.
#[inline(always)]
pub(crate) fn user_stack(scratch: &Scratch) -> bool {
    let header = &scratch.user.header;
    if header.frames as usize > MAX_USER_FRAMES {
        return false;
    }
    if is_sent(&header.hash) {
        return true;
    }
    let bytes = size_of::<StackHeader>() + header.frames as usize * size_of::<UserFrame>();
    send(
        scratch.event,
        &header.hash,
        (&raw const scratch.user).cast(),
        bytes,
    )
}

/// Sends the kernel stack in scratch unless user space has it, and tells whether it has it now.
#[inline(always)]
pub(crate) fn kernel_stack(scratch: &Scratch) -> bool {
    let header = &scratch.kernel.header;
    if header.frames as usize > MAX_KERNEL_FRAMES {
        return false;
    }
    if is_sent(&header.hash) {
        return true;
    }
    let bytes = size_of::<StackHeader>() + header.frames as usize * size_of::<u64>();
    send(
        scratch.event,
        &header.hash,
        (&raw const scratch.kernel).cast(),
        bytes,
    )
}

/// Sends who woke a thread unless user space knows.
#[inline(always)]
pub(crate) fn waker(waker: &Waker) {
    if !is_sent(&waker.hash) {
        let record = (&raw const *waker).cast::<u8>();
        send(WAITS, &waker.hash, record, size_of::<Waker>());
    }
}

#[inline(always)]
fn send(event: u32, hash: &StackHash, record: *const u8, bytes: usize) -> bool {
    // SAFETY: the record stands in scratch, and `bytes` was checked against its size.
    let record = unsafe { core::slice::from_raw_parts(record, bytes) };
    let is_sent = RING.output::<[u8]>(record, wakeup()).is_ok();
    if is_sent {
        mark_sent(hash);
    } else {
        count(event, Miss::StackUnsent);
    }
    is_sent
}

/// User space comes by often enough for stacks, so it is woken only when the ring is half full.
#[inline(always)]
fn wakeup() -> u64 {
    let waiting = RING.query(u64::from(BPF_RB_AVAIL_DATA));
    let size = RING.query(u64::from(BPF_RB_RING_SIZE));
    u64::from(if waiting > size / 2 {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    })
}

#[inline(always)]
fn is_sent(hash: &StackHash) -> bool {
    SENT.get(slot(hash)).is_some_and(|sent| sent == hash)
}

#[inline(always)]
fn mark_sent(hash: &StackHash) {
    if let Some(sent) = SENT.get_ptr_mut(slot(hash)) {
        // SAFETY: two CPUs may write the slot at once; a mixture of two hashes matches no stack,
        // so at worst one of them is sent again.
        unsafe { *sent = *hash };
    }
}

#[inline(always)]
fn slot(hash: &StackHash) -> u32 {
    (hash.high as u32) & (SENT_SLOTS - 1)
}

#[inline(always)]
fn count(event: u32, miss: Miss) {
    if let Some(counters) = counters(event) {
        counters.misses[miss as usize] += 1;
    }
}
