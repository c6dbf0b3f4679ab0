//! From an ELF file to rows: for each place in its code, how to get from there to the caller.
//!
//! The file may be hostile: whatever its bytes are, the work, the memory and the rows are bounded,
//! and what is damaged costs no more than itself.

use abi::unwind::{Machine, Rule};
use object::read::ReadRef;

use super::{
    elf::{Cfi, Parts},
    entries::Entries,
    gaps,
    spans::{self, Evaluated, Evaluator},
};

/// From this file offset on, up to the next row's, this rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// In bytes from the beginning of the file.
    pub start: u32,
    /// The index of a rule in the table's own list, which begins with those of
    /// [`rule_number`](abi::unwind::table::rule_number).
    pub rule: u16,
}

/// The unwind table of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Ascending. Neighbours differ in their rules.
    pub rows: Vec<Row>,
    /// Each rule once.
    pub rules: Vec<Rule>,
}

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileRows {
    /// Rows, which say of some code that nothing is known.
    Rows(Rows, Counts),
    /// The file has no call frame information at all.
    NoCfi,
}

/// What the making of a table met with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Descriptions of functions that were used.
    pub functions: u64,
    /// Rows that they gave, before equal neighbours were put together.
    pub rows: u64,
    /// Descriptions that could not be read, or not to their end.
    pub damaged: u64,
    /// Descriptions of addresses that no code of the file has; linkers leave those of functions
    /// that they dropped.
    pub outside: u64,
    /// Descriptions whose code is described by an earlier one as well, which is taken.
    pub overlapping: u64,
    /// Descriptions that were left out because the table was large enough.
    pub beyond_bounds: u64,
    /// Rows that say less than the description.
    pub unsupported: Unsupported,
}

/// Rows that say less than the description, or are of use in some frames only, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsupported {
    /// The CFA's expression is not understood.
    pub cfa_expression: u64,
    /// The CFA's register or offset is out of range.
    pub cfa_range: u64,
    /// The return address is where no rule can say.
    pub return_address: u64,
    /// The caller's stack pointer is not the CFA, as in `longjmp`.
    pub stack_pointer: u64,
    /// The caller's frame pointer is where no rule can say, and so is not known.
    pub frame_pointer: u64,
    /// All numbers for rules are given.
    pub rules_full: u64,
    /// The CFA needs a register that only a leaf's frame has. These rows are whole.
    pub leaf_only: u64,
}

/// Why a file has no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin like one.
    #[error("failed to read the file as a 64-bit ELF file")]
    NotElf,
    /// It is for another machine.
    #[error("failed to use an ELF file of another machine")]
    Foreign,
    /// Headers lie outside the file.
    #[error("failed to read the headers, which lie outside the file")]
    Headers,
    /// The section lies outside the file.
    #[error("failed to read the call frame information, which lies outside the file")]
    Cfi,
    /// A hostile file; no honest one comes near.
    #[error("failed to accept call frame information of more than 256 MiB")]
    TooLarge,
}

/// Reads the rows of a file for a machine: a slice of its bytes, or a reader with bounds of its own.
///
/// # Errors
/// The file is none that could have rows, or its headers are damaged.
pub fn read<'data, R: ReadRef<'data>>(machine: &Machine, data: R) -> Result<FileRows, Error> {
    let parts = Parts::read(machine, data)?;
    let evaluated = match parts.cfi {
        Cfi::None => return Ok(FileRows::NoCfi),
        Cfi::EhFrame { bytes, address } => {
            let most_rows = spans::most_rows(bytes.len());
            evaluate(machine, &parts, most_rows, || {
                Entries::of_eh_frame(machine, bytes, address)
            })
        }
        Cfi::DebugFrame { bytes } => {
            let most_rows = spans::most_rows(bytes.len());
            evaluate(machine, &parts, most_rows, || {
                Entries::of_debug_frame(machine, bytes)
            })
        }
    };
    let Evaluated {
        mut spans,
        mut rules,
        mut counts,
        has_signal,
        ..
    } = evaluated;
    if spans.list.is_empty() && counts == Counts::default() {
        return Ok(FileRows::NoCfi);
    }
    spans.sort();
    let gaps = spans.gaps();
    let patches = gaps::patches(machine, data, &parts, has_signal, gaps, &mut rules);
    let rows = spans::put_together(&spans, &patches, &mut counts);
    let rules = rules.into_rules();
    Ok(FileRows::Rows(Rows { rows, rules }, counts))
}

/// Evaluates all descriptions, and once more where a frame is found by the followed register: then
/// every rule of the file has to tell where that is. Few files have such frames, and in the others the rules would be
/// many more for nothing.
fn evaluate<'data, Section>(
    machine: &Machine,
    parts: &Parts<'_>,
    most_rows: usize,
    entries: impl Fn() -> Entries<'data, Section>,
) -> Evaluated
where
    Section: gimli::UnwindSection<super::entries::Reader<'data>>,
{
    let evaluated = evaluate_once(machine, parts, most_rows, entries(), false);
    if evaluated.needs_followed {
        drop(evaluated);
        evaluate_once(machine, parts, most_rows, entries(), true)
    } else {
        evaluated
    }
}

fn evaluate_once<'data, Section>(
    machine: &Machine,
    parts: &Parts<'_>,
    most_rows: usize,
    mut entries: Entries<'data, Section>,
    follows: bool,
) -> Evaluated
where
    Section: gimli::UnwindSection<super::entries::Reader<'data>>,
{
    let mut evaluator = Evaluator::new(machine, &parts.segments, follows, most_rows);
    while let Some(fde) = entries.next_fde() {
        match fde {
            Ok(fde) => evaluator.add(&entries.section, &entries.bases, &fde),
            Err(_damaged) => evaluator.evaluated.counts.damaged += 1,
        }
    }
    evaluator.evaluated
}

#[cfg(test)]
mod tests;
