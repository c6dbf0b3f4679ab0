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

use foldhash::fast::RandomState;
use output::{FrameId, FrameKind, MappingId, MappingKind, Profile, Sample, StringId, shorten};

use crate::names::Nameless;

mod mend;

use mend::mend;

/// Above the rows.
const HEAD: &str = "unnamed   in stacks  where, and why\n";
/// Rows of the table without `-v`.
const ROWS: usize = 5;
/// Shares, in percent, below which a row is left out without `-v`.
const LEAST_UNRESOLVED: f64 = 1.0;
const LEAST_ANYWHERE: f64 = 5.0;
/// Characters of a path in the table.
const PATH_CHARS: usize = 64;

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
    /// Whether servers were asked for debug files.
    pub asked_servers: bool,
}

/// A place by handles: texts are made once for each, not for each sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    reason: Nameless,
    mapping: Option<MappingId>,
    /// Where there is no mapping.
    process: Option<StringId>,
}

/// What goes through the samples.
struct Counting<'a> {
    profile: &'a Profile,
    nameless: &'a HashMap<FrameId, Nameless, RandomState>,
    total: u64,
    unresolved: u64,
    places: BTreeMap<Key, Weight>,
}

impl Counting<'_> {
    fn add(&mut self, sample: &Sample<'_>, frames: &[FrameId]) {
        let profile = self.profile;
        let of_kind = |kind: FrameKind| {
            let mut frames = frames.iter().rev().copied();
            frames.find(|&frame| profile.frame(frame).kind == kind)
        };
        let innermost = [FrameKind::User, FrameKind::Kernel].map(of_kind);
        if innermost == [None, None] {
            return;
        }
        let weight = profile.folded_value(sample);
        self.total += weight;
        let process = sample.labels.process;
        let anywhere = frames.iter().filter_map(|&frame| self.key(frame, process));
        let mut keys: Vec<Key> = Vec::new();
        for key in anywhere {
            // A stack has few of them.
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for key in keys {
            self.places.entry(key).or_default().anywhere += weight;
        }
        let mut innermost = innermost.into_iter().flatten();
        if let Some(key) = innermost.find_map(|frame| self.key(frame, process)) {
            self.unresolved += weight;
            self.places.entry(key).or_default().innermost += weight;
        }
    }

    fn key(&self, frame: FrameId, process: StringId) -> Option<Key> {
        let &reason = self.nameless.get(&frame)?;
        let mapping = self.profile.frame(frame).mapping;
        Some(Key {
            reason,
            mapping,
            process: mapping.is_none().then_some(process),
        })
    }
}

impl Unresolved {
    /// Goes through a profile of which these frames have no names, though servers may have been asked.
    #[must_use]
    pub fn of(
        profile: &mut Profile,
        nameless: &HashMap<FrameId, Nameless, RandomState>,
        asked_servers: bool,
    ) -> Self {
        // Beyond it are the frames of another thread.
        let waker = profile.synthetic("[woken by]");
        let profile = &*profile;
        let mut counting = Counting {
            profile,
            nameless,
            total: 0,
            unresolved: 0,
            places: BTreeMap::new(),
        };
        for sample in profile.samples() {
            let own = profile.root_first(sample.stack);
            let own: Vec<_> = own.take_while(|&frame| frame != waker).collect();
            counting.add(&sample, &own);
        }
        let mut places: BTreeMap<Place, Weight> = BTreeMap::new();
        for (key, weight) in counting.places {
            // Two files may have one path, as one has that was replaced.
            let sum = places.entry(place(profile, key)).or_default();
            sum.innermost += weight.innermost;
            sum.anywhere += weight.anywhere;
        }
        Self {
            total: counting.total,
            unresolved: counting.unresolved,
            places,
            asked_servers,
        }
    }

    /// The unresolved part, in percent.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.share(self.unresolved)
    }

    /// The table, all rows or those that matter, and below it what to do for each reason. Empty where
    /// all that matters has a name.
    #[must_use]
    pub fn table(&self, all: bool) -> String {
        let rows = self.rows(all);
        if rows.is_empty() {
            return String::new();
        }
        let (mut table, mut mends) = (HEAD.to_owned(), BTreeSet::new());
        for (place, weight) in rows {
            let (innermost, anywhere) = (self.share(weight.innermost), self.share(weight.anywhere));
            let binary = shorten(&place.binary, PATH_CHARS);
            let reason = place.reason.name();
            // Writing to a string does not fail.
            let _ = writeln!(
                table,
                "{innermost:6.1}%  {anywhere:9.1}%  {binary}: {reason}"
            );
            let mend = mend(place.reason, &place.process, self.asked_servers);
            mends.insert(format!("{reason}: {mend}\n"));
        }
        table.extend(mends);
        table
    }

    /// The heaviest first.
    fn rows(&self, all: bool) -> Vec<(&Place, &Weight)> {
        let mut rows: Vec<_> = self.places.iter().collect();
        rows.retain(|(_, weight)| all || self.matters(weight));
        rows.sort_by_key(|(place, weight)| {
            let weight = std::cmp::Reverse((weight.innermost, weight.anywhere));
            (weight, &place.binary)
        });
        if !all {
            rows.truncate(ROWS);
        }
        rows
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

fn place(profile: &Profile, key: Key) -> Place {
    let process = key.process.map_or("", |process| profile.text(process));
    let binary = match key.mapping.map(|mapping| profile.mapping(mapping)) {
        None if key.reason == Nameless::NoFile => format!("unknown memory of `{process}`"),
        None => format!("memory of `{process}`"),
        Some(mapping) if mapping.kind == MappingKind::Kernel => "the kernel".to_owned(),
        Some(mapping) => profile.text(mapping.name).to_owned(),
    };
    Place {
        binary,
        reason: key.reason,
        process: process.to_owned(),
    }
}

#[cfg(test)]
mod tests;
