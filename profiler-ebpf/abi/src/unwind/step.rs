//! The unwinder's step, a pure function: registers, a rule and a memory reader in, the caller's
//! registers or the reason of the end out.
//!
//! It is compiled for the kernel's verifier too: no loops, no panics, and three reads at most.

use super::{Machine, Registers, Rule, cfa, followed, fp, ra};
use crate::reasons::StackEnd;

/// What a step finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The caller's registers.
    pub registers: Registers,
    /// Whether `pc` is a return address, so that the call lies before it. It is not where a signal
    /// interrupted the caller.
    pub is_return: bool,
}

/// Goes from a frame to its caller.
///
/// `leaf` gives a general register by DWARF's number, and `None` in every frame but the leaf, whose
/// registers are the thread's own; it is not asked for the stack and the frame pointer. For the
/// followed register it gives the thread's in every frame, and is asked only where that is the
/// frame's. `read` gives the two words at an address, or `None` where the memory cannot be read.
///
/// # Errors
/// The reason why the walk ends at this frame. A return address of 0 is how some runtimes mark the
/// outermost frame; an undefined one is how call frame information does.
#[inline(always)]
pub fn step(
    machine: &Machine,
    registers: &Registers,
    rule: &Rule,
    leaf: impl Fn(u8) -> Option<u64>,
    read: impl Fn(u64) -> Option<[u64; 2]>,
) -> Result<Caller, StackEnd> {
    match rule.cfa {
        cfa::REGISTER | cfa::DEREF | cfa::PLT => step_by_row(machine, registers, rule, leaf, read),
        cfa::FRAME_POINTER => {
            check_frame_pointer(registers)?;
            step_by_row(machine, registers, rule, leaf, read)
        }
        cfa::SIGNAL if is_sp_known(machine, registers) => step_over_signal(registers, rule, read),
        cfa::SIGNAL => Err(StackEnd::RegisterUnknown),
        cfa::NONE => Err(StackEnd::NoUnwindRow),
        _ => Err(StackEnd::UnsupportedRule),
    }
}

/// A frame pointer of 0 is how the ABI marks the outermost frame. One that is not aligned, or not
/// above the stack pointer, belongs to code that uses the register for something else; so does one
/// that is not known.
#[inline(always)]
fn check_frame_pointer(registers: &Registers) -> Result<(), StackEnd> {
    let fp = registers.fp;
    if fp == 0 {
        return Err(StackEnd::Outermost);
    }
    if fp & 7 != 0 || fp < registers.sp {
        return Err(StackEnd::NoFramePointer);
    }
    Ok(())
}

/// `sp' = [sp + cfa_offset]; pc' = [sp + cfa_offset + 8]; fp' = [sp + fp_offset]`. The interrupted
/// stack may be any other one, so nothing is asked of `sp'`.
#[inline(always)]
fn step_over_signal(
    registers: &Registers,
    rule: &Rule,
    read: impl Fn(u64) -> Option<[u64; 2]>,
) -> Result<Caller, StackEnd> {
    let context = registers.sp;
    let [sp, pc] = read(offset_by(context, rule.cfa_offset)).ok_or(StackEnd::Unreadable)?;
    let fp_at = offset_by(context, rule.fp_offset);
    let [fp, _] = read(fp_at).ok_or(StackEnd::Unreadable)?;
    let followed_at = fp_at.wrapping_add(8);
    if pc == 0 {
        return Err(StackEnd::Outermost);
    }
    Ok(Caller {
        registers: Registers {
            pc,
            sp,
            fp,
            followed_at,
        },
        is_return: false,
    })
}

/// One read gives the return address with the word beside it, which is the caller's frame pointer
/// in most frames that save it. Another is needed where the frame pointer lies elsewhere or where
/// the CFA lies in memory, and a third only for assembly code in which both are so.
#[inline(always)]
fn step_by_row(
    machine: &Machine,
    registers: &Registers,
    rule: &Rule,
    leaf: impl Fn(u8) -> Option<u64>,
    read: impl Fn(u64) -> Option<[u64; 2]>,
) -> Result<Caller, StackEnd> {
    if rule.ra == ra::END {
        return Err(StackEnd::Outermost);
    }
    let is_saved_followed =
        rule.cfa_register == machine.followed && registers.followed_at != Registers::OWN;
    let base = if is_saved_followed {
        // Where the register is, and not its value, which the offset is added to below.
        saved_followed(registers, rule).ok_or(StackEnd::RegisterUnknown)?
    } else {
        let base = match rule.cfa_register {
            register if register == machine.stack_pointer => {
                match is_sp_known(machine, registers) {
                    true => Some(registers.sp),
                    false => recorded_sp(registers, rule),
                }
            }
            register if register == machine.frame_pointer => registers.known_fp(),
            register => leaf(register),
        };
        offset_by(base.ok_or(StackEnd::RegisterUnknown)?, rule.cfa_offset)
    };
    let held = if is_saved_followed || rule.cfa == cfa::DEREF {
        read(base).ok_or(StackEnd::Unreadable)?
    } else {
        [0; 2]
    };
    let cfa = match rule.cfa {
        _ if is_saved_followed => offset_by(held[0], rule.cfa_offset),
        cfa::DEREF => offset_by(held[0], rule.cfa_add),
        cfa::PLT => base.wrapping_add(pushed_by_plt(registers.pc, rule.cfa_add)),
        _ => base,
    };
    check_progress(registers.sp, rule, cfa)?;
    let [below, pc] = match rule.ra {
        ra::REGISTER => [
            0,
            returned_by_register(machine, registers, rule, leaf, &read)?,
        ],
        _ => return_address(registers.sp, rule, cfa, &read)?,
    };
    if pc == 0 {
        return Err(StackEnd::Outermost);
    }
    let fp = match saved_fp(registers, rule, cfa) {
        Some(_) if rule.is_pair() => below,
        Some(_) if rule.is_fp_beside_cfa(machine) => held[1],
        // A description may tell of a slot that is no longer one, behind `leave`.
        Some(slot) => read(slot).map_or(Registers::UNKNOWN, |words| words[0]),
        None if rule.fp == fp::SAME => registers.fp,
        None => Registers::UNKNOWN,
    };
    let followed_at = match rule.followed_offset {
        _ if machine.has_link && rule.cfa == cfa::FRAME_POINTER => Registers::ABOVE,
        followed::UNKNOWN => Registers::UNKNOWN,
        followed::SAME => registers.followed_at,
        offset => offset_by(cfa, offset),
    };
    let sp = cfa;
    Ok(Caller {
        registers: Registers {
            pc,
            sp,
            fp,
            followed_at,
        },
        is_return: true,
    })
}

/// The return address that no call has put on the stack. The link register is the thread's own in a
/// leaf, and lies in memory in the frame that a signal has interrupted.
#[inline(always)]
fn returned_by_register(
    machine: &Machine,
    registers: &Registers,
    rule: &Rule,
    leaf: impl Fn(u8) -> Option<u64>,
    read: impl Fn(u64) -> Option<[u64; 2]>,
) -> Result<u64, StackEnd> {
    let register = rule.ra_offset as u8;
    if machine.has_link && register == machine.followed {
        match registers.followed_at {
            Registers::OWN => {}
            Registers::UNKNOWN | Registers::ABOVE => return Err(StackEnd::RegisterUnknown),
            address => return Ok(read(address).ok_or(StackEnd::Unreadable)?[0]),
        }
    }
    leaf(register).ok_or(StackEnd::RegisterUnknown)
}

/// The stack pointer of a frame behind one that was left by its frame pointer, by the frame's own
/// record, at which the frame pointer is then: `fp = CFA + fp_offset`.
#[inline(always)]
fn recorded_sp(registers: &Registers, rule: &Rule) -> Option<u64> {
    let cfa = offset_by(registers.known_fp()?, rule.fp_offset.checked_neg()?);
    let sp = offset_by(cfa, rule.cfa_offset.checked_neg()?);
    (rule.is_pair() && rule.cfa == cfa::REGISTER).then_some(sp)
}

#[inline(always)]
fn is_sp_known(machine: &Machine, registers: &Registers) -> bool {
    !machine.has_link || registers.followed_at != Registers::ABOVE
}

/// Where the frame's followed register is in memory, for a rule that adds to the register and does no
/// more.
#[inline(always)]
fn saved_followed(registers: &Registers, rule: &Rule) -> Option<u64> {
    (rule.cfa == cfa::REGISTER && registers.followed_at != Registers::UNKNOWN)
        .then_some(registers.followed_at)
}

/// Where the caller's frame pointer is saved, if it is.
#[inline(always)]
fn saved_fp(registers: &Registers, rule: &Rule, cfa: u64) -> Option<u64> {
    match rule.fp {
        fp::AT_CFA => Some(offset_by(cfa, rule.fp_offset)),
        fp::AT_FP => Some(offset_by(registers.known_fp()?, rule.fp_offset)),
        _ => None,
    }
}

/// What an entry of a procedure linkage table has pushed once `pc` is past the push.
#[inline(always)]
fn pushed_by_plt(pc: u64, pushed_from: i32) -> u64 {
    if (pc & 15) as i32 >= pushed_from {
        8
    } else {
        0
    }
}

/// A stack grows down, so a caller's stack pointer lies above its callee's. The same one is right
/// only where the return address has left the stack, which happens in a leaf.
#[inline(always)]
fn check_progress(sp: u64, rule: &Rule, cfa: u64) -> Result<(), StackEnd> {
    if cfa > sp || (cfa == sp && rule.ra == ra::REGISTER) {
        Ok(())
    } else {
        Err(StackEnd::NoProgress)
    }
}

/// The return address and the word below it, which is 0 where it was not read. That word is taken
/// along where it belongs to the frame; below the stack pointer there may be no memory, and none
/// above the first frame of a stack.
#[inline(always)]
fn return_address(
    sp: u64,
    rule: &Rule,
    cfa: u64,
    read: &impl Fn(u64) -> Option<[u64; 2]>,
) -> Result<[u64; 2], StackEnd> {
    let slot = offset_by(cfa, rule.ra_offset);
    let below = slot.wrapping_sub(8);
    let in_frame = rule.is_pair() || below >= sp;
    let words = read(if in_frame { below } else { slot }).ok_or(StackEnd::Unreadable)?;
    Ok(if in_frame { words } else { [0, words[0]] })
}

#[inline(always)]
fn offset_by(address: u64, offset: i32) -> u64 {
    address.wrapping_add_signed(i64::from(offset))
}

#[cfg(test)]
mod tests;
