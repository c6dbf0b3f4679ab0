//! Samples of many windows in one profile, within a bound on memory.
//!
//! Does not know where windows come from.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::ledger::RowKind;
use crate::profile::{Labels, Profile, StackId};

/// Different samples, by stack and labels, that one answer holds; each takes about 300 bytes.
pub(crate) const MAX_SAMPLES: usize = 1 << 18;
/// The frame of samples whose stacks do not fit.
pub(crate) const BEYOND: &str = "[stacks beyond the bound on memory]";

/// What is still told apart, from all to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Threads,
    Processes,
    Stacks,
    Nothing,
}

/// Adds up samples. Where there are more different ones than the bound, threads are no longer told apart,
/// then processes, then the stacks that are not there yet; no value is lost.
#[derive(Debug)]
pub(crate) struct Merger {
    profile: Profile,
    samples: HashMap<(StackId, Labels), Vec<u64>>,
    max_samples: usize,
    detail: Detail,
}

impl Merger {
    /// Adds to `profile`, which has no samples yet.
    pub(crate) fn new(profile: Profile, max_samples: usize) -> Self {
        Self {
            profile,
            samples: HashMap::new(),
            max_samples,
            detail: Detail::Threads,
        }
    }

    /// Where strings, frames and stacks are interned.
    pub(crate) fn profile(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// Adds `values`, one per sample type of the profile.
    pub(crate) fn add(&mut self, stack: StackId, labels: Labels, values: &[u64]) {
        let key = self.reduced(stack, labels);
        if self.samples.len() >= self.max_samples && !self.samples.contains_key(&key) {
            self.reduce();
            return self.add(stack, labels, values);
        }
        add_to(&mut self.samples, key, values);
    }

    fn reduced(&mut self, stack: StackId, mut labels: Labels) -> (StackId, Labels) {
        let nobody = self.profile.intern_string("");
        if self.detail > Detail::Threads {
            (labels.tid, labels.thread) = (0, nobody);
        }
        if self.detail > Detail::Processes {
            (labels.pid, labels.process, labels.cgroup) = (0, nobody, None);
            labels.wait = None;
        }
        if self.detail == Detail::Nothing && !self.samples.contains_key(&(stack, labels)) {
            let frame = self.profile.synthetic(BEYOND);
            return (self.profile.intern_stack(None, frame), labels);
        }
        (stack, labels)
    }

    /// Tells one thing less apart. The last step makes room for the one sample that takes up all others.
    pub(crate) fn reduce(&mut self) {
        self.detail = match self.detail {
            Detail::Threads => Detail::Processes,
            Detail::Processes => Detail::Stacks,
            Detail::Stacks | Detail::Nothing => {
                self.max_samples += 1;
                Detail::Nothing
            }
        };
        for ((stack, labels), values) in std::mem::take(&mut self.samples) {
            let key = match self.detail {
                Detail::Nothing => (stack, labels),
                _ => self.reduced(stack, labels),
            };
            add_to(&mut self.samples, key, &values);
        }
    }

    /// The profile with all samples; its ledger says what is not told apart.
    pub(crate) fn finish(self) -> Profile {
        let mut profile = self.profile;
        let mut samples: Vec<_> = self.samples.into_iter().collect();
        samples.sort_unstable_by_key(|&((stack, labels), _)| (stack, order(&labels)));
        for ((stack, labels), values) in samples {
            profile.add(stack, labels, &values);
        }
        let gone = match self.detail {
            Detail::Threads => return profile,
            Detail::Processes => "threads",
            Detail::Stacks => "threads, processes, control groups and waits",
            Detail::Nothing => {
                "threads, processes, control groups, waits and the stacks that came last"
            }
        };
        let meaning = format!(
            "different samples, to which the answer is bound: {gone} are added up, totals are right; \
             a shorter range or one process has all"
        );
        let bound = self.max_samples as u64;
        let name = "bound on memory";
        profile.ledger.push(RowKind::Note, name, bound, &meaning);
        profile.comment(&format!("{name}: {bound} {meaning}"));
        profile
    }
}

fn order(labels: &Labels) -> impl Ord + use<> {
    let wait = labels.wait.map(|wait| {
        let ends = (wait.waker, wait.interval, wait.is_idle);
        (wait.state, wait.cause, ends)
    });
    let names = (labels.process, labels.thread, labels.cgroup);
    (labels.pid, labels.tid, names, wait)
}

fn add_to(
    samples: &mut HashMap<(StackId, Labels), Vec<u64>>,
    key: (StackId, Labels),
    values: &[u64],
) {
    match samples.entry(key) {
        Entry::Vacant(vacant) => {
            vacant.insert(values.to_vec());
        }
        Entry::Occupied(mut sums) => {
            for (sum, value) in sums.get_mut().iter_mut().zip(values) {
                *sum = sum.saturating_add(*value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Meta, SampleType, Unit};

    fn empty() -> Profile {
        let types = vec![SampleType::new("samples", Unit::Count)];
        Profile::new(Meta::default(), types)
    }

    /// As many samples as asked for, each of another thread, process or stack.
    fn merged(bound: usize, threads: u32, processes: u32, stacks: u32) -> Profile {
        let mut merger = Merger::new(empty(), bound);
        for stack in 0..stacks {
            let profile = merger.profile();
            let frame = profile.synthetic(&format!("[{stack}]"));
            let stack = profile.intern_stack(None, frame);
            let name = profile.intern_string("app");
            for pid in 1..=processes {
                for tid in 1..=threads {
                    let labels = Labels {
                        pid,
                        tid,
                        process: name,
                        thread: name,
                        cgroup: None,
                        slice: None,
                        wait: None,
                    };
                    merger.add(stack, labels, &[1]);
                }
            }
        }
        merger.finish()
    }

    fn total(profile: &Profile) -> u64 {
        profile.samples().map(|sample| sample.values[0]).sum()
    }

    /// Within the bound each thread stays, and nothing is said.
    #[test]
    fn threads_stay_within_the_bound() {
        let profile = merged(24, 2, 3, 4);
        assert_eq!(profile.samples().count(), 24);
        assert_eq!(total(&profile), 24);
        assert!(profile.ledger.rows().is_empty());
    }

    /// Beyond it threads go first, then processes, then stacks; the total stays and the ledger says so.
    #[test]
    fn totals_stay_beyond_the_bound() {
        for (bound, samples, gone) in [
            (12, 12, "threads are"),
            (4, 4, "threads, processes"),
            (2, 3, "the stacks that came last"),
        ] {
            let profile = merged(bound, 2, 3, 4);
            assert_eq!(profile.samples().count(), samples, "{bound}");
            assert_eq!(total(&profile), 24, "{bound}");
            let [row] = profile.ledger.rows() else {
                panic!("one row");
            };
            assert!(row.meaning.contains(gone), "{}", row.meaning);
        }
    }
}
