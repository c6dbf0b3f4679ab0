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
        note(
            "threads not kept",
            self.collected.threads_dropped,
            "threads beyond the bound on memory: their waits are counted, their own times are not known",
        );
        note(
            "wakers not kept",
            self.collected.wakers_dropped,
            "beyond the bound on memory: the waits that they ended are shown without a waker",
        );
        let missed = threads.iter().map(|thread| thread.wakeups_missed).sum();
        note(
            "wake-ups missed",
            missed,
            "waits whose wake-up was not seen: by whom is not known, and where the scheduler does not know when, the time in the queue counts as asleep",
        );
        let residual = threads.iter().map(residual_ns).max().unwrap_or(0);
        note(
            "largest residual",
            residual,
            "nanoseconds of a thread's time that are neither on a CPU nor away from it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{collected::Bounds, identity::ByStat};
    use abi::{
        COMM_BYTES,
        samples::StackHash,
        waits::{WaitCount, WaitKey},
    };
    use std::sync::Arc;

    fn thread(asleep_ns: u64, queued_ns: u64) -> ThreadTimes {
        ThreadTimes {
            kind: 0,
            has_ended: 1,
            pid: 1,
            tid: 1,
            thread: [0; COMM_BYTES],
            process: [0; COMM_BYTES],
            began_ns: 0,
            ended_ns: 1_000,
            on_ns: 100,
            asleep_ns,
            queued_ns,
            preempted_ns: 0,
            switches: 0,
            wakeups_missed: 0,
        }
    }

    fn collected(asleep_ns: u64, queued_ns: u64) -> Collected {
        let key = WaitKey {
            user: StackHash::NONE,
            kernel: StackHash::NONE,
            waker: StackHash::NONE,
            pid: 1,
            tid: 1,
            thread: [0; COMM_BYTES],
            process: [0; COMM_BYTES],
            cgroup: 0,
            state: 0,
            flags: flags::OPEN,
        };
        let count = WaitCount {
            times: 4,
            asleep_ns,
            queued_ns,
            ..WaitCount::ZERO
        };
        let mut collected = Collected::within(Bounds::default(), Arc::new(ByStat));
        collected.threads.push(thread(600, 300));
        collected.waits.insert(key, count);
        collected
    }

    fn counters(full: u64) -> Counters {
        let mut counters = Counters::ZERO;
        counters.outcomes[Outcome::Sampled as usize] = 4;
        counters.outcomes[Outcome::CountMapFull as usize] = full;
        counters
    }

    fn account<'a>(
        counters: &'a Counters,
        following: &'a Counters,
        collected: &'a Collected,
    ) -> WaitAccount<'a> {
        WaitAccount {
            counters,
            following,
            collected,
            hidden: WaitSum::default(),
        }
    }

    /// What stacks lack is lost time, shared out among the causes by their counts.
    #[test]
    fn lost_time_is_what_threads_have_more() {
        let (waits, mut following) = (counters(3), Counters::ZERO);
        following.misses[Miss::WaiterMoved as usize] = 1;
        let collected = collected(400, 260);
        let lost = account(&waits, &following, &collected).lost();
        let sum = |times, asleep_ns, queued_ns| WaitSum {
            times,
            asleep_ns,
            queued_ns,
        };
        let expected = [
            ("count map full", sum(3, 150, 30)),
            ("wait without a stack", sum(1, 50, 10)),
        ];
        assert_eq!(lost, expected);
    }

    /// Where nothing was lost, a difference is no loss.
    #[test]
    fn without_a_loss_nothing_is_lost() {
        let (waits, following) = (counters(0), Counters::ZERO);
        let collected = collected(400, 260);
        assert!(account(&waits, &following, &collected).lost().is_empty());
    }

    /// The rows add up to the waits that were counted, and tell of the others.
    #[test]
    fn rows_tell_all() {
        let (waits, following) = (counters(3), Counters::ZERO);
        let collected = collected(600, 300);
        let mut ledger = Ledger::default();
        let without = WithoutStack {
            unsent: 1,
            overflow: 0,
        };
        account(&waits, &following, &collected).write(&mut ledger, without);
        let summary = "3 got, 4 lost (count map full (waits) 3, stack not sent (waits) 1)";
        assert_eq!(ledger.summary(), summary);
        let count = |name: &str| {
            let row = ledger.rows().iter().find(|row| row.name == name);
            row.unwrap().count
        };
        assert_eq!((count("waits open"), count("waits seeded")), (4, 0));
        assert_eq!((count("threads"), count("largest residual")), (1, 0));
    }
}
