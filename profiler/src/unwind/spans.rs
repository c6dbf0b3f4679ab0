//! The rows of each function, and the functions put together in the order of the file.
//!
//! Functions are sorted and not rows, of which there are ten times as many.

use std::ops::Range;

use abi::unwind::{Machine, table::rule_number};
use gimli::{
    BaseAddresses, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection,
    UnwindTableRow,
};

use super::{
    elf::Segment,
    entries::{Damaged, Fde, Reader},
    gaps::Patch,
    rows::{Counts, Row},
    rules::RuleSet,
    translate::Translator,
};

/// The most rows of one file: five times those of the largest compiler.
const MAX_ROWS: usize = 8 << 20;
/// Compilers take five bytes of call frame information and more for each row.
const MIN_ROW_BYTES: usize = 4;
/// So many rows a file may have however little describes them.
const FEW_ROWS: usize = 4096;
/// The most instructions, in bytes, that are evaluated for one file. Those that functions share
/// count each time, as they take their time each time.
const MAX_WORK_BYTES: u64 = 128 << 20;

/// The most rows of a file with so many bytes of call frame information.
pub(crate) fn most_rows(cfi_bytes: usize) -> usize {
    (cfi_bytes / MIN_ROW_BYTES).clamp(FEW_ROWS, MAX_ROWS)
}

/// Room for the rules of a function while it is evaluated: all general registers and some more,
/// and states that are remembered within others.
#[derive(Debug)]
struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 32];
    type Stack = [UnwindTableRow<usize, Self>; 12];
}

/// One function's place in the file, and its rows' in [`Spans::rows`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
    first_row: u32,
    rows: u32,
}

/// Functions and their rows, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Spans {
    pub(super) list: Vec<Span>,
    rows: Vec<Row>,
}

impl Spans {
    /// Puts the functions in the order of the file. Those with one start stay in the order of the
    /// section, so that the first of them is taken.
    pub(super) fn sort(&mut self) {
        self.list.sort_by_key(|span| span.start);
    }

    /// What is before, between and behind the sorted functions.
    pub(super) fn gaps(&self) -> impl Iterator<Item = Range<u32>> {
        let mut covered = 0;
        let ends = self.list.iter().map(|span| (span.start, span.end));
        ends.chain([(u32::MAX, u32::MAX)])
            .map(move |(next, next_end)| {
                let start = covered;
                covered = covered.max(next_end);
                start..next.max(start)
            })
    }
}

/// What the evaluation gives.
#[derive(Debug, Default)]
pub(super) struct Evaluated {
    pub(super) spans: Spans,
    pub(super) rules: RuleSet,
    pub(super) counts: Counts,
    /// Whether a function is described to which signal handlers return.
    pub(super) has_signal: bool,
    /// Whether a frame is found by the followed register.
    pub(super) needs_followed: bool,
}

/// Evaluates one function after the other.
pub(super) struct Evaluator<'a> {
    pub(super) evaluated: Evaluated,
    machine: &'a Machine,
    segments: &'a [Segment],
    follows: bool,
    most_rows: usize,
    context: Box<UnwindContext<usize, Storage>>,
    work_bytes: u64,
}

/// A function's addresses, all of them in one segment.
struct Place {
    address: u64,
    end_address: u64,
    /// What the address is reduced by to give the file offset.
    bias: u64,
}

impl Place {
    fn offset(&self, address: u64) -> u32 {
        let address = address.clamp(self.address, self.end_address);
        address.wrapping_sub(self.bias) as u32
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(
        machine: &'a Machine,
        segments: &'a [Segment],
        follows: bool,
        most_rows: usize,
    ) -> Self {
        Evaluator {
            evaluated: Evaluated {
                rules: RuleSet::new(machine),
                ..Evaluated::default()
            },
            machine,
            segments,
            follows,
            most_rows,
            context: Box::new(UnwindContext::new_in()),
            work_bytes: 0,
        }
    }

    /// Adds a function, whole or not at all.
    pub(super) fn add<'data, Section: UnwindSection<Reader<'data>>>(
        &mut self,
        section: &Section,
        bases: &BaseAddresses,
        fde: &Fde<'data>,
    ) {
        let Some(place) = self.place(fde.initial_address(), fde.len()) else {
            self.evaluated.counts.outside += 1;
            return;
        };
        self.work_bytes += (fde.entry_len() + fde.cie().entry_len()) as u64;
        let first_row = self.evaluated.spans.rows.len();
        if self.work_bytes > MAX_WORK_BYTES || first_row >= self.most_rows {
            self.evaluated.counts.beyond_bounds += 1;
            return;
        }
        if fde.is_signal_trampoline() {
            self.evaluated.has_signal = true;
            self.push(first_row, place.offset(place.address), rule_number::SIGNAL);
        } else if let Err(Damaged) = self.evaluate(section, bases, fde, &place) {
            self.evaluated.spans.rows.truncate(first_row);
            self.evaluated.counts.damaged += 1;
            return;
        }
        self.evaluated.counts.functions += 1;
        self.evaluated.spans.list.push(Span {
            start: place.offset(place.address),
            end: place.offset(place.end_address),
            first_row: first_row as u32,
            rows: (self.evaluated.spans.rows.len() - first_row) as u32,
        });
    }

    /// A function that the linker dropped may be left in `.debug_frame` at address 0, where a
    /// shared library has its header.
    fn place(&self, address: u64, length: u64) -> Option<Place> {
        let segment = self.segments.iter().find(|segment| {
            address
                .checked_sub(segment.address)
                .is_some_and(|offset| offset < segment.size)
        })?;
        let left = segment.size - (address - segment.address);
        (address > 0 && length > 0).then(|| Place {
            address,
            end_address: address + length.min(left),
            bias: segment.address.wrapping_sub(segment.offset),
        })
    }

    fn evaluate<'data, Section: UnwindSection<Reader<'data>>>(
        &mut self,
        section: &Section,
        bases: &BaseAddresses,
        fde: &Fde<'data>,
        place: &Place,
    ) -> Result<(), Damaged> {
        let Evaluated {
            spans,
            rules,
            counts,
            needs_followed,
            ..
        } = &mut self.evaluated;
        let first_row = spans.rows.len();
        let mut translator = Translator {
            machine: self.machine,
            section,
            encoding: fde.cie().encoding(),
            return_address: fde.cie().return_address_register(),
            unsupported: &mut counts.unsupported,
            follows: self.follows,
        };
        let mut table = fde
            .rows(section, bases, &mut self.context)
            .map_err(|_damage| Damaged)?;
        while let Some(row) = table.next_row().map_err(|_damage| Damaged)? {
            if row.start_address() >= row.end_address() {
                continue;
            }
            if row.start_address() >= place.end_address || spans.rows.len() >= self.most_rows {
                break;
            }
            counts.rows += 1;
            let rule = translator.rule(row);
            *needs_followed |= rule.cfa_register == self.machine.followed;
            let number = rules.intern(rule).unwrap_or_else(|| {
                translator.unsupported.rules_full += 1;
                rule_number::UNSUPPORTED
            });
            push(
                &mut spans.rows,
                first_row,
                place.offset(row.start_address()),
                number,
            );
        }
        Ok(())
    }

    fn push(&mut self, first_row: usize, start: u32, rule: u16) {
        push(&mut self.evaluated.spans.rows, first_row, start, rule);
    }
}

/// More than any padding between functions.
const MIN_GENERATED_BYTES: u32 = 4096;

/// Adds a row behind those from `first_row` on, unless it says what the last of them says, or says
/// nothing where there is none.
fn push(rows: &mut Vec<Row>, first_row: usize, start: u32, rule: u16) {
    let last = rows[first_row..].last();
    if last.map_or(rule_number::NONE, |last| last.rule) != rule {
        rows.push(Row { start, rule });
    }
}

/// The rows of all functions, which are sorted, with rows between the functions: those of
/// `patches`, which are in order, and for the rest that nothing is known.
pub(super) fn put_together(spans: &Spans, patches: &[Patch], counts: &mut Counts) -> Vec<Row> {
    let mut out = Vec::with_capacity(spans.rows.len() + spans.list.len());
    let mut patches = patches.iter().peekable();
    let mut covered = 0;
    for span in &spans.list {
        if span.start < covered {
            counts.overlapping += 1;
        } else {
            fill_gap(&mut out, covered, span.start, &mut patches);
        }
        if span.end > covered {
            add_span(&mut out, &spans.rows, span, covered);
            covered = span.end;
        }
    }
    fill_gap(&mut out, covered, u32::MAX, &mut patches);
    out
}

/// Adds the rows of a span from `covered` on.
fn add_span(out: &mut Vec<Row>, rows: &[Row], span: &Span, covered: u32) {
    let rows = &rows[span.first_row as usize..][..span.rows as usize];
    let in_force = rows.partition_point(|row| row.start <= covered.max(span.start));
    for row in &rows[in_force.saturating_sub(1)..] {
        push(out, 0, row.start.max(covered).max(span.start), row.rule);
    }
}

/// Adds what is between two functions, or before the first and behind the last.
fn fill_gap<'p>(
    out: &mut Vec<Row>,
    start: u32,
    end: u32,
    patches: &mut std::iter::Peekable<impl Iterator<Item = &'p Patch>>,
) {
    let is_between = start > 0 && end < u32::MAX;
    let mut at = start;
    while let Some(patch) = patches.peek() {
        if patch.start >= end {
            break;
        }
        let (from, to) = (patch.start.max(at), patch.end.min(end));
        if from < to {
            if at < from {
                push(out, 0, at, undescribed(is_between, at, from));
            }
            push(out, 0, from, patch.rule);
            at = to;
        }
        if patch.end > end {
            break;
        }
        patches.next();
    }
    if at < end {
        push(out, 0, at, undescribed(is_between, at, end));
    }
}

/// The rule of code that nothing describes. Between two functions, padding has none; so much that
/// it must be code comes from a generator of its own, such as V8's built-in functions in `node`,
/// and those keep frame pointers.
fn undescribed(is_between: bool, start: u32, end: u32) -> u16 {
    if is_between && end - start >= MIN_GENERATED_BYTES {
        rule_number::FRAME_POINTER
    } else {
        rule_number::NONE
    }
}
