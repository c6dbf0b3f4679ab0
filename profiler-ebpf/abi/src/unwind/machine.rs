//! What differs from machine to machine in unwinding: the numbers of registers in DWARF, where a
//! call leaves its return address, and where the kernel saves what a signal interrupted.

/// A machine. Where it is a constant, as in the kernel programs, nothing of it is left at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its number in the headers of ELF files.
    pub elf: u16,
    /// The stack pointer's number.
    pub stack_pointer: u8,
    /// The frame pointer's number.
    pub frame_pointer: u8,
    /// The one register more that is followed from frame to frame.
    pub followed: u8,
    /// The last number of a general register.
    pub last_general: u8,
    /// Whether a call leaves its return address in the followed register, the link register, and
    /// not on the stack.
    pub has_link: bool,
    /// Where the interrupted stack pointer is saved, and behind it the program counter: in bytes
    /// from the stack pointer of the code to which a signal handler returns.
    pub signal_sp: i32,
    /// Where the interrupted frame pointer is saved, and behind it the followed register.
    pub signal_fp: i32,
}

impl Machine {
    /// `rsp` is 7 and `rbp` is 6. `rbx` is followed, 3: the loader's `_dl_runtime_resolve` finds its
    /// frame by it. A signal handler returns with the stack pointer at the `ucontext`, in which
    /// `uc_mcontext.gregs` has `rbp`, `rbx`, …, `rsp`, `rip`.
    pub const X86_64: Self = Self {
        elf: 62,
        stack_pointer: 7,
        frame_pointer: 6,
        followed: 3,
        last_general: 15,
        has_link: false,
        signal_sp: 160,
        signal_fp: 120,
    };

    /// `sp` is 31, `x29` the frame pointer and `x30` the link register. A signal handler returns with
    /// the stack pointer at a `siginfo` of 128 bytes, then comes the `ucontext`, in which
    /// `uc_mcontext`, at 176, has the fault's address, `x0` to `x30`, `sp` and `pc`.
    pub const AARCH64: Self = Self {
        elf: 183,
        stack_pointer: 31,
        frame_pointer: 29,
        followed: 30,
        last_general: 31,
        has_link: true,
        signal_sp: 560,
        signal_fp: 544,
    };

    /// The machine that this code is compiled for, where that is one of the two.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub const NATIVE: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else {
        Self::AARCH64
    };
}
