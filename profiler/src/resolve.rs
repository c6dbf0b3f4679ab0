//! From counts of located stacks to the stacks of a profile.

use std::collections::{BTreeMap, HashMap};

use abi::{
    reasons::StackEnd,
    records::UserFrame,
    samples::{SampleCount, SampleKey},
};
use output::{FrameId, Labels, MappingId, MappingKind, Profile};
use symbolizer::Detail;

use crate::{
    collected::Collected,
    decode::Stack,
    names::{Named, Nameless, Names, call_addresses},
};

/// What was found out about the stacks on the way, in samples and in frames of samples.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Samples with a user stack.
    pub user: u64,
    /// Of those, the ones whose outermost frame is not known.
    pub incomplete: u64,
    /// Samples whose stack never arrived, by event.
    pub unsent: BTreeMap<u32, u64>,
    /// Frames of samples.
    pub frames: u64,
    /// Of those, the ones without a name.
    pub nameless: BTreeMap<Nameless, u64>,
}

/// Turns what each sample of an event stands for into the values of the profile.
pub type Values<'a> = &'a dyn Fn(u32, SampleCount) -> Vec<u64>;

/// Adds every count to a profile, with names.
pub fn resolve(
    collected: &Collected,
    profile: &mut Profile,
    detail: Detail,
    values: Values<'_>,
) -> Findings {
    let names = Names::look_up(collected, profile, detail);
    let mut stacks = Stacks {
        names,
        unsent: profile.synthetic("[lost: stack not sent]"),
        truncated: profile.synthetic("[truncated]"),
        incomplete: profile.synthetic("[incomplete]"),
        findings: Findings::default(),
        roots: HashMap::new(),
    };
    for (key, count) in &collected.counts {
        let frames = stacks.frames(collected, profile, key, count.samples);
        let labels = Labels {
            pid: key.pid,
            tid: key.tid,
            process: profile.intern_string(&comm(&key.process)),
            thread: profile.intern_string(&comm(&key.thread)),
        };
        if let Some(stack) = profile.intern_frames(&frames) {
            profile.add(stack, labels, &values(key.event, *count));
        }
    }
    for (event, count) in &collected.overflow {
        add_lost(profile, "thread table full", &values(*event, *count));
    }
    profile.main_mapping = stacks.main_mapping();
    stacks.findings
}

/// Adds samples of which nothing but the reason of their loss is known.
pub fn add_lost(profile: &mut Profile, cause: &str, values: &[u64]) {
    if values.iter().all(|&value| value == 0) {
        return;
    }
    let nobody = profile.intern_string("[lost]");
    let labels = Labels {
        pid: 0,
        tid: 0,
        process: nobody,
        thread: nobody,
    };
    let frame = profile.synthetic(&format!("[lost: {cause}]"));
    if let Some(stack) = profile.intern_frames(&[frame]) {
        profile.add(stack, labels, values);
    }
}

fn comm(bytes: &[u8]) -> String {
    let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Builds stacks of frames, root first.
struct Stacks {
    names: Names,
    unsent: FrameId,
    truncated: FrameId,
    incomplete: FrameId,
    findings: Findings,
    /// Samples by the file in which their stack begins.
    roots: HashMap<MappingId, u64>,
}

impl Stacks {
    fn frames(
        &mut self,
        collected: &Collected,
        profile: &Profile,
        key: &SampleKey,
        samples: u64,
    ) -> Vec<FrameId> {
        if !collected.has_stacks(key.user, key.kernel) {
            *self.findings.unsent.entry(key.event).or_default() += samples;
            return vec![self.unsent];
        }
        let mut frames = Vec::new();
        if let Some(stack) = collected.user.get(&key.user) {
            self.add_user(profile, stack, samples, &mut frames);
        }
        if let Some(stack) = collected.kernel.get(&key.kernel) {
            for address in call_addresses(&stack.frames).rev() {
                let named = self.names.kernel(address);
                self.add(named, samples, &mut frames);
            }
        }
        if frames.is_empty() {
            frames.push(self.incomplete);
        }
        frames
    }

    fn add_user(
        &mut self,
        profile: &Profile,
        stack: &Stack<UserFrame>,
        samples: u64,
        frames: &mut Vec<FrameId>,
    ) {
        let outermost = stack.frames.last().map(|frame| self.names.user(frame));
        let is_entry = outermost.is_some_and(|named| named.is_entry);
        self.findings.user += samples;
        match StackEnd::from_number(stack.end) {
            Some(end) if is_whole(end, stack.frames.len(), is_entry) => {}
            end => {
                self.findings.incomplete += samples;
                frames.push(match end {
                    Some(StackEnd::Truncated) => self.truncated,
                    _ => self.incomplete,
                });
            }
        }
        if let Some(root) = outermost.and_then(|named| profile.frame(named.frame).mapping) {
            *self.roots.entry(root).or_default() += samples * program_first(profile, root);
        }
        for frame in stack.frames.iter().rev() {
            let named = self.names.user(frame);
            self.add(named, samples, frames);
        }
    }

    fn add(&mut self, named: Named, samples: u64, frames: &mut Vec<FrameId>) {
        frames.push(named.frame);
        self.findings.frames += samples;
        if let Some(nameless) = named.nameless {
            *self.findings.nameless.entry(nameless).or_default() += samples;
        }
    }

    /// The file in which most stacks begin.
    fn main_mapping(&self) -> Option<MappingId> {
        let most = self
            .roots
            .iter()
            .max_by_key(|&(&id, &samples)| (samples, id));
        most.map(|(&mapping, _)| mapping)
    }
}

/// Whether the outermost frame of a stack is known to be there. Code that keeps frame pointers marks it
/// by one of 0; where the running function itself has a 0, the code may as well use the register for
/// something else.
const fn is_whole(end: StackEnd, frames: usize, is_entry: bool) -> bool {
    match end {
        StackEnd::Truncated => false,
        StackEnd::Outermost if frames < 2 => is_entry,
        _ => is_entry || end.is_whole(),
    }
}

/// 1 for a shared library, more than any number of libraries for a program.
fn program_first(profile: &Profile, mapping: MappingId) -> u64 {
    let mapping = profile.mapping(mapping);
    let is_library = profile.text(mapping.name).contains(".so");
    match mapping.kind {
        MappingKind::File if !is_library => 1 << 20,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lone frame is whole only in a function in which stacks begin, and a cut stack never is.
    #[test]
    fn a_lone_frame_is_no_whole_stack() {
        assert!(is_whole(StackEnd::Outermost, 2, false));
        assert!(is_whole(StackEnd::Outermost, 1, true));
        assert!(!is_whole(StackEnd::Outermost, 1, false));
        assert!(is_whole(StackEnd::NoFramePointer, 5, true));
        assert!(!is_whole(StackEnd::NoFramePointer, 5, false));
        assert!(!is_whole(StackEnd::Truncated, 512, true));
        assert!(is_whole(StackEnd::NoUserStack, 0, false));
    }
}
