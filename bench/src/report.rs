//! The record of all measurements, one by one, as JSON.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{differences, ping_pong::Trips, recording::Run, soak, store, symbols, usage};

/// Everything that one call measured, and where.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// CPUs that are online.
    pub(crate) cpus: usize,
    /// The profilers' names and versions.
    pub(crate) profilers: Vec<(String, String)>,
    /// The scenarios in their order.
    pub(crate) scenarios: Vec<Measured>,
    /// Of the scenario `ping-pong`, where it was measured: each way of watching, with the CPU time of a
    /// round trip in nanoseconds in the order of the rounds.
    pub(crate) ping_pong: Trips,
    /// Of the scenario `symbols`, where it was measured.
    pub(crate) symbols: Vec<symbols::Measured>,
    /// Of the scenario `store`, where it was measured.
    pub(crate) store: Vec<store::Measured>,
    /// Of the scenario `soak`, where it was measured: what the agent had in each minute.
    pub(crate) soak: Vec<soak::Minute>,
    /// Of the scenario `diff`, where it was measured: what was found in each round.
    pub(crate) differences: Vec<differences::Round>,
}

/// One scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// The scenario's name.
    pub(crate) name: String,
    /// Samples a second on each CPU.
    pub(crate) hz: u32,
    /// How long each recording was to take.
    pub(crate) seconds: f64,
    /// Each profiler with its runs in the order of the rounds.
    pub(crate) runs: Vec<(String, Vec<Run>)>,
}

impl Report {
    /// A report of this machine without measurements.
    ///
    /// # Errors
    /// Where the kernel does not tell about itself.
    pub(crate) fn new(profilers: Vec<(String, String)>) -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("failed to read the kernel's release")?;
        Ok(Self {
            kernel: release.trim_end().to_owned(),
            cpus: usage::machine()?.cpus,
            profilers,
            scenarios: Vec::new(),
            ping_pong: Trips::new(),
            symbols: Vec::new(),
            store: Vec::new(),
            soak: Vec::new(),
            differences: Vec::new(),
        })
    }

    /// Where it was measured, and with what, in lines.
    pub(crate) fn heading(&self) -> String {
        let mut lines = format!("Linux {}, {} CPUs\n", self.kernel, self.cpus);
        for (name, version) in &self.profilers {
            lines.push_str(&format!("{name}: {version}\n"));
        }
        lines
    }

    /// Writes it.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n")
            .with_context(|| format!("failed to write `{}`", path.display()))
    }
}
