//! The table of a subject: a row for each way.

use std::time::Duration;

use super::{
    Ways,
    finishing::Finish,
    ways::{Tool, Way},
};
use crate::{figures::Summary, table};

const MIB: f64 = (1 << 20) as f64;
const HEAD: [&str; 11] = [
    "",
    "stop to result, s",
    "faster, x",
    "peak, MiB",
    "private, MiB",
    "own/peer's",
    "bound, MiB",
    "samples",
    "named, %",
    "inlined, %",
    "from cache, %",
];
const NONE: &str = "n/a";

/// The rows, with the ratios of timesink's to the better of the peers that look up the same: perf's
/// stacks by frame pointer have no inlined functions, and samply, which has no way without them, stands
/// in both comparisons.
pub(super) fn render(ways: &Ways, limit: Duration) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(ways.iter().map(|(way, runs)| row(way, runs, ways, limit)));
    table::align(&rows)
}

fn row(way: &Way, runs: &[Finish], ways: &Ways, limit: Duration) -> Vec<String> {
    let of = |value: fn(&Finish) -> f64| Summary::new(runs.iter().map(value).collect());
    let is_whole = runs.iter().all(|run| run.seconds.is_some());
    let seconds = match is_whole {
        true => table::cell(of(|run| run.seconds.unwrap_or(0.0)), 2),
        false => format!("> {}", limit.as_secs()),
    };
    let result = |value, decimals| match is_whole {
        true => table::cell(of(value), decimals),
        false => NONE.to_owned(),
    };
    let (faster, smaller) = match way.tool {
        Tool::Timesink { .. } => compared(way, runs, ways, limit),
        Tool::Perf { .. } | Tool::Samply => (String::new(), String::new()),
    };
    vec![
        way.name.to_owned(),
        seconds,
        faster,
        table::cell(of(|run| run.peak_bytes as f64 / MIB), 1),
        table::cell(of(|run| run.private_bytes as f64 / MIB), 1),
        smaller,
        table::cell(of(|run| run.bound_bytes as f64 / MIB), 1),
        result(|run| run.samples as f64, 0),
        result(|run| percent(run.named, run.samples), 1),
        match way.tool {
            // inferno leaves out what perf says of them.
            Tool::Perf { .. } => NONE.to_owned(),
            _ => result(|run| percent(run.inlined, run.samples), 1),
        },
        match way.tool {
            Tool::Timesink { .. } => result(cached_percent, 0),
            Tool::Perf { .. } | Tool::Samply => String::new(),
        },
    ]
}

/// How many times the better peer's time is that of a way, and what part of its memory that has.
fn compared(way: &Way, runs: &[Finish], ways: &Ways, limit: Duration) -> (String, String) {
    let peers = ways.iter().filter(|(peer, _)| is_peer(peer, way));
    let peers: Vec<&[Finish]> = peers.map(|(_, runs)| runs.as_slice()).collect();
    let least = |value: &dyn Fn(&Finish) -> f64| {
        let medians = peers.iter().filter_map(|runs| median(runs, value));
        medians.reduce(f64::min)
    };
    // A peer that was not done took at least the limit.
    let seconds = |run: &Finish| run.seconds.unwrap_or(limit.as_secs_f64());
    let faster = least(&seconds).zip(median(runs, &seconds));
    let is_bound = faster.is_some_and(|(peer, _)| peer >= limit.as_secs_f64());
    let peak = |run: &Finish| run.peak_bytes as f64;
    let smaller = median(runs, &peak).zip(least(&peak));
    let ratio = |pair: Option<(f64, f64)>, decimals| match pair {
        Some((first, second)) if second > 0.0 => format!("{:.decimals$}", first / second),
        _ => NONE.to_owned(),
    };
    let sign = if is_bound { "> " } else { "" };
    (format!("{sign}{}", ratio(faster, 1)), ratio(smaller, 2))
}

fn is_peer(peer: &Way, way: &Way) -> bool {
    match peer.tool {
        Tool::Timesink { .. } => false,
        Tool::Perf { by_dwarf } => by_dwarf == way.with_inlines,
        Tool::Samply => true,
    }
}

fn median(runs: &[Finish], value: &dyn Fn(&Finish) -> f64) -> Option<f64> {
    let summary = Summary::new(runs.iter().map(value).collect());
    summary.map(|summary| summary.median)
}

fn cached_percent(run: &Finish) -> f64 {
    percent(run.names_cached, run.names_cached + run.names_looked_up)
}

fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64 * 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(
        name: &'static str,
        tool: Tool,
        with_inlines: bool,
        seconds: &[Option<f64>],
    ) -> (Way, Vec<Finish>) {
        let finish = |&seconds: &Option<f64>| Finish {
            seconds,
            peak_bytes: 100 << 20,
            samples: 200,
            named: 199,
            ..Finish::default()
        };
        let way = Way {
            name,
            tool,
            with_inlines,
        };
        (way, seconds.iter().map(finish).collect())
    }

    fn words(table: &str, start: &str) -> Vec<String> {
        let cells = table.lines().find_map(|line| line.strip_prefix(start));
        cells
            .unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// The better peer of each kind is what counts, and one without inlined functions for no other.
    #[test]
    fn the_better_peer_counts() {
        let cold = Tool::Timesink { is_warm: false };
        let ways = vec![
            way("bare", cold, false, &[Some(0.5)]),
            way("full", cold, true, &[Some(1.0), Some(2.0), Some(3.0)]),
            way(
                "perf bare",
                Tool::Perf { by_dwarf: false },
                false,
                &[Some(4.0)],
            ),
            way("perf full", Tool::Perf { by_dwarf: true }, true, &[None]),
            way("samply", Tool::Samply, true, &[Some(6.0)]),
        ];
        let table = render(&ways, Duration::from_secs(120));
        assert_eq!(words(&table, "bare ")[..3], ["0.50", "8.0", "100.0"]);
        let full = words(&table, "full ");
        assert_eq!(full[..3], ["2.00", "(1.00–3.00)", "3.0"]);
        assert_eq!(full.last().unwrap(), "0");
        assert!(full.contains(&"99.5".to_owned()));
        assert_eq!(words(&table, "perf full ")[..3], [">", "120", "100.0"]);
        assert_eq!(words(&table, "perf bare ").last().unwrap(), "n/a");
    }

    /// Where no peer was done, the ratio is at least that to the limit; without peers there is none.
    #[test]
    fn what_was_not_done_bounds_the_ratio() {
        let cold = Tool::Timesink { is_warm: false };
        let mut ways = vec![
            way("full", cold, true, &[Some(2.0)]),
            way("perf full", Tool::Perf { by_dwarf: true }, true, &[None]),
        ];
        let limit = Duration::from_secs(120);
        assert_eq!(words(&render(&ways, limit), "full ")[1..3], [">", "60.0"]);
        ways.pop();
        assert_eq!(words(&render(&ways, limit), "full ")[1], "n/a");
    }
}
