//! Tables on disk, a file per build id, so that a file is read once and not once per recording.
//!
//! The format is drawn in docs/design/unwind-tables.md. A cached table with anything wrong is as
//! good as none: the table is built again. A table is checked so far that a wrong one gives wrong
//! stacks at most.

use std::{io, path::PathBuf};

use abi::unwind::Rule;

use super::{
    rows::{Row, Rows},
    rules::{MAX_RULES, RuleSet},
};
use crate::cache::{Folder, hex, seal, unseal};

/// Rises with every change of the layout or of what rules mean.
const VERSION: u32 = 3;
const RULE_BYTES: usize = size_of::<Rule>();
/// The offset of a row, and its rule's index.
const ROW_BYTES: usize = 4 + 2;
/// What all tables of a folder may take together; the oldest make room.
const MAX_FOLDER_BYTES: u64 = 512 << 20;
/// More than the largest table that is built.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// What a cached table belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The file's build id.
    pub build_id: &'a [u8],
    /// The file's size in bytes, since a stripped file keeps its build id.
    pub file_bytes: u64,
}

/// A folder of tables.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Folder,
}

impl Cache {
    /// The cache in a folder that may not be there yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Cache {
            folder: Folder::new(folder, MAX_FOLDER_BYTES, MAX_FILE_BYTES),
        }
    }

    /// The table of a file, where one is stored and nothing is wrong with it.
    #[must_use]
    pub fn load(&self, key: Key<'_>) -> Option<Rows> {
        decode(key, &self.folder.load(&name(key)?)?)
    }

    /// Stores the table of a file, whole or not at all. A file without a usable build id is not
    /// stored.
    ///
    /// # Errors
    /// The folder or the file in it cannot be written.
    pub fn store(&self, key: Key<'_>, rows: &Rows) -> io::Result<()> {
        match name(key) {
            Some(name) => self.folder.store(&name, &encode(key, rows)),
            None => Ok(()),
        }
    }
}

fn name(key: Key<'_>) -> Option<String> {
    Some(format!("{}.unwind", hex(key.build_id)?))
}

/// The bytes of a cached table.
#[must_use]
pub fn encode(key: Key<'_>, table: &Rows) -> Vec<u8> {
    let size = table.rules.len() * RULE_BYTES + table.rows.len() * ROW_BYTES;
    let mut body = Vec::with_capacity(size + 128);
    body.extend(key.file_bytes.to_le_bytes());
    body.extend((key.build_id.len() as u32).to_le_bytes());
    body.extend((table.rules.len() as u32).to_le_bytes());
    body.extend((table.rows.len() as u32).to_le_bytes());
    body.extend(key.build_id);
    for rule in &table.rules {
        body.extend(encode_rule(rule));
    }
    for row in &table.rows {
        body.extend(row.start.to_le_bytes());
    }
    for row in &table.rows {
        body.extend(row.rule.to_le_bytes());
    }
    seal(VERSION, body)
}

/// The table in the bytes of a file of the cache; `None` where anything is wrong with them or they
/// are another file's.
#[must_use]
pub fn decode(key: Key<'_>, bytes: &[u8]) -> Option<Rows> {
    let body = unseal(VERSION, bytes)?;
    let (file_bytes, rest) = body.split_first_chunk()?;
    let (build_id_bytes, rest) = take_u32(rest)?;
    let (rule_count, rest) = take_u32(rest)?;
    let (row_count, rest) = take_u32(rest)?;
    let (build_id, rest) = rest.split_at_checked(build_id_bytes as usize)?;
    if u64::from_le_bytes(*file_bytes) != key.file_bytes || build_id != key.build_id {
        return None;
    }
    let (rules, rest) = rest.split_at_checked(rule_count as usize * RULE_BYTES)?;
    let (starts, numbers) = rest.split_at_checked(row_count as usize * 4)?;
    if numbers.len() != row_count as usize * 2 {
        return None;
    }
    let rules: Option<Vec<Rule>> = rules.chunks_exact(RULE_BYTES).map(decode_rule).collect();
    let table = Rows {
        rows: decode_rows(starts, numbers),
        rules: rules?,
    };
    is_sound(&table).then_some(table)
}

fn decode_rows(starts: &[u8], numbers: &[u8]) -> Vec<Row> {
    let (starts, _) = starts.as_chunks();
    let (numbers, _) = numbers.as_chunks();
    let row = |(start, rule): (&[u8; 4], &[u8; 2])| Row {
        start: u32::from_le_bytes(*start),
        rule: u16::from_le_bytes(*rule),
    };
    starts.iter().zip(numbers).map(row).collect()
}

/// Whether a table could have come from a file: rules in the order of their numbers, and rows that
/// ascend and name them.
fn is_sound(table: &Rows) -> bool {
    let reserved = RuleSet::default();
    table.rules.starts_with(reserved.rules())
        && table.rules.len() <= MAX_RULES
        && table
            .rows
            .iter()
            .all(|row| usize::from(row.rule) < table.rules.len())
        && table.rows.is_sorted_by(|row, next| row.start < next.start)
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

/// The bytes of a rule as [`Rule`] has them in memory, little-endian.
fn encode_rule(rule: &Rule) -> [u8; RULE_BYTES] {
    let mut bytes = [0; RULE_BYTES];
    bytes[..4].copy_from_slice(&[rule.cfa, rule.cfa_register, rule.fp, rule.ra]);
    let numbers = [
        rule.cfa_offset,
        rule.cfa_add,
        rule.fp_offset,
        rule.ra_offset,
        rule.followed_offset,
    ];
    for (place, number) in bytes[4..].chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn decode_rule(bytes: &[u8]) -> Option<Rule> {
    let (&[cfa, cfa_register, fp, ra], rest) = bytes.split_first_chunk()?;
    let (words, _) = rest.as_chunks();
    let &[cfa_offset, cfa_add, fp_offset, ra_offset, followed_offset] = words.first_chunk()?;
    Some(Rule {
        cfa,
        cfa_register,
        fp,
        ra,
        cfa_offset: i32::from_le_bytes(cfa_offset),
        cfa_add: i32::from_le_bytes(cfa_add),
        fp_offset: i32::from_le_bytes(fp_offset),
        ra_offset: i32::from_le_bytes(ra_offset),
        followed_offset: i32::from_le_bytes(followed_offset),
    })
}

#[cfg(test)]
mod tests;
