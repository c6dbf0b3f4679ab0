//! Recording waits: what was asked for, and how it is kept cheap.

use std::{
    thread::available_parallelism,
    time::{Duration, Instant},
};

use abi::{
    WAITS,
    reasons::{Counters, Outcome},
};
use anyhow::Result;

use crate::{
    bpf::{Programs, WaitSettings},
    cli::RecordArgs,
};

/// From this many waits a second and CPU on, the stack of each costs more than a few hundredths of the
/// CPU, at about a microsecond each.
const MANY_WAITS: u64 = 50_000;
/// The period that is gone over to then.
const PERIOD: Duration = Duration::from_millis(1);

/// How waits were recorded.
#[derive(Clone, Debug)]
pub struct Waits {
    /// What became of them: the outcomes of waits, the ends of their user stacks, and misses.
    pub counters: Counters,
    /// From which time since the beginning on the stacks of waits shorter than the second time were
    /// taken by chance; zero stands for none. The first entry is that of the beginning.
    pub periods: Vec<(Duration, Duration)>,
}

/// The recording of waits.
#[derive(Debug)]
pub struct Watching {
    settings: WaitSettings,
    /// Whether nothing was said of the period, so that it is chosen here.
    is_automatic: bool,
    began: Instant,
    periods: Vec<(Duration, Duration)>,
    /// When the waits were counted last, and how many there had been.
    last: (Instant, u64),
}

impl Watching {
    /// As asked for; nothing is watched yet.
    #[must_use]
    pub fn planned(args: &RecordArgs) -> Self {
        let settings = WaitSettings {
            wakers: args.wakers,
            shortest: args.min_block.unwrap_or_default(),
            period: args.wait_period.unwrap_or_default(),
        };
        let now = Instant::now();
        Self {
            settings,
            is_automatic: args.wait_period.is_none(),
            began: now,
            periods: vec![(Duration::ZERO, settings.period)],
            last: (now, 0),
        }
    }

    /// Prepares, so that nothing is left to do but to begin.
    ///
    /// # Errors
    /// Where the kernel refuses a program.
    pub fn prepare(&self, programs: &mut Programs) -> Result<()> {
        programs.prepare_waits(self.settings)
    }

    /// Begins.
    ///
    /// # Errors
    /// Where the kernel does not let the threads be visited.
    pub fn begin(&mut self, programs: &mut Programs) -> Result<()> {
        self.began = Instant::now();
        self.last.0 = self.began;
        programs.begin_waits()
    }

    /// Goes over to taking stacks by chance where threads wait so often that it would cost too much
    /// to take each, and the kernel can do so.
    ///
    /// # Errors
    /// Where the counters cannot be read.
    pub fn adapt(&mut self, programs: &mut Programs) -> Result<()> {
        let waits = programs.counters(WAITS)?.outcomes[Outcome::Sampled as usize];
        let (then, before) = std::mem::replace(&mut self.last, (Instant::now(), waits));
        let elapsed = then.elapsed().as_secs_f64();
        let cpus = available_parallelism().map_or(1, std::num::NonZero::get);
        let bearable = MANY_WAITS as f64 * cpus as f64 * elapsed;
        if (waits - before) as f64 > bearable {
            self.sample(programs);
        }
        Ok(())
    }

    /// Goes over to taking stacks by chance, where the kernel can do so and nothing was said of the
    /// period.
    pub fn sample(&mut self, programs: &mut Programs) {
        if std::mem::take(&mut self.is_automatic) && programs.set_wait_period(PERIOD).is_ok() {
            self.periods.push((self.began.elapsed(), PERIOD));
        }
    }

    /// From which time since the beginning on which period was in force, as [`Waits::periods`].
    #[must_use]
    pub fn periods(&self) -> Vec<(Duration, Duration)> {
        self.periods.clone()
    }
}
