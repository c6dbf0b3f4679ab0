//! The tables of a pprof message, which number what samples use from 1, in the order of use.

use std::collections::HashMap;

use ::pprof::protos;

use super::layout::Layout;
use crate::profile::{FrameId, FunctionId, Line, MappingId, MappingKind, Profile};

/// What pprof calls the kernel.
const KERNEL: &str = "[kernel.kallsyms]";

/// The string table; the string of number 0 is empty.
#[derive(Debug)]
pub(super) struct Strings {
    table: Vec<String>,
    ids: HashMap<String, i64>,
}

impl Strings {
    fn new() -> Self {
        Self {
            table: vec![String::new()],
            ids: HashMap::from([(String::new(), 0)]),
        }
    }

    pub(super) fn id(&mut self, text: &str) -> i64 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.table.len() as i64;
        self.table.push(text.to_owned());
        self.ids.insert(text.to_owned(), id);
        id
    }

    pub(super) fn into_table(self) -> Vec<String> {
        self.table
    }
}

/// Mappings, locations and functions, as far as they were asked for.
#[derive(Debug)]
pub(super) struct Tables<'a> {
    profile: &'a Profile,
    layout: Layout,
    pub(super) strings: Strings,
    pub(super) mappings: Vec<protos::Mapping>,
    pub(super) locations: Vec<protos::Location>,
    pub(super) functions: Vec<protos::Function>,
    mapping_ids: HashMap<MappingId, u64>,
    location_ids: HashMap<FrameId, u64>,
    function_ids: HashMap<FunctionId, u64>,
}

impl<'a> Tables<'a> {
    /// Tables with all mappings, because their order is not that of use.
    pub(super) fn new(profile: &'a Profile) -> Self {
        let mut tables = Self {
            profile,
            layout: Layout::new(profile),
            strings: Strings::new(),
            mappings: Vec::new(),
            locations: Vec::new(),
            functions: Vec::new(),
            mapping_ids: HashMap::new(),
            location_ids: HashMap::new(),
            function_ids: HashMap::new(),
        };
        for id in tables.layout.order.clone() {
            tables.add_mapping(id);
        }
        tables
    }

    /// The number of the location of `frame`.
    pub(super) fn location(&mut self, frame: FrameId) -> u64 {
        if let Some(id) = self.location_ids.get(&frame) {
            return *id;
        }
        let id = next_id(&self.locations);
        let profile = self.profile;
        let content = profile.frame(frame);
        let mapping_id = content.mapping.map_or(0, |id| self.mapping_ids[&id]);
        if mapping_id > 0 {
            self.note_symbols(mapping_id, &content.lines);
        }
        let line = content.lines.iter().map(|line| self.line(line)).collect();
        self.locations.push(protos::Location {
            id,
            mapping_id,
            address: self.layout.address(profile, content),
            line,
            is_folded: false,
        });
        self.location_ids.insert(frame, id);
        id
    }

    fn line(&mut self, line: &Line) -> protos::Line {
        protos::Line {
            function_id: self.function(line.function),
            line: line.line.into(),
        }
    }

    fn function(&mut self, function: FunctionId) -> u64 {
        if let Some(id) = self.function_ids.get(&function) {
            return *id;
        }
        let id = next_id(&self.functions);
        let content = self.profile.function(function);
        let file = content.file.map_or("", |file| self.profile.text(file));
        self.functions.push(protos::Function {
            id,
            name: self.strings.id(self.profile.text(content.name)),
            system_name: self.strings.id(self.profile.text(content.system_name)),
            filename: self.strings.id(file),
            start_line: content.start_line.into(),
        });
        self.function_ids.insert(function, id);
        id
    }

    fn add_mapping(&mut self, mapping: MappingId) {
        let id = next_id(&self.mappings);
        let content = self.profile.mapping(mapping);
        let name = match content.kind {
            MappingKind::Kernel => KERNEL,
            MappingKind::File | MappingKind::Vdso | MappingKind::Jit => {
                self.profile.text(content.name)
            }
        };
        let build_id = content.build_id.iter().flatten();
        let build_id: String = build_id.map(|byte| format!("{byte:02x}")).collect();
        let range = self.layout.range(mapping);
        self.mappings.push(protos::Mapping {
            id,
            memory_start: range.start,
            memory_limit: range.end,
            filename: self.strings.id(name),
            build_id: self.strings.id(&build_id),
            ..protos::Mapping::default()
        });
        self.mapping_ids.insert(mapping, id);
    }

    /// Raises the flags of a mapping for what `lines` know.
    ///
    /// One named location is enough: a reader that looks up names itself then leaves the mapping alone.
    fn note_symbols(&mut self, mapping_id: u64, lines: &[Line]) {
        let file = |line: &Line| self.profile.function(line.function).file;
        let mapping = &mut self.mappings[mapping_id as usize - 1];
        mapping.has_functions |= !lines.is_empty();
        mapping.has_filenames |= lines.iter().any(|line| file(line).is_some());
        mapping.has_line_numbers |= lines.iter().any(|line| line.line > 0);
        mapping.has_inline_frames |= lines.len() > 1;
    }
}

/// Ids count from 1 without a gap.
fn next_id<T>(table: &[T]) -> u64 {
    table.len() as u64 + 1
}
