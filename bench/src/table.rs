//! The tables: one column for each profiler, then the ratios of the first one to each of the rest.

use std::fmt::Write;

use crate::{
    figures::{FIGURES, Figure, Summary},
    recording::Run,
};

/// Stands where a figure does not apply.
const NONE: &str = "n/a";
/// Between two columns.
const GAP: usize = 2;

/// The table of one scenario, for its profilers with their runs.
pub(crate) fn render(profilers: &[(&str, &[Run])]) -> String {
    let names: Vec<&str> = profilers.iter().map(|(name, _)| *name).collect();
    let mut rows = vec![head(&names)];
    rows.extend(FIGURES.iter().map(|figure| row(figure, profilers)));
    align(&rows)
}

/// The first row: the profilers, then what is compared with what.
pub(crate) fn head(profilers: &[&str]) -> Vec<String> {
    let mut cells = vec![String::new()];
    cells.extend(profilers.iter().map(|name| (*name).to_owned()));
    if let Some((first, rest)) = profilers.split_first() {
        cells.extend(rest.iter().map(|name| format!("{first}/{name}")));
    }
    cells
}

fn row(figure: &Figure, profilers: &[(&str, &[Run])]) -> Vec<String> {
    let summaries: Vec<_> = profilers
        .iter()
        .map(|(_, runs)| Summary::of(figure, runs))
        .collect();
    let mut cells = vec![figure.name.to_owned()];
    cells.extend(summaries.iter().map(|sum| cell(*sum, figure.decimals)));
    if let Some((first, rest)) = summaries.split_first() {
        cells.extend(rest.iter().map(|peer| match figure.has_ratio {
            true => ratio(*first, *peer),
            false => String::new(),
        }));
    }
    cells
}

/// The median, and the extremes where they differ from it.
pub(crate) fn cell(summary: Option<Summary>, decimals: usize) -> String {
    let Some(Summary { median, min, max }) = summary else {
        return NONE.to_owned();
    };
    let number = |value: f64| format!("{value:.decimals$}");
    let (median, min, max) = (number(median), number(min), number(max));
    if min == max {
        return median;
    }
    format!("{median} ({min}–{max})")
}

/// The ratio of two medians.
pub(crate) fn ratio(ours: Option<Summary>, peers: Option<Summary>) -> String {
    match ours.zip(peers) {
        Some((ours, peers)) if peers.median != 0.0 => {
            format!("{:.2}", ours.median / peers.median)
        }
        _ => NONE.to_owned(),
    }
}

/// Columns as wide as their widest cell, the first one to the left, the rest to the right.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let width = width + if column == 0 { 0 } else { GAP };
            // Writing to a string cannot fail.
            let _ = match column {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "{cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(samples: u64, finish_s: f64) -> Run {
        Run {
            samples,
            finish_s,
            recorded_s: 1.0,
            ..Run::default()
        }
    }

    fn line<'a>(table: &'a str, start: &str) -> &'a str {
        table.lines().find(|line| line.starts_with(start)).unwrap()
    }

    /// Medians with their extremes, then the ratio of the medians.
    #[test]
    fn rows_have_medians_extremes_and_ratios() {
        let ours = [run(90, 0.5), run(100, 0.75), run(110, 0.25)];
        let peers = [run(200, 1.0)];
        let table = render(&[("timesink", &ours), ("perf", &peers)]);
        assert!(table.lines().next().unwrap().ends_with("timesink/perf"));
        let words: Vec<&str> = line(&table, "samples").split_whitespace().collect();
        assert_eq!(words, ["samples", "100", "(90–110)", "200", "0.50"]);
        assert!(line(&table, "stop to result").contains("0.50 (0.25–0.75)"));
    }

    /// What does not apply says so, and a ratio to nothing is no number.
    #[test]
    fn what_does_not_apply_says_so() {
        let (ours, peers) = ([run(5, 1.0)], [run(0, 0.0)]);
        let table = render(&[("timesink", &ours), ("perf", &peers)]);
        let words: Vec<&str> = line(&table, "ns per run").split_whitespace().collect();
        assert_eq!(words, ["ns", "per", "run", "n/a", "n/a", "n/a"]);
        assert!(line(&table, "samples").ends_with("n/a"));
        assert!(!table.contains("NaN") && !table.contains("inf"));
    }

    /// One profiler alone has no ratios.
    #[test]
    fn alone_there_is_no_ratio() {
        let table = render(&[("timesink", &[run(5, 1.0)])]);
        assert!(!table.contains('/') || table.contains("n/a"));
        assert_eq!(line(&table, "samples").split_whitespace().count(), 2);
    }

    /// Columns line up although the dash takes three bytes.
    #[test]
    fn columns_line_up() {
        let rows = [["", "a"], ["x", "1 (0–2)"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(align(&rows), "         a\nx  1 (0–2)\n");
    }
}
