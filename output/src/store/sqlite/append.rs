//! A window into its day's file, in one transaction.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior, params};

use super::block::{Block, Point, Totals, Wait, Who};
use super::rows::{
    self, FrameRow, FunctionRow, Interned, MappingRow, Recording, SeriesRow, StackRow, Text,
    TypeRow,
};
use super::scan::{block_checksum, window_checksum};
use crate::profile::{
    FrameId, FunctionId, Labels, MappingId, Profile, SampleType, StackId, StringId,
};

/// Rows that were looked up, so that what recurs from window to window is not asked for again.
#[derive(Debug)]
struct Remembered<T>(HashMap<T, u32>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Interned> Remembered<T> {
    fn intern(&mut self, db: &Connection, row: T) -> rusqlite::Result<u32> {
        if let Some(&id) = self.0.get(&row) {
            return Ok(id);
        }
        let id = rows::intern(db, &row)?;
        if self.0.len() >= T::REMEMBERED {
            self.0.clear();
        }
        self.0.insert(row, id);
        Ok(id)
    }
}

/// The rows of one file that its writer remembers. Good as long as every transaction is committed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    strings: Remembered<Text>,
    mappings: Remembered<MappingRow>,
    functions: Remembered<FunctionRow>,
    frames: Remembered<FrameRow>,
    stacks: Remembered<StackRow>,
    series: Remembered<SeriesRow>,
    types: Remembered<TypeRow>,
    recordings: Remembered<Recording>,
}

/// Why a window was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("failed to put samples together")]
    Encode(#[source] std::io::Error),
}

/// Keeps a window. After an error nothing of it is there, and `memory` is not to be used again.
pub(super) fn append(
    db: &mut Connection,
    memory: &mut Memory,
    window: &Profile,
) -> Result<(), AppendError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    Append {
        db: &transaction,
        memory,
        window,
        strings: HashMap::new(),
        mappings: HashMap::new(),
        functions: HashMap::new(),
        frames: HashMap::new(),
        stacks: HashMap::new(),
    }
    .run()?;
    Ok(transaction.commit()?)
}

/// What one window's numbers are in the file.
struct Append<'a> {
    db: &'a Connection,
    memory: &'a mut Memory,
    window: &'a Profile,
    strings: HashMap<StringId, u32>,
    mappings: HashMap<MappingId, u32>,
    functions: HashMap<FunctionId, u32>,
    frames: HashMap<FrameId, u32>,
    stacks: HashMap<StackId, u32>,
}

impl Append<'_> {
    fn run(&mut self) -> Result<(), AppendError> {
        let recording = self.recording()?;
        let block = self.block(&recording)?;
        let meta = self.window.meta();
        let from_ns = meta.time_nanos;
        let to_ns = from_ns.saturating_add(meta.duration_nanos.max(0));
        let id = self.memory.recordings.intern(self.db, recording)?;
        let notes = self.notes()?;
        let crc = window_checksum(from_ns, to_ns, id, &notes);
        let sql =
            "INSERT INTO windows (from_ns, to_ns, recording, notes, crc) VALUES (?, ?, ?, ?, ?)";
        let mut insert = self.db.prepare_cached(sql)?;
        insert.execute(params![from_ns, to_ns, id, notes, crc])?;
        let slice_ns = i64::try_from(meta.slice_ns).unwrap_or(i64::MAX);
        let slices = block.points.iter().filter_map(|point| point.slice).max();
        let last_ns = slice_ns.saturating_mul(slices.unwrap_or(0).into());
        let to_ns = to_ns.max(from_ns.saturating_add(last_ns).saturating_add(1));
        // What was rolled up does not have this window.
        let sql = "DELETE FROM blocks WHERE level > 0 AND from_ns < ? AND to_ns > ?";
        self.db.prepare_cached(sql)?.execute([to_ns, from_ns])?;
        let place = Place {
            level: 0,
            from_ns,
            to_ns,
            slice_ns,
        };
        insert_block(self.db, place, &block)
    }

    fn recording(&mut self) -> rusqlite::Result<Recording> {
        let (window, meta) = (self.window, self.window.meta());
        let types = window.sample_types().iter();
        let types = types.map(|of| self.sample_type(of));
        let types = types.collect::<rusqlite::Result<_>>()?;
        let period = match &window.period {
            Some(period) => Some((self.sample_type(&period.of)?, period.value)),
            None => None,
        };
        Ok(Recording {
            title: self.name(&meta.title)?,
            command: self.name(&meta.command)?,
            host: self.name(&meta.host)?,
            event: self.name(&meta.event)?,
            slice_ns: meta.slice_ns,
            types,
            folded_types: window.folded_types().to_vec(),
            period,
            by_thread: window.by_thread,
            short_names: window.short_names,
        })
    }

    /// The ledger and the comments.
    fn notes(&mut self) -> Result<Vec<u8>, AppendError> {
        let mut ledger = Vec::new();
        for row in self.window.ledger.rows() {
            let (name, meaning) = (self.name(&row.name)?, self.name(&row.meaning)?);
            ledger.push((
                super::names::row_kind_number(row.kind),
                name,
                meaning,
                row.count,
            ));
        }
        let comments = self.window.comments().iter();
        let comments = comments.map(|comment| self.name(comment));
        let comments = comments.collect::<rusqlite::Result<Vec<u32>>>()?;
        let notes = postcard::to_stdvec(&(ledger, comments));
        notes.map_err(|error| AppendError::Encode(std::io::Error::other(error)))
    }

    fn block(&mut self, recording: &Recording) -> rusqlite::Result<Block> {
        let mut block = Block {
            types: recording.types.clone(),
            ..Block::default()
        };
        let mut whos: HashMap<Who, u32> = HashMap::new();
        for sample in self.window.samples() {
            let who = self.who(recording.host, &sample.labels)?;
            let next = u32::try_from(block.whos.len()).unwrap_or(u32::MAX);
            let who = *whos.entry(who).or_insert_with(|| {
                block.whos.push(who);
                next
            });
            block.points.push(Point {
                who,
                stack: self.stack(sample.stack)?,
                slice: sample.labels.slice,
            });
            block.values.extend_from_slice(sample.values);
        }
        Ok(block)
    }

    fn who(&mut self, host: u32, labels: &Labels) -> rusqlite::Result<Who> {
        let series = SeriesRow {
            host,
            process: self.string(labels.process)?,
            cgroup: self.optional(labels.cgroup)?.unwrap_or(0),
        };
        let wait = match labels.wait {
            None => None,
            Some(wait) => Some(Wait {
                state: self.string(wait.state)?,
                cause: self.string(wait.cause)?,
                waker: self.optional(wait.waker)?,
                interval: self.optional(wait.interval)?,
                is_idle: wait.is_idle,
            }),
        };
        Ok(Who {
            series: self.memory.series.intern(self.db, series)?,
            pid: labels.pid,
            tid: labels.tid,
            thread: self.string(labels.thread)?,
            wait,
        })
    }

    fn sample_type(&mut self, of: &SampleType) -> rusqlite::Result<u32> {
        let row = TypeRow {
            name: self.name(of.name())?,
            unit: rows::unit_number(of.unit()),
        };
        self.memory.types.intern(self.db, row)
    }

    fn name(&mut self, text: &str) -> rusqlite::Result<u32> {
        let row = Text(text.to_owned());
        self.memory.strings.intern(self.db, row)
    }

    fn string(&mut self, id: StringId) -> rusqlite::Result<u32> {
        if let Some(&known) = self.strings.get(&id) {
            return Ok(known);
        }
        let number = self.name(self.window.text(id))?;
        self.strings.insert(id, number);
        Ok(number)
    }

    fn optional(&mut self, id: Option<StringId>) -> rusqlite::Result<Option<u32>> {
        id.map(|id| self.string(id)).transpose()
    }

    fn mapping(&mut self, id: MappingId) -> rusqlite::Result<u32> {
        if let Some(&known) = self.mappings.get(&id) {
            return Ok(known);
        }
        let mapping = self.window.mapping(id);
        let row = MappingRow {
            name: self.string(mapping.name)?,
            build_id: mapping.build_id.clone().unwrap_or_default(),
            kind: rows::mapping_kind_number(mapping.kind),
            size_bytes: mapping.size_bytes,
        };
        let number = self.memory.mappings.intern(self.db, row)?;
        self.mappings.insert(id, number);
        Ok(number)
    }

    fn function(&mut self, id: FunctionId) -> rusqlite::Result<u32> {
        if let Some(&known) = self.functions.get(&id) {
            return Ok(known);
        }
        let function = self.window.function(id);
        let row = FunctionRow {
            name: self.string(function.name)?,
            system_name: self.string(function.system_name)?,
            file: self.optional(function.file)?.unwrap_or(0),
            start_line: function.start_line,
        };
        let number = self.memory.functions.intern(self.db, row)?;
        self.functions.insert(id, number);
        Ok(number)
    }

    fn frame(&mut self, id: FrameId) -> rusqlite::Result<u32> {
        if let Some(&known) = self.frames.get(&id) {
            return Ok(known);
        }
        let frame = self.window.frame(id);
        let lines = frame.lines.iter();
        let lines = lines.map(|line| Ok((self.function(line.function)?, line.line)));
        let lines = lines.collect::<rusqlite::Result<_>>()?;
        let mapping = frame.mapping.map(|mapping| self.mapping(mapping));
        let row = FrameRow {
            mapping: mapping.transpose()?.unwrap_or(0),
            address: frame.address,
            kind: rows::frame_kind_number(frame.kind),
            lines,
        };
        let number = self.memory.frames.intern(self.db, row)?;
        self.frames.insert(id, number);
        Ok(number)
    }

    fn stack(&mut self, id: StackId) -> rusqlite::Result<u32> {
        if let Some(&known) = self.stacks.get(&id) {
            return Ok(known);
        }
        let frames = self.window.root_first(id).map(|id| self.frame(id));
        let frames = frames.collect::<rusqlite::Result<_>>()?;
        let number = self.memory.stacks.intern(self.db, StackRow { frames })?;
        self.stacks.insert(id, number);
        Ok(number)
    }
}

/// Where a block belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) level: u8,
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    pub(super) slice_ns: i64,
}

/// Adds a block.
pub(super) fn insert_block(
    db: &Connection,
    place: Place,
    block: &Block,
) -> Result<(), AppendError> {
    let totals = Totals::of(block).encode().map_err(AppendError::Encode)?;
    let samples = block.encode().map_err(AppendError::Encode)?;
    let crc = block_checksum(place, &totals, &samples);
    let Place {
        level,
        from_ns,
        to_ns,
        slice_ns,
    } = place;
    let sql = "INSERT INTO blocks (level, from_ns, to_ns, slice_ns, totals, samples, crc)
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    let mut insert = db.prepare_cached(sql)?;
    insert.execute(params![
        level, from_ns, to_ns, slice_ns, totals, samples, crc
    ])?;
    Ok(())
}
