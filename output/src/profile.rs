//! The profile: samples of stacks, over tables that hold each string, function and frame once.
//!
//! Does not know how frames are found or named, nor how a profile is written.

mod bytes;
mod parts;
mod table;

use std::sync::Arc;

use crate::clean::clean;
use crate::ledger::Ledger;

pub(crate) use bytes::{Damaged, from_bytes, to_bytes};
pub use parts::{
    Frame, FrameKind, Function, Labels, Line, Mapping, MappingKind, Meta, Period, Sample,
    SampleType, Stack, Unit, WaitLabels,
};
pub(crate) use table::Handle;
use table::Table;
pub use table::{FrameId, FunctionId, MappingId, StackId, StringId};

/// A recording, ready to be written in any [`Format`](crate::Format).
#[derive(Clone, Debug)]
pub struct Profile {
    /// How much passes between two samples; `None` for events that are all recorded.
    pub period: Option<Period>,
    /// What was expected, got and lost.
    pub ledger: Ledger,
    /// The program that was recorded, which pprof puts first.
    pub main_mapping: Option<MappingId>,
    /// Whether folded stacks and flame graphs have a frame per thread above that of the process.
    pub by_thread: bool,
    /// Whether who adds functions of C++ and Rust leaves out their arguments.
    pub short_names: bool,
    comments: Vec<String>,
    meta: Meta,
    sample_types: Vec<SampleType>,
    folded_types: Vec<usize>,
    strings: Table<StringId, Arc<str>>,
    mappings: Table<MappingId, Mapping>,
    functions: Table<FunctionId, Function>,
    frames: Table<FrameId, Frame>,
    stacks: Table<StackId, Stack>,
    /// The frames and stacks of the last one that was given root first: the next shares most of its callers.
    last_frames: Vec<(FrameId, StackId)>,
    samples: Table<SampleIndex, (StackId, Labels)>,
    /// One value per sample type for each of `samples`, in one vector.
    values: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct SampleIndex(usize);

impl Handle for SampleIndex {
    fn from_index(index: usize) -> Self {
        Self(index)
    }

    fn index(self) -> usize {
        self.0
    }
}

impl Profile {
    /// A profile without samples.
    ///
    /// The last of `sample_types` opens first in viewers; the first is what folded stacks show,
    /// unless [`fold_by`](Self::fold_by) says otherwise.
    ///
    /// # Panics
    /// Without any sample type.
    pub fn new(meta: Meta, sample_types: Vec<SampleType>) -> Self {
        assert!(!sample_types.is_empty(), "a sample has at least one value");
        let cleaned = |text: String| clean(&text).into_owned();
        Self {
            period: None,
            ledger: Ledger::default(),
            main_mapping: None,
            by_thread: false,
            short_names: false,
            comments: Vec::new(),
            meta: Meta {
                title: cleaned(meta.title),
                command: cleaned(meta.command),
                host: cleaned(meta.host),
                event: cleaned(meta.event),
                ..meta
            },
            sample_types,
            folded_types: vec![0],
            strings: Table::default(),
            mappings: Table::default(),
            functions: Table::default(),
            frames: Table::default(),
            stacks: Table::default(),
            last_frames: Vec::new(),
            samples: Table::default(),
            values: Vec::new(),
        }
    }

    /// Chooses the sample types, by their places, whose sum folded stacks and flame graphs show.
    ///
    /// # Panics
    /// Without any, when there is no such type, and when their units differ.
    pub fn fold_by(&mut self, sample_types: &[usize]) {
        let mut units = sample_types.iter().map(|&of| self.sample_types[of].unit());
        let first = units.next();
        assert!(first.is_some(), "a stack has at least one value");
        assert!(
            units.all(|unit| Some(unit) == first),
            "different units never add up"
        );
        self.folded_types = sample_types.to_vec();
    }

    /// The places of the sample types that folded stacks and flame graphs add up.
    pub(crate) fn folded_types(&self) -> &[usize] {
        &self.folded_types
    }

    /// The handle of `text`, [cleaned](crate::clean()).
    pub fn intern_string(&mut self, text: &str) -> StringId {
        // What is here was cleaned, and cleaning it again would change nothing.
        if let Some(id) = self.strings.find(text) {
            return id;
        }
        let text = clean(text);
        match self.strings.find(text.as_ref()) {
            Some(id) => id,
            None => self.strings.intern(text.into()),
        }
    }

    /// The handle of `mapping`.
    pub fn intern_mapping(&mut self, mapping: Mapping) -> MappingId {
        self.mappings.intern(mapping)
    }

    /// The handle of `function`.
    pub fn intern_function(&mut self, function: Function) -> FunctionId {
        self.functions.intern(function)
    }

    /// The handle of `frame`.
    pub fn intern_frame(&mut self, frame: Frame) -> FrameId {
        self.frames.intern(frame)
    }

    /// The handle of `frame` called from `parent`, or at the root.
    pub fn intern_stack(&mut self, parent: Option<StackId>, frame: FrameId) -> StackId {
        self.stacks.intern(Stack { parent, frame })
    }

    /// The handle of a stack given root first; `None` when there are no frames.
    pub fn intern_frames(&mut self, root_first: &[FrameId]) -> Option<StackId> {
        let mut last = std::mem::take(&mut self.last_frames);
        let both = root_first.iter().zip(&last);
        let shared = both.take_while(|&(&frame, &(known, _))| frame == known);
        last.truncate(shared.count());
        for &frame in &root_first[last.len()..] {
            let parent = last.last().map(|&(_, stack)| stack);
            last.push((frame, self.intern_stack(parent, frame)));
        }
        let stack = last.last().map(|&(_, stack)| stack);
        self.last_frames = last;
        stack
    }

    /// A frame called `name` that stands for what is missing: `[lost: cause]`, `[truncated]`, `[incomplete]`.
    pub fn synthetic(&mut self, name: &str) -> FrameId {
        let name = self.intern_string(name);
        let function = self.intern_function(Function {
            name,
            system_name: name,
            file: None,
            start_line: 0,
        });
        self.intern_frame(Frame {
            mapping: None,
            address: 0,
            kind: FrameKind::Synthetic,
            lines: vec![Line { function, line: 0 }],
        })
    }

    /// Adds `values`, one per sample type, to what `labels` has in `stack` already.
    ///
    /// # Panics
    /// When `values` has not one value per sample type.
    pub fn add(&mut self, stack: StackId, labels: Labels, values: &[u64]) {
        let width = self.sample_types.len();
        assert_eq!(values.len(), width, "a sample has one value per type");
        let start = self.samples.intern((stack, labels)).index() * width;
        if start == self.values.len() {
            self.values.extend_from_slice(values);
            return;
        }
        for (sum, value) in self.values[start..].iter_mut().zip(values) {
            *sum = sum.saturating_add(*value);
        }
    }

    /// Adds a line, cleaned, for readers of formats that have room for it.
    pub fn comment(&mut self, line: &str) {
        self.comments.push(clean(line).into_owned());
    }

    /// The lines that were added.
    pub fn comments(&self) -> &[String] {
        &self.comments
    }

    /// What was recorded, cleaned.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// What the values of a sample are.
    pub fn sample_types(&self) -> &[SampleType] {
        &self.sample_types
    }

    /// The sample type that viewers open first: the last.
    pub fn default_type(&self) -> &SampleType {
        self.sample_types
            .last()
            .expect("`new` refuses a profile without types")
    }

    /// The unit of what folded stacks and flame graphs show.
    pub fn folded_unit(&self) -> Unit {
        self.sample_types[self.folded_types[0]].unit()
    }

    /// The value that folded stacks and flame graphs show of `sample`.
    pub fn folded_value(&self, sample: &Sample<'_>) -> u64 {
        let values = self.folded_types.iter().map(|&of| sample.values[of]);
        values.fold(0, u64::saturating_add)
    }

    /// The text of `id`.
    pub fn text(&self, id: StringId) -> &str {
        self.strings.get(id)
    }

    /// The mapping of `id`.
    pub fn mapping(&self, id: MappingId) -> &Mapping {
        self.mappings.get(id)
    }

    /// The function of `id`.
    pub fn function(&self, id: FunctionId) -> &Function {
        self.functions.get(id)
    }

    /// The frame of `id`.
    pub fn frame(&self, id: FrameId) -> &Frame {
        self.frames.get(id)
    }

    /// The stack of `id`.
    pub fn stack(&self, id: StackId) -> Stack {
        *self.stacks.get(id)
    }

    /// All mappings, in the order of arrival.
    pub fn mappings(&self) -> impl Iterator<Item = (MappingId, &Mapping)> {
        self.mappings.iter()
    }

    /// All frames, in the order of arrival.
    pub fn frames(&self) -> impl Iterator<Item = (FrameId, &Frame)> {
        self.frames.iter()
    }

    /// All samples, in the order of arrival.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        let values = self.values.chunks_exact(self.sample_types.len());
        let keyed = self.samples.iter().zip(values);
        keyed.map(|((_, &(stack, labels)), values)| Sample {
            stack,
            labels,
            values,
        })
    }

    /// The frames of a stack, leaf first.
    pub fn leaf_first(&self, stack: StackId) -> impl Iterator<Item = FrameId> {
        let top = self.stack(stack);
        let stacks = std::iter::successors(Some(top), |stack| Some(self.stack(stack.parent?)));
        stacks.map(|stack| stack.frame)
    }

    /// The frames of a stack, root first.
    pub fn root_first(&self, stack: StackId) -> impl Iterator<Item = FrameId> {
        let frames: Vec<FrameId> = self.leaf_first(stack).collect();
        frames.into_iter().rev()
    }
}

#[cfg(test)]
mod tests;
