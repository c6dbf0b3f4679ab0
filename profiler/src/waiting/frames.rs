//! Waits as samples of a profile: the state at the root, then the stack, the cause, and who ended it.

use std::collections::HashMap;

use abi::{
    WAITS,
    reasons::State,
    samples::StackHash,
    waits::{Waker, flags},
};
use output::{FrameId, Labels, Profile, StringId, WaitLabels};

use super::{Wait, Waiting, nanoseconds};
use crate::{
    cause::is_interrupt,
    columns::{Columns, WaitSum},
    names::{Whose, call_addresses, comm, function_of},
    resolve::{add_lost, cgroup},
    stacks::{Halves, Stacks},
};

/// What stands at the root of time in the queue after a sleep.
const RUNNABLE: &str = "runnable";

/// What stands at the root of a wait.
const fn name(state: State) -> &'static str {
    match state {
        State::Blocked => "blocked",
        State::Uninterruptible => "uninterruptible",
        State::Stopped => "stopped",
        State::Preempted => "preempted",
        State::Starting => "starting",
    }
}

/// Adds every wait to a profile: time asleep under its state, and what followed in the queue under
/// another.
pub(crate) fn add(
    waiting: &Waiting<'_>,
    stacks: &mut Stacks<'_>,
    profile: &mut Profile,
    columns: &Columns<'_>,
) {
    let mut adder = Adder {
        shortest_ns: nanoseconds(waiting.rules.shortest),
        wakers: HashMap::new(),
        stacks,
        profile,
        columns,
    };
    for wait in &waiting.waits {
        adder.add(wait, waiting.rules.hide_idle);
    }
    let overflow = &stacks.collected.waits_overflow;
    let lost = WaitSum {
        times: overflow.times,
        asleep_ns: overflow.asleep_ns,
        queued_ns: overflow.queued_ns,
    };
    add_lost(profile, "thread table full", &columns.of_waits(lost));
}

/// Who ends waits, as shown.
#[derive(Clone, Debug)]
struct ShownWaker {
    label: StringId,
    /// From `[woken by]` on.
    frames: Vec<FrameId>,
}

struct Adder<'a, 'b, 'c> {
    shortest_ns: u64,
    wakers: HashMap<StackHash, ShownWaker>,
    stacks: &'a mut Stacks<'b>,
    profile: &'a mut Profile,
    columns: &'a Columns<'c>,
}

impl Adder<'_, '_, '_> {
    fn add(&mut self, wait: &Wait<'_>, hide_idle: bool) {
        let count = wait.count;
        let inner = self.inner(wait);
        let is_hidden = wait.is_idle && hide_idle;
        if !wait.is_ready() && !is_hidden {
            let waker = self.waker(wait.key.waker);
            let sum = WaitSum {
                times: count.times,
                asleep_ns: count.asleep_ns,
                queued_ns: 0,
            };
            let cause = wait.cause.name.as_ref();
            self.sample(wait, name(wait.state), &inner, (cause, waker), sum);
        }
        let (state, times) = match wait.is_ready() {
            true => (name(wait.state), count.times),
            false => (RUNNABLE, 0),
        };
        if times > 0 || count.queued_ns > 0 {
            let sum = WaitSum {
                times,
                asleep_ns: 0,
                queued_ns: count.queued_ns,
            };
            self.sample(wait, state, &inner, ("run queue", None), sum);
        }
    }

    /// The frames of both stacks, or one for what is missing.
    fn inner(&mut self, wait: &Wait<'_>) -> Vec<FrameId> {
        let key = wait.key;
        if key.user == StackHash::NONE && key.kernel == StackHash::NONE {
            let longest = wait.count.longest_asleep_ns + wait.count.longest_queued_ns;
            return match wait.state {
                State::Starting => Vec::new(),
                _ if longest < self.shortest_ns * 2 => {
                    vec![self.profile.synthetic("[shorter than --min-block]")]
                }
                _ => vec![self.profile.synthetic("[lost: no stack]")],
            };
        }
        let halves = Halves {
            user: key.user,
            kernel: key.kernel,
            event: WAITS,
            samples: wait.count.times,
            whose: Whose::of_process(key.pid),
        };
        let mut frames = Vec::new();
        self.stacks.push(self.profile, halves, &mut frames);
        frames
    }

    fn sample(
        &mut self,
        wait: &Wait<'_>,
        state: &str,
        inner: &[FrameId],
        (cause, waker): (&str, Option<ShownWaker>),
        sum: WaitSum,
    ) {
        let profile = &mut *self.profile;
        let is_idle = wait.is_idle && sum.asleep_ns > 0;
        let mut frames = vec![profile.synthetic(&format!("[{state}]"))];
        if is_idle {
            frames.push(profile.synthetic("[idle]"));
        }
        frames.extend(inner);
        frames.push(profile.synthetic(&format!("[{cause}]")));
        frames.extend(waker.iter().flat_map(|waker| &waker.frames));
        let (pid, tid) = self.stacks.collected.shown(wait.key.pid, wait.key.tid);
        let labels = Labels {
            pid,
            tid,
            process: profile.intern_string(&comm(&wait.key.process)),
            thread: profile.intern_string(&comm(&wait.key.thread)),
            cgroup: cgroup(profile, self.stacks.collected, wait.key.cgroup),
            slice: None,
            wait: Some(WaitLabels {
                state: profile.intern_string(state),
                cause: profile.intern_string(cause),
                waker: waker.map(|waker| waker.label),
                interval: interval(wait.key.flags).map(|words| profile.intern_string(words)),
                is_idle,
            }),
        };
        if let Some(stack) = profile.intern_frames(&frames) {
            profile.add(stack, labels, &self.columns.of_waits(sum));
        }
    }

    fn waker(&mut self, hash: StackHash) -> Option<ShownWaker> {
        if let Some(shown) = self.wakers.get(&hash) {
            return Some(shown.clone());
        }
        let collected = self.stacks.collected;
        let waker = collected.wakers.get(&hash)?;
        let shown = self.show(waker);
        self.wakers.insert(hash, shown.clone());
        Some(shown)
    }

    fn show(&mut self, waker: &Waker) -> ShownWaker {
        let (profile, stacks) = (&mut *self.profile, &*self.stacks);
        let mut frames = vec![profile.synthetic("[woken by]")];
        if waker.tid == 0 || stacks.is_interrupt(profile, waker.kernel) {
            frames.push(profile.synthetic("[interrupt]"));
            let label = profile.intern_string("interrupt");
            return ShownWaker { label, frames };
        }
        let who = format!("{} {}/{}", comm(&waker.thread), waker.pid, waker.tid);
        frames.push(profile.synthetic(&format!("[{who}]")));
        frames.extend(stacks.user_frames(waker.user, Whose::of_process(waker.pid)));
        ShownWaker {
            label: profile.intern_string(&who),
            frames,
        }
    }
}

impl Stacks<'_> {
    fn is_interrupt(&self, profile: &Profile, kernel: StackHash) -> bool {
        let Some(stack) = self.collected.kernel.get(&kernel) else {
            return false;
        };
        let frames = call_addresses(&stack.frames).map(|address| self.names.kernel(address));
        let functions = frames.map(|named| function_of(profile, named.frame));
        is_interrupt(&functions.collect::<Vec<_>>())
    }
}

/// Which ends of a wait lie outside the recording.
const fn interval(bits: u32) -> Option<&'static str> {
    match (bits & flags::SEEDED != 0, bits & flags::OPEN != 0) {
        (true, true) => Some("seeded, open"),
        (true, false) => Some("seeded"),
        (false, true) => Some("open"),
        (false, false) => None,
    }
}
