//! The tables that all profiles of a request share. The first value of each is the zero value.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::profiles::v1development as proto;

use crate::profile::{Frame, FrameId, FrameKind, FunctionId, MappingId, Profile, StackId};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value<'a> {
    Int(i64),
    Text(Cow<'a, str>),
    Flag(bool),
}

impl Value<'_> {
    pub(super) fn any(&self) -> AnyValue {
        let value = match self {
            Self::Int(value) => any_value::Value::IntValue(*value),
            Self::Text(text) => any_value::Value::StringValue(text.clone().into_owned()),
            Self::Flag(value) => any_value::Value::BoolValue(*value),
        };
        AnyValue { value: Some(value) }
    }
}

/// A table with numbers for what it has already.
#[derive(Debug)]
struct Table<K, T> {
    items: Vec<T>,
    places: HashMap<K, i32>,
}

impl<K: Eq + Hash, T: Default> Table<K, T> {
    fn new() -> Self {
        Self {
            items: vec![T::default()],
            places: HashMap::new(),
        }
    }

    fn find(&self, key: &K) -> Option<i32> {
        self.places.get(key).copied()
    }

    fn push(&mut self, key: K, item: T) -> i32 {
        let place = i32::try_from(self.items.len()).expect("a request ends before 2^31 values");
        self.items.push(item);
        self.places.insert(key, place);
        place
    }
}

/// What samples refer to, as far as it was asked for.
#[derive(Debug)]
pub(super) struct Dictionary<'a> {
    profile: &'a Profile,
    strings: Table<String, String>,
    mappings: Table<MappingId, proto::Mapping>,
    functions: Table<FunctionId, proto::Function>,
    locations: Table<FrameId, proto::Location>,
    stacks: Table<StackId, proto::Stack>,
    attributes: Table<(i32, Value<'a>), proto::KeyValueAndUnit>,
}

impl<'a> Dictionary<'a> {
    pub(super) fn new(profile: &'a Profile) -> Self {
        let mut strings = Table::new();
        strings.places.insert(String::new(), 0);
        Self {
            profile,
            strings,
            mappings: Table::new(),
            functions: Table::new(),
            locations: Table::new(),
            stacks: Table::new(),
            attributes: Table::new(),
        }
    }

    pub(super) fn string(&mut self, text: &str) -> i32 {
        match self.strings.places.get(text) {
            Some(place) => *place,
            None => self.strings.push(text.to_owned(), text.to_owned()),
        }
    }

    pub(super) fn attribute(&mut self, key: &str, value: Value<'a>) -> i32 {
        let key_strindex = self.string(key);
        let any = value.any();
        let key = (key_strindex, value);
        self.attributes.find(&key).unwrap_or_else(|| {
            let item = proto::KeyValueAndUnit {
                key_strindex,
                value: Some(any),
                unit_strindex: 0,
            };
            self.attributes.push(key, item)
        })
    }

    pub(super) fn stack(&mut self, stack: StackId) -> i32 {
        if let Some(place) = self.stacks.find(&stack) {
            return place;
        }
        let frames = self.profile.leaf_first(stack);
        let location_indices = frames.map(|frame| self.location(frame)).collect();
        self.stacks.push(stack, proto::Stack { location_indices })
    }

    fn location(&mut self, frame: FrameId) -> i32 {
        if let Some(place) = self.locations.find(&frame) {
            return place;
        }
        let content = self.profile.frame(frame);
        let mapping_index = content.mapping.map_or(0, |id| self.mapping(id, content));
        let kind = match content.kind {
            FrameKind::Kernel => Some("kernel"),
            FrameKind::User => Some("native"),
            FrameKind::Synthetic => None,
        };
        let kind = kind.map(|kind| self.attribute("profile.frame.type", Value::Text(kind.into())));
        let lines = content.lines.iter().map(|line| proto::Line {
            function_index: self.function(line.function),
            line: line.line.into(),
            column: 0,
        });
        let lines = lines.collect();
        let location = proto::Location {
            mapping_index,
            address: content.address,
            lines,
            attribute_indices: kind.into_iter().collect(),
        };
        self.locations.push(frame, location)
    }

    /// A mapping from address 0 on, where the address of a frame is its offset in the file.
    fn mapping(&mut self, mapping: MappingId, frame: &Frame) -> i32 {
        let place = match self.mappings.find(&mapping) {
            Some(place) => place,
            None => self.add_mapping(mapping),
        };
        let limit = &mut self.mappings.items[place as usize].memory_limit;
        *limit = (*limit).max(frame.address.saturating_add(1));
        place
    }

    fn add_mapping(&mut self, mapping: MappingId) -> i32 {
        let content = self.profile.mapping(mapping);
        let build_id = content.build_id.as_ref().map(|id| {
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            self.attribute("process.executable.build_id.gnu", Value::Text(hex.into()))
        });
        let item = proto::Mapping {
            memory_start: 0,
            memory_limit: content.size_bytes,
            file_offset: 0,
            filename_strindex: self.string(self.profile.text(content.name)),
            attribute_indices: build_id.into_iter().collect(),
        };
        self.mappings.push(mapping, item)
    }

    fn function(&mut self, function: FunctionId) -> i32 {
        if let Some(place) = self.functions.find(&function) {
            return place;
        }
        let content = self.profile.function(function);
        let file = content.file.map_or("", |file| self.profile.text(file));
        let item = proto::Function {
            name_strindex: self.string(self.profile.text(content.name)),
            system_name_strindex: self.string(self.profile.text(content.system_name)),
            filename_strindex: self.string(file),
            start_line: content.start_line.into(),
        };
        self.functions.push(function, item)
    }

    pub(super) fn into_message(self) -> proto::ProfilesDictionary {
        proto::ProfilesDictionary {
            mapping_table: self.mappings.items,
            location_table: self.locations.items,
            function_table: self.functions.items,
            link_table: vec![proto::Link::default()],
            string_table: self.strings.items,
            attribute_table: self.attributes.items,
            stack_table: self.stacks.items,
        }
    }
}
