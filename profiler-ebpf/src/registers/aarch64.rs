//! Registers as arm64 kernels save them.

use abi::unwind::{Machine, Registers};
pub(crate) use aya_ebpf::bindings::user_pt_regs as Saved;

use crate::{kernel::config, maps::LEAF_REGISTERS};

/// How the machine's frames are left.
pub(crate) const MACHINE: Machine = Machine::AARCH64;

/// The exception level in the lowest four bits of `pstate`: 0 is user mode.
const EXCEPTION_LEVEL: u64 = 0xf;
/// Set in `pstate` where 32-bit code runs, `PSR_MODE32_BIT`.
const IS_32_BIT: u64 = 0x10;

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

/// Leaves general registers in `$leaf` by their numbers, which are DWARF's too.
macro_rules! leave {
    ($leaf:expr, $regs:ident, $($number:literal)+) => {
        $($leaf[$number] = (&raw const (*$regs).regs[$number]).read_volatile();)+
    };
}

/// Where the code goes on.
///
/// # Safety
/// The registers can be read.
#[inline(always)]
pub(crate) unsafe fn pc(regs: *const Saved) -> u64 {
    // SAFETY: the caller says so; volatile as above.
    unsafe { (&raw const (*regs).pc).read_volatile() }
}

/// The registers that a walk begins with; leaves the general ones in `leaf`.
///
/// # Safety
/// The registers can be read.
#[inline(always)]
pub(crate) unsafe fn take(regs: *const Saved, leaf: &mut [u64; LEAF_REGISTERS]) -> Registers {
    // SAFETY: the caller says so; volatile as above.
    unsafe {
        leave!(leaf, regs, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
            16 17 18 19 20 21 22 23 24 25 26 27 28 29 30);
        Registers {
            pc: (&raw const (*regs).pc).read_volatile(),
            sp: (&raw const (*regs).sp).read_volatile(),
            fp: leaf[MACHINE.frame_pointer as usize],
            followed_at: Registers::OWN,
        }
    }
}

/// The address of code that a return address stands for: with pointer authentication the bits that
/// no address has are a signature.
#[inline(always)]
pub(crate) fn code(return_address: u64) -> u64 {
    return_address & config!(addresses.code_mask)
}
