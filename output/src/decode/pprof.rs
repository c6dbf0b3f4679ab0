//! pprof: `profile.proto` (<https://github.com/google/pprof/tree/main/proto>).
//!
//! Addresses become offsets in the files of their mappings, which is what timesink made them from. What a
//! JIT wrote cannot be told from another file, and the size of a file is that of its mapping.

mod texts;

use std::collections::HashMap;

use ::pprof::protos::{self, Message};

use super::{DecodeError, FrameBudget, walk};
use crate::profile::{
    Frame, FrameId, FrameKind, Function, FunctionId, Labels, Line, Mapping, MappingId, MappingKind,
    Period, Profile, SampleType, StringId, Unit, WaitLabels,
};
use texts::Texts;

/// The most fields: what they become takes less than 1 GiB.
const MAX_FIELDS: usize = 8 << 20;

pub(super) fn decode(bytes: &[u8]) -> Result<Profile, DecodeError> {
    let cut = "a part of its protobuf is cut short";
    let fields = walk::fields(bytes).ok_or_else(|| DecodeError::Protobuf(cut.into()))?;
    if fields > MAX_FIELDS {
        return Err(DecodeError::TooLarge {
            what: "fields",
            most: MAX_FIELDS as u64,
        });
    }
    let message =
        protos::Profile::decode(bytes).map_err(|error| DecodeError::Protobuf(error.into()))?;
    Reader::read(&message)
}

fn damaged<T>(words: String) -> Result<T, DecodeError> {
    Err(DecodeError::Damaged(words))
}

/// A profile that a message is being put into.
#[derive(Debug)]
struct Reader<'a> {
    message: &'a protos::Profile,
    profile: Profile,
    /// For each value of a sample, by what it becomes the unit that we have.
    factors: Vec<u64>,
    mappings: HashMap<u64, Placed<'a>>,
    functions: HashMap<u64, FunctionId>,
    frames: HashMap<u64, FrameId>,
}

/// A mapping and where it lies.
#[derive(Clone, Copy, Debug)]
struct Placed<'a> {
    id: MappingId,
    kind: MappingKind,
    message: &'a protos::Mapping,
}

impl<'a> Reader<'a> {
    fn read(message: &'a protos::Profile) -> Result<Profile, DecodeError> {
        let texts = Texts(message);
        let types = message.sample_type.iter();
        let types: Vec<(SampleType, u64)> = types
            .map(|of| texts.sample_type(of))
            .collect::<Result<_, _>>()?;
        if types.is_empty() {
            return damaged("it has no sample type".to_owned());
        }
        let (types, factors): (_, Vec<u64>) = types.into_iter().unzip();
        let mut reader = Self {
            message,
            profile: Profile::new(texts.meta()?, types),
            factors,
            mappings: HashMap::new(),
            functions: HashMap::new(),
            frames: HashMap::new(),
        };
        reader.head(&texts)?;
        reader.mappings(&texts)?;
        reader.functions(&texts)?;
        reader.locations()?;
        reader.samples(&texts)?;
        Ok(reader.profile)
    }

    /// Comments, the period, and what folded stacks show.
    fn head(&mut self, texts: &Texts<'_>) -> Result<(), DecodeError> {
        for comment in texts.comments()? {
            self.profile.comment(comment);
        }
        if let Some(of) = &self.message.period_type
            && self.message.period > 0
        {
            let (of, factor) = texts.sample_type(of)?;
            let value = self.message.period.unsigned_abs().saturating_mul(factor);
            self.profile.period = Some(Period { of, value });
        }
        let folded = folded(&self.profile);
        self.profile.fold_by(&folded);
        Ok(())
    }

    fn mappings(&mut self, texts: &Texts<'_>) -> Result<(), DecodeError> {
        for message in &self.message.mapping {
            let name = texts.get(message.filename)?;
            let kind = match name {
                "[vdso]" => MappingKind::Vdso,
                _ if name.starts_with("[kernel") => MappingKind::Kernel,
                _ => MappingKind::File,
            };
            let size = message.memory_limit.saturating_sub(message.memory_start);
            let is_kernel = kind == MappingKind::Kernel;
            let mapping = Mapping {
                name: self.profile.intern_string(name),
                build_id: bytes_of(texts.get(message.build_id)?),
                kind,
                size_bytes: if is_kernel { 0 } else { size },
            };
            let id = self.profile.intern_mapping(mapping);
            let placed = Placed { id, kind, message };
            if self.mappings.insert(message.id, placed).is_some() {
                return damaged(format!("two mappings have the id {}", message.id));
            }
        }
        let first = self.message.mapping.first();
        let first = first.map(|first| self.mappings[&first.id]);
        let file = first.filter(|first| first.kind != MappingKind::Kernel);
        self.profile.main_mapping = file.map(|first| first.id);
        Ok(())
    }

    fn functions(&mut self, texts: &Texts<'_>) -> Result<(), DecodeError> {
        for message in &self.message.function {
            let mut string = |index| Ok(self.profile.intern_string(texts.get(index)?));
            let name = string(message.name)?;
            let system_name = string(message.system_name)?;
            let file = match message.filename {
                0 => None,
                index => Some(string(index)?),
            };
            let function = Function {
                name,
                system_name,
                file,
                start_line: line_number(message.start_line),
            };
            let function = self.profile.intern_function(function);
            if self.functions.insert(message.id, function).is_some() {
                return damaged(format!("two functions have the id {}", message.id));
            }
        }
        Ok(())
    }

    fn locations(&mut self) -> Result<(), DecodeError> {
        for message in &self.message.location {
            let frame = self.frame(message)?;
            let frame = self.profile.intern_frame(frame);
            if self.frames.insert(message.id, frame).is_some() {
                return damaged(format!("two locations have the id {}", message.id));
            }
        }
        Ok(())
    }

    fn frame(&self, message: &protos::Location) -> Result<Frame, DecodeError> {
        let lines = message.line.iter().map(|line| {
            let function = self.functions.get(&line.function_id);
            let function = function.copied().ok_or_else(|| {
                let (from, to) = (message.id, line.function_id);
                DecodeError::Damaged(format!(
                    "location {from} is in function {to}, which is not there"
                ))
            })?;
            let line = line_number(line.line);
            Ok(Line { function, line })
        });
        let lines = lines.collect::<Result<Vec<Line>, DecodeError>>()?;
        let placed = match message.mapping_id {
            0 => None,
            id => Some(*self.mappings.get(&id).ok_or_else(|| {
                let from = message.id;
                DecodeError::Damaged(format!(
                    "location {from} is in mapping {id}, which is not there"
                ))
            })?),
        };
        Ok(Frame {
            mapping: placed.map(|placed| placed.id),
            address: placed.map_or(message.address, |placed| placed.offset(message.address)),
            kind: self.kind(placed, &lines),
            lines,
        })
    }

    /// Who runs a frame: what stands for something missing has a name in brackets and is in no file.
    fn kind(&self, placed: Option<Placed<'_>>, lines: &[Line]) -> FrameKind {
        match placed {
            Some(placed) if placed.kind == MappingKind::Kernel => FrameKind::Kernel,
            Some(_) => FrameKind::User,
            None => {
                let name = |line: &Line| self.profile.function(line.function).name;
                let name = lines.first().map(|line| self.profile.text(name(line)));
                match name {
                    Some(name) if name.starts_with('[') => FrameKind::Synthetic,
                    _ => FrameKind::User,
                }
            }
        }
    }

    fn samples(&mut self, texts: &Texts<'_>) -> Result<(), DecodeError> {
        let program = self.program();
        let mut budget = FrameBudget::new();
        for (number, message) in (1..).zip(&self.message.sample) {
            budget.take(message.location_id.len())?;
            let frames = message.location_id.iter().rev().map(|id| {
                let frame = self.frames.get(id).copied();
                frame.ok_or_else(|| {
                    DecodeError::Damaged(format!(
                        "sample {number} is at location {id}, which is not there"
                    ))
                })
            });
            let frames = frames.collect::<Result<Vec<FrameId>, DecodeError>>()?;
            let values = self.values(number, &message.value)?;
            let labels = self.labels(texts, &message.label, program)?;
            let stack = match self.profile.intern_frames(&frames) {
                Some(stack) => stack,
                None => {
                    let unknown = self.profile.synthetic("[unknown]");
                    self.profile.intern_stack(None, unknown)
                }
            };
            self.profile.add(stack, labels, &values);
        }
        Ok(())
    }

    fn values(&self, number: usize, values: &[i64]) -> Result<Vec<u64>, DecodeError> {
        if values.len() != self.factors.len() {
            let (has, types) = (values.len(), self.factors.len());
            return damaged(format!(
                "sample {number} has {has} values for {types} sample types"
            ));
        }
        let scaled = values.iter().zip(&self.factors).map(|(&value, &factor)| {
            let value = u64::try_from(value).ok()?;
            Some(value.saturating_mul(factor))
        });
        match scaled.collect() {
            Some(values) => Ok(values),
            None => damaged(format!(
                "sample {number} has a value below 0, as differences of profiles have"
            )),
        }
    }

    /// The name of the main program, for samples that do not tell their process.
    fn program(&mut self) -> StringId {
        let main = self.profile.main_mapping;
        let path = main.map_or("", |id| self.profile.text(self.profile.mapping(id).name));
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        self.profile.intern_string(&name)
    }

    fn labels(
        &mut self,
        texts: &Texts<'_>,
        labels: &[protos::Label],
        program: StringId,
    ) -> Result<Labels, DecodeError> {
        let mut found: HashMap<&str, (&str, i64)> = HashMap::new();
        for label in labels {
            found.insert(texts.get(label.key)?, (texts.get(label.str)?, label.num));
        }
        let number = |key| match found.get(key) {
            Some(("", number)) => u32::try_from(*number).unwrap_or(0),
            Some((text, _)) => text.parse().unwrap_or(0),
            None => 0,
        };
        let mut string = |key| {
            let (text, _) = found.get(key)?;
            Some(self.profile.intern_string(text))
        };
        let (process, thread) = (string("process"), string("thread"));
        let cgroup = string("cgroup");
        let wait = string("state").map(|state| WaitLabels {
            state,
            cause: string("cause").unwrap_or(state),
            waker: string("waker"),
            interval: string("interval"),
            is_idle: found.contains_key("idle"),
        });
        let process = process.unwrap_or(program);
        Ok(Labels {
            pid: number("pid"),
            tid: number("tid"),
            process,
            thread: thread.unwrap_or(process),
            cgroup,
            slice: None,
            wait,
        })
    }
}

impl Placed<'_> {
    /// The offset of an address in the file; the kernel has addresses.
    fn offset(&self, address: u64) -> u64 {
        let inside = address.checked_sub(self.message.memory_start);
        match inside {
            Some(inside) if self.kind != MappingKind::Kernel => {
                inside.saturating_add(self.message.file_offset)
            }
            _ => address,
        }
    }
}

/// What folded stacks show, which pprof does not tell: as a recording has it, the number of samples where
/// the last type is sampled, else the last type; and of waits all time, not only that asleep.
fn folded(profile: &Profile) -> Vec<usize> {
    let types = profile.sample_types();
    let last = types.len() - 1;
    let period = profile.period.as_ref().map(|period| &period.of);
    let is = |at: usize, name, unit| types[at].name() == name && types[at].unit() == unit;
    match last.checked_sub(1) {
        Some(before) if period == Some(&types[last]) && types[before].unit() == Unit::Count => {
            vec![before]
        }
        Some(before)
            if is(before, "runnable", Unit::Nanoseconds)
                && is(last, "off_cpu", Unit::Nanoseconds) =>
        {
            vec![before, last]
        }
        _ => vec![last],
    }
}

/// Lines count from 1; what is none is not known.
fn line_number(line: i64) -> u32 {
    u32::try_from(line).unwrap_or(0)
}

/// A build id, where it is written in hexadecimal.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if hex.is_empty() || !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return None;
    }
    let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}
