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
            comments: self.comments.clone(),
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

/// A row of the table of threads that `-v` prints, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreadRow {
    /// The thread's id.
    pub tid: u32,
    /// How long it was watched.
    pub wall_ms: f64,
    /// On a CPU.
    pub on_ms: f64,
    /// In the queue.
    pub runnable_ms: f64,
    /// Asleep.
    pub blocked_ms: f64,
    /// What is left of its time.
    pub residual_ms: f64,
}

impl ThreadRow {
    /// All rows in what was written on standard error.
    #[must_use]
    pub fn parse(stderr: &str) -> Vec<Self> {
        stderr.lines().filter_map(thread_row).collect()
    }

    /// Time away from the CPU.
    #[must_use]
    pub fn away_ms(&self) -> f64 {
        self.runnable_ms + self.blocked_ms
    }
}

/// Five figures of the recording, two of the scheduler, a name, and `(PID/TID)`.
fn thread_row(line: &str) -> Option<ThreadRow> {
    let (_, ids) = line.rsplit_once('(')?;
    let (_, tid) = ids.strip_suffix(')')?.split_once('/')?;
    let mut figures = line.split_whitespace();
    let mut figure = || figures.next()?.parse().ok();
    Some(ThreadRow {
        tid: tid.parse().ok()?,
        wall_ms: figure()?,
        on_ms: figure()?,
        runnable_ms: figure()?,
        blocked_ms: figure()?,
        residual_ms: figure()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are told from other lines.
    #[test]
    fn rows_are_found() {
        let text = "timesink: waits (some)\n wall on-CPU\n \
                    20.000 1.000 2.000 17.250 -0.250  - -  a (b) (1/8)\n and 3 more\n";
        let rows = ThreadRow::parse(text);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].tid, rows[0].away_ms()), (8, 19.25));
        assert!((rows[0].residual_ms + 0.25).abs() < 1e-9);
    }
}
