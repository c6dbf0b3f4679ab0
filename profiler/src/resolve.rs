//! From what was collected to the stacks of a profile.

use abi::samples::SampleCount;
use output::{FrameId, Labels, Profile, StringId};

use crate::{
    collected::Collected,
    columns::Columns,
    names::{Means, Names, Reading, Storing, Whose, comm},
    stacks::{Findings, Halves, Stacks},
    unresolved::Unresolved,
    waiting::{self, Rules, Waiting},
};

/// What was put into the profile.
#[derive(Debug)]
pub struct Resolved<'a> {
    /// What was found out about the stacks on the way.
    pub findings: Findings,
    /// What has no name.
    pub unresolved: Unresolved,
    /// How names were found.
    pub reading: Reading,
    /// The waits, with their causes.
    pub waiting: Waiting<'a>,
    /// What the user is told of files that were found on the way, a sentence each.
    pub words: Vec<String>,
    /// Names that are being written into the cache.
    pub storing: Option<Storing>,
}

/// Adds every count and every wait to a profile, with names.
pub fn resolve<'a>(
    collected: &'a Collected,
    profile: &mut Profile,
    means: &Means<'_>,
    columns: &Columns<'_>,
    rules: Rules,
) -> Resolved<'a> {
    let mut names = Names::look_up(collected, profile, means);
    let words = std::mem::take(&mut names.words);
    let storing = names.storing.take();
    let mut stacks = Stacks::new(collected, names, profile);
    let root = columns.is_wall().then(|| profile.synthetic("[on-CPU]"));
    add_samples(&mut stacks, profile, columns, root);
    for (event, count) in &collected.overflow {
        let values = columns.of_samples(*event as usize, *count);
        add_lost(profile, "thread table full", &values);
    }
    let waiting = Waiting::look_at(collected, profile, &stacks.names, rules);
    waiting::add(&waiting, &mut stacks, profile, columns);
    profile.main_mapping = stacks.main_mapping();
    Resolved {
        unresolved: Unresolved::of(
            profile,
            &stacks.findings.nameless_frames,
            means.finder.asks_servers(),
        ),
        reading: stacks.names.reading,
        findings: stacks.findings,
        waiting,
        words,
        storing,
    }
}

fn add_samples(
    stacks: &mut Stacks<'_>,
    profile: &mut Profile,
    columns: &Columns<'_>,
    root: Option<FrameId>,
) {
    let collected = stacks.collected;
    for (key, count) in &collected.counts {
        let halves = Halves {
            user: key.user,
            kernel: key.kernel,
            event: key.event,
            samples: count.samples,
            whose: Whose::of_sample(collected, key),
        };
        let mut frames = Vec::from_iter(root);
        stacks.push(profile, halves, &mut frames);
        let (pid, tid) = collected.shown(key.pid, key.tid);
        let labels = Labels {
            pid,
            tid,
            process: profile.intern_string(&comm(&key.process)),
            thread: profile.intern_string(&comm(&key.thread)),
            cgroup: cgroup(profile, collected, key.cgroup),
            slice: collected.slice(key),
            wait: None,
        };
        if let Some(stack) = profile.intern_frames(&frames) {
            let values = columns.of_samples(key.event as usize, *count);
            profile.add(stack, labels, &values);
        }
    }
}

/// The path of a control group, as a label.
pub(crate) fn cgroup(profile: &mut Profile, collected: &Collected, id: u64) -> Option<StringId> {
    let path = collected.cgroups.path(id)?;
    Some(profile.intern_string(path))
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
        cgroup: None,
        slice: None,
        wait: None,
    };
    let frame = profile.synthetic(&format!("[lost: {cause}]"));
    if let Some(stack) = profile.intern_frames(&[frame]) {
        profile.add(stack, labels, values);
    }
}

/// Samples of an event that were lost, each of which stands for `period`.
#[must_use]
pub const fn lost_samples(samples: u64, period: u64) -> SampleCount {
    SampleCount {
        samples,
        weight: samples.saturating_mul(period),
    }
}
