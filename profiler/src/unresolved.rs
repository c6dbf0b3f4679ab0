//! What has no name in a profile: how much of what the flame graph shows, in which file, why, and
//! what to do about it.
//!
//! A sample or wait is *unresolved* where a function that ran has no name: the innermost of the
//! program, or the innermost of the kernel. What called it may lack a name too: that spoils the
//! picture less, and is counted apart.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write,
};

use output::{Frame, FrameId, FrameKind, MappingKind, Profile, Sample, shorten};

use crate::names::Nameless;

mod mend;

use mend::mend;

/// Rows of the table without `-v`.
const ROWS: usize = 5;
/// Shares, in percent, below which a row is left out without `-v`.
const LEAST_UNRESOLVED: f64 = 1.0;
const LEAST_ANYWHERE: f64 = 5.0;
/// Characters of a path in the table.
const PATH_CHARS: usize = 100;

/// How much there is in one place, in samples or nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// In stacks whose innermost function has no name.
    pub innermost: u64,
    /// In stacks with such a function anywhere.
    pub anywhere: u64,
}

/// Where code without a name is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// A path, or words in brackets; for code without a file with the name of the process.
    pub binary: String,
    /// Why it has none.
    pub reason: Nameless,
    /// The name of a process that has it, where code lies in memory without a file.
    process: String,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unresolved {
    /// The weight of all stacks with frames.
    pub total: u64,
    /// Of that, the part whose innermost function has no name.
    pub unresolved: u64,
    /// By place.
    pub places: BTreeMap<Place, Weight>,
}

impl Unresolved {
    /// Goes through a profile of which these frames have no names.
    #[must_use]
    pub fn of(profile: &mut Profile, nameless: &HashMap<FrameId, Nameless>) -> Self {
        // Beyond it are the frames of another thread.
        let waker = profile.synthetic("[woken by]");
        let mut unresolved = Self::default();
        for sample in profile.samples() {
            let own = profile.root_first(sample.stack);
            let own: Vec<_> = own.take_while(|&frame| frame != waker).collect();
            unresolved.add(profile, &sample, &own, nameless);
        }
        unresolved
    }

    fn add(
        &mut self,
        profile: &Profile,
        sample: &Sample<'_>,
        frames: &[FrameId],
        nameless: &HashMap<FrameId, Nameless>,
    ) {
        let weight = profile.folded_value(sample);
        let process = profile.text(sample.labels.process);
        let innermost = |kind: FrameKind| {
            let mut frames = frames.iter().rev();
            frames.find(|&&frame| profile.frame(frame).kind == kind)
        };
        let innermost = [FrameKind::User, FrameKind::Kernel].map(innermost);
        if innermost == [None, None] {
            return;
        }
        self.total += weight;
        let place = |frame: FrameId| {
            let &reason = nameless.get(&frame)?;
            Some(place(profile, profile.frame(frame), reason, process))
        };
        let anywhere = frames.iter().filter_map(|&frame| place(frame));
        for place in anywhere.collect::<BTreeSet<_>>() {
            self.places.entry(place).or_default().anywhere += weight;
        }
        if let Some(place) = innermost
            .into_iter()
            .flatten()
            .find_map(|&frame| place(frame))
        {
            self.unresolved += weight;
            self.places.entry(place).or_default().innermost += weight;
        }
    }

    /// The unresolved part, in percent.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.share(self.unresolved)
    }

    /// The table, with a line on the whole of it: all rows, or those that matter. Empty where all
    /// that matters has a name.
    #[must_use]
    pub fn table(&self, all: bool) -> String {
        let mut rows: Vec<_> = self.places.iter().collect();
        rows.retain(|(_, weight)| all || self.matters(weight));
        rows.sort_by_key(|(place, weight)| {
            let weight = std::cmp::Reverse((weight.innermost, weight.anywhere));
            (weight, place.binary.clone())
        });
        if !all {
            rows.truncate(ROWS);
        }
        let mut table = String::new();
        for (index, (place, weight)) in rows.into_iter().enumerate() {
            if index == 0 {
                table.push_str("unnamed   in stacks  where, and why\n");
            }
            let (innermost, anywhere) = (self.share(weight.innermost), self.share(weight.anywhere));
            let binary = shorten(&place.binary, PATH_CHARS);
            let reason = place.reason.name();
            let mend = mend(place.reason, &place.process);
            // Writing to a string does not fail.
            let _ = writeln!(
                table,
                "{innermost:6.1}%  {anywhere:9.1}%  {binary}: {reason}; {mend}"
            );
        }
        table
    }

    fn matters(&self, weight: &Weight) -> bool {
        self.share(weight.innermost) >= LEAST_UNRESOLVED
            || self.share(weight.anywhere) >= LEAST_ANYWHERE
    }

    fn share(&self, part: u64) -> f64 {
        match self.total {
            0 => 0.0,
            total => part as f64 * 100.0 / total as f64,
        }
    }
}

fn place(profile: &Profile, frame: &Frame, reason: Nameless, process: &str) -> Place {
    let mapping = frame.mapping.map(|mapping| profile.mapping(mapping));
    let binary = match mapping {
        None if reason == Nameless::NoFile => format!("unknown memory of `{process}`"),
        None => format!("memory of `{process}`"),
        Some(mapping) if mapping.kind == MappingKind::Kernel => "the kernel".to_owned(),
        Some(mapping) => profile.text(mapping.name).to_owned(),
    };
    Place {
        binary,
        reason,
        process: match mapping {
            None => process.to_owned(),
            Some(_) => String::new(),
        },
    }
}

#[cfg(test)]
mod tests;
