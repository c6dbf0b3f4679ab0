//! Atomic exchange, which the BPF target has and its `core::sync::atomic` lacks.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xchg};

/// Puts `new` into a place, and gives what was there.
#[inline(always)]
pub(crate) fn swap(place: &mut u64, new: u64) -> u64 {
    // SAFETY: the place is aligned and lives as long as the reference.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(place, new) }
}

/// What is in a place, read before all that is read after.
#[inline(always)]
pub(crate) fn read(place: &mut u64) -> u64 {
    const ORDER: AtomicOrdering = AtomicOrdering::SeqCst;
    // SAFETY: as above; a 0 is replaced by itself.
    unsafe { atomic_cxchg::<u64, ORDER, ORDER>(place, 0, 0).0 }
}

/// Puts `new` into a place if `old` is there, and tells whether it was.
#[inline(always)]
pub(crate) fn swap_if(place: &mut u64, old: u64, new: u64) -> bool {
    const ORDER: AtomicOrdering = AtomicOrdering::SeqCst;
    // SAFETY: as above.
    unsafe { atomic_cxchg::<u64, ORDER, ORDER>(place, old, new).1 }
}
