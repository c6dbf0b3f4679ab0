//! What the agent may use, and how it keeps to it: with fewer samples, never with wrong ones.
//!
//! Each window tells what it cost. Where the last minute comes near the budget, the next window has half
//! the samples, and stacks of waits are taken by chance; where ten minutes stayed far below it, twice as
//! many. A sample weighs what its window's rate says, so sums stay right. Attaching everything anew, which
//! is done at the start and a few times a day, is not part of the measure.
//!
//! Memory is divided among what takes it, with room for a second session beside the first. Where it comes
//! near the budget all the same, the next session has half of it, and what finds no room there is counted.

use std::{collections::VecDeque, str::FromStr, time::Duration};

use crate::{cli::RecordArgs, collected::Bounds};

/// Over how many windows the cost is taken before samples become fewer.
const SHORT: usize = 6;
/// And before they become more.
const LONG: usize = 60;
/// From this part of the budget on, samples become fewer.
const NEAR: f64 = 0.8;
/// Below this part of it they become more: twice as many have room.
const FAR: f64 = 0.3;
/// By how many halvings at most.
const MOST_HALVINGS: u32 = 8;
/// The least memory that can be kept to, and the least that a session is given.
const LEAST_BYTES: usize = 128 << 20;
const LEAST_OF_SESSION_BYTES: usize = LEAST_BYTES / 2;
/// What each of unwind tables in the kernel, maps of counts there, and counts, waits, stacks and copies of
/// files here may have of a session's memory.
const PART: usize = 8;
/// What an entry of the kernel's maps takes: a count and a wait with their keys, in two maps each.
const ENTRY_BYTES: usize = 1500;
/// Bytes of distinct stacks without a budget: an hour of a busy machine has some 20 MB of them.
const STACK_BYTES: usize = 64 << 20;

/// What may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Of one CPU, in percent, by the agent, its readers and its programs in the kernel.
    pub cpu_percent: Option<f64>,
    /// Bytes.
    pub memory_bytes: Option<usize>,
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut budget = Self::default();
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("cpu", value)) => {
                    let percent = value.strip_suffix('%').unwrap_or(value).parse().ok();
                    let percent =
                        percent.filter(|percent: &f64| *percent > 0.0 && percent.is_finite());
                    budget.cpu_percent =
                        Some(percent.ok_or("expected a part of a CPU, such as cpu=1%")?);
                }
                Some(("memory", value)) => {
                    let bytes = crate::cli::parse_bytes(value)?;
                    if bytes < LEAST_BYTES {
                        return Err("expected memory=128M or more".to_owned());
                    }
                    budget.memory_bytes = Some(bytes);
                }
                _ => {
                    return Err(
                        "expected cpu=PERCENT, memory=BYTES, or both with a comma".to_owned()
                    );
                }
            }
        }
        Ok(budget)
    }
}

/// What is done for the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thrift {
    /// How often the rate is halved.
    pub halvings: u32,
    /// What the memory of a session is divided from, where there is a budget.
    pub memory_bytes: Option<usize>,
}

impl Thrift {
    /// What was asked for, with so much memory in the kernel.
    #[must_use]
    pub fn recording(self, asked: &RecordArgs) -> RecordArgs {
        let Some(bytes) = self.memory_bytes else {
            return asked.clone();
        };
        let entries = u32::try_from(bytes / PART / ENTRY_BYTES).unwrap_or(u32::MAX);
        RecordArgs {
            unwind_memory: bytes / PART,
            count_entries: Some(1 << entries.ilog2()),
            ..asked.clone()
        }
    }

    /// What is kept of a session.
    #[must_use]
    pub fn bounds(self) -> Bounds {
        match self.memory_bytes {
            Some(bytes) => Bounds::of_each(bytes / PART),
            None => Bounds {
                stack_bytes: STACK_BYTES,
                ..Bounds::default()
            },
        }
    }

    /// The rate in force where this one was asked for.
    #[must_use]
    pub fn rate(self, asked: u64) -> u64 {
        (asked >> self.halvings).max(1)
    }

    /// Whether the stacks of waits are taken by chance.
    #[must_use]
    pub const fn samples_waits(self) -> bool {
        self.halvings > 0
    }
}

/// Watches what windows cost.
#[derive(Debug)]
pub struct Governor {
    budget: Budget,
    asked_rate: u64,
    thrift: Thrift,
    /// Of one CPU, in percent, the latest last.
    costs: VecDeque<f64>,
    /// Whether it was told that there is more memory than the budget.
    told_excess: bool,
}

impl Governor {
    /// None has been seen yet.
    #[must_use]
    pub fn new(budget: Budget, asked_rate: u64) -> Self {
        Self {
            budget,
            asked_rate,
            thrift: Thrift {
                halvings: 0,
                memory_bytes: budget.memory_bytes,
            },
            costs: VecDeque::new(),
            told_excess: false,
        }
    }

    /// What is in force.
    #[must_use]
    pub const fn thrift(&self) -> Thrift {
        self.thrift
    }

    /// Takes in what a window cost, and tells what is to change and why.
    pub fn after_window(&mut self, used: Duration, of: Duration) -> Option<String> {
        let budget = self.budget.cpu_percent?;
        self.costs
            .push_back(used.as_secs_f64() / of.as_secs_f64().max(1e-9) * 100.0);
        if self.costs.len() > LONG {
            self.costs.pop_front();
        }
        let before = self.thrift.rate(self.asked_rate);
        let (cost, windows) = if let Some(cost) = self.mean(SHORT)
            && cost > budget * NEAR
            && before > 1
            && self.thrift.halvings < MOST_HALVINGS
        {
            self.thrift.halvings += 1;
            (cost, SHORT)
        } else if let Some(cost) = self.mean(LONG)
            && cost < budget * FAR
            && self.thrift.halvings > 0
        {
            self.thrift.halvings -= 1;
            (cost, LONG)
        } else {
            return None;
        };
        // What was measured is not what follows.
        self.costs.clear();
        let now = self.thrift.rate(self.asked_rate);
        Some(format!(
            "{now} instead of {before} samples a second and CPU from here on: the last {windows} \
             windows cost {cost:.2} % of a CPU, the budget is {budget} %"
        ))
    }

    /// Takes in how much memory there is, and tells whether the next session is to have less, and why.
    pub fn after_growth(&mut self, bytes: u64) -> Option<String> {
        let budget = self.budget.memory_bytes?;
        let of_session = self.thrift.memory_bytes?;
        if bytes as f64 <= budget as f64 * NEAR || of_session / 2 < LEAST_OF_SESSION_BYTES {
            return None;
        }
        self.thrift.memory_bytes = Some(of_session / 2);
        Some(format!(
            "half the room for stacks, counts and unwind tables from here on: {} MiB are used, the budget \
             is {} MiB",
            bytes >> 20,
            budget >> 20
        ))
    }

    /// Takes in how much memory there is where no session can have less, and tells once that it is more
    /// than the budget, until it is less again.
    pub fn excess(&mut self, bytes: u64) -> Option<String> {
        let budget = self.budget.memory_bytes? as u64;
        let told = std::mem::replace(&mut self.told_excess, bytes > budget);
        (bytes > budget && !told).then(|| {
            format!(
                "{} MiB are used, more than the budget of {} MiB, and no session has less room than this one: \
                 raise `memory=`",
                bytes >> 20,
                budget >> 20
            )
        })
    }

    /// A session ends since its time has come: the next may have twice the memory.
    pub fn session_ends(&mut self) {
        let twice = self.thrift.memory_bytes.map(|bytes| bytes * 2);
        self.thrift.memory_bytes = twice.min(self.budget.memory_bytes);
    }

    /// The mean of the last windows, where there are so many.
    fn mean(&self, windows: usize) -> Option<f64> {
        let last = self.costs.iter().rev().take(windows);
        (self.costs.len() >= windows).then(|| last.sum::<f64>() / windows as f64)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::AgentCommand;

    const WINDOW: Duration = Duration::from_secs(10);

    fn governor(rate: u64) -> Governor {
        Governor::new("cpu=1%".parse().unwrap(), rate)
    }

    /// How often something changed in so many windows that cost so much.
    fn changes(governor: &mut Governor, windows: usize, ms: u64) -> usize {
        let used = Duration::from_millis(ms);
        let change = |_| governor.after_window(used, WINDOW);
        (0..windows).filter_map(change).count()
    }

    /// Parts are named, in any order, and what makes no sense is refused.
    #[test]
    fn budgets_are_read() {
        let both = Budget {
            cpu_percent: Some(0.5),
            memory_bytes: Some(256 << 20),
        };
        assert_eq!("memory=256M,cpu=0.5%".parse(), Ok(both));
        for bad in [
            "",
            "cpu",
            "cpu=0",
            "cpu=nan",
            "cpu=inf",
            "memory=127M",
            "disk=1",
        ] {
            assert!(bad.parse::<Budget>().is_err(), "{bad}");
        }
    }

    /// Samples become fewer before the budget is reached, step by step, and never none.
    #[test]
    fn samples_become_fewer_in_time() {
        let mut governor = governor(19);
        assert_eq!(changes(&mut governor, 5, 90), 0);
        let words = governor.after_window(Duration::from_millis(90), WINDOW);
        assert!(words.unwrap().starts_with("9 instead of 19 samples"));
        changes(&mut governor, 600, 90);
        assert_eq!(governor.thrift().rate(19), 1);
    }

    /// They become more only after a long time far below the budget, and no more than were asked for.
    #[test]
    fn samples_become_more_with_patience() {
        let mut governor = governor(100);
        changes(&mut governor, 6, 200);
        assert_eq!(governor.thrift().rate(100), 50);
        assert_eq!(changes(&mut governor, 100, 50), 0);
        assert_eq!(changes(&mut governor, 60, 10), 1);
        assert_eq!(changes(&mut governor, 600, 1), 0);
        assert_eq!(governor.thrift().rate(100), 100);
    }

    /// Near the budget a session has half the memory of the one before, down to a least, and what it is
    /// divided into is less than all of it even beside another session.
    #[test]
    fn sessions_become_smaller_in_time() {
        let mut governor = Governor::new("memory=256M".parse().unwrap(), 19);
        let asked = AgentCommand::parse_from(["agent"]).args.recording();
        let sizes = |governor: &Governor| {
            let recording = governor.thrift().recording(&asked);
            let bounds = governor.thrift().bounds();
            let entries = recording.count_entries.unwrap();
            (
                recording.unwind_memory >> 20,
                entries,
                bounds.stack_bytes >> 20,
            )
        };
        assert_eq!(sizes(&governor), (32, 16_384, 32));
        assert_eq!(governor.after_growth(200 << 20), None);
        let words = governor.after_growth(210 << 20).unwrap();
        assert!(
            words.ends_with("210 MiB are used, the budget is 256 MiB"),
            "{words}"
        );
        assert_eq!(sizes(&governor), (16, 8192, 16));
        assert!(governor.after_growth(300 << 20).is_some());
        assert_eq!(governor.after_growth(300 << 20), None);
        let told = [300, 300, 256, 257].map(|mib| governor.excess(mib << 20).is_some());
        assert_eq!(told, [true, false, false, true]);
        for memory in [16, 32, 32] {
            governor.session_ends();
            assert_eq!(sizes(&governor).0, memory);
        }
    }

    /// Without a budget nothing changes.
    #[test]
    fn without_a_budget_nothing_changes() {
        let mut governor = Governor::new(Budget::default(), 19);
        assert_eq!(changes(&mut governor, 100, 9000), 0);
        assert_eq!(governor.after_growth(u64::MAX), None);
        assert_eq!(governor.excess(u64::MAX), None);
        governor.session_ends();
        assert_eq!(governor.thrift(), Thrift::default());
    }
}
