//! Registers as arm64 kernels save them.

use abi::unwind::Registers;
pub(crate) use aya_ebpf::bindings::user_pt_regs as Saved;

use crate::{kernel::config, maps::LEAF_REGISTERS};

/// The exception level in the lowest four bits of `pstate`: 0 is user mode.
const EXCEPTION_LEVEL: u64 = 0xf;
/// Set in `pstate` where 32-bit code runs, `PSR_MODE32_BIT`.
const IS_32_BIT: u64 = 0x10;
/// The number of the frame pointer among the general registers.
const FRAME_POINTER: usize = 29;

/// What code was running: its `pstate`.
#[derive(Clone, Copy)]
pub(crate) struct Mode(u64);

impl Mode {
    #[inline(always)]
    pub(crate) fn is_user(self) -> bool {
        self.0 & EXCEPTION_LEVEL == 0
    }

    #[inline(always)]
    pub(crate) fn is_32_bit(self) -> bool {
        self.0 & IS_32_BIT != 0
    }
}

/// What code the registers are of.
///
/// # Safety
/// The registers can be read.
#[inline(always)]
pub(crate) unsafe fn mode(regs: *const Saved) -> Mode {
    // SAFETY: the caller says so. Volatile keeps each access to the context a plain load at a
    // constant offset from it, the only kind that the verifier takes.
    Mode(unsafe { (&raw const (*regs).pstate).read_volatile() })
}

/// The registers that a walk begins with. The general ones are not left in the second argument: no
/// file has an unwind table on this architecture, and only a table's row asks for them.
///
/// # Safety
/// The registers can be read.
#[inline(always)]
pub(crate) unsafe fn take(regs: *const Saved, _leaf: &mut [u64; LEAF_REGISTERS]) -> Registers {
    // SAFETY: the caller says so; volatile as above.
    unsafe {
        Registers {
            pc: (&raw const (*regs).pc).read_volatile(),
            sp: (&raw const (*regs).sp).read_volatile(),
            fp: (&raw const (*regs).regs[FRAME_POINTER]).read_volatile(),
            bx_at: Registers::OWN,
        }
    }
}

/// The address of code that a return address stands for: with pointer authentication the bits that
/// no address has are a signature.
#[inline(always)]
pub(crate) fn code(return_address: u64) -> u64 {
    return_address & config!(addresses.code_mask)
}
