//! Tables on disk, a file per build id, so that a file is read once and not once per recording.
//!
//! The format is drawn in docs/design/unwind-tables.md. A cached table with anything wrong is as
//! good as none: the table is built again. The checksum finds accidents; against other users the
//! folder is closed, and a table is checked so far that a wrong one gives wrong stacks at most.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::PathBuf,
};

use abi::unwind::Rule;
use atomic_write_file::AtomicWriteFile;

use super::{
    rows::{Row, Rows},
    rules::{MAX_RULES, RuleSet},
};

const MAGIC: &[u8; 8] = b"timesink";
/// Rises with every change of the layout or of what rules mean.
const VERSION: u32 = 2;
/// Magic, version and checksum; the checksum is of all that follows.
const PREFIX_BYTES: usize = 16;
const RULE_BYTES: usize = size_of::<Rule>();
/// The offset of a row, and its rule's index.
const ROW_BYTES: usize = 4 + 2;
/// What all tables of a folder may take together; the oldest make room.
const MAX_FOLDER_BYTES: u64 = 512 << 20;
/// The longest build id; linkers write 8 to 32 bytes.
const MAX_BUILD_ID_BYTES: usize = 64;
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
    folder: PathBuf,
}

impl Cache {
    /// The cache in a folder that may not be there yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Cache { folder }
    }

    /// The table of a file, where one is stored and nothing is wrong with it.
    #[must_use]
    pub fn load(&self, key: Key<'_>) -> Option<Rows> {
        self.is_own().ok()?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.path(key)?)
            .ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return None;
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
        decode(key, &bytes)
    }

    /// Stores the table of a file, whole or not at all. A file without a usable build id is not
    /// stored.
    ///
    /// # Errors
    /// The folder or the file in it cannot be written.
    pub fn store(&self, key: Key<'_>, rows: &Rows) -> io::Result<()> {
        let Some(path) = self.path(key) else {
            return Ok(());
        };
        if !fs::exists(&self.folder)? {
            let mut folder = DirBuilder::new();
            folder.recursive(true).mode(0o700).create(&self.folder)?;
        }
        self.is_own()?;
        let bytes = encode(key, rows);
        self.make_room(bytes.len() as u64)?;
        let mut file = AtomicWriteFile::open(path)?;
        file.write_all(&bytes)?;
        file.commit()
    }

    /// A folder that somebody else made, or may write to, is not used.
    fn is_own(&self) -> io::Result<()> {
        let found = fs::symlink_metadata(&self.folder)?;
        // SAFETY: the call has no preconditions.
        let own = found.uid() == unsafe { libc::geteuid() };
        if found.is_dir() && own && found.mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(io::ErrorKind::PermissionDenied.into())
    }

    /// Removes the oldest tables until so many bytes more keep within the bound.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut tables = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let data = entry.metadata()?;
            tables.push((data.modified()?, data.len(), entry.path()));
        }
        tables.sort();
        let mut total = bytes + tables.iter().map(|(_, length, _)| length).sum::<u64>();
        for (_, length, path) in tables {
            if total <= MAX_FOLDER_BYTES {
                break;
            }
            fs::remove_file(path)?;
            total -= length;
        }
        Ok(())
    }

    fn path(&self, key: Key<'_>) -> Option<PathBuf> {
        if !(1..=MAX_BUILD_ID_BYTES).contains(&key.build_id.len()) {
            return None;
        }
        let hex: String = key
            .build_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Some(self.folder.join(format!("{hex}.unwind")))
    }
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
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + body.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.append(&mut body);
    bytes
}

/// The table in the bytes of a file of the cache; `None` where anything is wrong with them or they
/// are another file's.
#[must_use]
pub fn decode(key: Key<'_>, bytes: &[u8]) -> Option<Rows> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (version, rest) = take_u32(rest)?;
    let (checksum, body) = take_u32(rest)?;
    if magic != MAGIC || version != VERSION || checksum != crc32fast::hash(body) {
        return None;
    }
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
