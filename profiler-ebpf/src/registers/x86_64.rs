//! Registers as x86-64 kernels save them.

use abi::unwind::{Machine, Registers};
pub(crate) use aya_ebpf::bindings::pt_regs as Saved;

use crate::maps::LEAF_REGISTERS;

/// How the machine's frames are left.
pub(crate) const MACHINE: Machine = Machine::X86_64;

/// The privilege level in the lowest two bits of a code segment: 3 is user mode.
const USER_MODE: u64 = 3;
/// The code segment of 32-bit user code, `__USER32_CS`.
const USER_CODE_32: u64 = 0x23;

/// What code was running: its code segment.
#[derive(Clone, Copy)]
pub(crate) struct Mode(u64);

impl Mode {
    #[inline(always)]
    pub(crate) fn is_user(self) -> bool {
        self.0 & USER_MODE == USER_MODE
    }

    #[inline(always)]
    pub(crate) fn is_32_bit(self) -> bool {
        self.0 == USER_CODE_32
    }
}

/// Reads one register: volatile keeps each access to the context a plain load at a constant offset
/// from it, the only kind that the verifier takes.
macro_rules! load {
    ($regs:ident, $field:ident) => {
        (&raw const (*$regs).$field).read_volatile()
    };
}

/// Leaves the general registers in `$leaf` by DWARF's numbers.
macro_rules! leave {
    ($leaf:expr, $regs:ident, $($number:literal $field:ident)+) => {
        $($leaf[$number] = load!($regs, $field);)+
    };
}

/// What code the registers are of.
///
/// # Safety
/// The registers can be read.
#[inline(always)]
pub(crate) unsafe fn mode(regs: *const Saved) -> Mode {
    // SAFETY: the caller says so.
    Mode(unsafe { load!(regs, cs) })
}

/// Where the code goes on.
///
/// # Safety
/// The registers can be read.
#[inline(always)]
pub(crate) unsafe fn pc(regs: *const Saved) -> u64 {
    // SAFETY: the caller says so.
    unsafe { load!(regs, rip) }
}

/// The registers that a walk begins with; leaves the general ones in `leaf`.
///
/// # Safety
/// The registers can be read.
#[inline(always)]
pub(crate) unsafe fn take(regs: *const Saved, leaf: &mut [u64; LEAF_REGISTERS]) -> Registers {
    // SAFETY: the caller says so.
    unsafe {
        leave!(leaf, regs, 0 rax 1 rdx 2 rcx 3 rbx 4 rsi 5 rdi 6 rbp 7 rsp
            8 r8 9 r9 10 r10 11 r11 12 r12 13 r13 14 r14 15 r15);
        Registers {
            pc: load!(regs, rip),
            sp: load!(regs, rsp),
            fp: load!(regs, rbp),
            followed_at: Registers::OWN,
        }
    }
}

/// The address of code that a return address stands for.
#[inline(always)]
pub(crate) fn code(return_address: u64) -> u64 {
    return_address
}
