//! The figures of the tables: what each is made of, and how it is summed up over the rounds.

use crate::recording::Run;

/// Something that a run of a profiler is measured by.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// The head of its row, with the unit.
    pub(crate) name: &'static str,
    /// Digits behind the point.
    pub(crate) decimals: usize,
    /// Whether a ratio of it says something about the profilers.
    pub(crate) has_ratio: bool,
    /// Its value; `None` where it does not apply.
    pub(crate) of: fn(&Run) -> Option<f64>,
}

impl std::fmt::Debug for Figure {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(self.name)
    }
}

const MIB: f64 = (1 << 20) as f64;

/// All figures, in the order of the table.
pub(crate) const FIGURES: &[Figure] = &[
    cost("samples", 0, |run| Some(run.samples as f64)),
    cost("runs of the sampling program", 0, |run| {
        run.sampling_runs.map(|runs| runs as f64)
    }),
    cost("ns per run", 0, |run| {
        quotient(run.sampling_ns?, run.sampling_runs?)
    }),
    cost("ns per sample", 0, |run| {
        quotient(run.sampling_ns?, run.samples)
    }),
    cost("BPF programs, % of a core", 3, |run| {
        run.programs_ns.map(|ns| percent(run, ns))
    }),
    cost("own CPU, % of a core", 3, |run| {
        Some(percent(run, run.recording_cpu_ns))
    }),
    cost("start to first sample, s", 2, |run| Some(run.start_s)),
    cost("CPU of the start, s", 3, |run| {
        Some(run.start_cpu_ns as f64 / 1e9)
    }),
    cost("stop to result, s", 2, |run| Some(run.finish_s)),
    cost("CPU of the end, s", 3, |run| {
        Some(run.finish_cpu_ns as f64 / 1e9)
    }),
    cost("memory while recording, MiB", 1, |run| {
        Some(run.recording_bytes as f64 / MIB)
    }),
    cost("peak memory, MiB", 1, |run| {
        Some(run.peak_bytes as f64 / MIB)
    }),
    cost("BPF maps, MiB", 1, |run| {
        run.sampling_runs.map(|_| run.map_bytes as f64 / MIB)
    }),
    cost("written, KiB", 0, |run| {
        Some(run.written_bytes as f64 / 1024.0)
    }),
    Figure {
        name: "(the program got, cores)",
        decimals: 2,
        has_ratio: false,
        of: |run| run.target_cores,
    },
    Figure {
        name: "(the machine was busy, cores)",
        decimals: 2,
        has_ratio: false,
        of: |run| Some(run.machine_cores),
    },
];

const fn cost(name: &'static str, decimals: usize, of: fn(&Run) -> Option<f64>) -> Figure {
    Figure {
        name,
        decimals,
        has_ratio: true,
        of,
    }
}

fn percent(run: &Run, ns: u64) -> f64 {
    ns as f64 / 1e9 / run.recorded_s * 100.0
}

fn quotient(dividend: u64, divisor: u64) -> Option<f64> {
    (divisor != 0).then(|| dividend as f64 / divisor as f64)
}

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// Sums up one value for each round; `None` where there is none.
    pub(crate) fn new(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self {
            median: f64::midpoint(low, high),
            min,
            max,
        })
    }

    /// A figure of several runs.
    pub(crate) fn of(figure: &Figure, runs: &[Run]) -> Option<Self> {
        Self::new(runs.iter().filter_map(figure.of).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The median is the middle value, or the middle of the two middle ones.
    #[test]
    fn the_median_is_in_the_middle() {
        let summary = |values: &[f64]| Summary::new(values.to_vec()).map(|sum| sum.median);
        assert_eq!(summary(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(summary(&[9.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(summary(&[7.0]), Some(7.0));
        assert_eq!(summary(&[]), None);
        let sum = Summary::new(vec![9.0, 1.0, 2.0]).unwrap();
        assert_eq!((sum.min, sum.max), (1.0, 9.0));
    }

    /// Costs are per second of the recording, and what does not apply or was never seen is none.
    #[test]
    fn figures_follow_from_the_run() {
        let value = |name: &str, run: &Run| {
            let figure = FIGURES.iter().find(|figure| figure.name == name).unwrap();
            (figure.of)(run)
        };
        let run = Run {
            recorded_s: 2.0,
            samples: 10,
            sampling_runs: Some(20),
            sampling_ns: Some(1_000),
            recording_cpu_ns: 20_000_000,
            ..Run::default()
        };
        assert_eq!(value("ns per run", &run), Some(50.0));
        assert_eq!(value("ns per sample", &run), Some(100.0));
        assert_eq!(value("own CPU, % of a core", &run), Some(1.0));
        assert_eq!(value("BPF programs, % of a core", &run), None);
        assert_eq!(value("ns per sample", &Run::default()), None);
        let nothing_seen = Run {
            sampling_ns: Some(5),
            ..Run::default()
        };
        assert_eq!(value("ns per sample", &nothing_seen), None);
    }
}
