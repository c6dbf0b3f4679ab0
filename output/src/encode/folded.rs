//! Folded stacks: `process;caller;function 42`, one line per stack, sorted frame by frame.
//!
//! The format is that of Brendan Gregg's `stackcollapse-*.pl` and `flamegraph.pl`
//! (<https://github.com/brendangregg/FlameGraph>), with the annotations of `stackcollapse-perf.pl`:
//! `_[i]` after an inlined function and, on what is left, `_[k]` after one of the kernel.
//!
//! There are no comments in this format, so a loss shows only as samples of synthetic frames.

use std::collections::HashMap;
use std::io::Write;

use super::{Encode, EncodeError, Format};
use crate::profile::{Frame, FrameId, FrameKind, Handle, Profile, Sample};

const UNKNOWN: &str = "[unknown]";

/// Writes [folded stacks](https://www.brendangregg.com/FlameGraphs/cpuflamegraphs.html#Folded).
#[derive(Clone, Copy, Debug)]
pub struct Folded;

impl Encode for Folded {
    fn encode(&self, profile: &Profile, to: &mut dyn Write) -> Result<(), EncodeError> {
        for (stack, value) in stacks(profile) {
            writeln!(to, "{stack} {value}").map_err(Format::Folded.write_error())?;
        }
        Ok(())
    }
}

/// The text of each stack and the sum of its values, without those of zero.
///
/// Sorted as lists of frames, not as text: as text, `a 1` and `a;b 1` have `a2 1` between them,
/// and a flame graph of such lines draws `a` twice.
pub(super) fn stacks(profile: &Profile) -> Vec<(String, u64)> {
    let frames: Vec<String> = profile.frames().map(|(_, f)| text(profile, f)).collect();
    let mut sums: HashMap<String, u64> = HashMap::new();
    for sample in profile.samples() {
        let value = profile.folded_value(&sample);
        if value > 0 {
            let sum = sums.entry(stack(profile, &frames, &sample)).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    let mut stacks: Vec<_> = sums.into_iter().collect();
    stacks.sort_unstable_by(|(a, _), (b, _)| a.split(';').cmp(b.split(';')));
    stacks
}

fn stack(profile: &Profile, frames: &[String], sample: &Sample<'_>) -> String {
    let labels = sample.labels;
    let mut text = name(profile.text(labels.process));
    if profile.by_thread {
        let thread = name(profile.text(labels.thread));
        text += &format!(";{thread} ({})", labels.tid);
    }
    for frame in profile.root_first(sample.stack).map(FrameId::index) {
        text.push(';');
        text += &frames[frame];
    }
    text
}

/// The functions of a frame, outermost first.
fn text(profile: &Profile, frame: &Frame) -> String {
    let kernel = if frame.kind == FrameKind::Kernel {
        "_[k]"
    } else {
        ""
    };
    if frame.lines.is_empty() {
        return unnamed(profile, frame) + kernel;
    }
    let outermost = frame.lines.len() - 1;
    let names = frame.lines.iter().enumerate().rev().map(|(depth, line)| {
        let function = profile.function(line.function);
        let mark = if depth < outermost { "_[i]" } else { kernel };
        name(profile.text(function.name)) + mark
    });
    names.collect::<Vec<_>>().join(";")
}

/// `[libc.so.6]`, without the address, so that stacks through one file stay together.
fn unnamed(profile: &Profile, frame: &Frame) -> String {
    let Some(mapping) = frame.mapping else {
        return UNKNOWN.to_owned();
    };
    let path = profile.text(profile.mapping(mapping).name);
    let file = path.rsplit('/').next().unwrap_or(path);
    name(&format!("[{}]", file.trim_matches(['[', ']'])))
}

/// `name` as one frame that no reader takes for several, for a comment or for a count.
fn name(name: &str) -> String {
    let mut text = name.trim().replace(';', ":");
    if text.is_empty() {
        return UNKNOWN.to_owned();
    }
    if text.starts_with("# ") {
        text.replace_range(1..2, "_");
    }
    if let Some(space) = text.rfind(' ')
        && text[space + 1..]
            .chars()
            .all(|c| c.is_ascii_digit() || c == '.')
    {
        text.replace_range(space..=space, "_");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_readers_would_misread_are_changed() {
        // A separator, a comment mark and a trailing number do not survive in a name; other blanks do.
        let cases = [
            ("[u8; 8]", "[u8: 8]"),
            ("# note", "#_note"),
            ("worker 7", "worker_7"),
            ("v 1.2", "v_1.2"),
            ("operator new", "operator new"),
            ("  \u{a0}", UNKNOWN),
            ("", UNKNOWN),
        ];
        for (given, expected) in cases {
            assert_eq!(name(given), expected, "{given:?}");
        }
    }
}
