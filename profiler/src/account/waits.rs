//! The account of waits: what the programs at the scheduler counted, what they lost, and what the sums of
//! each thread say that it should be.

use abi::{
    reasons::{Counters, Miss, Outcome, StackEnd},
    waits::{ThreadTimes, flags},
};
use output::{Ledger, RowKind};

use super::WithoutStack;
use crate::{collected::Collected, columns::WaitSum};

/// What ends the names of rows that events have too.
const OF: &str = " (waits)";

/// What became of waits.
#[derive(Clone, Copy, Debug)]
pub struct WaitAccount<'a> {
    /// Of waits.
    pub counters: &'a Counters,
    /// Of the programs that follow threads.
    pub following: &'a Counters,
    /// What arrived.
    pub collected: &'a Collected,
    /// Idleness that is not shown.
    pub hidden: WaitSum,
}

/// The time of a thread that is in none of its parts. Where more was counted than there was, that is
/// the difference too.
#[must_use]
pub const fn residual_ns(thread: &ThreadTimes) -> u64 {
    let parts = thread.on_ns + thread.asleep_ns + thread.queued_ns;
    thread
        .ended_ns
        .saturating_sub(thread.began_ns)
        .abs_diff(parts)
}

impl WaitAccount<'_> {
    fn outcome(&self, outcome: Outcome) -> u64 {
        self.counters.outcomes[outcome as usize]
    }

    fn miss(&self, miss: Miss) -> u64 {
        self.counters.misses[miss as usize] + self.following.misses[miss as usize]
    }

    /// Waits that were seen and are in no stack, with the reason.
    fn losses(&self) -> [(&'static str, u64, &'static str); 2] {
        let of = |miss: Miss| (miss.name(), self.miss(miss), miss.meaning());
        let full = Outcome::CountMapFull;
        [
            (full.name(), self.outcome(full), full.meaning()),
            of(Miss::WaiterMoved),
        ]
    }

    /// The time of waits that are in no stack, with the reason. How long each was is not known; all of
    /// them together are what the threads' own sums have more than the stacks.
    #[must_use]
    pub fn lost(&self) -> Vec<(&'static str, WaitSum)> {
        let losses = self.losses();
        let times: u64 = losses.iter().map(|(_, count, _)| count).sum();
        let lacking = self.lacking();
        let part =
            |ns: u64, count: u64| (u128::from(ns) * u128::from(count) / u128::from(times)) as u64;
        let losses = losses.into_iter().filter(|&(_, count, _)| count > 0);
        losses
            .map(|(name, count, _)| {
                let sum = WaitSum {
                    times: count,
                    asleep_ns: part(lacking.asleep_ns, count),
                    queued_ns: part(lacking.queued_ns, count),
                };
                (name, sum)
            })
            .collect()
    }

    /// What the stacks have less than the threads.
    fn lacking(&self) -> WaitSum {
        let counts = self.collected.waits.values();
        let counts = counts.chain([&self.collected.waits_overflow]);
        let mut lacking = WaitSum::default();
        for thread in &self.collected.threads {
            lacking.asleep_ns += thread.asleep_ns;
            lacking.queued_ns += thread.queued_ns;
        }
        let (mut asleep_ns, mut queued_ns) = (0, 0);
        for count in counts {
            asleep_ns += count.asleep_ns;
            queued_ns += count.queued_ns;
        }
        lacking.asleep_ns = lacking.asleep_ns.saturating_sub(asleep_ns);
        lacking.queued_ns = lacking.queued_ns.saturating_sub(queued_ns);
        lacking
    }

    /// Writes the rows of waits.
    pub(crate) fn write(&self, ledger: &mut Ledger, without: WithoutStack) {
        let sampled = self.outcome(Outcome::Sampled);
        ledger.push(
            RowKind::Got,
            "waits",
            sampled.saturating_sub(without.unsent + without.overflow),
            "times that a thread of the target was away from the CPU, counted with its stack",
        );
        for (name, count, meaning) in self.losses() {
            ledger.push(RowKind::Lost, &format!("{name}{OF}"), count, meaning);
        }
        for (name, count, meaning) in [
            (
                "stack not sent",
                without.unsent,
                "the stack found no room, in the ring or in memory",
            ),
            (
                "thread table full",
                without.overflow,
                "beyond the bound on threads and stacks in memory",
            ),
        ] {
            ledger.push(RowKind::Lost, &format!("{name}{OF}"), count, meaning);
        }
        self.write_notes(ledger);
    }

    fn write_notes(&self, ledger: &mut Ledger) {
        let mut note = |name: &str, count: u64, meaning: &str| {
            ledger.push(RowKind::Note, name, count, meaning);
        };
        let busy = Outcome::ScratchBusy;
        note(
            &format!("{}{OF}", busy.name()),
            self.outcome(busy),
            "waits whose stack was not taken: another was being taken on this CPU",
        );
        for &end in StackEnd::ALL {
            let meaning = format!("user stacks of waits that ended so: {}", end.meaning());
            note(
                &format!("{}{OF}", end.name()),
                self.counters.ends[end as usize],
                &meaning,
            );
        }
        let with = |bit: u32| {
            let waits = self.collected.waits.iter();
            let waits = waits.filter(|(key, _)| key.flags & bit != 0);
            waits.map(|(_, count)| count.times).sum()
        };
        note(
            "waits seeded",
            with(flags::SEEDED),
            "waits that had begun before the recording; they count from its beginning on",
        );
        note(
            "waits open",
            with(flags::OPEN),
            "waits that had not ended when the recording did; they count up to its end",
        );
        note(
            "idle time hidden",
            self.hidden.asleep_ns,
            "nanoseconds of idleness that are left out (--hide-idle)",
        );
        let threads = &self.collected.threads;
        note(
            "threads",
            threads.len() as u64,
            "threads whose waits were watched",
        );
        let missed = threads.iter().map(|thread| thread.wakeups_missed).sum();
        note(
            "wake-ups missed",
            missed,
            "waits whose wake-up was not seen: the time in the queue after it counts as asleep",
        );
        let residual = threads.iter().map(residual_ns).max().unwrap_or(0);
        note(
            "largest residual",
            residual,
            "nanoseconds of a thread's time that are neither on a CPU nor away from it",
        );
    }
}
