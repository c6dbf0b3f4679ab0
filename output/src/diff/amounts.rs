//! What each function has in two profiles, and how certain that is.

use std::collections::{HashMap, HashSet};

use super::DiffError;
use super::statistics::Evidence;
use crate::encode::folded::unnamed;
use crate::profile::{FrameId, FrameKind, Line, Profile, Unit};

/// How many samples of an exponential distribution are as certain, in their sum, as one of a kind that
/// does not vary.
const VARYING: f64 = 2.0;

/// How the number of samples behind an amount is known.
#[derive(Clone, Debug, PartialEq)]
enum Counting {
    /// Each sample has the same amount.
    Same(f64),
    /// The values of these sample types count them, and amounts vary.
    Types(Vec<usize>),
}

impl Default for Counting {
    fn default() -> Self {
        Self::Same(1.0)
    }
}

impl Counting {
    /// That of a sample type: by the period where it is sampled; what is a number itself; else what the
    /// type before it counts, which is what pprof's own tools and the Go runtime put there.
    fn of(profile: &Profile, place: usize) -> Result<Self, DiffError> {
        let types = profile.sample_types();
        let of = &types[place];
        if let Some(period) = &profile.period
            && period.of == *of
        {
            return Ok(Self::Same(period.value.max(1) as f64));
        }
        let counts = |at: &usize| types[*at].unit() == Unit::Count;
        let before = (0..place).rev();
        let counting: Vec<usize> = match of.unit() {
            Unit::Count => return Ok(Self::Same(1.0)),
            // The one sum of running and waiting.
            Unit::Nanoseconds if of.name() == "wall" => before.filter(counts).collect(),
            Unit::Nanoseconds | Unit::Bytes => before.filter(counts).take(1).collect(),
        };
        match counting.is_empty() {
            true => Err(DiffError::Uncounted {
                name: of.name().to_owned(),
            }),
            false => Ok(Self::Types(counting)),
        }
    }

    fn samples(&self, values: &[u64]) -> u64 {
        match self {
            Self::Same(_) => 0,
            Self::Types(places) => places.iter().map(|&at| values[at]).sum(),
        }
    }
}

/// An amount in both profiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    /// In the unit of the sample type.
    pub(super) weights: [u64; 2],
    pub(super) evidence: Evidence,
}

/// A function in both profiles.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    /// Whether it is code, and no word for what is missing.
    pub(super) is_code: bool,
    pub(super) own: Sum,
    pub(super) total: Sum,
}

/// All functions and the whole.
#[derive(Debug)]
pub(super) struct Amounts {
    pub(super) functions: Vec<Function>,
    pub(super) whole: Sum,
}

/// Weights and samples of the two profiles.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    weights: [u64; 2],
    samples: [u64; 2],
}

impl Pair {
    fn add(&mut self, side: usize, weight: u64, samples: u64) {
        self.weights[side] = self.weights[side].saturating_add(weight);
        self.samples[side] = self.samples[side].saturating_add(samples);
    }

    fn sum(&self, counting: &[Counting; 2]) -> Sum {
        let weights = self.weights.map(|weight| weight as f64);
        let samples: f64 = self.samples.iter().map(|&samples| samples as f64).sum();
        let varying = VARYING * (weights[0] + weights[1]) / samples.max(1.0);
        let units = [0, 1].map(|side| match counting[side] {
            Counting::Same(unit) => unit,
            Counting::Types(_) => varying.max(1.0),
        });
        let counts = [0, 1].map(|side| weights[side] / units[side]);
        Sum {
            weights: self.weights,
            evidence: Evidence { counts, units },
        }
    }
}

#[derive(Debug, Default)]
struct Taken {
    is_code: bool,
    own: Pair,
    total: Pair,
}

/// Sums that the two profiles are being added to.
#[derive(Debug, Default)]
pub(super) struct Adding {
    functions: HashMap<String, Taken>,
    whole: Pair,
    counting: [Counting; 2],
}

impl Adding {
    /// Adds the values of a sample type, by its place. A recursive function counts once a stack.
    pub(super) fn add(
        &mut self,
        profile: &Profile,
        place: usize,
        side: usize,
    ) -> Result<(), DiffError> {
        let counting = Counting::of(profile, place)?;
        let names = Names::new(profile);
        let mut taken: Vec<(Pair, Pair)> = vec![<(Pair, Pair)>::default(); names.texts.len()];
        let mut seen = HashSet::new();
        for sample in profile.samples() {
            let weight = sample.values[place];
            let samples = counting.samples(sample.values);
            self.whole.add(side, weight, samples);
            seen.clear();
            for (depth, frame) in profile.leaf_first(sample.stack).enumerate() {
                for (inline, &name) in names.of_frames[&frame].iter().enumerate() {
                    if depth == 0 && inline == 0 {
                        taken[name].0.add(side, weight, samples);
                    }
                    if seen.insert(name) {
                        taken[name].1.add(side, weight, samples);
                    }
                }
            }
        }
        for ((name, is_code), (own, total)) in names.texts.into_iter().zip(taken) {
            let sums = self.functions.entry(name).or_default();
            sums.is_code |= is_code;
            sums.own.add(side, own.weights[side], own.samples[side]);
            sums.total
                .add(side, total.weights[side], total.samples[side]);
        }
        self.counting[side] = counting;
        Ok(())
    }

    pub(super) fn finish(self) -> Amounts {
        let counting = &self.counting;
        let functions = self.functions.into_iter();
        Amounts {
            functions: functions
                .map(|(name, taken)| Function {
                    name,
                    is_code: taken.is_code,
                    own: taken.own.sum(counting),
                    total: taken.total.sum(counting),
                })
                .collect(),
            whole: self.whole.sum(counting),
        }
    }
}

/// The names of frames, each once.
#[derive(Debug)]
struct Names {
    /// With whether it is that of code.
    texts: Vec<(String, bool)>,
    /// Innermost first.
    of_frames: HashMap<FrameId, Vec<usize>>,
}

impl Names {
    fn new(profile: &Profile) -> Self {
        let mut numbers: HashMap<(String, bool), usize> = HashMap::new();
        let mut texts = Vec::new();
        let mut number = |name: String, is_code: bool| {
            let key = (name, is_code);
            *numbers.entry(key).or_insert_with_key(|key| {
                texts.push(key.clone());
                texts.len() - 1
            })
        };
        let of_frames = profile.frames().map(|(id, frame)| {
            let is_code = frame.kind != FrameKind::Synthetic;
            let lines = frame.lines.iter();
            let name = |line: &Line| profile.function(line.function).name;
            let named: Vec<usize> = match frame.lines.is_empty() {
                true => vec![number(unnamed(profile, frame), is_code)],
                false => lines
                    .map(|line| number(profile.text(name(line)).to_owned(), is_code))
                    .collect(),
            };
            (id, named)
        });
        let of_frames = of_frames.collect();
        Self { texts, of_frames }
    }
}
