//! What a sample and a frame cost: stacks of two depths at two rates, each profiler on the build of
//! the program that it walks.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    Profilers,
    figures::Summary,
    profilers::{Profiler, Task},
    recording::{self, Run},
    report::Measured,
    scenario::Scenario,
    table,
    workload::{self, Build, Running},
};

/// Samples a second on each CPU.
pub(crate) const RATES: [u32; 2] = [99, 999];
const DEPTHS: [u32; 2] = [12, 40];

/// Measures the profilers that sample by a BPF program, in turn for each rate and depth in each
/// round; gives the measurements, and the table of them.
///
/// # Errors
/// Where the program cannot be compiled or a profiler fails.
pub(crate) fn measure(
    scenario: &Scenario,
    profilers: &Profilers,
    folder: &Path,
) -> Result<(Vec<Measured>, String)> {
    let profilers: Vec<&dyn Profiler> = profilers
        .iter()
        .map(|profiler| &**profiler)
        .filter(|profiler| profiler.uses_bpf())
        .collect();
    let mut cells: Vec<(u32, Measured)> = RATES
        .iter()
        .flat_map(|&hz| DEPTHS.map(|frames| (hz, frames)))
        .map(|(hz, frames)| (frames, unmeasured(scenario, &profilers, hz, frames)))
        .collect();
    for round in 1..=scenario.rounds {
        for (frames, cell) in &mut cells {
            eprintln!("{}, round {round}", cell.name);
            for (profiler, (name, runs)) in profilers.iter().zip(&mut cell.runs) {
                let folder = folder.join(format!("{}-{round}-{name}", cell.name));
                let run = record(*profiler, scenario, cell.hz, *frames, &folder)?;
                runs.push(run);
            }
        }
    }
    let cells: Vec<Measured> = cells.into_iter().map(|(_, cell)| cell).collect();
    let table = rendered(&cells);
    Ok((cells, table))
}

fn unmeasured(scenario: &Scenario, profilers: &[&dyn Profiler], hz: u32, frames: u32) -> Measured {
    let runs = profilers
        .iter()
        .map(|profiler| (profiler.name().to_owned(), Vec::new()));
    Measured {
        name: format!("{hz} Hz, {frames} frames"),
        hz,
        seconds: scenario.duration.as_secs_f64(),
        runs: runs.collect(),
    }
}

fn record(
    profiler: &dyn Profiler,
    scenario: &Scenario,
    hz: u32,
    frames: u32,
    folder: &Path,
) -> Result<Run> {
    fs::create_dir(folder).context("failed to create a folder for a recording")?;
    let build = Build {
        frame_pointers: !profiler.reads_tables(),
        frames: Some(frames),
    };
    let running = Running::start(scenario.load, &workload::compile("chains", build, folder)?)?;
    let task = Task {
        pid: running.target,
        hz,
        folder,
    };
    recording::record(profiler, &task, scenario.duration, running.target)
}

/// For each rate the nanoseconds per sample at both depths, and their slope per frame.
fn rendered(cells: &[Measured]) -> String {
    let names: Vec<&str> = cells
        .first()
        .map(|cell| cell.runs.iter().map(|(name, _)| name.as_str()).collect())
        .unwrap_or_default();
    let mut rows = vec![table::head(&names)];
    for depths in cells.chunks(DEPTHS.len()) {
        let costs: Vec<Vec<Vec<f64>>> = depths.iter().map(costs).collect();
        for (cell, costs) in depths.iter().zip(&costs) {
            rows.push(row(format!("{}: ns per sample", cell.name), costs, 0));
        }
        if let ([shallow, deep], Some(cell)) = (costs.as_slice(), depths.first()) {
            let slopes: Vec<Vec<f64>> = shallow.iter().zip(deep).map(slope).collect();
            rows.push(row(format!("{} Hz: ns per frame", cell.hz), &slopes, 1));
        }
    }
    table::align(&rows)
}

/// For each profiler the nanoseconds per sample in each round.
fn costs(cell: &Measured) -> Vec<Vec<f64>> {
    let cost = |run: &Run| run.sampling_ns.unwrap_or(0) as f64 / run.samples.max(1) as f64;
    cell.runs
        .iter()
        .map(|(_, runs)| runs.iter().map(cost).collect())
        .collect()
}

/// What one more frame costs, in each round.
fn slope((shallow, deep): (&Vec<f64>, &Vec<f64>)) -> Vec<f64> {
    let frames = f64::from(DEPTHS[1] - DEPTHS[0]);
    let rounds = shallow.iter().zip(deep);
    rounds.map(|(less, more)| (more - less) / frames).collect()
}

fn row(name: String, costs: &[Vec<f64>], decimals: usize) -> Vec<String> {
    let summaries: Vec<Option<Summary>> = costs.iter().cloned().map(Summary::new).collect();
    let mut cells = vec![name];
    cells.extend(summaries.iter().map(|sum| table::cell(*sum, decimals)));
    if let Some((first, peers)) = summaries.split_first() {
        cells.extend(peers.iter().map(|peer| table::ratio(*first, *peer)));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(frames: u32, ours: u64, peers: u64) -> Measured {
        let run = |sampling_ns| Run {
            samples: 10,
            sampling_ns: Some(sampling_ns),
            ..Run::default()
        };
        Measured {
            name: format!("99 Hz, {frames} frames"),
            hz: 99,
            seconds: 1.0,
            runs: vec![
                ("timesink".to_owned(), vec![run(ours)]),
                ("bpftrace".to_owned(), vec![run(peers)]),
            ],
        }
    }

    /// A frame costs the difference of both depths by their difference in frames.
    #[test]
    fn a_frame_costs_the_slope() {
        let table = rendered(&[cell(12, 4_000, 8_000), cell(40, 6_800, 13_600)]);
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows[0].ends_with("timesink/bpftrace"), "{table}");
        let words = |row: &str| -> Vec<String> {
            let (_, values) = row.split_once(": ").unwrap();
            values
                .split_whitespace()
                .skip(3)
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(words(rows[1]), ["400", "800", "0.50"]);
        assert_eq!(words(rows[2]), ["680", "1360", "0.50"]);
        assert_eq!(words(rows[3]), ["10.0", "20.0", "0.50"]);
    }
}
