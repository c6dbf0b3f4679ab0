//! How long it takes to build the unwind table of the largest library that machines commonly have.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    Profilers,
    figures::Summary,
    profilers::Task,
    recording,
    report::Measured,
    scenario::{Load, Scenario},
    table,
    workload::Running,
};

/// Where distributions keep it.
const FOLDERS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];
const PREFIX: &str = "libLLVM";
/// What the sleeper that maps it is given, in seconds: more than any recording takes.
const SLEEP: &str = "3600";

/// Records a process that maps a copy of the library, in rounds, by the first profiler; gives the
/// measurements, and the table of them.
///
/// # Errors
/// Where no such library is installed or the profiler fails.
pub(crate) fn measure(
    scenario: &Scenario,
    profilers: &Profilers,
    folder: &Path,
) -> Result<(Vec<Measured>, String)> {
    let profiler = profilers.first().context("no profiler is there")?;
    let library = uncached_copy(folder)?;
    let mut running = Running::start(Load::Nothing, Path::new(""))?;
    let pid = running.add(Command::new("sleep").arg(SLEEP).env("LD_PRELOAD", &library))?;
    running.settle();
    let (mut runs, mut tables) = (Vec::new(), Vec::new());
    for round in 1..=scenario.rounds {
        eprintln!("{}, round {round}", scenario.title());
        let folder = folder.join(format!("{}-{round}", scenario.title()));
        fs::create_dir(&folder).context("failed to create a folder for a recording")?;
        let task = Task {
            pid: Some(pid),
            hz: scenario.hz,
            folder: &folder,
        };
        runs.push(recording::record(
            &**profiler,
            &task,
            scenario.duration,
            None,
        )?);
        let said = fs::read_to_string(task.stderr()).unwrap_or_default();
        let table = built(&said, &library.to_string_lossy());
        tables.push(table.context("failed to find what timesink said of the library's table")?);
    }
    let bytes = fs::metadata(&library)?.len();
    let starts = runs.iter().map(|run| run.start_s).collect();
    let rendered = rendered(bytes, &tables, starts);
    let measured = Measured {
        name: scenario.title().to_owned(),
        hz: scenario.hz,
        seconds: scenario.duration.as_secs_f64(),
        runs: vec![(profiler.name().to_owned(), runs)],
    };
    Ok((vec![measured], rendered))
}

/// A copy that everybody may write: timesink keeps no tables of such files from one recording to
/// the next.
fn uncached_copy(folder: &Path) -> Result<PathBuf> {
    let library = largest().context("failed to find a libLLVM; install the package libllvm14")?;
    let copy = folder.join("library.so");
    fs::copy(&library, &copy)
        .and_then(|_| fs::set_permissions(&copy, fs::Permissions::from_mode(0o666)))
        .with_context(|| format!("failed to copy `{}`", library.display()))?;
    Ok(copy)
}

fn largest() -> Option<PathBuf> {
    let folders = FOLDERS
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let libraries = folders
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    let paths = libraries.map(|entry| entry.path());
    paths.max_by_key(|path| fs::metadata(path).map_or(0, |data| data.len()))
}

/// The rows of a file's table, and how many milliseconds it took to build them, by what `-v` says.
fn built(said: &str, path: &str) -> Option<(f64, f64)> {
    let line = said
        .lines()
        .find(|line| line.contains(&format!("`{path}`: ")))?;
    let (_, told) = line.split_once("`: ")?;
    let mut words = told.split_whitespace();
    let rows = words.next()?.parse().ok()?;
    let milliseconds = words.nth(2)?.parse().ok()?;
    Some((rows, milliseconds))
}

fn rendered(bytes: u64, tables: &[(f64, f64)], starts: Vec<f64>) -> String {
    let row = |name: &str, values: Vec<f64>, decimals| {
        vec![name.to_owned(), table::cell(Summary::new(values), decimals)]
    };
    let built = |of: fn(&(f64, f64)) -> f64| tables.iter().map(of).collect();
    table::align(&[
        row(
            "size of the library, MiB",
            vec![bytes as f64 / f64::from(1 << 20)],
            0,
        ),
        row("rows of its table", built(|table| table.0), 0),
        row("built in, s", built(|table| table.1 / 1e3), 2),
        row("start to first sample, s", starts, 2),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of the library is found among others.
    #[test]
    fn what_was_said_of_the_table_is_read() {
        let said = "timesink: unwind table of `/usr/bin/sleep`: 7 rows in 0.1 ms [0.001 s]\n\
                    timesink: unwind table of `/tmp/a b.so`: 120 rows in 34.5 ms [0.100 s]\n";
        assert_eq!(built(said, "/tmp/a b.so"), Some((120.0, 34.5)));
        assert_eq!(built(said, "/tmp/b.so"), None);
    }
}
