//! Code that no function's description covers and that is known by its bytes: procedure linkage
//! tables, which some linkers do not describe, and the code to which signal handlers return.

use abi::unwind::{Rule, cfa, dwarf, table::rule_number};
use object::read::ReadRef;

use super::{
    elf::{Parts, Plt, Segment},
    rules::RuleSet,
};

/// `mov $15, %rax; syscall`: `rt_sigreturn`, as C libraries write it.
const SIGNAL_RETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
/// The most code that is searched for it. A C library is less, and so is a program that has one in
/// it and no descriptions.
pub(crate) const MAX_SEARCHED_BYTES: u64 = 32 << 20;
/// More such places than any file has.
const MAX_SIGNAL_RETURNS: usize = 64;
/// The size of an entry of a procedure linkage table.
const PLT_ENTRY: u64 = 16;
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

/// Rules for code that may have no description, in the order of the file.
pub(super) fn patches<'data, R: ReadRef<'data>>(
    data: R,
    parts: &Parts<'_>,
    has_signal: bool,
    rules: &mut RuleSet,
) -> Vec<Patch> {
    let mut patches = Vec::new();
    for plt in &parts.plts {
        let is_code = |segment: &Segment| {
            segment.offset <= plt.offset && plt.size <= segment.end().saturating_sub(plt.offset)
        };
        if parts.segments.iter().any(is_code) {
            add_plt(&mut patches, data, plt, rules);
        }
    }
    if !has_signal {
        add_signal_returns(&mut patches, data, &parts.segments);
    }
    patches.sort_by_key(|patch| patch.start);
    patches
}

/// The rows of a procedure linkage table, by its first bytes.
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
fn add_plt<'data, R: ReadRef<'data>>(
    patches: &mut Vec<Patch>,
    data: R,
    plt: &Plt,
    rules: &mut RuleSet,
) {
    let read = |offset, size| data.read_bytes_at(plt.offset + offset, size).unwrap_or(&[]);
    let mut add = |start: u64, end: u64, rule: Rule| {
        if let Some(rule) = rules.intern(rule) {
            patches.push(Patch {
                start: (plt.offset + start) as u32,
                end: (plt.offset + end.min(plt.size)) as u32,
                rule,
            });
        }
    };
    match read(0, PLT_ENTRY.min(plt.size)) {
        [0xff, 0x35, ..] if plt.size >= 2 * PLT_ENTRY => {
            let Some(pushed_from) = pushed_from(read(PLT_ENTRY, PLT_ENTRY)) else {
                return;
            };
            let sp = dwarf::STACK_POINTER;
            let entry = Rule {
                cfa: cfa::PLT,
                cfa_add: pushed_from,
                ..Rule::register(sp, 8)
            };
            add(0, 6, Rule::register(sp, 16));
            add(6, PLT_ENTRY, Rule::register(sp, 24));
            add(PLT_ENTRY, plt.size, entry);
        }
        // `jmp *function`, or `endbr64` before it.
        [0xff, 0x25, ..] | [0xf3, 0x0f, 0x1e, 0xfa, ..] => {
            add(0, plt.size, Rule::register(dwarf::STACK_POINTER, 8));
        }
        _ => {}
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

fn add_signal_returns<'data, R: ReadRef<'data>>(
    patches: &mut Vec<Patch>,
    data: R,
    segments: &[Segment],
) {
    let code_bytes: u64 = segments.iter().map(|segment| segment.size).sum();
    if code_bytes > MAX_SEARCHED_BYTES {
        return;
    }
    for segment in segments {
        let code = data.read_bytes_at(segment.offset, segment.size);
        let places = code
            .unwrap_or(&[])
            .windows(SIGNAL_RETURN.len())
            .enumerate()
            .filter(|(_, window)| *window == SIGNAL_RETURN)
            .take(MAX_SIGNAL_RETURNS);
        for (place, _) in places {
            let start = segment.offset + place as u64;
            patches.push(Patch {
                // A handler's return address is the first byte, and is looked up less one.
                start: start.saturating_sub(1).max(segment.offset) as u32,
                end: (start + SIGNAL_RETURN.len() as u64) as u32,
                rule: rule_number::SIGNAL,
            });
        }
    }
}
