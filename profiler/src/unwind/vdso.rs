//! The rows of the vdso. arm64's kernel builds it without call frame information, so that its
//! functions are read: they are few, and most of them leave the stack and the link register alone.

use std::collections::BTreeMap;

use abi::unwind::{Machine, Rule, cfa, fp, table::rule_number};
use object::{Endianness, Object, ObjectSymbol, SymbolKind, read::elf::ElfFile64};

use super::{
    elf::{Parts, Segment},
    gaps,
    rows::{self, Counts, Error, FileRows, Row, Rows},
    rules::RuleSet,
};

/// `ret`
const RETURN: u32 = 0xd65f_03c0;
/// Tells an instruction on the pair of `x29` and `x30` from others, whatever its offset is.
const PAIR_MASK: u32 = 0xffc0_7fff;
/// `stp x29, x30, [sp, #-n]!`
const PUSH_PAIR: u32 = 0xa980_7bfd;
/// `ldp x29, x30, [sp], #n`
const POP_PAIR: u32 = 0xa8c0_7bfd;
/// Tells `sub sp, sp, #n` from others.
const SUB_SP_MASK: u32 = 0xff80_03ff;
const SUB_SP: u32 = 0xd100_03ff;

/// Reads the rows of a machine's vdso.
///
/// # Errors
/// As [`rows::read`].
pub fn read(machine: &Machine, image: &[u8]) -> Result<FileRows, Error> {
    let found = rows::read(machine, image)?;
    if !machine.has_link || found != FileRows::NoCfi {
        return Ok(found);
    }
    let parts = Parts::read(machine, image)?;
    let elf = ElfFile64::<Endianness>::parse(image).map_err(|_damage| Error::Headers)?;
    let mut table = Table::new(machine);
    for segment in &parts.segments {
        table.hold(segment.offset as u32, Rule::link(machine));
        table.hold(segment.end() as u32, Rule::NONE);
        for symbol in elf.dynamic_symbols() {
            if symbol.kind() == SymbolKind::Text
                && let Some((offset, code)) = code_of(image, segment, &symbol)
            {
                table.add_function(offset, code);
            }
        }
    }
    for signal in gaps::signal_returns(machine, image, &parts.segments) {
        table.starts.insert(signal.start, rule_number::SIGNAL);
        table.hold(signal.end, Rule::link(machine));
    }
    Ok(FileRows::Rows(table.into_rows(), Counts::default()))
}

/// A function's file offset and its instructions.
fn code_of<'a>(
    image: &'a [u8],
    segment: &Segment,
    symbol: &impl ObjectSymbol<'a>,
) -> Option<(u32, &'a [[u8; 4]])> {
    let offset = symbol.address().checked_sub(segment.address)? + segment.offset;
    let end = offset.checked_add(symbol.size())?;
    if end > segment.end() {
        return None;
    }
    let code = image.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)?;
    Some((offset as u32, code.as_chunks().0))
}

/// Rows in the making.
struct Table<'a> {
    machine: &'a Machine,
    rules: RuleSet,
    /// From which file offset on which rule holds.
    starts: BTreeMap<u32, u16>,
}

impl<'a> Table<'a> {
    fn new(machine: &'a Machine) -> Self {
        Table {
            machine,
            rules: RuleSet::new(machine),
            starts: BTreeMap::new(),
        }
    }

    fn hold(&mut self, offset: u32, rule: Rule) {
        if let Some(rule) = self.rules.intern(rule) {
            self.starts.insert(offset, rule);
        }
    }

    /// Adds what a function does to its frame: behind the instruction that pushes `x29` and `x30`
    /// they are in memory, behind the one that pops them they are not, and what comes behind a
    /// return is reached from within.
    fn add_function(&mut self, offset: u32, code: &[[u8; 4]]) {
        let words = code.iter().map(|word| u32::from_le_bytes(*word));
        let link = Rule::link(self.machine);
        let mut within = link;
        self.hold(offset, link);
        if words.clone().any(|word| word & SUB_SP_MASK == SUB_SP) {
            self.starts.insert(offset, rule_number::FRAME_POINTER);
        } else {
            for (word, behind) in words.zip((offset + 4..).step_by(4)) {
                if word & PAIR_MASK == PUSH_PAIR {
                    within = self.pushed(word);
                    self.hold(behind, within);
                } else if word & PAIR_MASK == POP_PAIR {
                    self.hold(behind, link);
                } else if word == RETURN {
                    self.hold(behind, within);
                }
            }
        }
        self.hold(offset + 4 * code.len() as u32, link);
    }

    /// `CFA = sp + n; fp' = [CFA - n]; pc' = [CFA - n + 8]`
    fn pushed(&self, push: u32) -> Rule {
        // Seven bits with a sign, in words.
        let bytes = -((push << 10) as i32 >> 25) * 8;
        Rule {
            cfa: cfa::REGISTER,
            fp: fp::AT_CFA,
            fp_offset: -bytes,
            ra_offset: 8 - bytes,
            ..Rule::register(self.machine.stack_pointer, bytes)
        }
    }

    fn into_rows(self) -> Rows {
        let starts = self.starts.into_iter();
        let mut rows: Vec<Row> = starts.map(|(start, rule)| Row { start, rule }).collect();
        rows.dedup_by_key(|row| row.rule);
        Rows {
            rows,
            rules: self.rules.into_rules(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that pushes its frame record, returns early, and goes on behind that: each
    /// instruction's rule is what the ones before it did.
    #[test]
    fn a_function_is_read() {
        let code: [u32; 8] = [
            0xd503_233f, // paciasp
            0xa9b8_7bfd, // stp x29, x30, [sp, #-128]!
            0x9100_03fd, // mov x29, sp
            0xa8c8_7bfd, // ldp x29, x30, [sp], #128
            RETURN,
            0x9101_e3e2, // add x2, sp, #0x78
            0xa8c8_7bfd,
            RETURN,
        ];
        let machine = Machine::AARCH64;
        let mut table = Table::new(&machine);
        table.add_function(0x40, &code.map(u32::to_le_bytes));
        let Rows { rows, rules } = table.into_rows();
        let link = Rule::link(&machine);
        let pushed = Rule {
            fp: fp::AT_CFA,
            fp_offset: -128,
            ra_offset: -120,
            ..Rule::register(31, 128)
        };
        let said: Vec<_> = rows
            .iter()
            .map(|row| (row.start, rules[usize::from(row.rule)]))
            .collect();
        let expected = [
            (0x40, link),
            (0x48, pushed),
            (0x50, link),
            (0x54, pushed),
            (0x5c, link),
        ];
        assert_eq!(said, expected);
    }

    /// A function that moves the stack pointer in another way is left to its frame pointer.
    #[test]
    fn another_way_is_not_read() {
        let machine = Machine::AARCH64;
        let mut table = Table::new(&machine);
        // sub sp, sp, #32
        table.add_function(0x40, &[0xd100_83ff_u32, RETURN].map(u32::to_le_bytes));
        let rows = table.into_rows().rows;
        let rules: Vec<u16> = rows.iter().map(|row| row.rule).collect();
        assert_eq!(rules[0], rule_number::FRAME_POINTER);
    }
}
