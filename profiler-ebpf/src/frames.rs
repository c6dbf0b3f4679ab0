//! The walk up the user stack.

use abi::{
    MAX_USER_FRAMES,
    reasons::{Miss, StackEnd},
    records::{UserFrame, file},
    unwind::{Registers, Rule, step},
};
use aya_ebpf::helpers::{
    bpf_probe_read_user,
    generated::{self, bpf_loop},
};
use core::ffi::c_void;

use crate::{
    mapping,
    maps::{COUNTERS, Scratch, WINDOW_WORDS},
};

/// Walks from `leaf` and leaves frames, end and hash in scratch.
#[inline(always)]
pub(crate) fn walk(scratch: &mut Scratch, leaf: Registers) {
    scratch.registers = leaf;
    scratch.is_return = 0;
    scratch.window_start = 0;
    scratch.end = StackEnd::Truncated as u32;
    let mut context: *mut Scratch = scratch;
    // SAFETY: the callback has the signature that `bpf_loop` asks for, and its context points to
    // the scratch: handed over in this way, the compiler knows that the loop changes it.
    unsafe {
        bpf_loop(
            MAX_USER_FRAMES as u32,
            next_frame as *mut c_void,
            (&raw mut context).cast::<c_void>(),
            0,
        );
    }
}

/// Stores the frame that was reached and goes on to its caller; 1 ends the loop.
unsafe extern "C" fn next_frame(_index: u32, context: *mut c_void) -> i64 {
    // SAFETY: `walk` passes a pointer to the scratch that its sample holds.
    let scratch = unsafe { &mut **context.cast::<*mut Scratch>() };
    if !store(scratch) {
        scratch.end = StackEnd::NoFramePointer as u32;
        return 1;
    }
    let registers = scratch.registers;
    match step(&registers, Rule::FramePointer, |address| {
        words(scratch, address)
    }) {
        Ok(caller) => {
            scratch.registers = caller;
            scratch.is_return = 1;
            0
        }
        Err(end) => {
            scratch.end = end as u32;
            1
        }
    }
}

/// The two words at an address of the stack. More are read than are asked for: the frames of a
/// stack lie close together, and a read costs more than its bytes do.
#[inline(always)]
fn words(scratch: &mut Scratch, address: u64) -> Option<[u64; 2]> {
    let inside = address.wrapping_sub(scratch.window_start) as usize / size_of::<u64>();
    let is_word = address % size_of::<u64>() as u64 == 0;
    if scratch.window_start != 0 && inside < WINDOW_WORDS - 1 && is_word {
        let index = inside & (WINDOW_WORDS - 1);
        let next = (inside + 1) & (WINDOW_WORDS - 1);
        return Some([scratch.window[index], scratch.window[next]]);
    }
    // SAFETY: the helper writes at most the window, or fails where the address cannot be read.
    let failed = unsafe {
        generated::bpf_probe_read_user(
            (&raw mut scratch.window).cast::<c_void>(),
            size_of_val(&scratch.window) as u32,
            address as *const c_void,
        )
    };
    if failed == 0 {
        scratch.window_start = address;
        return Some([scratch.window[0], scratch.window[1]]);
    }
    // The stack may end within the window.
    scratch.window_start = 0;
    // SAFETY: the helper checks the address and fails where it cannot be read.
    unsafe { bpf_probe_read_user(address as *const [u64; 2]) }.ok()
}

/// Adds the frame that was reached. Where no memory is mapped at what should be a return address,
/// the frame pointer that led here was none, and there is no frame to add.
#[inline(always)]
fn store(scratch: &mut Scratch) -> bool {
    let index = scratch.user.header.frames as usize;
    if index >= MAX_USER_FRAMES {
        return true;
    }
    // The mapping is that of the call, which may be the last instruction before the next mapping.
    let is_return = scratch.is_return;
    let (file, offset) = mapping::locate(scratch, scratch.registers.pc - u64::from(is_return));
    if is_return != 0 && file == file::NO_MAPPING {
        return false;
    }
    if file < file::ANONYMOUS {
        count_miss(scratch.event, file);
    }
    let offset = offset + u64::from(is_return);
    scratch
        .hash
        .mix((u64::from(is_return) << 32) | u64::from(file));
    scratch.hash.mix(offset);
    scratch.user.frames[index] = UserFrame {
        file,
        is_return,
        offset,
    };
    scratch.user.header.frames = index as u32 + 1;
    true
}

#[inline(always)]
fn count_miss(event: u32, file: u32) {
    let miss = match file {
        file::NO_MAPPING => Miss::NoMapping,
        file::UNREADABLE => Miss::TreeUnreadable,
        _ => Miss::FileTableFull,
    };
    if let Some(counters) = COUNTERS.get_ptr_mut(event) {
        // SAFETY: the counters are this CPU's own.
        unsafe { (*counters).misses[miss as usize] += 1 };
    }
}
