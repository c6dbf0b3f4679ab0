//! How to get from a frame to its caller, in 24 bytes.
//!
//! The CFA (canonical frame address) is the caller's stack pointer once the call has returned.
//! `[a]` is the 8-byte word at address `a`; `sp`, `fp`, `pc` are the frame's registers and those
//! with a prime, such as `pc'`, are its caller's.

use super::Machine;

/// What [`Rule::cfa`] may be: where the CFA is found, and so which equation holds.
pub mod cfa {
    /// No row covers the address.
    pub const NONE: u8 = 0;
    /// `CFA = reg + cfa_offset`
    pub const REGISTER: u8 = 1;
    /// `CFA = [reg + cfa_offset] + cfa_add`
    pub const DEREF: u8 = 2;
    /// `CFA = sp + cfa_offset + (if pc & 15 >= cfa_add then 8 else 0)`, in a procedure linkage
    /// table, whose entries are 16 bytes long and push one word on their way.
    pub const PLT: u8 = 3;
    /// The code to which a signal handler returns. The interrupted registers lie on the stack:
    /// `sp' = [sp + cfa_offset]`, `pc' = [sp + cfa_offset + 8]`, `fp' = [sp + fp_offset]`; `pc'`
    /// is exact and no return address.
    pub const SIGNAL: u8 = 4;
    /// `CFA = fp + 16`, where the code is trusted to keep a frame pointer.
    pub const FRAME_POINTER: u8 = 5;
    /// The row needs an expression that is not understood.
    pub const UNSUPPORTED: u8 = 6;
}

/// What [`Rule::fp`] may be: where the caller's frame pointer is found.
pub mod fp {
    /// `fp' = fp`
    pub const SAME: u8 = 0;
    /// `fp' = [CFA + fp_offset]`
    pub const AT_CFA: u8 = 1;
    /// `fp' = [fp + fp_offset]`
    pub const AT_FP: u8 = 2;
    /// Nothing tells.
    pub const UNDEFINED: u8 = 3;
}

/// What [`Rule::ra`] may be: where the return address is found.
pub mod ra {
    /// `pc' = [CFA + ra_offset]`
    pub const AT_CFA: u8 = 0;
    /// There is none: the frame is the outermost.
    pub const END: u8 = 1;
    /// `pc'` is the register with DWARF's number `ra_offset`, in a leaf.
    pub const REGISTER: u8 = 2;
}

/// What [`Rule::followed_offset`] may be besides an offset: `[CFA + followed_offset]` is the caller's
/// [followed register](Machine::followed).
pub mod followed {
    /// Nothing tells. A link register is never known in a caller, since the call has set it.
    pub const UNKNOWN: i32 = 0;
    /// The caller's is the frame's. No slot is there.
    pub const SAME: i32 = 1;
}

/// How to get from a frame to its caller. Rules are equal where all their bytes are, so a field
/// that the kind does not use is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Rule {
    /// One of [`cfa`]'s kinds.
    pub cfa: u8,
    /// The register of the CFA's equation, by DWARF's number.
    pub cfa_register: u8,
    /// One of [`fp`]'s kinds.
    pub fp: u8,
    /// One of [`ra`]'s kinds.
    pub ra: u8,
    /// In bytes; see [`cfa`].
    pub cfa_offset: i32,
    /// In bytes; see [`cfa`].
    pub cfa_add: i32,
    /// In bytes; see [`fp`].
    pub fp_offset: i32,
    /// In bytes, or a register's number; see [`ra`].
    pub ra_offset: i32,
    /// In bytes; see [`followed`].
    pub followed_offset: i32,
}

const _: () = assert!(size_of::<Rule>() == 24);

impl Rule {
    /// No row.
    pub const NONE: Self = Self {
        cfa: cfa::NONE,
        cfa_register: 0,
        fp: fp::SAME,
        ra: ra::AT_CFA,
        cfa_offset: 0,
        cfa_add: 0,
        fp_offset: 0,
        ra_offset: 0,
        followed_offset: followed::UNKNOWN,
    };

    /// A row that is not understood.
    pub const UNSUPPORTED: Self = Self {
        cfa: cfa::UNSUPPORTED,
        ..Self::NONE
    };

    /// `CFA = fp + 16; pc' = [CFA - 8]; fp' = [CFA - 16]; sp' = CFA`
    #[must_use]
    pub const fn frame_pointer(machine: &Machine) -> Self {
        Self {
            cfa: cfa::FRAME_POINTER,
            cfa_register: machine.frame_pointer,
            fp: fp::AT_CFA,
            cfa_offset: 16,
            fp_offset: -16,
            ra_offset: -8,
            ..Self::NONE
        }
    }

    /// `sp' = [sp + signal_sp]; pc' = [sp + signal_sp + 8]; fp' = [sp + signal_fp]`
    #[must_use]
    pub const fn signal(machine: &Machine) -> Self {
        Self {
            cfa: cfa::SIGNAL,
            cfa_register: machine.stack_pointer,
            cfa_offset: machine.signal_sp,
            fp_offset: machine.signal_fp,
            ..Self::NONE
        }
    }

    /// `CFA = register + offset; pc' = [CFA - 8]; fp' = fp; sp' = CFA`: what a call leaves behind
    /// that puts its return address on the stack.
    #[must_use]
    pub const fn register(register: u8, offset: i32) -> Self {
        Self {
            cfa: cfa::REGISTER,
            cfa_register: register,
            cfa_offset: offset,
            ra_offset: -8,
            ..Self::NONE
        }
    }

    /// `CFA = sp; pc' = x30; fp' = fp; sp' = CFA`: what a call leaves behind that puts its return
    /// address in the followed register.
    #[must_use]
    pub const fn link(machine: &Machine) -> Self {
        Self {
            ra: ra::REGISTER,
            ra_offset: machine.followed as i32,
            ..Self::register(machine.stack_pointer, 0)
        }
    }

    /// Whether one read of two words gives both the return address and the caller's frame pointer,
    /// which lies right below it: what `push %rbp` as a function's first instruction leaves behind.
    #[must_use]
    #[inline(always)]
    pub const fn is_pair(&self) -> bool {
        self.fp == fp::AT_CFA
            && self.ra == ra::AT_CFA
            && self.fp_offset == self.ra_offset.wrapping_sub(8)
    }

    /// Whether the word behind the one that holds the CFA is the caller's frame pointer:
    /// `CFA = [fp + n] + cfa_add; fp' = [fp + n + 8]`, what gcc does where it realigns the stack.
    #[must_use]
    #[inline(always)]
    pub const fn is_fp_beside_cfa(&self, machine: &Machine) -> bool {
        self.cfa == cfa::DEREF
            && self.cfa_register == machine.frame_pointer
            && self.fp == fp::AT_FP
            && self.fp_offset == self.cfa_offset.wrapping_add(8)
    }
}
