//! How often `timesink diff` is right: in each round a program of eight functions is recorded twice as it
//! is and once with one function that takes 10 % longer, and the recordings are compared.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::{
    scenario::Scenario,
    workload::{self, Build},
};

/// The function that grows, and by how much in percent.
const REGRESSED: &str = "parse";
const PERCENT: &str = "10";
/// Rounds of the program, about a second of CPU time, and what a quick run has.
const ROUNDS: &str = "100";
const QUICK_ROUNDS: &str = "20";

/// A function that was called changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Found {
    name: String,
    percent: f64,
}

/// What was called changed in a round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// From a recording to another of the same program.
    same: Vec<Found>,
    /// From a recording to one of the program that takes longer.
    regressed: Vec<Found>,
    /// Processes that ran or were ready to, on average over the last minute.
    load: f64,
}

impl Round {
    fn is_found(&self) -> bool {
        let grew = |of: &Found| of.name == REGRESSED && of.percent > 0.0;
        self.regressed.iter().any(grew)
    }

    fn is_exact(&self) -> bool {
        self.is_found() && self.regressed.len() == 1
    }
}

/// Records and compares.
///
/// # Errors
/// Where the program cannot be built, or timesink fails.
pub(crate) fn measure(scenario: &Scenario, timesink: &Path, folder: &Path) -> Result<Vec<Round>> {
    let build = Build {
        frame_pointers: true,
        frames: None,
    };
    let program = workload::compile("regression", build, folder)?;
    let recorder = Recorder {
        timesink,
        program: &program,
        hz: scenario.hz,
        rounds: if scenario.quick { QUICK_ROUNDS } else { ROUNDS },
        folder,
    };
    let round = |number| {
        eprintln!("{}, round {number}", scenario.title());
        let first = recorder.record("first", "0")?;
        let regressed = recorder.record("regressed", PERCENT)?;
        let second = recorder.record("second", "0")?;
        Ok(Round {
            same: recorder.changed(&first, &second)?,
            regressed: recorder.changed(&first, &regressed)?,
            load: load()?,
        })
    };
    (1..=scenario.rounds).map(round).collect()
}

/// Records the program, and compares recordings.
#[derive(Debug)]
struct Recorder<'a> {
    timesink: &'a Path,
    program: &'a Path,
    hz: u32,
    rounds: &'a str,
    folder: &'a Path,
}

impl Recorder<'_> {
    fn record(&self, name: &str, percent: &str) -> Result<PathBuf> {
        let file = self.folder.join(name).with_extension("pb.gz");
        let mut command = Command::new(self.timesink);
        command.args([
            "record",
            "-e",
            "cpu-clock",
            "-F",
            &self.hz.to_string(),
            "-o",
        ]);
        command.arg(&file).arg("--").arg(self.program);
        run(command.args([self.rounds, percent]))?;
        Ok(file)
    }

    fn changed(&self, before: &Path, after: &Path) -> Result<Vec<Found>> {
        let mut command = Command::new(self.timesink);
        let output = run(command.args(["diff", "--json"]).args([before, after]))?;
        let diff: Value = serde_json::from_slice(&output.stdout)
            .context("failed to read what `timesink diff --json` printed")?;
        let functions = diff["functions"].as_array().into_iter().flatten();
        let is_changed = |of: &&Value| matches!(of["verdict"].as_str(), Some("grew" | "shrank"));
        let found = functions.filter(is_changed).map(|of| Found {
            name: of["name"].as_str().unwrap_or_default().to_owned(),
            percent: of["self"]["percent"].as_f64().unwrap_or(f64::INFINITY),
        });
        Ok(found.collect())
    }
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("failed to start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {said}");
    }
    Ok(output)
}

fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("failed to read the load")?;
    let first = text.split(' ').next().and_then(|load| load.parse().ok());
    first.context("failed to read the load")
}

/// How often each comparison was right, and each wrong answer.
pub(crate) fn render(rounds: &[Round]) -> String {
    let count =
        |is_right: fn(&Round) -> bool| rounds.iter().filter(|round| is_right(round)).count();
    let all = rounds.len();
    let mut text = format!(
        "{:>4} of {all}  `{REGRESSED}` +{PERCENT} %: found\n\
         {:>4} of {all}  `{REGRESSED}` +{PERCENT} %: found, and nothing else\n\
         {:>4} of {all}  the same program: nothing found\n",
        count(Round::is_found),
        count(Round::is_exact),
        count(|round| round.same.is_empty()),
    );
    let mut growth: Vec<f64> = rounds
        .iter()
        .flat_map(|round| &round.regressed)
        .filter(|of| of.name == REGRESSED)
        .map(|of| of.percent)
        .collect();
    growth.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (growth.first(), growth.last()) {
        let median = growth[growth.len() / 2];
        text += &format!(
            "where found, `{REGRESSED}` grew by {median:.1} % ({least:.1} to {most:.1})\n"
        );
    }
    let loads = rounds.iter().map(|round| round.load);
    let (least, most) = loads.fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), load| {
        (least.min(load), most.max(load))
    });
    text += &format!("load of the machine: {least:.1} to {most:.1}\n");
    for (number, round) in (1..).zip(rounds) {
        let wrong = round.regressed.iter().filter(|of| of.name != REGRESSED);
        for of in wrong.chain(&round.same) {
            text += &format!(
                "wrong in round {number}: {} {:+.1} %\n",
                of.name, of.percent
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, percent: f64) -> Found {
        Found {
            name: name.to_owned(),
            percent,
        }
    }

    /// A round counts for what was found in it, and what is wrong is listed.
    #[test]
    fn rounds_are_counted() {
        let round = |same: &[Found], regressed: &[Found]| Round {
            same: same.to_vec(),
            regressed: regressed.to_vec(),
            load: 1.0,
        };
        let parse = found("parse", 9.5);
        let hash = found("hash", -4.0);
        let text = render(&[
            round(&[], std::slice::from_ref(&parse)),
            round(&[], &[parse, hash.clone()]),
            round(&[hash], &[]),
            round(&[], &[found("parse", -9.0)]),
        ]);
        assert!(text.contains("   2 of 4  `parse` +10 %: found\n"), "{text}");
        assert!(
            text.contains("   1 of 4  `parse` +10 %: found, and nothing else\n"),
            "{text}"
        );
        assert!(
            text.contains("   3 of 4  the same program: nothing found\n"),
            "{text}"
        );
        assert_eq!(text.matches("wrong in round").count(), 2, "{text}");
    }
}
