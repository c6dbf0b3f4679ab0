//! What the numbers of one file name, as texts and as parts of a profile.
//!
//! What is damaged is called so, and nothing is dropped for it.

use std::collections::HashMap;
use std::rc::Rc;

use super::rows::{
    self, FrameRow, FunctionRow, Interned, MappingRow, Recording, SeriesRow, StackRow, Text,
    TypeRow,
};
use super::scan::{DayFile, WindowRow};
use crate::ledger::{Ledger, RowKind};
use crate::profile::{
    Frame, FrameId, FrameKind, Function, FunctionId, Line, Mapping, MappingId, MappingKind, Meta,
    Period, Profile, SampleType, StackId, StringId, Unit,
};
use crate::store::summary::Head;

/// In place of a name that is damaged.
const DAMAGED: &str = "[damaged]";

/// Host, process and control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) host: Rc<str>,
    pub(super) process: Rc<str>,
    pub(super) cgroup: Option<Rc<str>>,
}

/// Texts by number.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    pub(super) file: &'a DayFile<'a>,
    strings: HashMap<u32, Rc<str>>,
    series: HashMap<u32, Rc<Series>>,
    types: HashMap<u32, SampleType>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(file: &'a DayFile<'a>) -> Self {
        Self {
            file,
            strings: HashMap::new(),
            series: HashMap::new(),
            types: HashMap::new(),
        }
    }

    pub(super) fn string(&mut self, id: u32) -> rusqlite::Result<Rc<str>> {
        if let Some(text) = self.strings.get(&id) {
            return Ok(text.clone());
        }
        let found = self.file.interned::<Text>(id)?;
        let text: Rc<str> = found.map_or(DAMAGED.into(), |Text(text)| text.into());
        if self.strings.len() >= Text::REMEMBERED {
            self.strings.clear();
        }
        self.strings.insert(id, text.clone());
        Ok(text)
    }

    fn optional(&mut self, id: u32) -> rusqlite::Result<Option<Rc<str>>> {
        (id > 0).then(|| self.string(id)).transpose()
    }

    pub(super) fn series(&mut self, id: u32) -> rusqlite::Result<Rc<Series>> {
        if let Some(series) = self.series.get(&id) {
            return Ok(series.clone());
        }
        let series = match self.file.interned::<SeriesRow>(id)? {
            Some(row) => Series {
                host: self.string(row.host)?,
                process: self.string(row.process)?,
                cgroup: self.optional(row.cgroup)?,
            },
            None => Series {
                host: DAMAGED.into(),
                process: DAMAGED.into(),
                cgroup: None,
            },
        };
        let series = Rc::new(series);
        if self.series.len() >= SeriesRow::REMEMBERED {
            self.series.clear();
        }
        self.series.insert(id, series.clone());
        Ok(series)
    }

    /// There are few.
    pub(super) fn sample_type(&mut self, id: u32) -> rusqlite::Result<SampleType> {
        if let Some(sample_type) = self.types.get(&id) {
            return Ok(sample_type.clone());
        }
        let row = self.file.interned::<TypeRow>(id)?;
        let sample_type = match row.and_then(|row| Some((row.name, rows::unit(row.unit)?))) {
            Some((name, unit)) => SampleType::new(&self.string(name)?, unit),
            None => SampleType::new(DAMAGED, Unit::Count),
        };
        self.types.insert(id, sample_type.clone());
        Ok(sample_type)
    }

    /// A window without its samples; `None` where its description is damaged, which is told.
    pub(super) fn head(&mut self, window: &WindowRow) -> rusqlite::Result<Option<Head>> {
        let Some(recording) = self.file.interned::<Recording>(window.recording)? else {
            return Ok(None);
        };
        let types = recording.types.iter();
        let sample_types = types.map(|&id| self.sample_type(id));
        let sample_types = sample_types.collect::<rusqlite::Result<Vec<_>>>()?;
        let period = match recording.period {
            Some((of, value)) => Some(Period {
                of: self.sample_type(of)?,
                value,
            }),
            None => None,
        };
        let (ledger, comments) = self.notes(&window.notes)?;
        let text = |id| self.string(id).map(|text| text.to_string());
        let [title, command, host, event] = {
            let mut text = text;
            [
                text(recording.title)?,
                text(recording.command)?,
                text(recording.host)?,
                text(recording.event)?,
            ]
        };
        Ok(Some(Head {
            meta: Meta {
                title,
                command,
                host,
                event,
                time_nanos: window.from_ns,
                duration_nanos: window.to_ns.saturating_sub(window.from_ns),
                slice_ns: recording.slice_ns,
            },
            sample_types,
            folded_types: recording.folded_types,
            period,
            by_thread: recording.by_thread,
            short_names: recording.short_names,
            ledger,
            comments,
        }))
    }

    fn notes(&mut self, notes: &[u8]) -> rusqlite::Result<(Ledger, Vec<String>)> {
        type Notes = (Vec<(u8, u32, u32, u64)>, Vec<u32>);
        // The checksum was right; only another program writes what cannot be read.
        let (rows, ids) = postcard::from_bytes::<Notes>(notes).unwrap_or_default();
        let mut ledger = Ledger::default();
        for (kind, name, meaning, count) in rows {
            let kind = row_kind(kind).unwrap_or(RowKind::Note);
            ledger.push(kind, &self.string(name)?, count, &self.string(meaning)?);
        }
        let comments = ids.into_iter();
        let comments = comments.map(|id| self.string(id).map(|text| text.to_string()));
        Ok((ledger, comments.collect::<rusqlite::Result<_>>()?))
    }
}

rows::numbers!(RowKind, row_kind_number, row_kind:
    Expected = 0, Got = 1, Elsewhere = 2, Lost = 3, Note = 4);

/// Numbers of a file in the tables of a profile.
#[derive(Debug, Default)]
pub(super) struct Translated {
    mappings: HashMap<u32, Option<MappingId>>,
    functions: HashMap<u32, FunctionId>,
    frames: HashMap<u32, FrameId>,
    stacks: HashMap<u32, StackId>,
}

impl Translated {
    /// A stack; one that is damaged is a frame that says so.
    pub(super) fn stack(
        &mut self,
        texts: &mut Texts<'_>,
        profile: &mut Profile,
        id: u32,
    ) -> rusqlite::Result<StackId> {
        if let Some(&known) = self.stacks.get(&id) {
            return Ok(known);
        }
        let row = texts.file.interned::<StackRow>(id)?;
        let mut stack = None;
        for frame in row.into_iter().flat_map(|row| row.frames) {
            let frame = self.frame(texts, profile, frame)?;
            stack = Some(profile.intern_stack(stack, frame));
        }
        let stack = stack.unwrap_or_else(|| {
            let frame = profile.synthetic(DAMAGED);
            profile.intern_stack(None, frame)
        });
        self.stacks.insert(id, stack);
        Ok(stack)
    }

    fn frame(
        &mut self,
        texts: &mut Texts<'_>,
        profile: &mut Profile,
        id: u32,
    ) -> rusqlite::Result<FrameId> {
        if let Some(&known) = self.frames.get(&id) {
            return Ok(known);
        }
        let row = texts.file.interned::<FrameRow>(id)?;
        let frame = match row.and_then(|row| Some((rows::frame_kind(row.kind)?, row))) {
            Some((kind, row)) => {
                let frame = self.frame_of(texts, profile, kind, &row)?;
                profile.intern_frame(frame)
            }
            None => profile.synthetic(DAMAGED),
        };
        self.frames.insert(id, frame);
        Ok(frame)
    }

    fn frame_of(
        &mut self,
        texts: &mut Texts<'_>,
        profile: &mut Profile,
        kind: FrameKind,
        row: &FrameRow,
    ) -> rusqlite::Result<Frame> {
        let mut lines = Vec::with_capacity(row.lines.len());
        for &(function, line) in &row.lines {
            let function = self.function(texts, profile, function)?;
            lines.push(Line { function, line });
        }
        let mapping = match row.mapping {
            0 => None,
            id => self.mapping(texts, profile, id)?,
        };
        Ok(Frame {
            mapping,
            address: row.address,
            kind,
            lines,
        })
    }

    fn mapping(
        &mut self,
        texts: &mut Texts<'_>,
        profile: &mut Profile,
        id: u32,
    ) -> rusqlite::Result<Option<MappingId>> {
        if let Some(&known) = self.mappings.get(&id) {
            return Ok(known);
        }
        let row = texts.file.interned::<MappingRow>(id)?;
        let known = row.and_then(|row| Some((mapping_kind(&row)?, row)));
        let mapping = match known {
            Some((kind, row)) => {
                let name = intern(texts, profile, row.name)?;
                let build_id = Some(row.build_id).filter(|id| !id.is_empty());
                let size_bytes = row.size_bytes;
                Some(profile.intern_mapping(Mapping {
                    name,
                    build_id,
                    kind,
                    size_bytes,
                }))
            }
            None => None,
        };
        self.mappings.insert(id, mapping);
        Ok(mapping)
    }

    fn function(
        &mut self,
        texts: &mut Texts<'_>,
        profile: &mut Profile,
        id: u32,
    ) -> rusqlite::Result<FunctionId> {
        if let Some(&known) = self.functions.get(&id) {
            return Ok(known);
        }
        let function = match texts.file.interned::<FunctionRow>(id)? {
            Some(row) => Function {
                name: intern(texts, profile, row.name)?,
                system_name: intern(texts, profile, row.system_name)?,
                file: match row.file {
                    0 => None,
                    file => Some(intern(texts, profile, file)?),
                },
                start_line: row.start_line,
            },
            None => {
                let name = profile.intern_string(DAMAGED);
                Function {
                    name,
                    system_name: name,
                    file: None,
                    start_line: 0,
                }
            }
        };
        let function = profile.intern_function(function);
        self.functions.insert(id, function);
        Ok(function)
    }
}

fn mapping_kind(row: &MappingRow) -> Option<MappingKind> {
    rows::mapping_kind(row.kind)
}

/// A string of the file in a profile.
pub(super) fn intern(
    texts: &mut Texts<'_>,
    profile: &mut Profile,
    id: u32,
) -> rusqlite::Result<StringId> {
    Ok(profile.intern_string(&texts.string(id)?))
}
