//! Compares two profiles: by how much each function grew or shrank, and whether that is more than chance.
//!
//! Functions are compared by name, since addresses differ from build to build. A verdict is about the time
//! of a function itself: that of its callers grows with it. The statistics are in `docs/diff.md`.
//!
//! Does not know where profiles come from.

mod amounts;
mod picture;
mod statistics;
mod table;

use std::collections::HashMap;

use crate::clean::clean;
use crate::encode::EncodeError;
use crate::profile::{Profile, SampleType};
use amounts::{Adding, Amounts, Sum};
use statistics::{Evidence, Level, holm};

/// The probability that a comparison of two recordings of the same calls anything a change.
const FAMILY_ERROR: f64 = 0.01;
/// Functions with fewer samples, of both recordings together, cannot be told from chance.
const MIN_SAMPLES: f64 = 10.0;
/// The part of both recordings below which a function is not judged by itself, in percent.
pub const MIN_SHARE_PERCENT: f64 = 0.5;

/// What functions are measured against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Against {
    /// How many times as much the typical function has in the second recording.
    Typical,
    /// So many times as much as in the first recording: 1 where both did the same work.
    Times(f64),
}

/// How to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffOptions {
    /// The sample type; the one that opens first where none is named.
    pub sample_type: Option<String>,
    /// What functions are measured against.
    pub against: Against,
    /// The part of both recordings, in percent, below which a function is not judged.
    pub min_share_percent: f64,
}

/// Why two profiles are not compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// One has no such values, or in another unit.
    #[error("failed to compare `{name}`: {side} recording has no such sample type, but {present}")]
    NoType {
        /// What was asked for.
        name: String,
        /// Which recording.
        side: &'static str,
        /// What it has, each in backticks.
        present: String,
    },
    /// One has nothing to compare.
    #[error("failed to compare `{name}`: {side} recording has no samples of it")]
    Empty {
        /// The sample type.
        name: String,
        /// Which recording.
        side: &'static str,
    },
    /// There is no number of samples by which an error could be told.
    #[error("failed to compare `{name}`: no sample type before it counts what it is made of")]
    Uncounted {
        /// The sample type.
        name: String,
    },
}

/// What is said of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes more, and that is not chance.
    Grew,
    /// It takes less, and that is not chance.
    Shrank,
    /// It may be chance.
    Noise,
    /// It is too small a part of both recordings to be judged, or has too few samples.
    Small,
    /// It is no function: it stands for what is missing.
    Missing,
}

impl Verdict {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Grew => "grew",
            Self::Shrank => "shrank",
            Self::Noise => "noise",
            Self::Small => "small",
            Self::Missing => "missing",
        }
    }

    /// Whether something changed.
    pub const fn is_significant(self) -> bool {
        matches!(self, Self::Grew | Self::Shrank)
    }
}

/// An amount in both recordings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// In the unit of the sample type, in the first recording and in the second.
    pub amounts: [u64; 2],
    /// The change in percent, measured against the level; infinite where there was nothing before.
    pub percent: f64,
    /// Half the width of the interval in which the change lies with a probability of 95 %, in percent.
    pub error_percent: f64,
    /// How likely chance alone makes such a difference.
    pub p_value: f64,
}

/// A function in both recordings.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionChange {
    /// Its name, cleaned.
    pub name: String,
    /// What is said of its own time.
    pub verdict: Verdict,
    /// When it ran itself.
    pub own: Change,
    /// When it or what it called ran.
    pub total: Change,
}

/// A comparison of which only the verdicts are asked: it keeps what functions took, and no stacks.
#[derive(Debug, Default)]
pub(crate) struct Judging(Adding);

impl Judging {
    /// Adds the first profile, on side 0, or the second, by one of its sample types.
    pub(crate) fn add(
        &mut self,
        profile: &Profile,
        place: usize,
        side: usize,
    ) -> Result<(), DiffError> {
        self.0.add(profile, place, side)
    }

    /// What is said of functions, by name, where both sides have something; as in a [`Diff`] that is
    /// asked for nothing else.
    pub(crate) fn verdicts(self) -> HashMap<String, Verdict> {
        let amounts = self.0.finish();
        if amounts.whole.weights.contains(&0) {
            return HashMap::new();
        }
        let judged = judged(&amounts, MIN_SHARE_PERCENT);
        let level = level(&judged, Against::Typical);
        let changes = changes(amounts, &level, MIN_SHARE_PERCENT).into_iter();
        changes.map(|of| (of.name, of.verdict)).collect()
    }
}

/// Two profiles, compared.
#[derive(Debug)]
pub struct Diff {
    profiles: [Profile; 2],
    sample_type: SampleType,
    wholes: [u64; 2],
    against: Against,
    min_share_percent: f64,
    level: Level,
    functions: Vec<FunctionChange>,
}

impl Diff {
    /// Compares two profiles.
    ///
    /// # Errors
    /// Where one of them does not have what is compared.
    pub fn new(profiles: [Profile; 2], options: &DiffOptions) -> Result<Self, DiffError> {
        let [before, after] = &profiles;
        let name = match &options.sample_type {
            Some(name) => name.clone(),
            None => after.default_type().name().to_owned(),
        };
        let places = [
            place(before, &name, "the first")?,
            place(after, &name, "the second")?,
        ];
        let sample_type = after.sample_types()[places[1]].clone();
        let mut profiles = profiles;
        for (profile, place) in profiles.iter_mut().zip(places) {
            profile.fold_by(&[place]);
        }
        let mut adding = Adding::default();
        for side in 0..2 {
            adding.add(&profiles[side], places[side], side)?;
        }
        let amounts = adding.finish();
        for (side, words) in ["the first", "the second"].into_iter().enumerate() {
            if amounts.whole.weights[side] == 0 {
                return Err(DiffError::Empty { name, side: words });
            }
        }
        let judged = judged(&amounts, options.min_share_percent);
        let level = level(&judged, options.against);
        Ok(Self {
            wholes: amounts.whole.weights,
            functions: changes(amounts, &level, options.min_share_percent),
            profiles,
            sample_type,
            against: options.against,
            min_share_percent: options.min_share_percent,
            level,
        })
    }

    /// What is compared.
    pub const fn sample_type(&self) -> &SampleType {
        &self.sample_type
    }

    /// The two, in the unit of the sample type.
    pub const fn wholes(&self) -> [u64; 2] {
        self.wholes
    }

    /// How many times as much the second recording has of what functions are measured against.
    pub fn level(&self) -> f64 {
        self.level.log.exp()
    }

    /// By how many percent functions differ between recordings of the same, beyond what sampling does.
    pub fn spread_percent(&self) -> f64 {
        100.0 * self.level.spread.sqrt()
    }

    /// All functions, those that changed first, and then those whose own time differs most.
    pub fn functions(&self) -> &[FunctionChange] {
        &self.functions
    }

    /// The functions whose total grew by more than `percent`, of those that match, where that is not
    /// chance and the total is large enough to be judged.
    pub fn grown(&self, percent: f64, matches: impl Fn(&str) -> bool) -> Vec<&FunctionChange> {
        let is_large = |of: &&FunctionChange| {
            let share_percent = share_percent(of.total.amounts, self.wholes);
            of.verdict != Verdict::Missing && share_percent >= self.min_share_percent
        };
        let functions = self.functions.iter().filter(is_large);
        let matching: Vec<&FunctionChange> = functions.filter(|of| matches(&of.name)).collect();
        let p_values: Vec<f64> = matching.iter().map(|of| of.total.p_value).collect();
        let significant = holm(&p_values, FAMILY_ERROR);
        let judged = matching.into_iter().zip(significant);
        judged
            .filter(|(of, significant)| *significant && of.total.percent > percent)
            .map(|(of, _)| of)
            .collect()
    }

    /// A table of `rows` functions, and what they are measured against.
    pub fn table(&self, rows: usize) -> String {
        table::table(self, rows)
    }

    /// A flame graph of the second recording, with what grew in red and what shrank in blue.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<Vec<u8>, EncodeError> {
        picture::draw(self)
    }

    /// A line for each stack, with its values in both recordings, as `difffolded.pl` writes them.
    pub fn folded(&self) -> String {
        let lines = picture::lines(&self.profiles, 1.0);
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

fn place(profile: &Profile, name: &str, side: &'static str) -> Result<usize, DiffError> {
    let mut types = profile.sample_types().iter();
    types.position(|of| of.name() == name).ok_or_else(|| {
        let present = profile.sample_types().iter();
        let present: Vec<String> = present.map(|of| format!("`{}`", of.name())).collect();
        DiffError::NoType {
            name: clean(name).into_owned(),
            side,
            present: present.join(", "),
        }
    })
}

/// What functions are judged by: their own time, where it is large enough.
fn judged(amounts: &Amounts, min_share_percent: f64) -> Vec<Evidence> {
    let functions = amounts.functions.iter();
    functions
        .filter(|of| of.is_code && is_large(amounts, &of.own, min_share_percent))
        .map(|of| of.own.evidence)
        .collect()
}

fn is_large(amounts: &Amounts, own: &Sum, min_share_percent: f64) -> bool {
    let share_percent = share_percent(own.weights, amounts.whole.weights);
    own.evidence.samples() >= MIN_SAMPLES && share_percent >= min_share_percent
}

/// The part of the wholes, on average over the two recordings.
fn share_percent(parts: [u64; 2], wholes: [u64; 2]) -> f64 {
    let share = |side: usize| parts[side] as f64 / wholes[side] as f64;
    50.0 * (share(0) + share(1))
}

fn level(judged: &[Evidence], against: Against) -> Level {
    let typical = Level::typical(judged);
    match against {
        Against::Typical => typical,
        Against::Times(ratio) => typical.at(ratio),
    }
}

fn changes(amounts: Amounts, level: &Level, min_share_percent: f64) -> Vec<FunctionChange> {
    let large: Vec<bool> = amounts
        .functions
        .iter()
        .map(|of| of.is_code && is_large(&amounts, &of.own, min_share_percent))
        .collect();
    let functions = amounts.functions.into_iter().zip(&large);
    let mut changes: Vec<FunctionChange> = functions
        .map(|(of, &is_large)| FunctionChange {
            own: change(&of.own, level),
            total: change(&of.total, level),
            name: of.name,
            verdict: match (of.is_code, is_large) {
                (false, _) => Verdict::Missing,
                (true, false) => Verdict::Small,
                (true, true) => Verdict::Noise,
            },
        })
        .collect();
    let of_noise = |of: &&mut FunctionChange| of.verdict == Verdict::Noise;
    let mut judged: Vec<&mut FunctionChange> = changes.iter_mut().filter(of_noise).collect();
    let p_values: Vec<f64> = judged.iter().map(|of| of.own.p_value).collect();
    for (of, significant) in judged.iter_mut().zip(holm(&p_values, FAMILY_ERROR)) {
        of.verdict = match (significant, of.own.percent > 0.0) {
            (false, _) => Verdict::Noise,
            (true, true) => Verdict::Grew,
            (true, false) => Verdict::Shrank,
        };
    }
    let ratio = level.log.exp();
    let moved = |of: &FunctionChange| {
        let [before, after] = of.own.amounts.map(|amount| amount as f64);
        (after - before * ratio).abs()
    };
    changes.sort_by(|a, b| {
        let changed = |of: &FunctionChange| of.verdict.is_significant();
        changed(b)
            .cmp(&changed(a))
            .then(moved(b).total_cmp(&moved(a)))
            .then_with(|| a.name.cmp(&b.name))
    });
    changes
}

fn change(sum: &Sum, level: &Level) -> Change {
    const NORMAL_95: f64 = 1.96;
    let (distance, variance) = level.distance(&sum.evidence);
    let [before, after] = sum.weights;
    let percent = match (before, after) {
        (0, 0) => 0.0,
        (0, _) => f64::INFINITY,
        (_, 0) => -100.0,
        _ => 100.0 * distance.exp_m1(),
    };
    Change {
        amounts: sum.weights,
        percent,
        error_percent: 100.0 * NORMAL_95 * variance.sqrt() * distance.exp(),
        p_value: level.p_value(&sum.evidence),
    }
}
