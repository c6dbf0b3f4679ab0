//! The user registers of the running thread.

#[cfg(bpf_target_arch = "aarch64")]
mod aarch64;
#[cfg(bpf_target_arch = "x86_64")]
mod x86_64;

#[cfg(bpf_target_arch = "aarch64")]
use aarch64 as machine;
use abi::{reasons::StackEnd, unwind::Registers};
use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_task_pt_regs},
    programs::PerfEventContext,
};
use core::ffi::c_void;
pub(crate) use machine::{MACHINE, Saved, code};
#[cfg(bpf_target_arch = "x86_64")]
use x86_64 as machine;

use crate::maps::Scratch;

/// Where the sample hit. The general registers of user code are left in scratch.
pub(crate) enum Hit {
    /// User code was running.
    User(Result<Registers, StackEnd>),
    /// The kernel was running, on behalf of user code where there are registers.
    Kernel(Result<Registers, StackEnd>),
}

/// The registers with which user code was interrupted or entered the kernel. Threads of the kernel
/// have no memory map, and their saved registers are garbage.
#[inline(always)]
pub(crate) fn user(ctx: &PerfEventContext, scratch: &mut Scratch) -> Hit {
    // `bpf_perf_event_data` starts with the interrupted registers.
    let regs = ctx.as_ptr().cast::<Saved>();
    // SAFETY: the context is valid for the program's run.
    if unsafe { machine::mode(regs) }.is_user() {
        // SAFETY: as above.
        return Hit::User(unsafe { take(scratch, regs) });
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
            size_of::<Saved>() as u32,
            from as *const c_void,
        )
    };
    // SAFETY: the scratch is this sample's own.
    if failed != 0 || !unsafe { machine::mode(regs) }.is_user() {
        return Err(StackEnd::NoUserStack);
    }
    // SAFETY: as above.
    unsafe { take(scratch, regs) }
}

/// # Safety
/// The registers can be read.
#[inline(always)]
unsafe fn take(scratch: &mut Scratch, regs: *const Saved) -> Result<Registers, StackEnd> {
    // SAFETY: the caller says so.
    let (mode, registers) =
        unsafe { (machine::mode(regs), machine::take(regs, &mut scratch.leaf)) };
    if mode.is_32_bit() {
        return Err(StackEnd::Compat32);
    }
    Ok(registers)
}
