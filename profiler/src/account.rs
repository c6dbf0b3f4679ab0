//! The account of a recording: what each CPU's clock promised, what came of it, and the words for
//! the ledger.
//!
//! A tick of a clock ends in one of these: a run of the sampling program, which counts its outcome;
//! idleness, in which a CPU may be so deeply asleep that no tick is delivered; time that the host of
//! a virtual machine gave to another; or a loss. How long a CPU was idle or stolen is known from the
//! scheduler, so the last is told from the others.

use abi::reasons::{Counters, Outcome, StackEnd};
use output::{Ledger, RowKind};

use crate::{idle::Away, sampling::Sampling};

pub mod waits;

/// What one CPU did during the recording, for one event.
#[derive(Clone, Copy, Debug)]
pub struct CpuAccount {
    /// How much the event counted, in its own unit.
    pub counted: u64,
    /// How long the CPU ran no task.
    pub away: Away,
    /// What came of the runs of the sampling program.
    pub counters: Counters,
}

/// The account of one event over all CPUs.
#[derive(Clone, Debug)]
pub struct EventAccount {
    /// Samples that the clocks promised; `None` where the kernel adapts the period.
    pub expected: Option<u64>,
    /// What came of the runs of the sampling program.
    pub counters: Counters,
    /// Ticks that were not delivered to idle CPUs.
    pub undelivered_idle: u64,
    /// Ticks that were not delivered because the host of a virtual machine had the CPU.
    pub undelivered_stolen: u64,
    /// Ticks that were not delivered to busy CPUs.
    pub undelivered: u64,
    /// The part of `undelivered` in which the target ran, as it did in the ticks that were
    /// delivered.
    pub undelivered_of_target: u64,
}

impl EventAccount {
    /// Adds up the CPUs.
    #[must_use]
    pub fn new(sampling: &Sampling, cpus: &[CpuAccount]) -> Self {
        let mut account = Self {
            expected: sampling.fixed_period().map(|_| 0),
            counters: Counters::ZERO,
            undelivered_idle: 0,
            undelivered_stolen: 0,
            undelivered: 0,
            undelivered_of_target: 0,
        };
        let (mut of_target, is_clock) = (0.0, sampling.is_clock());
        for cpu in cpus {
            account.counters.add(&cpu.counters);
            let Some(period) = sampling.fixed_period() else {
                continue;
            };
            let ticks = cpu.counted / period;
            let runs: u64 = cpu.counters.outcomes.iter().sum();
            let missing = ticks.saturating_sub(runs);
            let (idle, stolen) = if is_clock {
                let idle = missing.min(idle_ticks(cpu, period));
                (idle, (missing - idle).min(cpu.away.stolen_ns / period))
            } else {
                (0, 0)
            };
            let missing_busy = missing - idle - stolen;
            account.expected = account.expected.map(|expected| expected + ticks);
            account.undelivered_idle += idle;
            account.undelivered_stolen += stolen;
            account.undelivered += missing_busy;
            of_target += missing_busy as f64 * target_share(&cpu.counters);
        }
        account.undelivered_of_target = (of_target.round() as u64).min(account.undelivered);
        account
    }

    /// Samples of the target that are not in a stack of the profile but in a frame `[lost: …]`,
    /// with the reason.
    #[must_use]
    pub fn lost_of_target(&self) -> [(&'static str, u64); 3] {
        let of = |outcome: Outcome| (outcome.name(), self.counters.outcomes[outcome as usize]);
        [
            of(Outcome::ScratchBusy),
            of(Outcome::CountMapFull),
            ("tick not delivered", self.undelivered_of_target),
        ]
    }

    /// Writes the rows of this event, whose names end in `of`.
    pub(crate) fn write(&self, ledger: &mut Ledger, of: &str, without: WithoutStack) {
        if let Some(expected) = self.expected {
            let name = format!("expected{of}");
            ledger.push(
                RowKind::Expected,
                &name,
                expected,
                "samples that the event's count promised, on all CPUs",
            );
        }
        for &outcome in Outcome::ALL {
            let kind = match outcome {
                Outcome::Sampled => RowKind::Got,
                Outcome::Idle | Outcome::Elsewhere => RowKind::Elsewhere,
                Outcome::ScratchBusy | Outcome::CountMapFull => RowKind::Lost,
            };
            let mut count = self.counters.outcomes[outcome as usize];
            if outcome == Outcome::Sampled {
                count = count.saturating_sub(without.unsent + without.overflow);
            }
            ledger.push(
                kind,
                &format!("{}{of}", outcome.name()),
                count,
                outcome.meaning(),
            );
        }
        use RowKind::{Elsewhere, Lost};
        let of_others = self.undelivered - self.undelivered_of_target;
        for (kind, name, count, meaning) in [
            (
                Lost,
                "stack not sent",
                without.unsent,
                "the stack found no room, in the ring or in memory",
            ),
            (
                Lost,
                "thread table full",
                without.overflow,
                "beyond the bound on threads and stacks in memory",
            ),
            (
                Elsewhere,
                "idle without a tick",
                self.undelivered_idle,
                "the CPU was idle, as the scheduler tells, and its clock did not tick",
            ),
            (
                Elsewhere,
                "stolen",
                self.undelivered_stolen,
                "the host of this virtual machine ran something else on the CPU",
            ),
            (
                Lost,
                "tick not delivered",
                self.undelivered_of_target,
                "the target's part of the ticks that were due and for which no program ran",
            ),
            (
                Elsewhere,
                "tick of others not delivered",
                of_others,
                "the other part, by what else ran on the same CPU",
            ),
        ] {
            ledger.push(kind, &format!("{name}{of}"), count, meaning);
        }
        for &end in StackEnd::ALL {
            let meaning = format!("user stacks that ended so: {}", end.meaning());
            let count = self.counters.ends[end as usize];
            ledger.push(
                RowKind::Note,
                &format!("{}{of}", end.name()),
                count,
                &meaning,
            );
        }
    }
}

/// Samples that the programs counted and whose stack is not known in user space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WithoutStack {
    /// It never arrived.
    pub(crate) unsent: u64,
    /// It is one of too many.
    pub(crate) overflow: u64,
}

/// Ticks in which the CPU was idle and which were not delivered. The scheduler's figure is exact to
/// a hundredth of a second, which is the one tick more.
fn idle_ticks(cpu: &CpuAccount, period_ns: u64) -> u64 {
    let delivered = cpu.counters.outcomes[Outcome::Idle as usize];
    let idle = cpu.away.idle_ns / period_ns;
    if idle > delivered {
        idle - delivered + 1
    } else {
        0
    }
}

/// Which part of the busy ticks of a CPU was the target's.
fn target_share(counters: &Counters) -> f64 {
    let of = |outcome: Outcome| counters.outcomes[outcome as usize] as f64;
    let target = of(Outcome::Sampled) + of(Outcome::ScratchBusy) + of(Outcome::CountMapFull);
    let busy = target + of(Outcome::Elsewhere);
    if busy > 0.0 { target / busy } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::{events::Event, perf::Rate};

    fn clock() -> Sampling {
        Sampling {
            event: Event::cpu_clock(),
            rate: Rate::Hz(100),
        }
    }

    fn cpu(seconds: u64, idle_ms: u64, outcomes: &[(Outcome, u64)]) -> CpuAccount {
        let mut counters = Counters::ZERO;
        for &(outcome, count) in outcomes {
            counters.outcomes[outcome as usize] = count;
        }
        CpuAccount {
            counted: seconds * 1_000_000_000,
            away: Away {
                idle_ns: idle_ms * 1_000_000,
                stolen_ns: 0,
            },
            counters,
        }
    }

    /// An idle CPU without ticks is idle, a busy one without them has lost them, and each tick is
    /// one of the two.
    #[test]
    fn missing_ticks_are_idle_or_lost() {
        let idle = cpu(10, 10_000, &[]);
        let busy = cpu(10, 0, &[(Outcome::Sampled, 600), (Outcome::Elsewhere, 300)]);
        let mixed = cpu(10, 5_000, &[(Outcome::Idle, 400), (Outcome::Sampled, 450)]);
        let account = EventAccount::new(&clock(), &[idle, busy, mixed]);
        assert_eq!(account.expected, Some(3000));
        assert_eq!(account.undelivered_idle, 1000 + 101);
        assert_eq!(account.undelivered, 100 + 49);
        let runs: u64 = account.counters.outcomes.iter().sum();
        assert_eq!(runs + account.undelivered_idle + account.undelivered, 3000);
        // Two thirds of the busy CPU's 100, and all of the 49.
        assert_eq!(account.undelivered_of_target, 116);
    }

    /// Missing ticks that the time taken by the host explains are stolen, and the rest are lost.
    #[test]
    fn stolen_ticks_are_nobodys() {
        let mut stolen = cpu(10, 0, &[(Outcome::Sampled, 950)]);
        stolen.away.stolen_ns = 300_000_000;
        let mut more = cpu(10, 0, &[(Outcome::Sampled, 990)]);
        more.away.stolen_ns = 300_000_000;
        let account = EventAccount::new(&clock(), &[stolen, more]);
        assert_eq!(account.undelivered_stolen, 30 + 10);
        assert_eq!(
            (account.undelivered, account.undelivered_of_target),
            (20, 20)
        );
    }

    /// Where the kernel adapts the period, nothing is promised and nothing is missing.
    #[test]
    fn an_adapted_period_promises_nothing() {
        let sampling = Sampling {
            event: Event::by_name("cache-misses").unwrap(),
            rate: Rate::Hz(100),
        };
        let account = EventAccount::new(&sampling, &[cpu(10, 0, &[(Outcome::Sampled, 5)])]);
        assert_eq!((account.expected, account.undelivered), (None, 0));
    }
}
