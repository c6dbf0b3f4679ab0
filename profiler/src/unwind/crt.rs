//! Code of x86-64 that compilers put around programs and libraries without a description: `_init` and
//! `_fini`, and `__do_global_dtors_aux`, which at an exit is often the first to touch a page of data, so
//! that the kernel's work for a page fault is seen there. The few instructions of `frame_dummy` and of
//! what registers clones for transactions, which touch nothing new, are left as they are.

use std::ops::Range;

use abi::unwind::{Machine, Rule, fp};

use super::{
    elf::{Piece, Segment},
    gaps::KnownRow,
};

/// The smallest gap between functions that is searched; most are padding.
const MIN_GAP: u64 = 32;
/// So far into a gap `__do_global_dtors_aux` is found: two small functions go before it.
const SEARCHED_OF_GAP: u64 = 512;
/// The most gaps that are searched: 64 KiB in all.
const MAX_GAPS: usize = 128;
/// The largest `.init` or `.fini` that is looked at; they have some 30 bytes.
const MAX_INIT_OR_FINI: u64 = 128;

const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
/// `sub $8, %rsp`.
const SUB_8: &[u8] = &[0x48, 0x83, 0xec, 8];
/// `add $8, %rsp; ret`.
const ADD_8_RET: &[u8] = &[0x48, 0x83, 0xc4, 8, 0xc3];
/// `cmpb $0, place(%rip)`, up to the place.
const CMPB: [u8; 2] = [0x80, 0x3d];
/// `movb $1, place(%rip)`, up to the place.
const MOVB: [u8; 2] = [0xc6, 0x05];
/// The size of either.
const BYTE_OPERATION: usize = 7;
/// `jne`, with an operand of one byte.
const JNE: u8 = 0x75;
const PUSH_RBP: u8 = 0x55;
/// `pop %rbp; ret`.
const POP_RET: &[u8] = &[0x5d, 0xc3];

fn sp(offset: i32) -> Rule {
    Rule::register(Machine::X86_64.stack_pointer, offset)
}

/// The rows of `.init` or `.fini`, each of which is one function.
///
/// ```text
/// endbr64          CFA = sp + 8     perhaps
/// sub $8, %rsp     CFA = sp + 8
/// …                CFA = sp + 16
/// add $8, %rsp     CFA = sp + 16
/// ret              CFA = sp + 8
/// ```
pub(super) fn init_or_fini(code: &[u8]) -> Vec<KnownRow> {
    let begin = code.strip_prefix(ENDBR64).unwrap_or(code);
    if !begin.starts_with(SUB_8) || !begin.ends_with(ADD_8_RET) {
        return Vec::new();
    }
    let end = code.len() as u64;
    let subtracted = (code.len() - begin.len() + SUB_8.len()) as u64;
    vec![
        (0, subtracted, sp(8)),
        (subtracted, end - 1, sp(16)),
        (end - 1, end, sp(8)),
    ]
}

/// Whether a section may be one of the two.
pub(super) const fn may_be_init_or_fini(piece: &Piece) -> bool {
    piece.size <= MAX_INIT_OR_FINI
}

/// Where `__do_global_dtors_aux` may be, of the gaps between functions.
pub(super) fn searched(
    gaps: impl Iterator<Item = Range<u32>>,
    segments: &[Segment],
) -> impl Iterator<Item = Piece> {
    let code = |gap: Range<u32>| {
        segments.iter().filter_map(move |segment| {
            let offset = segment.offset.max(gap.start.into());
            let size = segment.end().min(gap.end.into()).checked_sub(offset)?;
            (size >= MIN_GAP).then(|| Piece {
                offset,
                size: size.min(SEARCHED_OF_GAP),
            })
        })
    };
    let gaps = gaps.filter(|gap| u64::from(gap.end - gap.start) >= MIN_GAP);
    gaps.flat_map(code).take(MAX_GAPS)
}

/// The rows of `__do_global_dtors_aux`, if it is here: it begins by testing the byte that it sets in
/// the end.
///
/// ```text
/// endbr64                      CFA = sp + 8     perhaps
/// cmpb $0, completed(%rip)     CFA = sp + 8
/// jne done                     CFA = sp + 8
/// push %rbp                    CFA = sp + 8
/// …                            CFA = sp + 16    rbp is saved at CFA - 16
/// movb $1, completed(%rip)     CFA = sp + 16
/// pop %rbp                     CFA = sp + 16
/// ret                          CFA = sp + 8     perhaps padding after it
/// done: ret                    CFA = sp + 8
/// ```
pub(super) fn exit_code(code: &[u8]) -> Vec<KnownRow> {
    let rows = (0..code.len()).find_map(|at| rows_at(code, at));
    rows.map(Vec::from).unwrap_or_default()
}

/// The same, if its first comparison is there.
fn rows_at(code: &[u8], at: usize) -> Option<[KnownRow; 3]> {
    let completed = operand(code, at, CMPB, 0)?;
    let jump = at + BYTE_OPERATION;
    let [JNE, to_done, PUSH_RBP] = *code.get(jump..)?.first_chunk()? else {
        return None;
    };
    let pushed = jump + 3;
    let done = jump + 2 + usize::from(to_done);
    let set = (pushed..done).find(|&set| operand(code, set, MOVB, 1) == Some(completed))?;
    let pop = set + BYTE_OPERATION;
    if !code[pop..].starts_with(POP_RET) {
        return None;
    }
    let is_marked = code[..at].ends_with(ENDBR64);
    let start = at - if is_marked { ENDBR64.len() } else { 0 };
    let saved = Rule {
        fp: fp::AT_CFA,
        fp_offset: -16,
        ..sp(16)
    };
    let (start, pushed, popped) = (start as u64, pushed as u64, (pop + 1) as u64);
    Some([
        (start, pushed, sp(8)),
        (pushed, popped, saved),
        (popped, done as u64 + 1, sp(8)),
    ])
}

/// Where, from the beginning of the code, the byte is on which such an instruction works, if it is
/// here and has this value in it.
fn operand(code: &[u8], at: usize, operation: [u8; 2], value: u8) -> Option<i64> {
    let [first, second, place @ .., last] = *code.get(at..)?.first_chunk::<BYTE_OPERATION>()?;
    let behind = (at + BYTE_OPERATION) as i64;
    ([first, second] == operation && last == value)
        .then(|| behind + i64::from(i32::from_le_bytes(place)))
}
