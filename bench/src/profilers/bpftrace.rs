//! bpftrace: stacks counted in a map, which it names and prints when it is stopped.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::{Profiler, Task, read, version_line};

/// The installed bpftrace.
#[derive(Debug)]
pub(crate) struct Bpftrace;

impl Profiler for Bpftrace {
    fn name(&self) -> &'static str {
        "bpftrace"
    }

    fn version(&self) -> Result<String> {
        version_line(
            &mut Command::new("bpftrace"),
            "install the package bpftrace",
        )
    }

    fn uses_bpf(&self) -> bool {
        true
    }

    fn record(&self, task: &Task<'_>) -> Command {
        let mut command = Command::new("bpftrace");
        command.args(["-e", &program(task.pid, task.hz)]);
        command
    }

    fn artefact(&self, task: &Task<'_>) -> PathBuf {
        task.stdout()
    }

    fn samples(&self, task: &Task<'_>) -> Result<u64> {
        Ok(samples(&read(&self.artefact(task))?))
    }
}

fn program(pid: Option<u32>, hz: u32) -> String {
    let filter = pid
        .map(|pid| format!(" /pid == {pid}/"))
        .unwrap_or_default();
    format!("profile:hz:{hz}{filter} {{ @[ustack(127), kstack(127), comm] = count(); }}")
}

/// The sum of the counts: each stands behind the bracket that ends its key.
fn samples(printed: &str) -> u64 {
    let count = |line: &str| line.rsplit_once("]: ")?.1.parse::<u64>().ok();
    printed.lines().filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The filter is there for a process and not for the machine.
    #[test]
    fn a_process_is_a_filter() {
        assert_eq!(
            program(Some(7), 999),
            "profile:hz:999 /pid == 7/ { @[ustack(127), kstack(127), comm] = count(); }"
        );
        assert!(program(None, 99).starts_with("profile:hz:99 {"));
    }

    /// The counts of all keys are added, and frames that look like numbers are not.
    #[test]
    fn counts_are_added() {
        let printed = "Attaching 1 probe...\n\n@[\n    work+12\n    0x1e00000000\n, , chains]: 90\n\
                       @[, \n    do_idle+532\n, swapper/0]: 9\n";
        assert_eq!(samples(printed), 99);
    }
}
