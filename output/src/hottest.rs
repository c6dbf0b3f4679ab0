//! The functions in which most of the time goes, as a short table for a terminal.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use crate::clean::shorten;
use crate::profile::{FrameId, Profile, StringId};

/// Characters of a function's name in the table.
const NAME_CHARS: usize = 70;

/// What one function took: when it ran itself, and when it or a function it called ran.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    own: u64,
    total: u64,
}

/// A table of the `count` functions with the most samples of their own: the share of the whole
/// that is each function's own, the share with what it called, its name. Empty without samples.
pub fn hottest(profile: &Profile, count: usize) -> String {
    let (taken, whole) = taken(profile);
    let mut rows: Vec<(&str, Taken)> = taken
        .into_iter()
        .filter(|(_, taken)| taken.own > 0)
        .map(|(name, taken)| (profile.text(name), taken))
        .collect();
    rows.sort_by(|(a, x), (b, y)| (y.own, a).cmp(&(x.own, b)));
    let mut table = String::new();
    for (index, (name, taken)) in rows.into_iter().take(count).enumerate() {
        if index == 0 {
            table.push_str("  self   total  function\n");
        }
        let percent = |part: u64| part as f64 * 100.0 / whole as f64;
        let name = shorten(name, NAME_CHARS);
        let (own, total) = (percent(taken.own), percent(taken.total));
        // Writing to a string does not fail.
        let _ = writeln!(table, "{own:5.1}%  {total:5.1}%  {name}");
    }
    table
}

/// By name, so that a function in many processes is one row; a recursive one counts once a stack.
fn taken(profile: &Profile) -> (HashMap<StringId, Taken>, u64) {
    let mut taken: HashMap<StringId, Taken> = HashMap::new();
    let mut whole = 0u64;
    for sample in profile.samples() {
        let value = profile.folded_value(&sample);
        whole = whole.saturating_add(value);
        let mut seen = HashSet::new();
        for (depth, frame) in profile.leaf_first(sample.stack).enumerate() {
            for (inline, name) in names(profile, frame).enumerate() {
                let taken = taken.entry(name).or_default();
                if depth == 0 && inline == 0 {
                    taken.own = taken.own.saturating_add(value);
                }
                if seen.insert(name) {
                    taken.total = taken.total.saturating_add(value);
                }
            }
        }
    }
    (taken, whole)
}

/// The functions of a frame, the innermost first.
fn names(profile: &Profile, frame: FrameId) -> impl Iterator<Item = StringId> {
    let lines = profile.frame(frame).lines.iter();
    lines.map(|line| profile.function(line.function).name)
}
