//! The unwinder's step, a pure function: registers, a rule and a memory reader in, the caller's
//! registers or the reason of the end out. The kernel programs and the tests run the same code.

use crate::reasons::StackEnd;

/// The registers that a walk needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    /// The instruction pointer: exact for the leaf, the return address for every other frame.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer (`rbp`).
    pub fp: u64,
}

/// How to get from a frame to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `CFA = fp + 16; pc' = [CFA - 8]; fp' = [CFA - 16]; sp' = CFA`
    FramePointer,
}

/// Goes from a frame to its caller. `read` gives the two words at an address, or `None` where the
/// memory cannot be read.
///
/// A frame pointer of 0 is how the ABI marks the outermost frame; a return address of 0 is how
/// some runtimes do. A frame pointer that is not aligned, or not above the stack pointer, belongs
/// to code that uses the register for something else.
///
/// # Errors
/// The reason why the walk ends at this frame.
#[inline(always)]
pub fn step(
    registers: &Registers,
    rule: Rule,
    read: impl FnOnce(u64) -> Option<[u64; 2]>,
) -> Result<Registers, StackEnd> {
    match rule {
        Rule::FramePointer => step_by_frame_pointer(registers, read),
    }
}

#[inline(always)]
fn step_by_frame_pointer(
    registers: &Registers,
    read: impl FnOnce(u64) -> Option<[u64; 2]>,
) -> Result<Registers, StackEnd> {
    let fp = registers.fp;
    if fp == 0 {
        return Err(StackEnd::Outermost);
    }
    if fp & 7 != 0 || fp < registers.sp {
        return Err(StackEnd::NoFramePointer);
    }
    let Some([caller_fp, return_address]) = read(fp) else {
        return Err(StackEnd::Unreadable);
    };
    if return_address == 0 {
        return Err(StackEnd::Outermost);
    }
    Ok(Registers {
        pc: return_address,
        sp: fp.wrapping_add(16),
        fp: caller_fp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader over a slice of words that starts at `base`.
    fn stack(base: u64, words: &[u64]) -> impl Fn(u64) -> Option<[u64; 2]> {
        move |address| {
            let index = usize::try_from(address.checked_sub(base)? / 8).ok()?;
            Some([*words.get(index)?, *words.get(index + 1)?])
        }
    }

    fn walk(mut registers: Registers, read: impl Fn(u64) -> Option<[u64; 2]>) -> (usize, StackEnd) {
        for frames in 1.. {
            match step(&registers, Rule::FramePointer, &read) {
                Ok(caller) => registers = caller,
                Err(end) => return (frames, end),
            }
        }
        unreachable!("an endless walk")
    }

    #[test]
    fn walks_a_chain_to_the_zero_frame_pointer() {
        // Two saved frame pointers, each with its return address above it.
        let words = [0x1010, 0xa, 0, 0xb];
        let leaf = Registers {
            pc: 0x9,
            sp: 0x1000,
            fp: 0x1000,
        };
        assert_eq!(walk(leaf, stack(0x1000, &words)), (3, StackEnd::Outermost));
    }

    #[test]
    fn a_chain_that_points_back_ends() {
        let words = [0x1010, 0xa, 0x1000, 0xb];
        let leaf = Registers {
            pc: 0x9,
            sp: 0x1000,
            fp: 0x1000,
        };
        assert_eq!(
            walk(leaf, stack(0x1000, &words)),
            (3, StackEnd::NoFramePointer)
        );
    }

    #[test]
    fn a_frame_pointer_that_is_no_stack_address_ends() {
        for (fp, end) in [
            (1, StackEnd::NoFramePointer),
            (0x1004, StackEnd::NoFramePointer),
            (0x800, StackEnd::NoFramePointer),
            (0x9000, StackEnd::Unreadable),
            (u64::MAX - 7, StackEnd::Unreadable),
        ] {
            let leaf = Registers {
                pc: 0x9,
                sp: 0x1000,
                fp,
            };
            assert_eq!(walk(leaf, stack(0x1000, &[])), (1, end), "fp {fp:#x}");
        }
    }

    #[test]
    fn a_zero_return_address_is_a_clean_end() {
        let leaf = Registers {
            pc: 0x9,
            sp: 0x1000,
            fp: 0x1000,
        };
        assert_eq!(
            walk(leaf, stack(0x1000, &[0x2000, 0])),
            (1, StackEnd::Outermost)
        );
    }
}
