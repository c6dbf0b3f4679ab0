//! Folded stacks: a line for each stack, `process;caller;function 42`.
//!
//! The first frame is the process, as it is with timesink, `stackcollapse-perf.pl` and most others; what
//! has no more than one frame has it twice. `_[k]` marks the kernel and `_[i]` a function inlined into the
//! frame before it. Empty lines and those that begin with `# ` are passed over.

use super::{DecodeError, FrameBudget};
use crate::profile::{
    Frame, FrameId, FrameKind, Function, Labels, Line, Meta, Profile, SampleType, Unit,
};

const INLINED: &str = "_[i]";
const KERNEL: &str = "_[k]";

pub(super) fn decode(text: &str) -> Result<Profile, DecodeError> {
    let meta = Meta {
        title: "timesink: profile".to_owned(),
        ..Meta::default()
    };
    let mut profile = Profile::new(meta, vec![SampleType::new("samples", Unit::Count)]);
    let mut budget = FrameBudget::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with("# ") {
            continue;
        }
        let (stack, value) = split(line).ok_or_else(|| {
            DecodeError::Damaged(format!(
                "line {number} does not end in a whole number, as folded stacks do"
            ))
        })?;
        budget.take(stack.matches(';').count() + 1)?;
        add(&mut profile, stack, value);
    }
    Ok(profile)
}

fn split(line: &str) -> Option<(&str, u64)> {
    let (stack, value) = line.trim_end().rsplit_once([' ', '\t'])?;
    let value = value.parse().ok()?;
    Some((stack.trim_end(), value)).filter(|(stack, _)| !stack.is_empty())
}

fn add(profile: &mut Profile, stack: &str, value: u64) {
    let (process, frames) = stack.split_once(';').unwrap_or((stack, stack));
    let name = profile.intern_string(process);
    let frames = frames_of(profile, frames);
    let labels = Labels {
        pid: 0,
        tid: 0,
        process: name,
        thread: name,
        cgroup: None,
        slice: None,
        wait: None,
    };
    if let Some(stack) = profile.intern_frames(&frames) {
        profile.add(stack, labels, &[value]);
    }
}

/// The frames, root first; those that are inlined belong to the frame before.
fn frames_of(profile: &mut Profile, texts: &str) -> Vec<FrameId> {
    let mut frames: Vec<Frame> = Vec::new();
    for text in texts.split(';') {
        let (text, inlined) = strip(text, INLINED);
        let (text, kernel) = strip(text, KERNEL);
        let line = line(profile, text);
        match frames.last_mut().filter(|_| inlined) {
            // Lines are innermost first.
            Some(caller) => caller.lines.insert(0, line),
            None => frames.push(Frame {
                mapping: None,
                address: 0,
                kind: kind(text, kernel),
                lines: vec![line],
            }),
        }
    }
    let frames = frames.into_iter();
    frames.map(|frame| profile.intern_frame(frame)).collect()
}

fn strip<'a>(text: &'a str, mark: &str) -> (&'a str, bool) {
    match text.strip_suffix(mark) {
        Some(text) => (text, true),
        None => (text, false),
    }
}

fn kind(text: &str, kernel: bool) -> FrameKind {
    match kernel {
        true => FrameKind::Kernel,
        false if text.starts_with('[') => FrameKind::Synthetic,
        false => FrameKind::User,
    }
}

fn line(profile: &mut Profile, text: &str) -> Line {
    let name = profile.intern_string(text);
    let function = profile.intern_function(Function {
        name,
        system_name: name,
        file: None,
        start_line: 0,
    });
    Line { function, line: 0 }
}
