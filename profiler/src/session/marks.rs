//! What had been counted at a moment, so that the account of what follows is the difference from it.

use std::{
    collections::HashMap,
    time::{Instant, SystemTime},
};

use abi::{MAX_EVENTS, WAITS, reasons::Counters};
use anyhow::Result;

use crate::{
    account::{CpuAccount, EventAccount},
    bpf::Programs,
    clock::monotonic_ns,
    idle::{Away, away},
    perf::PerCpuEvent,
    sampling::{Opened, Sampling},
};

/// What one CPU had counted of one event.
#[derive(Clone, Copy, Debug)]
struct CpuMark {
    counted: u64,
    counters: Counters,
}

/// All that had been counted at a moment.
#[derive(Debug)]
pub(super) struct Marks {
    /// The moment.
    pub(super) at: Instant,
    /// The same by the machine's clock.
    pub(super) time: SystemTime,
    /// The same by the clock of the kernel programs.
    pub(super) monotonic_ns: u64,
    /// By event and CPU.
    events: Vec<HashMap<u32, CpuMark>>,
    away: HashMap<u32, Away>,
    /// Of the programs that follow processes.
    pub(super) processes: Counters,
    /// Of those at the scheduler.
    pub(super) waits: Counters,
}

impl Marks {
    /// Looks at all of it.
    pub(super) fn now(programs: &Programs, events: &[(Sampling, Opened)]) -> Result<Self> {
        let mut by_event = Vec::new();
        for (number, (_, opened)) in (0..).zip(events) {
            let counters = programs.counters_by_cpu(number)?;
            let mark = |(cpu, event): &(u32, PerCpuEvent)| {
                let counters = counters.get(*cpu as usize).copied();
                let mark = CpuMark {
                    counted: event.count().unwrap_or(0),
                    counters: counters.unwrap_or(Counters::ZERO),
                };
                (*cpu, mark)
            };
            by_event.push(opened.events.iter().map(mark).collect());
        }
        Ok(Self {
            at: Instant::now(),
            time: SystemTime::now(),
            monotonic_ns: monotonic_ns(),
            events: by_event,
            away: away()?,
            processes: programs.counters(u32::try_from(MAX_EVENTS)?)?,
            waits: programs.counters(WAITS)?,
        })
    }

    /// Events were opened anew: what they count begins with what they have now, and what the programs
    /// count goes on.
    pub(super) fn look_again(
        &mut self,
        programs: &Programs,
        events: &[(Sampling, Opened)],
    ) -> Result<()> {
        let mut now = Self::now(programs, events)?.events;
        for (now, before) in now.iter_mut().zip(&self.events) {
            for (cpu, mark) in now {
                let before = before.get(cpu);
                mark.counters = before.map_or(mark.counters, |before| before.counters);
            }
        }
        self.events = now;
        Ok(())
    }

    /// The account of each event since an earlier look.
    pub(super) fn accounts(
        &self,
        before: &Self,
        events: &[(Sampling, Opened)],
    ) -> Vec<(Sampling, EventAccount)> {
        let pairs = self.events.iter().zip(&before.events).zip(events);
        pairs
            .map(|((now, then), (sampling, _))| {
                let period = sampling.fixed_period().unwrap_or(1);
                let cpus = now.iter().map(|(cpu, now)| {
                    let then = then.get(cpu);
                    CpuAccount {
                        counted: since(now.counted, then.map_or(0, |then| then.counted), period),
                        away: self.away_since(before, *cpu),
                        counters: match then {
                            Some(then) => now.counters.since(&then.counters),
                            None => now.counters,
                        },
                    }
                });
                let cpus: Vec<_> = cpus.collect();
                (sampling.clone(), EventAccount::new(sampling, &cpus))
            })
            .collect()
    }

    fn away_since(&self, before: &Self, cpu: u32) -> Away {
        let (then, now) = (before.away.get(&cpu), self.away.get(&cpu));
        let times = now.zip(then);
        times.map_or_else(Away::default, |(now, then)| now.since(*then))
    }
}

/// What was counted between two looks, in whole periods of all that was counted: a tick between two
/// windows belongs to the second one.
fn since(now: u64, before: u64, period: u64) -> u64 {
    (now / period).saturating_sub(before / period) * period
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ticks of all windows are those of all the time.
    #[test]
    fn no_tick_is_lost_between_windows() {
        let looks = [0, 25, 49, 130, 131, 200];
        let windows = looks.windows(2).map(|pair| since(pair[1], pair[0], 10));
        assert_eq!(windows.clone().sum::<u64>(), 200);
        assert_eq!(windows.collect::<Vec<_>>(), [20, 20, 90, 0, 70]);
    }
}
