//! The registers that a walk carries from frame to frame.

/// Numbers of x86-64's registers in DWARF.
pub mod dwarf {
    /// `rbx`, the one register besides the frame pointer that is followed from frame to frame.
    pub const BX: u8 = 3;
    /// The frame pointer, `rbp`.
    pub const FRAME_POINTER: u8 = 6;
    /// The stack pointer, `rsp`.
    pub const STACK_POINTER: u8 = 7;
    /// The last general register, `r15`.
    pub const LAST_GENERAL: u8 = 15;
}

/// The registers that a walk needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    /// The instruction pointer: exact for the leaf, the return address for every other frame.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer (`rbp`), or [`Registers::UNKNOWN`].
    pub fp: u64,
    /// Where the frame's `rbx` is saved: an address, [`Registers::OWN`] or [`Registers::UNKNOWN`].
    /// Few frames need it, so it is read only for them.
    pub bx_at: u64,
}

const _: () = assert!(size_of::<Registers>() == 32);

impl Registers {
    /// The frame pointer's value where a frame does not tell what it was in its caller. No stack
    /// has this address; code that keeps -1 in the register keeps no address in it either.
    pub const UNKNOWN: u64 = u64::MAX;

    /// In [`Registers::bx_at`]: the thread's register still holds the frame's value.
    pub const OWN: u64 = 0;

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
