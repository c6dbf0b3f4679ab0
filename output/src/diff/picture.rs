//! The differential flame graph, drawn by `inferno`.
//!
//! Frames are as wide as in the second recording. A frame is red where its own time grew, and blue where
//! it shrank, by [Brendan Gregg's convention](https://www.brendangregg.com/blog/2014-11-09/differential-flame-graphs.html).
//! What is typical is white.

use std::collections::HashMap;

use inferno::flamegraph::{self, Options, TextTruncateDirection};

use super::Diff;
use crate::encode::EncodeError;
use crate::encode::folded::Tree;
use crate::profile::{Profile, Unit};

pub(super) fn draw(diff: &Diff) -> Result<Vec<u8>, EncodeError> {
    let mut options = Options::default();
    options.title = "timesink: what changed".to_owned();
    options.subtitle = Some(subtitle(diff));
    options.count_name = count_name(diff).to_owned();
    options.deterministic = true;
    options.text_truncate_direction = TextTruncateDirection::Right;
    // The stacks are in the order that merges all equal frames, and only a flame chart takes lines as
    // they come. It turns them round to do so.
    options.flame_chart = true;
    let lines = lines(&diff.profiles, diff.level());
    let mut svg = Vec::new();
    let lines = lines.iter().rev().map(String::as_str);
    flamegraph::from_lines(&mut options, lines, &mut svg)
        .map_err(|source| EncodeError::Draw { source })?;
    Ok(svg)
}

fn subtitle(diff: &Diff) -> String {
    let changed = diff.functions().iter();
    let changed: Vec<String> = changed
        .filter(|of| of.verdict.is_significant())
        .map(|of| format!("{} {}", of.name, of.verdict.word()))
        .take(3)
        .collect();
    let changed = match changed.is_empty() {
        true => "no function changed by more than chance".to_owned(),
        false => changed.join(", "),
    };
    let kind = diff.sample_type().name();
    format!("{kind} · as wide as in B · red grew, blue shrank · {changed}")
}

fn count_name(diff: &Diff) -> &'static str {
    match diff.sample_type().unit() {
        Unit::Count => "samples",
        Unit::Nanoseconds => "ns",
        Unit::Bytes => "bytes",
    }
}

/// Each stack with its values in both profiles, the first times `factor`, in the order of their frames.
pub(super) fn lines(profiles: &[Profile; 2], factor: f64) -> Vec<String> {
    let mut stacks: HashMap<String, [u64; 2]> = HashMap::new();
    for (side, profile) in profiles.iter().enumerate() {
        Tree::new(profile).lines(1, |stack, value| match stacks.get_mut(stack) {
            Some(values) => values[side] = value,
            None => {
                let mut values = [0; 2];
                values[side] = value;
                stacks.insert(stack.to_owned(), values);
            }
        });
    }
    let mut stacks: Vec<(String, [u64; 2])> = stacks.into_iter().collect();
    stacks.sort_by(|(a, _), (b, _)| a.split(';').cmp(b.split(';')));
    let lines = stacks.into_iter().map(|(stack, [before, after])| {
        let before = (before as f64 * factor).round() as u64;
        format!("{stack} {before} {after}")
    });
    lines.collect()
}
