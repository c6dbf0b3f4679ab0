use super::*;

const X86_64: Machine = Machine::X86_64;

/// A reader over a slice of words that starts at `base`.
fn stack(base: u64, words: &[u64]) -> impl Fn(u64) -> Option<[u64; 2]> {
    move |address| {
        let index = usize::try_from(address.checked_sub(base)? / 8).ok()?;
        Some([*words.get(index)?, *words.get(index + 1)?])
    }
}

fn no_leaf(_register: u8) -> Option<u64> {
    None
}

/// At the bottom of a stack at 0x1000.
fn leaf(fp: u64) -> Registers {
    Registers {
        pc: 0x9,
        sp: 0x1000,
        fp,
        followed_at: Registers::OWN,
    }
}

fn walk(
    mut registers: Registers,
    rule: &Rule,
    read: impl Fn(u64) -> Option<[u64; 2]>,
) -> (usize, StackEnd) {
    for frames in 1.. {
        match step(&X86_64, &registers, rule, no_leaf, &read) {
            Ok(caller) => registers = caller.registers,
            Err(end) => return (frames, end),
        }
    }
    unreachable!("an endless walk")
}

/// Two saved frame pointers, each with its return address above it, lead to the outermost frame.
#[test]
fn walks_a_chain_to_the_zero_frame_pointer() {
    let words = [0x1010, 0xa, 0, 0xb];
    let end = walk(
        leaf(0x1000),
        &Rule::frame_pointer(&X86_64),
        stack(0x1000, &words),
    );
    assert_eq!(end, (3, StackEnd::Outermost));
}

/// A frame pointer that leads back down the stack is none.
#[test]
fn a_chain_that_points_back_ends() {
    let words = [0x1010, 0xa, 0x1000, 0xb];
    let end = walk(
        leaf(0x1000),
        &Rule::frame_pointer(&X86_64),
        stack(0x1000, &words),
    );
    assert_eq!(end, (3, StackEnd::NoFramePointer));
}

/// Each kind of value that is no frame pointer ends the walk with its reason.
#[test]
fn a_frame_pointer_that_is_no_stack_address_ends() {
    for (fp, end) in [
        (1, StackEnd::NoFramePointer),
        (0x1004, StackEnd::NoFramePointer),
        (0x800, StackEnd::NoFramePointer),
        (Registers::UNKNOWN, StackEnd::NoFramePointer),
        (0x9000, StackEnd::Unreadable),
        (u64::MAX - 7, StackEnd::NoProgress),
    ] {
        let ended = walk(leaf(fp), &Rule::frame_pointer(&X86_64), stack(0x1000, &[]));
        assert_eq!(ended, (1, end), "fp {fp:#x}");
    }
}

/// A return address of 0 marks the outermost frame.
#[test]
fn a_zero_return_address_is_a_clean_end() {
    let read = stack(0x1000, &[0x2000, 0]);
    let end = walk(leaf(0x1000), &Rule::frame_pointer(&X86_64), read);
    assert_eq!(end, (1, StackEnd::Outermost));
}

/// How often a rule reads memory: once where the frame pointer is not saved or lies below the
/// return address, and three times only where it lies apart and the CFA in memory.
#[test]
fn reads_as_little_as_it_can() {
    let saved = |fp_offset| Rule {
        fp: fp::AT_CFA,
        fp_offset,
        ..Rule::register(7, 32)
    };
    let realigned = Rule {
        cfa: cfa::DEREF,
        fp: fp::AT_FP,
        fp_offset: 0,
        ..Rule::register(6, -8)
    };
    let apart = Rule {
        cfa: cfa::DEREF,
        cfa_add: 8,
        ..saved(-24)
    };
    let words = [0x1028; 64];
    for (rule, most) in [
        (Rule::register(7, 8), 1),
        (saved(-16), 1),
        (saved(-24), 2),
        (realigned, 2),
        (apart, 3),
        (Rule::signal(&X86_64), 2),
        (Rule::frame_pointer(&X86_64), 1),
    ] {
        let reads = core::cell::Cell::new(0);
        let read = |address| {
            reads.set(reads.get() + 1);
            stack(0x1000, &words)(address)
        };
        let caller = step(&X86_64, &leaf(0x1010), &rule, no_leaf, read);
        assert!(caller.is_ok(), "{rule:?}: {caller:?}");
        assert_eq!(reads.get(), most, "{rule:?}");
    }
}

/// Whatever the bytes of a rule and the values of registers are, a step gives an answer, and a
/// caller lies further up, except behind a signal and for a leaf without its return address.
#[test]
fn any_rule_gives_an_answer() {
    let values = [
        0,
        7,
        0x1000,
        0x1010,
        0x7fff_ffff_fff8,
        u64::MAX - 8,
        u64::MAX,
    ];
    let offsets = [i32::MIN, -16, -8, 0, 8, 160, i32::MAX];
    for bits in 0..8_u32 * 4 * 4 * 3 {
        let [cfa, fp, ra] = [bits % 8, bits / 8 % 4, bits / 32 % 4].map(|kind| kind as u8);
        let cfa_register = [6, 7, 3][bits as usize / 128];
        for offset in offsets {
            let rule = Rule {
                cfa,
                cfa_register,
                fp,
                ra,
                cfa_offset: offset,
                cfa_add: offset.wrapping_add(1),
                fp_offset: offset.wrapping_sub(8),
                ra_offset: offset,
                followed_offset: offset,
            };
            for value in values {
                let registers = Registers {
                    pc: value,
                    sp: value.wrapping_sub(8),
                    fp: value,
                    followed_at: value,
                };
                let read = |address| Some([address, value]);
                if let Ok(caller) = step(&X86_64, &registers, &rule, |_| Some(value), read) {
                    let up = caller.registers.sp > registers.sp;
                    assert!(up || cfa == cfa::SIGNAL || ra == ra::REGISTER, "{rule:?}");
                }
            }
        }
    }
}
