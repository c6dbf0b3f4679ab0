//! The waits of a pprof file, and how they are shown.

use crate::{Pprof, PprofSample, Whole};

impl PprofSample {
    /// Time away from the CPU, asleep or in the queue, in nanoseconds.
    #[must_use]
    pub fn away_ns(&self) -> u64 {
        self.value("off_cpu") + self.value("runnable")
    }
}

impl Pprof {
    /// The samples that fulfil a condition.
    #[must_use]
    pub fn filter(&self, wanted: impl Fn(&PprofSample) -> bool) -> Self {
        let wanted = self.samples.iter().filter(|sample| wanted(sample));
        Self {
            samples: wanted.cloned().collect(),
            duration_ns: self.duration_ns,
        }
    }

    /// The samples with a function anywhere in their stacks.
    #[must_use]
    pub fn of_function(&self, function: &str) -> Self {
        self.filter(|sample| sample.has(function))
    }

    /// The sum of the values of a type.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        self.samples.iter().map(|sample| sample.value(name)).sum()
    }

    /// All time away from the CPU, in nanoseconds.
    #[must_use]
    pub fn away_ns(&self) -> u64 {
        self.samples.iter().map(PprofSample::away_ns).sum()
    }

    /// The part of that with a user stack that begins where a thread began and is all names.
    #[must_use]
    pub fn whole_away_ns(&self) -> u64 {
        let whole = Whole::weighted(self, |sample| match has_names(sample) {
            true => sample.away_ns(),
            false => 0,
        });
        whole.whole
    }
}

/// Whether no frame is a bare address, such as `libc.so.6+0x1234`.
fn has_names(sample: &PprofSample) -> bool {
    let mut frames = sample.frames.iter();
    !frames.any(|frame| frame.function.contains("+0x") || frame.function.starts_with("[unknown"))
}
