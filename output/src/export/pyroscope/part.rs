//! A part of a window as a profile of its own.

use std::collections::HashMap;

use crate::profile::{
    Frame, FrameId, Function, FunctionId, Labels, Line, Mapping, MappingId, Profile, Sample,
    SampleType, StackId, StringId, WaitLabels,
};

/// Some samples and some sample types of a window, without who ran: the names and ids of processes and
/// threads are those of nobody, so that what they share adds up.
pub(super) fn part(window: &Profile, samples: &[Sample<'_>], types: &[usize]) -> Profile {
    let of: Vec<SampleType> = types
        .iter()
        .map(|&at| window.sample_types()[at].clone())
        .collect();
    let mut copy = Copy {
        window,
        part: Profile::new(window.meta().clone(), of),
        strings: HashMap::new(),
        mappings: HashMap::new(),
        functions: HashMap::new(),
        frames: HashMap::new(),
        stacks: HashMap::new(),
    };
    copy.part.ledger = window.ledger.clone();
    for sample in samples {
        let values: Vec<u64> = types.iter().map(|&at| sample.values[at]).collect();
        if values.iter().any(|&value| value > 0) {
            let stack = copy.stack(sample.stack);
            let labels = copy.labels(sample.labels);
            copy.part.add(stack, labels, &values);
        }
    }
    copy.part
}

/// Handles of the window with those of the part.
struct Copy<'a> {
    window: &'a Profile,
    part: Profile,
    strings: HashMap<StringId, StringId>,
    mappings: HashMap<MappingId, MappingId>,
    functions: HashMap<FunctionId, FunctionId>,
    frames: HashMap<FrameId, FrameId>,
    stacks: HashMap<StackId, StackId>,
}

impl Copy<'_> {
    fn string(&mut self, id: StringId) -> StringId {
        let new = || self.part.intern_string(self.window.text(id));
        *self.strings.entry(id).or_insert_with(new)
    }

    fn labels(&mut self, labels: Labels) -> Labels {
        let nobody = self.part.intern_string("");
        Labels {
            pid: 0,
            tid: 0,
            process: nobody,
            thread: nobody,
            cgroup: None,
            slice: None,
            wait: labels.wait.map(|wait| WaitLabels {
                state: self.string(wait.state),
                cause: self.string(wait.cause),
                waker: None,
                interval: wait.interval.map(|interval| self.string(interval)),
                is_idle: wait.is_idle,
            }),
        }
    }

    /// Root first, so that a deep stack needs no deep recursion.
    fn stack(&mut self, id: StackId) -> StackId {
        let ends = |id: &StackId| self.window.stack(*id).parent;
        let missing = std::iter::successors(Some(id), ends);
        let missing: Vec<StackId> = missing
            .take_while(|id| !self.stacks.contains_key(id))
            .collect();
        for id in missing.into_iter().rev() {
            let stack = self.window.stack(id);
            let parent = stack.parent.map(|parent| self.stacks[&parent]);
            let frame = self.frame(stack.frame);
            let new = self.part.intern_stack(parent, frame);
            self.stacks.insert(id, new);
        }
        self.stacks[&id]
    }

    fn frame(&mut self, id: FrameId) -> FrameId {
        if let Some(new) = self.frames.get(&id) {
            return *new;
        }
        let Frame {
            mapping,
            address,
            kind,
            lines,
        } = self.window.frame(id);
        let mapping = mapping.map(|mapping| self.mapping(mapping));
        let lines = lines.iter().map(|line| Line {
            function: self.function(line.function),
            line: line.line,
        });
        let lines = lines.collect();
        let new = self.part.intern_frame(Frame {
            mapping,
            address: *address,
            kind: *kind,
            lines,
        });
        self.frames.insert(id, new);
        new
    }

    fn mapping(&mut self, id: MappingId) -> MappingId {
        if let Some(new) = self.mappings.get(&id) {
            return *new;
        }
        let mapping = self.window.mapping(id).clone();
        let name = self.string(mapping.name);
        let new = self.part.intern_mapping(Mapping { name, ..mapping });
        self.mappings.insert(id, new);
        new
    }

    fn function(&mut self, id: FunctionId) -> FunctionId {
        if let Some(new) = self.functions.get(&id) {
            return *new;
        }
        let function = self.window.function(id).clone();
        let new = Function {
            name: self.string(function.name),
            system_name: self.string(function.system_name),
            file: function.file.map(|file| self.string(file)),
            start_line: function.start_line,
        };
        let new = self.part.intern_function(new);
        self.functions.insert(id, new);
        new
    }
}
