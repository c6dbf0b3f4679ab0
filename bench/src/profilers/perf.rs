//! perf: `perf record` writes samples to a file, and `perf script` names their stacks. Neither draws
//! a flame graph.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{Profiler, Task, read, version_line};

/// The installed perf.
#[derive(Debug)]
pub(crate) struct Perf;

impl Profiler for Perf {
    fn name(&self) -> &'static str {
        "perf"
    }

    fn version(&self) -> Result<String> {
        let install = "install perf (Debian: linux-perf)";
        version_line(&mut Command::new("perf"), install)
    }

    fn uses_bpf(&self) -> bool {
        false
    }

    fn dies_of_sigint(&self) -> bool {
        true
    }

    fn record(&self, task: &Task<'_>) -> Command {
        let mut command = Command::new("perf");
        // Without -N it would copy the binaries into the user's home.
        command.args(["record", "-N", "-e", "cpu-clock", "-g", "-F"]);
        command.args([&task.hz.to_string(), "-o"]);
        command.arg(self.artefact(task));
        match task.pid {
            Some(pid) => command.args(["-p", &pid.to_string()]),
            None => command.arg("-a"),
        };
        command
    }

    fn name_stacks(&self, task: &Task<'_>) -> Option<Command> {
        let mut command = Command::new("perf");
        command.args(["script", "-i"]).arg(self.artefact(task));
        Some(command)
    }

    fn artefact(&self, task: &Task<'_>) -> PathBuf {
        task.folder.join("perf.data")
    }

    fn samples(&self, task: &Task<'_>) -> Result<u64> {
        samples(&read(&task.stderr())?)
            .context("failed to find the number of samples in what `perf record` says")
    }
}

/// The number in `[ perf record: Captured and wrote 1.2 MB perf.data (7992 samples) ]`.
fn samples(said: &str) -> Option<u64> {
    let (before, _) = said.rsplit_once(" samples)")?;
    before.rsplit_once('(')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last line with a number of samples counts.
    #[test]
    fn the_number_of_samples_is_read() {
        let said = "[ perf record: Woken up 2 times to write data ]\n\
                    [ perf record: Captured and wrote 1.2 MB /x (1)/perf.data (7992 samples) ]\n";
        assert_eq!(samples(said), Some(7992));
        assert_eq!(samples("[ perf record: Woken up ]"), None);
    }
}
