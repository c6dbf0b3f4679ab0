//! What to sample on: the events of a recording with their rates, and the values that they give.

use std::{fs, io};

use abi::MAX_EVENTS;
use anyhow::{Context, Result, anyhow, bail};
use output::{Period, SampleType, Unit};

use crate::{
    cli::RecordArgs,
    events::{Event, Measure},
    perf::{PerCpuEvent, Rate, online_cpus},
};

/// Samples a second on each CPU where nothing else is asked for.
pub const DEFAULT_HZ: u64 = 99;
const NS_PER_SECOND: u64 = 1_000_000_000;
/// The kernel's clocks tick no faster, whatever they are asked.
const SHORTEST_TICK_NS: u64 = 10_000;
const MAX_RATE_FILE: &str = "/proc/sys/kernel/perf_event_max_sample_rate";

/// One event and when it is sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// What is counted.
    pub event: Event,
    /// How often a sample is taken.
    pub rate: Rate,
}

impl Sampling {
    /// What was asked for, each of it known to be countable here.
    ///
    /// # Errors
    /// Where an event is unknown or the machine cannot count it, or the rate is beyond the
    /// kernel's limit.
    pub fn plan(args: &RecordArgs) -> Result<Vec<Self>> {
        if args.off_cpu {
            return Ok(Vec::new());
        }
        let rate = match args.period {
            Some(period) => Rate::Period(period),
            None => Rate::Hz(args.rate.unwrap_or(DEFAULT_HZ)),
        };
        check_rate(rate)?;
        if args.event.is_empty() {
            let sampling = Self::default_at(rate);
            sampling.check_tick()?;
            return Ok(vec![sampling]);
        }
        let mut samplings: Vec<Self> = Vec::new();
        for name in &args.event {
            let event = Event::by_name(name)?;
            let sampling = Self { event, rate };
            if !samplings.contains(&sampling) {
                sampling.check_tick()?;
                sampling.probe().map_err(|error| sampling.explain(error))?;
                samplings.push(sampling);
            }
        }
        if samplings.len() > MAX_EVENTS {
            bail!("failed to sample on more than {MAX_EVENTS} events at once");
        }
        Ok(samplings)
    }

    /// Cycles where the CPU counts them, else the kernel's clock.
    fn default_at(rate: Rate) -> Self {
        let event = Event::cycles();
        let cycles = Self { event, rate };
        match cycles.probe() {
            Ok(()) => cycles,
            Err(_) => Self {
                event: Event::cpu_clock(),
                rate,
            },
        }
    }

    /// Opens the event for a moment.
    fn probe(&self) -> io::Result<()> {
        let cpu = online_cpus()?.into_iter().next().unwrap_or(0);
        match PerCpuEvent::open(&self.event, self.rate, cpu)? {
            Some(_) => Ok(()),
            None => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        }
    }

    /// Says that a clock cannot tick as often as asked: the kernel would tick less often, and the
    /// samples that it was not going to take would count as lost.
    fn check_tick(&self) -> Result<()> {
        match self.rate {
            Rate::Period(ns) if self.is_clock() && ns < SHORTEST_TICK_NS => Err(anyhow!(
                "failed to sample `{}` every {ns} ns: the kernel's clocks tick every \
                 {SHORTEST_TICK_NS} ns at most; use `-c {SHORTEST_TICK_NS}` or more",
                self.event.name
            )),
            _ => Ok(()),
        }
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let name = &self.event.name;
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) if self.event.needs_pmu() => {
                anyhow!(
                    "failed to count `{name}`: this machine has no such hardware counter (a virtual \
                     machine often has none); `-e cpu-clock`, `-e page-faults` and \
                     `-e context-switches` work everywhere"
                )
            }
            _ => anyhow::Error::new(error).context(format!("failed to count `{name}`")),
        }
    }

    /// How much of the event one sample stands for, where that is the same for all.
    #[must_use]
    pub fn fixed_period(&self) -> Option<u64> {
        match (self.rate, self.event.measure) {
            (Rate::Period(period), _) => Some(period),
            (Rate::Hz(hz), Measure::Nanoseconds) => {
                Some((NS_PER_SECOND / hz).max(SHORTEST_TICK_NS))
            }
            (Rate::Hz(_), Measure::Cycles | Measure::Count) => None,
        }
    }

    /// Such as `cpu-clock at 99 Hz` or `page-faults, one in 100`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.rate {
            Rate::Hz(hz) => format!("{} at {hz} Hz", self.event.name),
            Rate::Period(period) => format!("{}, one in {period}", self.event.name),
        }
    }

    /// The two values of this event's samples: how many, and how much they stand for. With several
    /// events in a profile, the first has the event's name.
    #[must_use]
    pub fn sample_types(&self, alone: bool) -> [SampleType; 2] {
        let name = &self.event.name;
        let samples = if alone {
            "samples".to_owned()
        } else {
            format!("{name}_samples")
        };
        [SampleType::new(&samples, Unit::Count), self.weight_type()]
    }

    fn weight_type(&self) -> SampleType {
        match (self.event.measure, self.event.name.as_str()) {
            (Measure::Nanoseconds, "cpu-clock") => SampleType::new("cpu", Unit::Nanoseconds),
            (Measure::Nanoseconds, name) => SampleType::new(name, Unit::Nanoseconds),
            (Measure::Cycles, _) if self.is_time() => SampleType::new("cpu", Unit::Nanoseconds),
            (Measure::Cycles | Measure::Count, name) => SampleType::new(name, Unit::Count),
        }
    }

    /// Whether the event counts the nanoseconds of a CPU, busy or idle.
    #[must_use]
    pub fn is_clock(&self) -> bool {
        self.event.measure == Measure::Nanoseconds
    }

    /// Whether a sample stands for a piece of CPU time: cycles at a rate are sampled that many
    /// times a second, with periods that follow the CPU's speed.
    #[must_use]
    pub fn is_time(&self) -> bool {
        matches!(
            (self.event.measure, self.rate),
            (Measure::Nanoseconds, _) | (Measure::Cycles, Rate::Hz(_))
        )
    }

    /// The second of the two values, for what the kernel counted.
    #[must_use]
    pub fn weight(&self, samples: u64, counted: u64) -> u64 {
        match (self.event.measure, self.rate) {
            (Measure::Cycles, Rate::Hz(hz)) => samples.saturating_mul(NS_PER_SECOND / hz),
            _ => counted,
        }
    }

    /// The distance between two samples, for pprof.
    #[must_use]
    pub fn period(&self) -> Option<Period> {
        let value = match self.rate {
            Rate::Hz(hz) if self.is_time() => Some(NS_PER_SECOND / hz),
            Rate::Hz(_) => None,
            Rate::Period(period) => Some(period),
        };
        let of = self.weight_type();
        value.map(|value| Period { of, value })
    }
}

/// Says before the kernel does that a rate is too high.
fn check_rate(rate: Rate) -> Result<()> {
    let Rate::Hz(hz) = rate else { return Ok(()) };
    let text = fs::read_to_string(MAX_RATE_FILE).unwrap_or_default();
    match text.trim().parse::<u64>() {
        Ok(limit) if hz > limit => Err(anyhow!(
            "failed to sample at {hz} Hz: the kernel allows {limit}; \
             `sysctl kernel.perf_event_max_sample_rate={hz}` raises that"
        )),
        _ => Ok(()),
    }
}

/// The events of a recording, open on every CPU.
#[derive(Debug)]
pub struct Opened {
    /// With the CPU on which each was opened.
    pub events: Vec<(u32, PerCpuEvent)>,
}

impl Opened {
    /// Opens an event on every CPU that is online, switched off.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn on_all_cpus(sampling: &Sampling) -> Result<Self> {
        let mut events = Vec::new();
        for cpu in online_cpus()? {
            let opened = PerCpuEvent::open(&sampling.event, sampling.rate, cpu);
            let opened = opened.with_context(|| {
                format!(
                    "failed to open the event `{}` on CPU {cpu}",
                    sampling.event.name
                )
            })?;
            events.extend(opened.map(|event| (cpu, event)));
        }
        Ok(Self { events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(name: &str, rate: Rate) -> Sampling {
        let event = Event::by_name(name).unwrap();
        Sampling { event, rate }
    }

    /// Clocks give nanoseconds, cycles at a rate too, all else its own count.
    #[test]
    fn values_have_the_unit_of_the_event() {
        let cases = [
            ("cpu-clock", Rate::Hz(99), "cpu", Unit::Nanoseconds),
            (
                "task-clock",
                Rate::Period(5),
                "task_clock",
                Unit::Nanoseconds,
            ),
            ("cycles", Rate::Hz(99), "cpu", Unit::Nanoseconds),
            ("cycles", Rate::Period(9), "cycles", Unit::Count),
            ("cache-misses", Rate::Hz(99), "cache_misses", Unit::Count),
        ];
        for (name, rate, value, unit) in cases {
            let [samples, weight] = sampling(name, rate).sample_types(true);
            assert_eq!(
                (samples.name(), weight.name()),
                ("samples", value),
                "{name}"
            );
            assert_eq!(weight.unit(), unit, "{name}");
        }
    }

    /// A sample's weight is what the kernel counted, but for cycles that stand for time.
    #[test]
    fn cycles_at_a_rate_weigh_time() {
        assert_eq!(sampling("cycles", Rate::Hz(100)).weight(3, 77), 30_000_000);
        assert_eq!(sampling("cycles", Rate::Period(7)).weight(3, 21), 21);
        assert_eq!(sampling("cycles", Rate::Hz(100)).fixed_period(), None);
        assert_eq!(
            sampling("cpu-clock", Rate::Hz(99)).fixed_period(),
            Some(10_101_010)
        );
        assert_eq!(sampling("page-faults", Rate::Hz(99)).period(), None);
    }

    /// A clock that is asked for more ticks than it has promises those that it has, or is refused.
    #[test]
    fn clocks_have_a_shortest_tick() {
        let fastest = sampling("cpu-clock", Rate::Hz(1_000_000));
        assert_eq!(fastest.fixed_period(), Some(SHORTEST_TICK_NS));
        let check = |name, ns| sampling(name, Rate::Period(ns)).check_tick();
        let error = check("cpu-clock", 9_999).unwrap_err().to_string();
        assert!(error.contains("-c 10000"), "{error}");
        assert!(check("task-clock", 1).is_err());
        assert!(check("cpu-clock", 10_000).is_ok() && check("page-faults", 1).is_ok());
    }
}
