//! What blocks refer to by number: names, code, stacks, series. Each is kept once a day.
//!
//! A row has a checksum; one that it does not fit is as if it were not there.

use std::fmt::Debug;
use std::hash::Hash;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::profile::{FrameKind, MappingKind, Unit};

/// A row that is looked up by what it holds when written, and by its number when read.
pub(super) trait Interned: Clone + Debug + Eq + Hash + Serialize {
    /// The table.
    const TABLE: &str;
    /// Its columns, between `id` and `crc`.
    const COLUMNS: &str;
    /// How many there are.
    const WIDTH: usize;
    /// How many rows the writer remembers.
    const REMEMBERED: usize = 1 << 16;

    /// One value per column.
    fn values(&self) -> Vec<Value>;

    /// From the columns, the first of which is `id`.
    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self>;
}

/// The number of a row, which is added where it is not there.
pub(super) fn intern<T: Interned>(db: &Connection, row: &T) -> rusqlite::Result<u32> {
    let (table, columns) = (T::TABLE, T::COLUMNS);
    let places = vec!["?"; T::WIDTH].join(", ");
    let find = format!("SELECT id FROM {table} WHERE ({columns}) = ({places})");
    let mut values = row.values();
    let mut find = db.prepare_cached(&find)?;
    let found = find.query_row(params_from_iter(&values), |row| row.get(0));
    if let Some(id) = found.optional()? {
        return Ok(id);
    }
    values.push(Value::Integer(checksum(row).into()));
    let insert = format!("INSERT INTO {table} ({columns}, crc) VALUES ({places}, ?) RETURNING id");
    let mut insert = db.prepare_cached(&insert)?;
    insert.query_row(params_from_iter(&values), |row| row.get(0))
}

/// The row of a number; `None` where there is none or its checksum is wrong.
pub(super) fn find<T: Interned>(db: &Connection, id: u32) -> rusqlite::Result<Option<T>> {
    let (table, columns) = (T::TABLE, T::COLUMNS);
    let sql = format!("SELECT id, {columns}, crc FROM {table} WHERE id = ?");
    let mut select = db.prepare_cached(&sql)?;
    let found = select.query_row([id], |row| {
        let crc: u32 = row.get(T::WIDTH + 1)?;
        let found = T::from_row(row)?;
        Ok((checksum(&found) == crc).then_some(found))
    });
    Ok(found.optional()?.flatten())
}

/// CRC-32 of the postcard of a row.
fn checksum<T: Interned>(row: &T) -> u32 {
    let bytes =
        postcard::to_stdvec(row).expect("numbers, strings and lists of them can be written");
    crc32fast::hash(&bytes)
}

/// What long rows are indexed by, rather than by all that they hold: the beginning of their SHA-256, so that
/// no program can choose names that are slow to look up.
fn hash(bytes: &[u8]) -> i64 {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let (beginning, _) = digest
        .split_first_chunk()
        .expect("a digest has eight bytes");
    i64::from_le_bytes(*beginning)
}

/// Any name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Text(pub(super) String);

impl Interned for Text {
    const TABLE: &str = "strings";
    const COLUMNS: &str = "hash, text";
    const WIDTH: usize = 2;
    const REMEMBERED: usize = 1 << 14;

    fn values(&self) -> Vec<Value> {
        vec![hash(self.0.as_bytes()).into(), self.0.clone().into()]
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self(row.get(2)?))
    }
}

/// A [`Mapping`](crate::Mapping).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct MappingRow {
    pub(super) name: u32,
    pub(super) build_id: Vec<u8>,
    pub(super) kind: u8,
    pub(super) size_bytes: u64,
}

impl Interned for MappingRow {
    const TABLE: &str = "mappings";
    const COLUMNS: &str = "name, build_id, kind, size_bytes";
    const WIDTH: usize = 4;

    fn values(&self) -> Vec<Value> {
        vec![
            i64::from(self.name).into(),
            self.build_id.clone().into(),
            i64::from(self.kind).into(),
            self.size_bytes.cast_signed().into(),
        ]
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(1)?,
            build_id: row.get(2)?,
            kind: row.get(3)?,
            size_bytes: row.get::<_, i64>(4)?.cast_unsigned(),
        })
    }
}

/// A [`Function`](crate::Function); a file of 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct FunctionRow {
    pub(super) name: u32,
    pub(super) system_name: u32,
    pub(super) file: u32,
    pub(super) start_line: u32,
}

impl Interned for FunctionRow {
    const TABLE: &str = "functions";
    const COLUMNS: &str = "name, system_name, file, start_line";
    const WIDTH: usize = 4;

    fn values(&self) -> Vec<Value> {
        [self.name, self.system_name, self.file, self.start_line]
            .map(|value| i64::from(value).into())
            .to_vec()
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(1)?,
            system_name: row.get(2)?,
            file: row.get(3)?,
            start_line: row.get(4)?,
        })
    }
}

/// A [`Frame`](crate::Frame); a mapping of 0 is none. Lines are (function, line), innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct FrameRow {
    pub(super) mapping: u32,
    pub(super) address: u64,
    pub(super) kind: u8,
    pub(super) lines: Vec<(u32, u32)>,
}

impl Interned for FrameRow {
    const TABLE: &str = "frames";
    const COLUMNS: &str = "mapping, address, kind, lines";
    const WIDTH: usize = 4;

    fn values(&self) -> Vec<Value> {
        let lines = postcard::to_stdvec(&self.lines).expect("numbers can be written");
        vec![
            i64::from(self.mapping).into(),
            self.address.cast_signed().into(),
            i64::from(self.kind).into(),
            lines.into(),
        ]
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let lines: Vec<u8> = row.get(4)?;
        Ok(Self {
            mapping: row.get(1)?,
            address: row.get::<_, i64>(2)?.cast_unsigned(),
            kind: row.get(3)?,
            lines: from_postcard(4, &lines)?,
        })
    }
}

/// A [`Stack`](crate::Stack) as the frames from the root on.
///
/// Rather than a row for each frame with its caller: most new stacks leave those that are known early, and
/// then take a tenth of the bytes, and of the look-ups of whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct StackRow {
    pub(super) frames: Vec<u32>,
}

impl Interned for StackRow {
    const TABLE: &str = "stacks";
    const COLUMNS: &str = "hash, frames";
    const WIDTH: usize = 2;

    fn values(&self) -> Vec<Value> {
        let frames = postcard::to_stdvec(&self.frames).expect("numbers can be written");
        vec![hash(&frames).into(), frames.into()]
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let frames: Vec<u8> = row.get(2)?;
        Ok(Self {
            frames: from_postcard(2, &frames)?,
        })
    }
}

/// Who was sampled, but for the numbers of process and thread; a control group of 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct SeriesRow {
    pub(super) host: u32,
    pub(super) process: u32,
    pub(super) cgroup: u32,
}

impl Interned for SeriesRow {
    const TABLE: &str = "series";
    const COLUMNS: &str = "host, process, cgroup";
    const WIDTH: usize = 3;

    fn values(&self) -> Vec<Value> {
        [self.host, self.process, self.cgroup]
            .map(|value| i64::from(value).into())
            .to_vec()
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            host: row.get(1)?,
            process: row.get(2)?,
            cgroup: row.get(3)?,
        })
    }
}

/// A [`SampleType`](crate::SampleType).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct TypeRow {
    pub(super) name: u32,
    pub(super) unit: u8,
}

impl Interned for TypeRow {
    const TABLE: &str = "types";
    const COLUMNS: &str = "name, unit";
    const WIDTH: usize = 2;

    fn values(&self) -> Vec<Value> {
        vec![i64::from(self.name).into(), i64::from(self.unit).into()]
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(1)?,
            unit: row.get(2)?,
        })
    }
}

/// How windows were recorded, which is the same for most of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Recording {
    pub(super) title: u32,
    pub(super) command: u32,
    pub(super) host: u32,
    pub(super) event: u32,
    pub(super) slice_ns: u64,
    pub(super) types: Vec<u32>,
    pub(super) folded_types: Vec<usize>,
    /// The type of what passes, and how much of it.
    pub(super) period: Option<(u32, u64)>,
    pub(super) by_thread: bool,
    pub(super) short_names: bool,
}

impl Interned for Recording {
    const TABLE: &str = "recordings";
    const COLUMNS: &str = "body";
    const WIDTH: usize = 1;

    fn values(&self) -> Vec<Value> {
        let body = postcard::to_stdvec(self).expect("numbers can be written");
        vec![Value::Blob(body)]
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let body: Vec<u8> = row.get(1)?;
        from_postcard(1, &body)
    }
}

fn from_postcard<'a, T: Deserialize<'a>>(column: usize, bytes: &'a [u8]) -> rusqlite::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| {
        let kind = rusqlite::types::Type::Blob;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })
}

/// Every one of a few values and the number that the file has for it, which never changes.
macro_rules! numbers {
    ($of:ident, $to:ident, $from:ident: $($variant:ident = $number:literal),* $(,)?) => {
        pub(super) const fn $to(value: $of) -> u8 {
            match value {
                $($of::$variant => $number,)*
            }
        }

        pub(super) const fn $from(number: u8) -> Option<$of> {
            match number {
                $($number => Some($of::$variant),)*
                _ => None,
            }
        }
    };
}

pub(super) use numbers;

numbers!(Unit, unit_number, unit: Count = 0, Nanoseconds = 1, Bytes = 2);
numbers!(FrameKind, frame_kind_number, frame_kind: User = 0, Kernel = 1, Synthetic = 2);
numbers!(MappingKind, mapping_kind_number, mapping_kind: File = 0, Vdso = 1, Kernel = 2, Jit = 3);
