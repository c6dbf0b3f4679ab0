//! Machines whose stacks are walked, and the names of their registers.

use abi::unwind::Machine;

/// A machine and the names of its registers, by DWARF's numbers.
pub(crate) struct Arch {
    pub(crate) machine: Machine,
    pub(crate) names: &'static [&'static str],
}

pub(crate) const X86_64: Arch = Arch {
    machine: Machine::X86_64,
    names: &[
        "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ],
};

pub(crate) const AARCH64: Arch = Arch {
    machine: Machine::AARCH64,
    names: &[
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
        "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
        "x27", "x28", "x29", "x30", "sp",
    ],
};
