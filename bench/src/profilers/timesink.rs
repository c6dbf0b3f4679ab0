//! timesink: `timesink record`, which names the stacks and draws the flame graph itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{Profiler, Task, read, version_line};

/// The binary under test.
#[derive(Debug)]
pub(crate) struct Timesink {
    binary: PathBuf,
}

impl Timesink {
    pub(crate) fn new(binary: PathBuf) -> Self {
        Self { binary }
    }
}

impl Profiler for Timesink {
    fn name(&self) -> &'static str {
        "timesink"
    }

    fn version(&self) -> Result<String> {
        version_line(
            &mut Command::new(&self.binary),
            "`--timesink` takes the path of the binary",
        )
    }

    fn uses_bpf(&self) -> bool {
        true
    }

    fn reads_tables(&self) -> bool {
        true
    }

    fn record(&self, task: &Task<'_>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args([
            "record",
            "-v",
            "-e",
            "cpu-clock",
            "-F",
            &task.hz.to_string(),
            "-o",
        ]);
        command.arg(self.artefact(task));
        match task.pid {
            Some(pid) => command.args(["-p", &pid.to_string()]),
            None => command.arg("-a"),
        };
        command
    }

    fn artefact(&self, task: &Task<'_>) -> PathBuf {
        task.folder.join("flame.svg")
    }

    fn samples(&self, task: &Task<'_>) -> Result<u64> {
        samples(&read(&self.artefact(task))?)
            .context("failed to find the sum of the samples in timesink's flame graph")
    }
}

/// The sum that a flame graph bears for its scripts; one without any stack bears none.
fn samples(svg: &str) -> Option<u64> {
    if svg.contains("There were no samples.") {
        return Some(0);
    }
    let (_, rest) = svg.split_once("total_samples=\"")?;
    rest.split_once('"')?.0.parse().ok()
}

/// Builds the release binary into the folder that this program was built into.
pub(super) fn build() -> Result<PathBuf> {
    let own = env::current_exe().context("failed to find this program's own path")?;
    let target = own
        .ancestors()
        .nth(2)
        .context("failed to find cargo's target folder; use `--timesink PATH`")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    // Of this package: to some build scripts another value means to build anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let status = cargo
        .args(["build", "--quiet", "--locked", "--release"])
        .args(["--package", "profiler", "--bin", "timesink", "--target-dir"])
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .status()
        .context("failed to run cargo; use `--timesink PATH`")?;
    if !status.success() {
        bail!("failed to build timesink: cargo ended with {status}");
    }
    Ok(target.join("release/timesink"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum is read from the attribute, and a picture without stacks has none.
    #[test]
    fn the_sum_of_the_samples_is_read() {
        let svg = r#"<svg id="frames" x="10" total_samples="7992"><g>"#;
        assert_eq!(samples(svg), Some(7992));
        assert_eq!(samples("<text>There were no samples.</text>"), Some(0));
        assert_eq!(samples("<svg>"), None);
    }
}
