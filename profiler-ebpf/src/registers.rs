//! The user registers of the running thread.

use abi::{reasons::StackEnd, unwind::Registers};
use aya_ebpf::{
    EbpfContext,
    bindings::pt_regs,
    helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_task_pt_regs},
    programs::PerfEventContext,
};
use core::ffi::c_void;

use crate::maps::Scratch;

/// The privilege level in the lowest two bits of a code segment: 3 is user mode.
const USER_MODE: u64 = 3;
/// The code segment of 32-bit user code, `__USER32_CS`.
const USER_CODE_32: u64 = 0x23;

/// Where the sample hit. The general registers of user code are left in scratch.
pub(crate) enum Hit {
    /// User code was running.
    User(Result<Registers, StackEnd>),
    /// The kernel was running, on behalf of user code where there are registers.
    Kernel(Result<Registers, StackEnd>),
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

macro_rules! take {
    ($scratch:ident, $regs:ident) => {{
        leave!($scratch.leaf, $regs, 0 rax 1 rdx 2 rcx 3 rbx 4 rsi 5 rdi 6 rbp 7 rsp
            8 r8 9 r9 10 r10 11 r11 12 r12 13 r13 14 r14 15 r15);
        let (pc, sp, fp) = (load!($regs, rip), load!($regs, rsp), load!($regs, rbp));
        let bx_at = Registers::OWN;
        checked(load!($regs, cs), Registers { pc, sp, fp, bx_at })
    }};
}

/// The registers with which user code was interrupted or entered the kernel. Threads of the kernel
/// have no memory map, and their saved registers are garbage.
#[inline(always)]
pub(crate) fn user(ctx: &PerfEventContext, scratch: &mut Scratch) -> Hit {
    // `bpf_perf_event_data` starts with the interrupted registers.
    let regs = ctx.as_ptr().cast::<pt_regs>();
    // SAFETY: the context is valid for the program's run.
    if unsafe { load!(regs, cs) } & USER_MODE == USER_MODE {
        // SAFETY: as above.
        return Hit::User(unsafe { take!(scratch, regs) });
    }
    Hit::Kernel(if scratch.mm != 0 {
        saved(scratch)
    } else {
        Err(StackEnd::NoUserStack)
    })
}

/// The registers that were saved when the thread entered the kernel.
#[inline(always)]
fn saved(scratch: &mut Scratch) -> Result<Registers, StackEnd> {
    // SAFETY: both helpers take any thread; what they point to is only read with a checked read.
    let from = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) };
    let regs = &raw mut scratch.regs;
    // SAFETY: the helper writes exactly the registers into scratch, or fails.
    let failed = unsafe {
        bpf_probe_read_kernel(
            regs.cast::<c_void>(),
            size_of::<pt_regs>() as u32,
            from as *const c_void,
        )
    };
    // SAFETY: the scratch is this sample's own.
    if failed != 0 || unsafe { load!(regs, cs) } & USER_MODE != USER_MODE {
        return Err(StackEnd::NoUserStack);
    }
    // SAFETY: as above.
    unsafe { take!(scratch, regs) }
}

#[inline(always)]
fn checked(cs: u64, registers: Registers) -> Result<Registers, StackEnd> {
    if cs == USER_CODE_32 {
        return Err(StackEnd::Compat32);
    }
    Ok(registers)
}
