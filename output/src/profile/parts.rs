//! What a profile is made of; each part refers to others by handle.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::{FrameId, FunctionId, MappingId, StackId, StringId};

/// What was recorded, where and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The heading of a picture.
    pub title: String,
    /// What was recorded: a command line, a process, or the whole machine.
    pub command: String,
    /// The name of the machine.
    pub host: String,
    /// Nanoseconds from the Unix epoch to the start of the recording.
    pub time_nanos: i64,
    /// How long was recorded, in nanoseconds.
    pub duration_nanos: i64,
    /// What made the samples, such as `cpu-clock at 99 Hz`.
    pub event: String,
    /// How long a [slice](Labels::slice) of the recording is, in nanoseconds; 0 where it has none.
    pub slice_ns: u64,
}

/// What a value counts. Values of different units are never added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Things, such as samples.
    Count,
    /// Time.
    Nanoseconds,
    /// Memory.
    Bytes,
}

/// The word pprof has for the unit.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Count => "count",
            Unit::Nanoseconds => "nanoseconds",
            Unit::Bytes => "bytes",
        })
    }
}

/// The name and unit of one value of each sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleType {
    name: String,
    unit: Unit,
}

impl SampleType {
    /// A type called `name` with `_` for each `-`, because Pyroscope refuses a dash.
    pub fn new(name: &str, unit: Unit) -> Self {
        Self {
            name: crate::clean::clean(name).replace('-', "_"),
            unit,
        }
    }

    /// Such as `cpu` or `off_cpu`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unit of the values.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

/// How much of `of` passes between two samples, such as `cpu` and 10,101,010 ns at 99 Hz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// What passes.
    pub of: SampleType,
    /// How much, in the unit of `of`.
    pub value: u64,
}

/// Where the code of a mapping comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MappingKind {
    /// A file.
    File,
    /// The code that the kernel maps into every process.
    Vdso,
    /// The kernel and its modules.
    Kernel,
    /// The code of a JIT, by the file that lists it.
    Jit,
}

/// A file or the kernel, as code in stacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mapping {
    /// The path of the file, or a name in brackets such as `[vdso]`.
    pub name: StringId,
    /// The content of `.note.gnu.build-id`.
    pub build_id: Option<Vec<u8>>,
    /// Where the code comes from.
    pub kind: MappingKind,
    /// The size of the file; 0 where it has none or it is not known.
    pub size_bytes: u64,
}

/// A function of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Function {
    /// The demangled name.
    pub name: StringId,
    /// The name in the symbol table.
    pub system_name: StringId,
    /// The source file.
    pub file: Option<StringId>,
    /// The line the function starts at, from 1; 0 when not known.
    pub start_line: u32,
}

/// A place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Line {
    /// The function there.
    pub function: FunctionId,
    /// The line, from 1; 0 when not known.
    pub line: u32,
}

/// Who runs a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameKind {
    /// A process.
    User,
    /// The kernel.
    Kernel,
    /// Nobody: the frame stands for what is missing, such as `[truncated]`.
    Synthetic,
}

/// One machine address with the functions found there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// The code; `None` for code of no file.
    pub mapping: Option<MappingId>,
    /// The offset in the file, or the address in the kernel.
    pub address: u64,
    /// Who runs it.
    pub kind: FrameKind,
    /// Innermost first: each but the last is inlined into the next. Empty when there is no name.
    pub lines: Vec<Line>,
}

/// A frame and all its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stack {
    /// The callers; `None` at the root.
    pub parent: Option<StackId>,
    /// The frame on top.
    pub frame: FrameId,
}

/// Who was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Labels {
    /// The process id.
    pub pid: u32,
    /// The thread id.
    pub tid: u32,
    /// The name of the process.
    pub process: StringId,
    /// The name of the thread.
    pub thread: StringId,
    /// The control group of the process, as a path below the root of all; `None` where it is not known.
    pub cgroup: Option<StringId>,
    /// In which slice of the recording, from 0; `None` where the profile does not tell times.
    pub slice: Option<u32>,
    /// How the thread waited; `None` while it ran.
    pub wait: Option<WaitLabels>,
}

/// How a thread waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WaitLabels {
    /// Such as `blocked` or `runnable`.
    pub state: StringId,
    /// What for, such as `futex`.
    pub cause: StringId,
    /// Who ended the wait, where that was recorded.
    pub waker: Option<StringId>,
    /// Which ends of the wait lie outside the recording, if any does.
    pub interval: Option<StringId>,
    /// Whether the thread had nothing to do.
    pub is_idle: bool,
}

/// What was sampled of one thread in one stack, all samples of it added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Where.
    pub stack: StackId,
    /// Who.
    pub labels: Labels,
    /// How much, one value per sample type.
    pub values: &'a [u64],
}
