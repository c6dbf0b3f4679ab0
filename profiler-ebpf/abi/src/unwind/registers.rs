//! The registers that a walk carries from frame to frame.

/// The registers that a walk needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    /// The instruction pointer: exact for the leaf, the return address for every other frame.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer, or [`Registers::UNKNOWN`].
    pub fp: u64,
    /// Where the frame's followed register is saved: an address, [`Registers::OWN`] or
    /// [`Registers::UNKNOWN`]. Few frames need it, so it is read only for them.
    pub followed_at: u64,
}

const _: () = assert!(size_of::<Registers>() == 32);

impl Registers {
    /// The frame pointer's value where a frame does not tell what it was in its caller. No stack
    /// has this address; code that keeps -1 in the register keeps no address in it either.
    pub const UNKNOWN: u64 = u64::MAX;

    /// In [`Registers::followed_at`]: the thread's register still holds the frame's value.
    pub const OWN: u64 = 0;

    /// In [`Registers::followed_at`]: unknown, and so is the stack pointer. It is above
    /// [`Registers::sp`], because a frame record lies anywhere in the frame of its function where
    /// [a call leaves nothing on the stack](super::Machine::has_link).
    pub const ABOVE: u64 = u64::MAX - 1;

    /// The frame pointer, where it is known.
    #[must_use]
    #[inline(always)]
    pub const fn known_fp(&self) -> Option<u64> {
        match self.fp {
            Self::UNKNOWN => None,
            fp => Some(fp),
        }
    }
}
