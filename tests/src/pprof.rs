//! A gzipped pprof file with its tables looked up.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::Path,
};

use flate2::read::GzDecoder;
use pprof::protos::{Message, Profile};

/// A function at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PprofLine {
    /// As its source language writes it.
    pub function: String,
    /// As the linker knows it.
    pub system_name: String,
    /// The source file; empty where none is known.
    pub file: String,
    /// The line in it; 0 where none is known.
    pub line: u64,
}

/// One frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PprofFrame {
    /// The name of the innermost function at this place.
    pub function: String,
    /// The path of the file that the code is in; empty where none is known.
    pub module: String,
    /// The build id of that file, in hexadecimal digits; empty where it has none.
    pub build_id: String,
    /// Where in the file the code is.
    pub offset: u64,
    /// All functions at this place, innermost first.
    pub lines: Vec<PprofLine>,
}

impl PprofFrame {
    /// Whether it is the kernel's.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.module.starts_with("[kernel")
    }

    /// Whether it shows a function, and not the place of an instruction in a file.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !self.function.is_empty()
            && !self.function.starts_with('[')
            && !self.function.contains("+0x")
    }
}

/// One sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PprofSample {
    /// The label `process`.
    pub process: String,
    /// All labels, numbers as text.
    pub labels: BTreeMap<String, String>,
    /// Leaf first.
    pub frames: Vec<PprofFrame>,
    /// The first value, which counts samples.
    pub samples: u64,
    /// All values by the names of their types.
    pub values: BTreeMap<String, u64>,
}

impl PprofSample {
    /// A label that must be there.
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        let label = self.labels.get(key);
        label.unwrap_or_else(|| panic!("no label `{key}` in {:?}", self.labels))
    }

    /// A value that must be there.
    #[must_use]
    pub fn value(&self, name: &str) -> u64 {
        let value = self.values.get(name);
        *value.unwrap_or_else(|| panic!("no values `{name}` in {:?}", self.values))
    }

    /// Whether a function is anywhere in the stack.
    #[must_use]
    pub fn has(&self, function: &str) -> bool {
        self.frames.iter().any(|frame| frame.function == function)
    }

    /// The frame that ran, where that is known to be user code.
    #[must_use]
    pub fn user_leaf(&self) -> Option<&PprofFrame> {
        let leaf = self.frames.first()?;
        (!leaf.is_kernel() && !leaf.function.starts_with("[lost")).then_some(leaf)
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pprof {
    /// All samples.
    pub samples: Vec<PprofSample>,
    /// How long the recording took.
    pub duration_ns: u64,
    /// The lines that tell about the recording.
    pub comments: Vec<String>,
}

impl Pprof {
    /// How many samples fulfil a condition.
    #[must_use]
    pub fn count(&self, wanted: impl Fn(&PprofSample) -> bool) -> u64 {
        let samples = self.samples.iter().filter(|sample| wanted(sample));
        samples.map(|sample| sample.samples).sum()
    }

    /// How many samples ran user code of which a condition is true.
    #[must_use]
    pub fn user_count(&self, wanted: impl Fn(&PprofFrame) -> bool) -> u64 {
        self.count(|sample| sample.user_leaf().is_some_and(&wanted))
    }

    /// Reads a file; anything that is cut short or points to nowhere is a failure.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut bytes = Vec::new();
        let mut gzip = GzDecoder::new(File::open(path).unwrap());
        gzip.read_to_end(&mut bytes).unwrap();
        let profile = Profile::decode(bytes.as_slice()).unwrap();
        let frames = frames(&profile);
        let samples = profile.sample.iter();
        Self {
            samples: samples
                .map(|sample| self::sample(&profile, &frames, sample))
                .collect(),
            duration_ns: profile.duration_nanos.try_into().unwrap(),
            comments: profile
                .comment
                .iter()
                .map(|&id| text(&profile, id))
                .collect(),
        }
    }
}

fn text(profile: &Profile, index: i64) -> String {
    profile.string_table[usize::try_from(index).unwrap()].clone()
}

fn sample(
    profile: &Profile,
    frames: &HashMap<u64, PprofFrame>,
    sample: &pprof::protos::Sample,
) -> PprofSample {
    let labels: BTreeMap<_, _> = sample
        .label
        .iter()
        .map(|label| match label.str {
            0 => (text(profile, label.key), label.num.to_string()),
            words => (text(profile, label.key), text(profile, words)),
        })
        .collect();
    let types = profile
        .sample_type
        .iter()
        .map(|kind| text(profile, kind.ty));
    let values = sample
        .value
        .iter()
        .map(|&value| u64::try_from(value).unwrap());
    PprofSample {
        process: labels["process"].clone(),
        labels,
        frames: sample
            .location_id
            .iter()
            .map(|id| frames[id].clone())
            .collect(),
        samples: sample.value[0].try_into().unwrap(),
        values: types.zip(values).collect(),
    }
}

fn frames(profile: &Profile) -> HashMap<u64, PprofFrame> {
    let functions: HashMap<u64, PprofLine> = profile
        .function
        .iter()
        .map(|function| {
            let line = PprofLine {
                function: text(profile, function.name),
                system_name: text(profile, function.system_name),
                file: text(profile, function.filename),
                line: 0,
            };
            (function.id, line)
        })
        .collect();
    let mappings: HashMap<u64, _> = profile.mapping.iter().map(|of| (of.id, of)).collect();
    let locations = profile.location.iter().map(|location| {
        let lines = location.line.iter().map(|line| PprofLine {
            line: line.line.try_into().unwrap(),
            ..functions[&line.function_id].clone()
        });
        let lines: Vec<_> = lines.collect();
        let mapping = (location.mapping_id != 0).then(|| mappings[&location.mapping_id]);
        let frame = PprofFrame {
            function: lines
                .first()
                .map_or_else(String::new, |line| line.function.clone()),
            module: mapping.map_or_else(String::new, |of| text(profile, of.filename)),
            build_id: mapping.map_or_else(String::new, |of| text(profile, of.build_id)),
            offset: mapping.map_or(location.address, |of| location.address - of.memory_start),
            lines,
        };
        (location.id, frame)
    });
    locations.collect()
}
