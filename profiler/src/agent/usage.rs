//! What an agent uses of the CPUs.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};

use super::health::Used;
use crate::session::Session;

/// Measures from window to window.
#[derive(Debug)]
pub(super) struct Usage {
    /// The kernel measures its programs as long as this is open.
    _statistics: OwnedFd,
    /// Of sessions that have ended.
    kernel_before: Duration,
    total: Used,
}

impl Usage {
    /// Begins to measure.
    ///
    /// # Errors
    /// Where the kernel does not measure its programs.
    pub(super) fn begin() -> Result<Self> {
        let statistics = enable_stats(Stats::RunTime)
            .context("failed to have the kernel measure its BPF programs")?;
        Ok(Self {
            _statistics: statistics,
            kernel_before: Duration::ZERO,
            total: Used {
                own: own(),
                kernel: Duration::ZERO,
            },
        })
    }

    /// What was used since the last time.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub(super) fn since_last(&mut self, session: &Session) -> Result<Duration> {
        let now = Used {
            own: own(),
            kernel: self.kernel_before + session.cost()?.time,
        };
        let before = std::mem::replace(&mut self.total, now);
        Ok(now.all().saturating_sub(before.all()))
    }

    /// All that was used, at the last look.
    pub(super) const fn total(&self) -> Used {
        self.total
    }

    /// A session is about to end.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub(super) fn session_ends(&mut self, session: &Session) -> Result<()> {
        self.kernel_before += session.cost()?.time;
        Ok(())
    }
}

/// The CPU time of this process and of its children that have ended.
fn own() -> Duration {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN]
        .into_iter()
        .map(time_of)
        .sum()
}

fn time_of(who: libc::c_int) -> Duration {
    // SAFETY: all zero is a valid value, and the call writes one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &raw mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .into_iter()
        .map(duration)
        .sum()
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}
