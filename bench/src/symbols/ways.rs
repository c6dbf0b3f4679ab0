//! The ways from a command to a flame graph: timesink's, perf's with inferno, and samply's, which ends
//! with the profile and the symbols that a browser draws.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    cache::NamesCache,
    named::{self, Samples},
    subjects::Subject,
};

/// Samples a second.
const HZ: &str = "999";
const RATE: u64 = 999;
const NS_PER_SECOND: u64 = 1_000_000_000;
/// Writes down its own number, by which its end is seen, and becomes the command.
const RUN: &str = "echo $$ > \"$0\"; exec \"$@\"";
/// As a user would type it, except that the stacks stay behind to be counted.
const DRAW: &str = "perf script \"$@\" | inferno-collapse-perf --all > stacks.folded && \
                    inferno-flamegraph stacks.folded > flame.svg";

const INFERNO: [&str; 2] = ["inferno-collapse-perf", "inferno-flamegraph"];

/// Who records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Timesink {
        /// Whether it has names of an earlier recording.
        is_warm: bool,
    },
    Perf {
        /// Whether stacks are copied and walked by debug information afterwards; else they are walked by
        /// frame pointer, and perf before 6.10 or so looks up no inlined function in these.
        by_dwarf: bool,
    },
    Samply,
}

/// One way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) tool: Tool,
    /// Whether inlined functions are looked up; samply always does.
    pub(super) with_inlines: bool,
}

/// In the order of a round: what is warm comes after what is cold.
const WAYS: [Way; 8] = [
    way("timesink --no-inline, cold", COLD, false),
    way("timesink --no-inline, warm", WARM, false),
    way("timesink, cold", COLD, true),
    way("timesink, warm", WARM, true),
    way("perf -g, script --no-inline", PERF, false),
    way("perf -g", PERF, true),
    way("perf --call-graph dwarf", PERF_DWARF, true),
    way("samply", Tool::Samply, true),
];
const COLD: Tool = Tool::Timesink { is_warm: false };
const WARM: Tool = Tool::Timesink { is_warm: true };
const PERF: Tool = Tool::Perf { by_dwarf: false };
const PERF_DWARF: Tool = Tool::Perf { by_dwarf: true };

const fn way(name: &'static str, tool: Tool, with_inlines: bool) -> Way {
    Way {
        name,
        tool,
        with_inlines,
    }
}

/// Those whose programs are installed, and a line for each that is not.
pub(super) fn present() -> (Vec<Way>, Vec<String>) {
    let mut missing = Vec::new();
    let mut has = |program: &str, install: &str| {
        let is_there = answers(program);
        if !is_there {
            missing.push(format!(
                "{program}: not measured: failed to run it; {install}"
            ));
        }
        is_there
    };
    let has_perf = has("perf", "install perf (Debian: linux-perf)");
    let has_inferno = INFERNO.map(|program| has(program, "`cargo install inferno`"));
    let has_samply = has("samply", "`cargo install samply`");
    let is_there = |way: &Way| match way.tool {
        Tool::Timesink { .. } => true,
        Tool::Perf { .. } => has_perf && has_inferno == [true; 2],
        Tool::Samply => has_samply,
    };
    (WAYS.into_iter().filter(is_there).collect(), missing)
}

/// Whether it is there; inferno's programs do not tell their version.
fn answers(program: &str) -> bool {
    let help = Command::new(program).arg("--help").output();
    help.is_ok_and(|output| !output.stdout.is_empty() || !output.stderr.is_empty())
}

impl Way {
    /// The command that records a subject into a folder.
    pub(super) fn record(
        &self,
        subject: &Subject,
        timesink: &Path,
        cache: &NamesCache,
        folder: &Path,
    ) -> Result<Command> {
        let mut command = match self.tool {
            Tool::Timesink { is_warm } => {
                let mut command = Command::new(timesink);
                command.args(["record", "-v", "-e", "cpu-clock", "-F", HZ]);
                command.args(["-o", "flame.svg", "-o", "stacks.folded"]);
                command.args((!self.with_inlines).then_some("--no-inline"));
                if !is_warm {
                    cache.empty()?;
                }
                cache.give(&mut command)?;
                command
            }
            Tool::Perf { by_dwarf } => {
                let stacks = if by_dwarf { "dwarf" } else { "fp" };
                let mut command = Command::new("perf");
                // Without -N it would copy the binaries into the user's home.
                command.args(["record", "-N", "-e", "cpu-clock", "-F", HZ]);
                command.args(["--call-graph", stacks]);
                command
            }
            Tool::Samply => {
                let mut command = Command::new("samply");
                command.args(["record", "--save-only", "--unstable-presymbolicate"]);
                command.args(["--rate", HZ, "-o", "profile.json"]);
                command
            }
        };
        command.args(["--", "sh", "-c", RUN]);
        command.arg(pid_file(folder)).arg(&subject.program);
        command.args(&subject.arguments).current_dir(folder);
        Ok(command)
    }

    /// The command that makes the result, where the first one does not.
    pub(super) fn draw(&self, folder: &Path) -> Option<Command> {
        matches!(self.tool, Tool::Perf { .. }).then(|| {
            let mut command = Command::new("sh");
            command.args(["-c", DRAW, "sh"]).current_dir(folder);
            command.args((!self.with_inlines).then_some("--no-inline"));
            command
        })
    }

    /// The flame graph, where it is there whole as soon as it is there. timesink's writes the stacks
    /// for the count only after it, which no user would have it do.
    pub(super) fn picture(&self, folder: &Path) -> Option<PathBuf> {
        matches!(self.tool, Tool::Timesink { .. }).then(|| folder.join("flame.svg"))
    }

    /// The samples of the result, and its size in bytes.
    ///
    /// # Errors
    /// Where it is not there, not whole or empty.
    pub(super) fn result(&self, folder: &Path) -> Result<(Samples, u64)> {
        let (samples, bytes) = self.read(folder)?;
        if samples.all == 0 {
            bail!("the result has no samples");
        }
        Ok((samples, bytes))
    }

    fn read(&self, folder: &Path) -> Result<(Samples, u64)> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))
        };
        if self.tool == Tool::Samply {
            let (profile, symbols) = (read("profile.json")?, read("profile.syms.json")?);
            let samples = named::of_samply(
                &serde_json::from_slice(&profile)?,
                &serde_json::from_slice(&symbols)?,
            )?;
            return Ok((samples, (profile.len() + symbols.len()) as u64));
        }
        let picture = read("flame.svg")?;
        if !picture.trim_ascii_end().ends_with(b"</svg>") {
            bail!("the flame graph is not whole");
        }
        let stacks = read("stacks.folded")?;
        let mut samples = named::of_folded(&String::from_utf8_lossy(&stacks));
        if let Tool::Perf { .. } = self.tool {
            // inferno adds up periods, in nanoseconds.
            samples = samples.divided(NS_PER_SECOND / RATE);
        }
        Ok((samples, picture.len() as u64))
    }
}

/// How many names timesink had from its cache, and how many it looked up, by its ledger.
pub(super) fn names(said: &str) -> Option<(u64, u64)> {
    let count = |row: &str| {
        let mut counts = said.lines().filter_map(|line| {
            let (count, rest) = line.trim_start().split_once("  ")?;
            rest.starts_with(row).then_some(count)
        });
        counts.next()?.parse().ok()
    };
    count("names from the cache").zip(count("names looked up"))
}

/// Where a recorded command writes its number.
pub(super) fn pid_file(folder: &Path) -> PathBuf {
    folder.join("pid")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both counts are found in the ledger, and where there is none they are not known.
    #[test]
    fn counts_of_names_are_read() {
        let said = "timesink: wrote `names looked up.svg`, 9 bytes\n\
                    \x20  12  names from the cache          places that an earlier recording had\n\
                    \x203144  names looked up               places that were looked up\n";
        assert_eq!(names(said), Some((12, 3144)));
        assert_eq!(names(""), None);
    }
}
