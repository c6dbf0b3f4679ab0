//! timesink beside its peers: the same work, the same rate, the same time, one after another in
//! rounds; medians and ratios on standard output.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the program talks to its user"
)]

mod cli;
mod depths;
mod differences;
mod disturbance;
mod figures;
mod large_table;
mod ping_pong;
mod process;
mod profilers;
mod recording;
mod report;
mod scenario;
mod soak;
mod stats;
mod store;
mod symbols;
mod table;
mod usage;
mod workload;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::{
    cli::Cli,
    profilers::{Profiler, Task},
    recording::Run,
    report::{Measured, Report},
    scenario::{Name, Scenario},
    stats::Measuring,
    workload::{Build, Running},
};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let _measuring = Measuring::start()?;
    let folder = tempfile::tempdir().context("failed to create a folder for temporary files")?;
    let timesink = match &cli.timesink {
        Some(path) => path.clone(),
        None => profilers::build_timesink()?,
    };
    let (profilers, versions) = present(profilers::all(timesink.clone()))?;
    let mut report = Report::new(versions)?;
    print!("{}", report.heading());
    for scenario in scenarios(cli) {
        if scenario.name == Name::PingPong {
            let trips = ping_pong::measure(&scenario, &timesink, folder.path())?;
            print!("\n{}\n{}", title(&scenario), ping_pong::render(&trips));
            report.ping_pong = trips;
            continue;
        }
        if scenario.name == Name::Symbols {
            println!("\n{}", title(&scenario));
            let show = |text: &str| println!("{text}");
            report.symbols = symbols::measure(&scenario, &timesink, folder.path(), show)?;
            continue;
        }
        if scenario.name == Name::Diff {
            println!("\n{}", title(&scenario));
            report.differences = differences::measure(&scenario, &timesink, folder.path())?;
            print!("{}", differences::render(&report.differences));
            continue;
        }
        if scenario.name == Name::Soak {
            println!("\n{}", title(&scenario));
            let show = |text: &str| println!("{text}");
            report.soak = soak::measure(&scenario, &timesink, folder.path(), show)?;
            continue;
        }
        if scenario.name == Name::Store {
            println!("\n{}", title(&scenario));
            let show = |text: &str| println!("{text}");
            report.store = store::measure(&scenario, folder.path(), show)?;
            continue;
        }
        let (measured, table) = match scenario.name {
            Name::StackDepths => depths::measure(&scenario, &profilers, folder.path())?,
            Name::LargeTable => large_table::measure(&scenario, &profilers, folder.path())?,
            _ => {
                let measured = measure(&scenario, &profilers, folder.path())?;
                let table = table_of(&measured);
                (vec![measured], table)
            }
        };
        print!("\n{}\n{table}", title(&scenario));
        let runs = measured.iter().flat_map(|measured| &measured.runs);
        let all: Vec<&Run> = runs.flat_map(|(_, runs)| runs).collect();
        if let Some(warning) = disturbance::warning(scenario.load, &all) {
            println!("{warning}");
        }
        report.scenarios.extend(measured);
    }
    cli.json
        .as_deref()
        .map_or(Ok(()), |path| report.write(path))
}

type Profilers = Vec<Box<dyn Profiler>>;

/// The profilers that are installed, with their versions; each of the others has a line that says
/// so. Without timesink there is nothing to compare.
fn present(all: Profilers) -> Result<(Profilers, Vec<(String, String)>)> {
    let (mut present, mut versions) = (Vec::new(), Vec::new());
    for profiler in all {
        let name = profiler.name().to_owned();
        match profiler.version() {
            Ok(version) => {
                versions.push((name, version));
                present.push(profiler);
            }
            Err(error) if present.is_empty() => return Err(error.context(name)),
            Err(error) => println!("{name}: not measured: {error:#}"),
        }
    }
    Ok((present, versions))
}

fn scenarios(cli: &Cli) -> Vec<Scenario> {
    let names = match cli.scenario.as_slice() {
        [] => Name::value_variants(),
        chosen => chosen,
    };
    let scenario = |name: &Name| Scenario::new(*name, cli.quick);
    names.iter().map(scenario).collect()
}

/// Each profiler once in each round, all on the same running processes.
fn measure(scenario: &Scenario, profilers: &Profilers, folder: &Path) -> Result<Measured> {
    let build = Build {
        frame_pointers: true,
        frames: None,
    };
    let chains = workload::compile("chains", build, folder)?;
    let running = Running::start(scenario.load, &chains)?;
    let mut runs: Vec<(String, Vec<Run>)> = profilers
        .iter()
        .map(|profiler| (profiler.name().to_owned(), Vec::new()))
        .collect();
    for round in 1..=scenario.rounds {
        for (profiler, (name, runs)) in profilers.iter().zip(&mut runs) {
            eprintln!("{}, round {round}: {name}", scenario.title());
            let folder = folder.join(format!("{}-{round}-{name}", scenario.title()));
            fs::create_dir(&folder).context("failed to create a folder for a recording")?;
            let task = Task {
                pid: running.target.filter(|_| !scenario.whole_machine),
                hz: scenario.hz,
                folder: &folder,
            };
            let run = recording::record(&**profiler, &task, scenario.duration, running.target)?;
            runs.push(run);
        }
    }
    Ok(Measured {
        name: scenario.title().to_owned(),
        hz: scenario.hz,
        seconds: scenario.duration.as_secs_f64(),
        runs,
    })
}

fn title(scenario: &Scenario) -> String {
    let rate = match scenario.hz {
        0 => String::new(),
        _ => format!("{} Hz, ", scenario.rates()),
    };
    let time = match scenario.duration.as_secs() {
        0 => String::new(),
        seconds => format!("{seconds} s, "),
    };
    format!(
        "{}: {}, {rate}{time}rounds: {}",
        scenario.title(),
        scenario.meaning(),
        scenario.rounds
    )
}

fn table_of(measured: &Measured) -> String {
    let columns: Vec<(&str, &[Run])> = measured
        .runs
        .iter()
        .map(|(name, runs)| (name.as_str(), runs.as_slice()))
        .collect();
    table::render(&columns)
}
