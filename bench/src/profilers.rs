//! The profilers: one file for each, all behind one trait.

mod bpftrace;
mod perf;
mod timesink;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// Where a profiler finds its work and leaves its results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    /// The process to record; without one, the whole machine.
    pub(crate) pid: Option<u32>,
    /// Samples a second on each CPU.
    pub(crate) hz: u32,
    /// A folder for this recording alone.
    pub(crate) folder: &'a Path,
}

impl Task<'_> {
    /// What the profiler prints goes here.
    pub(crate) fn stdout(&self) -> PathBuf {
        self.folder.join("stdout")
    }

    /// What the profiler says goes here.
    pub(crate) fn stderr(&self) -> PathBuf {
        self.folder.join("stderr")
    }
}

/// A program that samples stacks from its start until SIGINT.
pub(crate) trait Profiler {
    /// The command's name.
    fn name(&self) -> &'static str;

    /// The first line of its `--version`.
    ///
    /// # Errors
    /// Where it is absent; the error says how to install it.
    fn version(&self) -> Result<String>;

    /// Whether it samples with a BPF program.
    fn uses_bpf(&self) -> bool;

    /// Whether it walks up stacks without frame pointers.
    fn reads_tables(&self) -> bool {
        false
    }

    /// Whether it ends itself by SIGINT once it has written its results, as a shell would want.
    fn dies_of_sigint(&self) -> bool {
        false
    }

    /// The command that records.
    fn record(&self, task: &Task<'_>) -> Command;

    /// The command that turns the recording into named stacks, where the first one does not.
    fn name_stacks(&self, _task: &Task<'_>) -> Option<Command> {
        None
    }

    /// The file that the recording leaves.
    fn artefact(&self, task: &Task<'_>) -> PathBuf;

    /// How many samples are in the result.
    ///
    /// # Errors
    /// Where the result is not as expected.
    fn samples(&self, task: &Task<'_>) -> Result<u64>;
}

/// All profilers, timesink first.
pub(crate) fn all(timesink: PathBuf) -> Vec<Box<dyn Profiler>> {
    vec![
        Box::new(timesink::Timesink::new(timesink)),
        Box::new(bpftrace::Bpftrace),
        Box::new(perf::Perf),
    ]
}

/// Builds timesink from this workspace and gives its path.
///
/// # Errors
/// Where cargo fails.
pub(crate) fn build_timesink() -> Result<PathBuf> {
    timesink::build()
}

/// The first line that a command prints when asked for its version.
fn version_line(command: &mut Command, install: &str) -> Result<String> {
    let output = command
        .arg("--version")
        .output()
        .ok()
        .filter(|output| output.status.success())
        .with_context(|| format!("failed to run it; {install}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
