//! The values of a sample: which sample types a profile has, and what fills them.

use abi::samples::SampleCount;
use output::{SampleType, Unit};

use crate::{account::EventAccount, sampling::Sampling};

/// What waits come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitSum {
    /// How many.
    pub times: u64,
    /// Time asleep, in nanoseconds.
    pub asleep_ns: u64,
    /// Time in the queue, in nanoseconds.
    pub queued_ns: u64,
}

impl WaitSum {
    /// Adds another sum.
    pub fn add(&mut self, other: Self) {
        self.times += other.times;
        self.asleep_ns += other.asleep_ns;
        self.queued_ns += other.queued_ns;
    }
}

/// The sample types of a recording: two for each event, then those of waits, then the sum of all
/// times where both were recorded.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    events: &'a [(Sampling, EventAccount)],
    has_waits: bool,
}

impl<'a> Columns<'a> {
    /// Those of a recording of these events, and of waits or not.
    #[must_use]
    pub const fn new(events: &'a [(Sampling, EventAccount)], has_waits: bool) -> Self {
        Self { events, has_waits }
    }

    /// Whether both what runs and what waits was recorded.
    #[must_use]
    pub const fn is_wall(&self) -> bool {
        self.has_waits && !self.events.is_empty()
    }

    /// The types in their order.
    #[must_use]
    pub fn types(&self) -> Vec<SampleType> {
        let alone = self.events.len() == 1;
        let events = self.events.iter();
        let mut types: Vec<_> = events
            .flat_map(|(sampling, _)| sampling.sample_types(alone))
            .collect();
        if self.has_waits {
            types.push(SampleType::new("blocks", Unit::Count));
            types.push(SampleType::new("runnable", Unit::Nanoseconds));
            types.push(SampleType::new("off_cpu", Unit::Nanoseconds));
        }
        if self.is_wall() {
            types.push(SampleType::new("wall", Unit::Nanoseconds));
        }
        types
    }

    /// The places of the types whose sum a flame graph shows: samples of the first event, all time
    /// away from the CPU, or all time.
    #[must_use]
    pub fn folded(&self) -> Vec<usize> {
        match (self.has_waits, self.is_wall()) {
            (false, _) => vec![0],
            (true, false) => vec![1, 2],
            (true, true) => vec![self.events.len() * 2 + 3],
        }
    }

    /// The values of samples of an event.
    #[must_use]
    pub fn of_samples(&self, event: usize, count: SampleCount) -> Vec<u64> {
        let mut values = self.zeros();
        if let Some((sampling, _)) = self.events.get(event) {
            let weight = sampling.weight(count.samples, count.weight);
            values[event * 2] = count.samples;
            values[event * 2 + 1] = weight;
            self.add_wall(&mut values, weight);
        }
        values
    }

    /// The values of waits.
    #[must_use]
    pub fn of_waits(&self, sum: WaitSum) -> Vec<u64> {
        let mut values = self.zeros();
        if self.has_waits {
            let first = self.events.len() * 2;
            values[first] = sum.times;
            values[first + 1] = sum.queued_ns;
            values[first + 2] = sum.asleep_ns;
            self.add_wall(&mut values, sum.asleep_ns.saturating_add(sum.queued_ns));
        }
        values
    }

    fn zeros(&self) -> Vec<u64> {
        let of_waits = usize::from(self.has_waits) * 3 + usize::from(self.is_wall());
        vec![0; self.events.len() * 2 + of_waits]
    }

    fn add_wall(&self, values: &mut [u64], ns: u64) {
        if self.is_wall()
            && let Some(wall) = values.last_mut()
        {
            *wall = ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{events::Event, perf::Rate};

    fn clock() -> [(Sampling, EventAccount); 1] {
        let sampling = Sampling {
            event: Event::cpu_clock(),
            rate: Rate::Hz(100),
        };
        let account = EventAccount::new(&sampling, &[]);
        [(sampling, account)]
    }

    const SAMPLES: SampleCount = SampleCount {
        samples: 2,
        weight: 20,
    };
    const WAITS: WaitSum = WaitSum {
        times: 3,
        asleep_ns: 50,
        queued_ns: 7,
    };

    fn names(columns: &Columns<'_>) -> Vec<String> {
        let types = columns.types().into_iter();
        types
            .map(|of| format!("{}/{}", of.name(), of.unit()))
            .collect()
    }

    /// Without waits there are two values for each event, and samples are folded.
    #[test]
    fn running_has_samples_and_time() {
        let events = clock();
        let columns = Columns::new(&events, false);
        assert_eq!(names(&columns), ["samples/count", "cpu/nanoseconds"]);
        assert_eq!(columns.of_samples(0, SAMPLES), [2, 20]);
        assert_eq!(columns.folded(), [0]);
        assert!(!columns.is_wall());
    }

    /// Waits alone have their own three, and both times are folded.
    #[test]
    fn waiting_has_its_own_types() {
        let columns = Columns::new(&[], true);
        let expected = [
            "blocks/count",
            "runnable/nanoseconds",
            "off_cpu/nanoseconds",
        ];
        assert_eq!(names(&columns), expected);
        assert_eq!(columns.of_waits(WAITS), [3, 7, 50]);
        assert_eq!(columns.folded(), [1, 2]);
    }

    /// In a recording of both the last value is the sum of all times.
    #[test]
    fn all_times_add_up() {
        let events = clock();
        let columns = Columns::new(&events, true);
        assert_eq!(names(&columns).len(), 6);
        assert_eq!(names(&columns)[5], "wall/nanoseconds");
        assert_eq!(columns.of_samples(0, SAMPLES), [2, 20, 0, 0, 0, 20]);
        assert_eq!(columns.of_waits(WAITS), [0, 0, 3, 7, 50, 57]);
        assert_eq!(columns.folded(), [5]);
    }
}
