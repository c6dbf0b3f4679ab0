//! From located stacks to the frames of a profile, with an account of what is missing in them.

use std::collections::{BTreeMap, HashMap};

use abi::{reasons::StackEnd, records::UserFrame, samples::StackHash};
use foldhash::fast::RandomState;
use output::{FrameId, MappingId, MappingKind, Profile};

use crate::{
    collected::Collected,
    decode::Stack,
    names::{Named, Nameless, Names, Whose, call_addresses, function_of},
};

/// What was found out about the stacks on the way, in samples or waits and in frames of them.
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
    /// Which those are.
    pub nameless_frames: HashMap<FrameId, Nameless, RandomState>,
}

/// A pair of stacks, and what was taken with them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Halves {
    /// The user stack, or [`StackHash::NONE`].
    pub(crate) user: StackHash,
    /// The kernel stack, or [`StackHash::NONE`].
    pub(crate) kernel: StackHash,
    /// The number of the event that took them.
    pub(crate) event: u32,
    /// How many samples or waits have them.
    pub(crate) samples: u64,
    /// Whose they are.
    pub(crate) whose: Whose,
}

/// Functions in which the scheduler changes threads.
const SCHEDULER: &[&str] = &["__schedule", "schedule"];
/// How many frames the program that takes a stack may have itself, with what calls it.
const PROGRAM_FRAMES: usize = 6;

/// Builds stacks of frames, root first.
#[derive(Debug)]
pub(crate) struct Stacks<'a> {
    pub(crate) collected: &'a Collected,
    pub(crate) names: Names,
    unsent: FrameId,
    truncated: FrameId,
    incomplete: FrameId,
    pub(crate) findings: Findings,
    /// Samples by the file in which their stack begins.
    roots: HashMap<MappingId, u64>,
}

impl<'a> Stacks<'a> {
    pub(crate) fn new(collected: &'a Collected, names: Names, profile: &mut Profile) -> Self {
        Self {
            collected,
            names,
            unsent: profile.synthetic("[lost: stack not sent]"),
            truncated: profile.synthetic("[truncated]"),
            incomplete: profile.synthetic("[incomplete]"),
            findings: Findings::default(),
            roots: HashMap::new(),
        }
    }

    /// Adds the frames of both stacks, or one that says what is missing.
    pub(crate) fn push(&mut self, profile: &Profile, halves: Halves, frames: &mut Vec<FrameId>) {
        let Halves {
            user,
            kernel,
            event,
            samples,
            whose,
        } = halves;
        if !self.collected.has_stacks(user, kernel) {
            *self.findings.unsent.entry(event).or_default() += samples;
            frames.push(self.unsent);
            return;
        }
        let before = frames.len();
        if let Some(stack) = self.collected.user.get(&user) {
            self.push_user(profile, (stack, whose), samples, frames);
        }
        for named in self.kernel_frames(profile, kernel) {
            self.push_named(named, samples, frames);
        }
        if frames.len() == before {
            frames.push(self.incomplete);
        }
    }

    /// The frames of a kernel stack, root first, up to the scheduler: what stands below it is the program
    /// that took the stack.
    fn kernel_frames(&self, profile: &Profile, hash: StackHash) -> Vec<Named> {
        let Some(stack) = self.collected.kernel.get(&hash) else {
            return Vec::new();
        };
        let frames = call_addresses(&stack.frames).map(|address| self.names.kernel(address));
        let mut frames: Vec<Named> = frames.collect();
        let is_scheduler = |named: &Named| SCHEDULER.contains(&function_of(profile, named.frame));
        let mut leaves = frames.iter().take(PROGRAM_FRAMES);
        if let Some(below) = leaves.position(is_scheduler) {
            frames.drain(..below);
        }
        frames.reverse();
        frames
    }

    fn push_user(
        &mut self,
        profile: &Profile,
        (stack, whose): (&Stack<UserFrame>, Whose),
        samples: u64,
        frames: &mut Vec<FrameId>,
    ) {
        self.findings.user += samples;
        if let Some(mark) = self.what_lacks(stack, whose) {
            self.findings.incomplete += samples;
            frames.push(mark);
        }
        let outermost = stack
            .frames
            .last()
            .map(|frame| self.names.user(frame, whose));
        if let Some(root) = outermost.and_then(|named| profile.frame(named.frame).mapping) {
            *self.roots.entry(root).or_default() += samples * program_first(profile, root);
        }
        for frame in stack.frames.iter().rev() {
            let named = self.names.user(frame, whose);
            self.push_named(named, samples, frames);
        }
    }

    /// The frames of a user stack, which are not counted among those of samples.
    pub(crate) fn user_frames(&self, hash: StackHash, whose: Whose) -> Vec<FrameId> {
        let Some(stack) = self.collected.user.get(&hash) else {
            return Vec::new();
        };
        let frames = stack.frames.iter().rev();
        let frames = frames.map(|frame| self.names.user(frame, whose).frame);
        self.what_lacks(stack, whose)
            .into_iter()
            .chain(frames)
            .collect()
    }

    /// The frame that stands for the outer ones that are not known, where some are not.
    fn what_lacks(&self, stack: &Stack<UserFrame>, whose: Whose) -> Option<FrameId> {
        let outermost = stack
            .frames
            .last()
            .map(|frame| self.names.user(frame, whose));
        let is_entry = outermost.is_some_and(|named| named.is_entry);
        match StackEnd::from_number(stack.end) {
            Some(end) if is_whole(end, stack.frames.len(), is_entry) => None,
            Some(StackEnd::Truncated) => Some(self.truncated),
            _ => Some(self.incomplete),
        }
    }

    fn push_named(&mut self, named: Named, samples: u64, frames: &mut Vec<FrameId>) {
        frames.push(named.frame);
        self.findings.frames += samples;
        if let Some(nameless) = named.nameless {
            *self.findings.nameless.entry(nameless).or_default() += samples;
            self.findings.nameless_frames.insert(named.frame, nameless);
        }
    }

    /// The file in which most stacks begin.
    pub(crate) fn main_mapping(&self) -> Option<MappingId> {
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
