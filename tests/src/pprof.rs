//! A gzipped pprof file with its tables looked up.

use std::{collections::HashMap, fs::File, io::Read, path::Path};

use flate2::read::GzDecoder;
use pprof::protos::{Message, Profile};

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PprofFrame {
    /// The name of the innermost function at this place.
    pub function: String,
    /// The path of the file that the code is in; empty where none is known.
    pub module: String,
}

impl PprofFrame {
    /// Whether it is the kernel's.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.module.starts_with("[kernel")
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PprofSample {
    /// The label `process`.
    pub process: String,
    /// Leaf first.
    pub frames: Vec<PprofFrame>,
    /// The first value, which counts samples.
    pub samples: u64,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pprof {
    /// All samples.
    pub samples: Vec<PprofSample>,
    /// How long the recording took.
    pub duration_ns: u64,
}

impl Pprof {
    /// Reads a file; anything that is cut short or points to nowhere is a failure.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut bytes = Vec::new();
        let mut gzip = GzDecoder::new(File::open(path).unwrap());
        gzip.read_to_end(&mut bytes).unwrap();
        let profile = Profile::decode(bytes.as_slice()).unwrap();
        let frames = frames(&profile);
        let samples = profile.sample.iter().map(|sample| PprofSample {
            process: label(&profile, sample, "process"),
            frames: sample
                .location_id
                .iter()
                .map(|id| frames[id].clone())
                .collect(),
            samples: sample.value[0].try_into().unwrap(),
        });
        Self {
            samples: samples.collect(),
            duration_ns: profile.duration_nanos.try_into().unwrap(),
        }
    }
}

fn text(profile: &Profile, index: i64) -> String {
    profile.string_table[usize::try_from(index).unwrap()].clone()
}

fn label(profile: &Profile, sample: &pprof::protos::Sample, key: &str) -> String {
    let mut labels = sample.label.iter();
    let label = labels.find(|label| text(profile, label.key) == key);
    text(profile, label.unwrap().str)
}

fn frames(profile: &Profile) -> HashMap<u64, PprofFrame> {
    let functions: HashMap<u64, String> = profile
        .function
        .iter()
        .map(|function| (function.id, text(profile, function.name)))
        .collect();
    let modules: HashMap<u64, String> = profile
        .mapping
        .iter()
        .map(|mapping| (mapping.id, text(profile, mapping.filename)))
        .collect();
    let locations = profile.location.iter().map(|location| {
        let line = location.line.first();
        let frame = PprofFrame {
            function: line.map_or_else(String::new, |line| functions[&line.function_id].clone()),
            module: match location.mapping_id {
                0 => String::new(),
                id => modules[&id].clone(),
            },
        };
        (location.id, frame)
    });
    locations.collect()
}
