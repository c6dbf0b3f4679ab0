//! How long it takes from the end of what is recorded to the finished picture, and how much memory:
//! timesink with and without the names of an earlier recording, beside its peers.

mod cache;
mod finishing;
mod large;
mod memory;
mod named;
mod paranoid;
mod rendered;
mod subjects;
mod ways;

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::scenario::Scenario;
use cache::NamesCache;
use finishing::{Finish, Means};
use subjects::{Sizes, Subject};
use ways::Way;

/// How long a result may take, and in a quick run.
const LIMIT: Duration = Duration::from_secs(120);
const QUICK_LIMIT: Duration = Duration::from_secs(10);

type Ways = Vec<(Way, Vec<Finish>)>;

/// A subject with its measurements.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// The subject's name.
    pub(crate) subject: String,
    /// What it is.
    pub(crate) meaning: String,
    /// Each way with its recordings in the order of the rounds.
    pub(crate) ways: Vec<(String, Vec<Finish>)>,
}

/// Measures each way once in each round, on one subject after another, and shows a table of each when it
/// is done.
///
/// # Errors
/// Where a profiler fails.
pub(crate) fn measure(
    scenario: &Scenario,
    timesink: &Path,
    folder: &Path,
    show: impl Fn(&str),
) -> Result<Vec<Measured>> {
    let (ways, missing) = ways::present();
    missing.iter().for_each(|line| show(line));
    let means = Means {
        timesink: &fs::canonicalize(timesink).context("failed to find timesink")?,
        cache: &NamesCache::new(folder.join("names")),
        limit: if scenario.quick { QUICK_LIMIT } else { LIMIT },
    };
    let own = env::current_exe().context("failed to find this program's own path")?;
    let built = own
        .ancestors()
        .nth(2)
        .context("failed to find cargo's target folder")?
        .join("bench-programs");
    let mut all = Vec::new();
    for (name, subject) in subjects::all(Sizes::new(scenario.quick), folder, &built) {
        let subject = match subject {
            Ok(subject) => subject,
            Err(error) => {
                show(&format!("{name}: not measured: {error:#}"));
                continue;
            }
        };
        let measured = rounds(scenario, &subject, &ways, &means, folder)?;
        let table = rendered::render(&measured, means.limit);
        show(&format!(
            "{name}: {}\n{}",
            subject.meaning,
            table.trim_end()
        ));
        all.push(Measured {
            subject: name.to_owned(),
            meaning: subject.meaning,
            ways: measured
                .into_iter()
                .map(|(way, runs)| (way.name.to_owned(), runs))
                .collect(),
        });
    }
    Ok(all)
}

fn rounds(
    scenario: &Scenario,
    subject: &Subject,
    ways: &[Way],
    means: &Means<'_>,
    folder: &Path,
) -> Result<Ways> {
    let mut measured: Ways = ways.iter().map(|way| (*way, Vec::new())).collect();
    for round in 1..=scenario.rounds {
        for (number, (way, runs)) in measured.iter_mut().enumerate() {
            // What was not done in time will not be the next time.
            if runs.iter().any(|run: &Finish| run.seconds.is_none()) {
                continue;
            }
            eprintln!("symbols, {}, round {round}: {}", subject.name, way.name);
            let folder = folder.join(format!("{}-{round}-{number}", subject.name));
            fs::create_dir(&folder).context("failed to create a folder for a recording")?;
            runs.push(finishing::record(way, subject, means, &folder)?);
            // perf's recordings of a few seconds are some hundred MB.
            fs::remove_dir_all(&folder).context("failed to remove a recording")?;
        }
    }
    Ok(measured)
}
