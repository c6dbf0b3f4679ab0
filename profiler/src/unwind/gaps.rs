//! Code that no function's description covers and that is known by its bytes: procedure linkage
//! tables, which some linkers do not describe, the code to which signal handlers return, and what
//! compilers put around a program.

use std::ops::Range;

use abi::unwind::{Machine, Rule, cfa, table::rule_number};
use object::read::ReadRef;

use super::{
    crt,
    elf::{Parts, Piece, Segment},
    rules::RuleSet,
};

/// `mov $15, %rax; syscall`: x86-64's `rt_sigreturn`, as C libraries write it.
const SYSCALL_15: &[u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
/// `mov x8, #139; svc #0`: AArch64's, as the vdso and C libraries have it.
const SVC_139: &[u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4];
/// The most code that is searched for it. A C library is less, and so is a program that has one in
/// it and no descriptions.
pub(crate) const MAX_SEARCHED_BYTES: u64 = 32 << 20;
/// More such places than any file has.
const MAX_SIGNAL_RETURNS: usize = 64;
/// The size of an entry, and of the header, of a procedure linkage table of x86-64.
const PLT_ENTRY: u64 = 16;
/// The size of the header of one of AArch64.
const LINK_PLT_HEADER: u64 = 32;
/// `push`, the instruction after which an entry has pushed a word, with its operand's 4 bytes.
const PUSH: u8 = 0x68;

/// A rule for code that nothing describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    /// File offsets.
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) rule: u16,
}

/// From where to where in a piece of code which rule holds.
pub(super) type KnownRow = (u64, u64, Rule);

/// Rules for code that may have no description, in the order of the file. `has_signal` says whether
/// the code to which signal handlers return has one.
pub(super) fn patches<'data, R: ReadRef<'data>>(
    machine: &Machine,
    data: R,
    parts: &Parts<'_>,
    has_signal: bool,
    gaps: impl Iterator<Item = Range<u32>>,
    rules: &mut RuleSet,
) -> Vec<Patch> {
    let mut patches = Vec::new();
    let mut add = |piece: &Piece, rows: Vec<KnownRow>| {
        for (start, end, rule) in rows {
            if let Some(rule) = rules.intern(rule) {
                patches.push(Patch {
                    start: (piece.offset + start.min(piece.size)) as u32,
                    end: (piece.offset + end.min(piece.size)) as u32,
                    rule,
                });
            }
        }
    };
    for plt in parts.plts.iter().filter(|plt| is_code(parts, plt)) {
        let rows = if machine.has_link {
            link_plt(machine, data, plt)
        } else {
            pushing_plt(machine, data, plt)
        };
        add(plt, rows);
    }
    if *machine == Machine::X86_64 {
        let bytes = |piece: &Piece| data.read_bytes_at(piece.offset, piece.size).unwrap_or(&[]);
        let init_fini = parts.init_fini.iter();
        let init_fini = init_fini.filter(|piece| crt::may_be_init_or_fini(piece));
        for piece in init_fini.filter(|piece| is_code(parts, piece)) {
            add(piece, crt::init_or_fini(bytes(piece)));
        }
        for piece in crt::searched(gaps, &parts.segments) {
            add(&piece, crt::exit_code(bytes(&piece)));
        }
    }
    if !has_signal {
        patches.extend(signal_returns(machine, data, &parts.segments));
    }
    patches.sort_by_key(|patch| patch.start);
    patches
}

fn is_code(parts: &Parts<'_>, piece: &Piece) -> bool {
    parts.segments.iter().any(|segment| {
        segment.offset <= piece.offset && piece.size <= segment.end().saturating_sub(piece.offset)
    })
}

/// The rows of a procedure linkage table of x86-64, by its first bytes.
///
/// With a header, which is what an entry jumps to after it has pushed a number:
///
/// ```text
///  0  push table      CFA = sp + 16
///  6  jmp *resolver   CFA = sp + 24
/// 16  jmp *function   CFA = sp + 8        each entry
/// 22  push number
/// 27  jmp header      CFA = sp + 16
/// ```
///
/// Without one, entries only jump.
fn pushing_plt<'data, R: ReadRef<'data>>(machine: &Machine, data: R, plt: &Piece) -> Vec<KnownRow> {
    let read = |offset, size| data.read_bytes_at(plt.offset + offset, size).unwrap_or(&[]);
    let sp = |offset| Rule::register(machine.stack_pointer, offset);
    match read(0, PLT_ENTRY.min(plt.size)) {
        [0xff, 0x35, ..] if plt.size >= 2 * PLT_ENTRY => {
            let Some(pushed_from) = pushed_from(read(PLT_ENTRY, PLT_ENTRY)) else {
                return Vec::new();
            };
            let entry = Rule {
                cfa: cfa::PLT,
                cfa_add: pushed_from,
                ..sp(8)
            };
            vec![
                (0, 6, sp(16)),
                (6, PLT_ENTRY, sp(24)),
                (PLT_ENTRY, plt.size, entry),
            ]
        }
        // `jmp *function`, or `endbr64` before it.
        [0xff, 0x25, ..] | [0xf3, 0x0f, 0x1e, 0xfa, ..] => vec![(0, plt.size, sp(8))],
        _ => Vec::new(),
    }
}

/// The rows of a procedure linkage table of AArch64. Entries leave the stack and `x30` alone; the
/// header, which is there where functions are looked up at their first call, begins with a push:
///
/// ```text
///  0  stp x16, x30, [sp, #-16]!   CFA = sp         perhaps `bti c` before it
///  4  …                           CFA = sp + 16    x30 is saved at CFA - 8
/// 32  …                           CFA = sp         each entry
/// ```
fn link_plt<'data, R: ReadRef<'data>>(machine: &Machine, data: R, plt: &Piece) -> Vec<KnownRow> {
    const PUSH_LINK: u32 = 0xa9bf_7bf0;
    let link = Rule::link(machine);
    let first = data.read_bytes_at(plt.offset, LINK_PLT_HEADER.min(plt.size));
    let (words, _) = first.unwrap_or(&[]).as_chunks();
    let is_push = |word: &[u8; 4]| u32::from_le_bytes(*word) == PUSH_LINK;
    match words.iter().take(2).position(is_push) {
        Some(before) => {
            let pushed = 4 * (before as u64 + 1);
            let header = Rule::register(machine.stack_pointer, 16);
            vec![
                (0, pushed, link),
                (pushed, LINK_PLT_HEADER, header),
                (LINK_PLT_HEADER, plt.size, link),
            ]
        }
        None => vec![(0, plt.size, link)],
    }
}

/// How far into an entry its push is done.
fn pushed_from(entry: &[u8]) -> Option<i32> {
    match *entry {
        [0xff, 0x25, _, _, _, _, PUSH, ..] => Some(11),
        [0xf3, 0x0f, 0x1e, 0xfa, PUSH, ..] => Some(9),
        _ => None,
    }
}

/// The places to which signal handlers return.
pub(super) fn signal_returns<'data, R: ReadRef<'data>>(
    machine: &Machine,
    data: R,
    segments: &[Segment],
) -> Vec<Patch> {
    let code_bytes: u64 = segments.iter().map(|segment| segment.size).sum();
    if code_bytes > MAX_SEARCHED_BYTES {
        return Vec::new();
    }
    let instructions = match *machine {
        Machine::AARCH64 => SVC_139,
        _ => SYSCALL_15,
    };
    let mut patches = Vec::new();
    for segment in segments {
        let code = data.read_bytes_at(segment.offset, segment.size);
        let places = code
            .unwrap_or(&[])
            .windows(instructions.len())
            .enumerate()
            .filter(|(_, window)| *window == instructions)
            .take(MAX_SIGNAL_RETURNS);
        for (place, _) in places {
            let start = segment.offset + place as u64;
            patches.push(Patch {
                // A handler's return address is the first byte, and is looked up less one.
                start: start.saturating_sub(1).max(segment.offset) as u32,
                end: (start + instructions.len() as u64) as u32,
                rule: rule_number::SIGNAL,
            });
        }
    }
    patches
}
