//! The user registers of the running thread.

use abi::{reasons::StackEnd, unwind::Registers};
use aya_ebpf::{
    EbpfContext,
    bindings::pt_regs,
    helpers::{
        bpf_probe_read_kernel,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
    programs::PerfEventContext,
};

/// The privilege level in the lowest two bits of a code segment: 3 is user mode.
const USER_MODE: u64 = 3;
/// The code segment of 32-bit user code, `__USER32_CS`.
const USER_CODE_32: u64 = 0x23;

/// Where the sample hit.
pub(crate) enum Hit {
    /// User code was running.
    User(Result<Registers, StackEnd>),
    /// The kernel was running, on behalf of user code where there are registers.
    Kernel(Result<Registers, StackEnd>),
}

/// The registers with which user code was interrupted or entered the kernel. `has_memory` is false
/// for threads of the kernel, whose saved registers are garbage.
#[inline(always)]
pub(crate) fn user(ctx: &PerfEventContext, has_memory: bool) -> Hit {
    // `bpf_perf_event_data` starts with the interrupted registers.
    let regs = ctx.as_ptr().cast::<pt_regs>();
    // SAFETY: the context is valid for the program's run; volatile keeps each access a plain load
    // at a constant offset from it, the only kind that the verifier takes.
    let (cs, pc, sp, fp) = unsafe {
        (
            (&raw const (*regs).cs).read_volatile(),
            (&raw const (*regs).rip).read_volatile(),
            (&raw const (*regs).rsp).read_volatile(),
            (&raw const (*regs).rbp).read_volatile(),
        )
    };
    if cs & USER_MODE == USER_MODE {
        return Hit::User(checked(cs, Registers { pc, sp, fp }));
    }
    Hit::Kernel(if has_memory {
        saved()
    } else {
        Err(StackEnd::NoUserStack)
    })
}

/// The registers that were saved when the thread entered the kernel.
#[inline(always)]
fn saved() -> Result<Registers, StackEnd> {
    // SAFETY: both helpers take any thread; what they point to is only read with a checked read.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const pt_regs;
    // SAFETY: the helper fails where the address cannot be read.
    let Ok(regs) = (unsafe { bpf_probe_read_kernel(regs) }) else {
        return Err(StackEnd::NoUserStack);
    };
    if regs.cs & USER_MODE != USER_MODE {
        return Err(StackEnd::NoUserStack);
    }
    let registers = Registers {
        pc: regs.rip,
        sp: regs.rsp,
        fp: regs.rbp,
    };
    checked(regs.cs, registers)
}

#[inline(always)]
fn checked(cs: u64, registers: Registers) -> Result<Registers, StackEnd> {
    if cs == USER_CODE_32 {
        return Err(StackEnd::Compat32);
    }
    Ok(registers)
}
