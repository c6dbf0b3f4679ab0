//! The table of functions of one range, or of two beside each other.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::diff::Verdict;
use crate::profile::{Handle, Profile};

use super::tree::{Name, Sides, names};

/// What one function took on both sides: itself, and with all that it called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Function {
    #[serde(flatten)]
    pub(super) name: Name,
    pub(super) own: Sides,
    pub(super) total: Sides,
    /// Whether its own time differs by more than chance, where two ranges were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<&'static str>,
}

/// Those that took the most.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Functions {
    /// Those with most of their own, on either side, first.
    pub(super) rows: Vec<Function>,
    /// How many are not among `rows`, and what they took themselves.
    pub(super) left_out: usize,
    pub(super) left_out_own: Sides,
}

/// A table that stacks are being added to.
#[derive(Debug, Default)]
pub(super) struct Adding(HashMap<Name, (Sides, Sides)>);

impl Adding {
    /// Adds a profile to one side, by one of its sample types. By name, so that a function in many
    /// processes is one row; one that calls itself counts once a stack.
    pub(super) fn add(&mut self, profile: &Profile, sample_type: usize, side: usize) {
        let mut places: HashMap<Name, usize> = HashMap::new();
        let frames: Vec<Vec<usize>> = profile
            .frames()
            .map(|(_, frame)| {
                let innermost_first = names(profile, frame).into_iter().rev();
                let place = |name| {
                    let next = places.len();
                    *places.entry(name).or_insert(next)
                };
                innermost_first.map(place).collect()
            })
            .collect();
        let mut taken = vec![(0u64, 0u64); places.len()];
        let mut seen = HashSet::new();
        for sample in profile.samples() {
            let value = sample.values[sample_type];
            seen.clear();
            let stack = profile.leaf_first(sample.stack);
            for (depth, place) in stack.flat_map(|frame| &frames[frame.index()]).enumerate() {
                let (own, total) = &mut taken[*place];
                if depth == 0 {
                    *own = own.saturating_add(value);
                }
                if seen.insert(*place) {
                    *total = total.saturating_add(value);
                }
            }
        }
        for (name, place) in places {
            let (own, total) = taken[place];
            let known = self.0.entry(name).or_default();
            known.0[side] = known.0[side].saturating_add(own);
            known.1[side] = known.1[side].saturating_add(total);
        }
    }

    /// The table of the `most` functions that took the most themselves, with what is said of them.
    pub(super) fn finish(self, most: usize, verdicts: &HashMap<String, Verdict>) -> Functions {
        let rows = self
            .0
            .into_iter()
            .filter(|(_, (_, total))| *total != [0; 2]);
        let mut rows: Vec<Function> = rows
            .map(|(name, (own, total))| Function {
                verdict: verdicts.get(&name.name).map(|of| of.word()),
                name,
                own,
                total,
            })
            .collect();
        rows.sort_unstable_by(|a, b| (weight(b), &a.name).cmp(&(weight(a), &b.name)));
        let rest = rows.split_off(most.min(rows.len()));
        let mut left_out_own = [0; 2];
        for row in &rest {
            for (sum, own) in left_out_own.iter_mut().zip(row.own) {
                *sum = u64::saturating_add(*sum, own);
            }
        }
        Functions {
            rows,
            left_out: rest.len(),
            left_out_own,
        }
    }
}

fn weight(row: &Function) -> (Option<u64>, Option<u64>) {
    (row.own.into_iter().max(), row.total.into_iter().max())
}
