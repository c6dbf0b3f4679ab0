//! The user registers of the running thread.

#[cfg(bpf_target_arch = "aarch64")]
mod aarch64;
#[cfg(bpf_target_arch = "x86_64")]
mod x86_64;

#[cfg(bpf_target_arch = "aarch64")]
use aarch64 as machine;
use abi::{reasons::StackEnd, unwind::Registers};
use aya_ebpf::{
    EbpfContext, bindings::task_struct, helpers::generated::bpf_task_pt_regs,
    programs::PerfEventContext,
};
pub(crate) use machine::{MACHINE, Saved, code};
#[cfg(bpf_target_arch = "x86_64")]
use x86_64 as machine;

use crate::{kernel::this_task, maps::Scratch};

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
        saved(scratch, this_task())
    } else {
        Err(StackEnd::NoUserStack)
    })
}

/// Where the code of a thread goes on, by what was saved; of a thread of the kernel it is no address.
#[inline(always)]
pub(crate) fn pc(task: *mut task_struct) -> u64 {
    // SAFETY: the verifier knows what is there, and the kernel handles a fault.
    unsafe { machine::pc(kept(task)) }
}

/// The registers that were saved when a thread entered the kernel.
#[inline(always)]
pub(crate) fn saved(scratch: &mut Scratch, task: *mut task_struct) -> Result<Registers, StackEnd> {
    let regs = kept(task);
    // SAFETY: the verifier knows what the helper gave, and the kernel handles a fault.
    if !unsafe { machine::mode(regs) }.is_user() {
        return Err(StackEnd::NoUserStack);
    }
    // SAFETY: as above.
    unsafe { take(scratch, regs) }
}

/// Where they are saved: at the very top of the thread's kernel stack.
#[inline(always)]
pub(crate) fn kept(task: *mut task_struct) -> *const Saved {
    // SAFETY: the helper takes any thread.
    unsafe { bpf_task_pt_regs(task) as *const Saved }
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
