//! Waits as they are shown: what each was for, in which function, and whether it was idleness.

pub mod distributions;
pub mod estimate;
pub mod idle;
pub mod threads;

mod frames;

use std::{collections::HashMap, time::Duration};

use abi::{
    reasons::State,
    samples::StackHash,
    waits::{WaitCount, WaitKey, flags},
};
use output::{FrameId, Profile};

use crate::{
    cause::{Cause, Nature},
    collected::Collected,
    columns::WaitSum,
    names::{Names, Whose, call_addresses, function_of},
};
pub(crate) use frames::add;
use idle::Seen;

/// How waits are to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether idleness is left out.
    pub hide_idle: bool,
    /// Waits shorter than this have no stack.
    pub shortest: Duration,
    /// How long was recorded.
    pub duration: Duration,
}

/// All waits of one thread with the same stacks, state and ends.
#[derive(Clone, Debug)]
pub struct Wait<'a> {
    /// Whose, where, and how it was away.
    pub key: &'a WaitKey,
    /// How often and how long.
    pub count: &'a WaitCount,
    /// How the thread left the CPU.
    pub state: State,
    /// What for.
    pub cause: Cause,
    /// The innermost function of the user stack that is not the C library's.
    pub function: Option<FrameId>,
    /// Whether the thread had nothing to do.
    pub is_idle: bool,
}

impl Wait<'_> {
    /// Whether the thread was ready all the time.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, State::Preempted | State::Starting)
    }
}

/// All waits of a recording.
#[derive(Clone, Debug)]
pub struct Waiting<'a> {
    /// Each that is shown.
    pub waits: Vec<Wait<'a>>,
    /// Idleness that is not.
    pub hidden: WaitSum,
    /// How they are to be shown.
    pub rules: Rules,
}

impl<'a> Waiting<'a> {
    /// Finds out what each wait was.
    #[must_use]
    pub fn look_at(
        collected: &'a Collected,
        profile: &Profile,
        names: &Names,
        rules: Rules,
    ) -> Self {
        let mut places = Places {
            collected,
            profile,
            names,
            causes: HashMap::new(),
            users: HashMap::new(),
        };
        let waits = collected.waits.iter();
        let mut waits: Vec<Wait<'_>> = waits.map(|(key, count)| places.wait(key, count)).collect();
        let seen: Vec<Seen> = waits.iter().map(|wait| places.seen(wait)).collect();
        let idle = idle::find(&seen, &thread_times(collected), nanoseconds(rules.duration));
        let mut hidden = WaitSum::default();
        for (wait, seen) in waits.iter_mut().zip(&seen) {
            wait.is_idle = idle.contains(&(seen.thread, seen.place));
            if wait.is_idle && rules.hide_idle {
                hidden.add(WaitSum {
                    times: wait.count.times,
                    asleep_ns: wait.count.asleep_ns,
                    queued_ns: 0,
                });
            }
        }
        Self {
            waits,
            hidden,
            rules,
        }
    }
}

/// How long each thread was there, in nanoseconds.
fn thread_times(collected: &Collected) -> HashMap<(u32, u32), u64> {
    let mut times = HashMap::new();
    for thread in &collected.threads {
        let time = times.entry((thread.pid, thread.tid)).or_insert(0);
        *time += thread.ended_ns.saturating_sub(thread.began_ns);
    }
    times
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a user stack tells of a wait.
#[derive(Clone, Copy, Debug, Default)]
struct User {
    function: Option<FrameId>,
    is_lock: bool,
}

/// Stacks, each looked at once.
struct Places<'a, 'b> {
    collected: &'a Collected,
    profile: &'b Profile,
    names: &'b Names,
    causes: HashMap<(u32, StackHash), Cause>,
    users: HashMap<(u32, StackHash), User>,
}

impl<'a> Places<'a, '_> {
    fn wait(&mut self, key: &'a WaitKey, count: &'a WaitCount) -> Wait<'a> {
        let state = State::from_number(key.state).unwrap_or(State::Blocked);
        Wait {
            key,
            count,
            state,
            cause: self.cause(state, key.kernel),
            function: self.user(key.pid, key.user).function,
            is_idle: false,
        }
    }

    fn cause(&mut self, state: State, kernel: StackHash) -> Cause {
        let (collected, profile, names) = (self.collected, self.profile, self.names);
        let find = || match collected.kernel.get(&kernel) {
            Some(stack) => {
                let frames = call_addresses(&stack.frames).map(|address| names.kernel(address));
                let functions = frames.map(|named| function_of(profile, named.frame));
                Cause::of(state, &functions.collect::<Vec<_>>())
            }
            None if matches!(state, State::Preempted | State::Starting) => Cause::run_queue(),
            None => Cause::unknown(),
        };
        let known = self.causes.entry((state as u32, kernel));
        known.or_insert_with(find).clone()
    }

    fn user(&mut self, pid: u32, hash: StackHash) -> User {
        let (profile, names) = (self.profile, self.names);
        let Some(stack) = self.collected.user.get(&hash) else {
            return User::default();
        };
        let find = || {
            let whose = Whose::of_process(pid);
            let named = |frame| names.user(frame, whose).frame;
            let mut frames = stack.frames.iter().map(named);
            let leaves = frames.clone().take(idle::LOCK_FRAMES);
            let mut leaves = leaves.map(|frame| function_of(profile, frame));
            User {
                is_lock: leaves.any(idle::is_lock),
                function: frames
                    .find(|&frame| !is_c_library(profile, frame))
                    .or_else(|| stack.frames.first().map(named)),
            }
        };
        *self.users.entry((pid, hash)).or_insert_with(find)
    }

    fn seen(&mut self, wait: &Wait<'_>) -> Seen {
        let nature = match wait.cause.nature {
            Nature::Work if self.user(wait.key.pid, wait.key.user).is_lock => Nature::Other,
            nature => nature,
        };
        Seen {
            thread: (wait.key.pid, wait.key.tid),
            place: (wait.function, wait.key.kernel, nature),
            user: wait.key.user,
            times: wait.count.times,
            asleep_ns: wait.count.asleep_ns,
            is_seeded: wait.key.flags & flags::SEEDED != 0,
        }
    }
}

/// Whether a frame is of the C library or the loader, in which the last calls before a wait lie.
fn is_c_library(profile: &Profile, frame: FrameId) -> bool {
    let Some(mapping) = profile.frame(frame).mapping else {
        return false;
    };
    let path = profile.text(profile.mapping(mapping).name);
    let file = path.rsplit('/').next().unwrap_or(path);
    [
        "libc.",
        "libc-",
        "libpthread",
        "ld-linux",
        "ld-musl",
        "[vdso]",
    ]
    .iter()
    .any(|beginning| file.starts_with(beginning))
}
