//! A comparison as a table for a terminal.

use std::fmt::Write;

use super::{Against, Change, Diff, FunctionChange, Verdict};
use crate::clean::shorten;
use crate::duration::human_duration;
use crate::profile::Unit;

/// Characters of a function's name.
const NAME_CHARS: usize = 60;
/// Changes of more percent say no more than that.
const MOST_PERCENT: f64 = 9_999.0;

/// What the functions are measured against, then a row for each.
pub(super) fn table(diff: &Diff, rows: usize) -> String {
    let mut table = head(diff);
    table.push_str(
        "      self ± 95 %               A       B     total       A       B  function\n",
    );
    for of in diff.functions().iter().take(rows) {
        // Writing to a string does not fail.
        let _ = writeln!(table, "{}", row(diff, of));
    }
    let left = diff.functions().len().saturating_sub(rows);
    if left > 0 {
        let _ = writeln!(table, "{left} more functions are not shown");
    }
    table
}

fn head(diff: &Diff) -> String {
    let [before, after] = diff.wholes().map(|whole| amount(diff, whole));
    let name = diff.sample_type().name();
    let factor = diff.level();
    let against = match diff.against {
        Against::Typical => {
            let error_percent = 196.0 * diff.level.variance.sqrt();
            format!(
                "changes are measured against the typical function, which has {factor:.3} times as \
                 much in B (± {error_percent:.1} %)"
            )
        }
        Against::Times(_) if factor == 1.0 => {
            "changes are those of the amounts themselves".to_owned()
        }
        Against::Times(_) => format!("changes are measured against {factor:.3} times as much in B"),
    };
    let changed = diff.functions().iter();
    let changed = changed.filter(|of| of.verdict.is_significant()).count();
    let found = match changed {
        0 => "no function changed by more than chance".to_owned(),
        1 => "1 function changed by more than chance".to_owned(),
        _ => format!("{changed} functions changed by more than chance"),
    };
    let spread = diff.spread_percent();
    let spread = match spread < 0.05 {
        true => String::new(),
        false => format!("; beside sampling, functions vary by {spread:.1} %"),
    };
    format!("{name}: {before} in A, {after} in B\n{against}{spread}\n{found}\n\n")
}

fn amount(diff: &Diff, amount: u64) -> String {
    match diff.sample_type().unit() {
        Unit::Nanoseconds => human_duration(amount),
        unit => format!("{amount} {unit}"),
    }
}

fn row(diff: &Diff, of: &FunctionChange) -> String {
    let share = |side: usize, change: &Change| {
        100.0 * change.amounts[side] as f64 / diff.wholes()[side] as f64
    };
    let error = match (of.verdict, of.own.percent.is_finite()) {
        (Verdict::Missing, _) | (_, false) => String::new(),
        _ if of.own.amounts[1] == 0 => String::new(),
        _ => format!("± {:.1}", of.own.error_percent.min(MOST_PERCENT)),
    };
    format!(
        "{:>10} {error:<8} {:<7} {:5.1}%  {:5.1}%  {:>8}  {:5.1}%  {:5.1}%  {}",
        percent(&of.own),
        of.verdict.word(),
        share(0, &of.own),
        share(1, &of.own),
        percent(&of.total),
        share(0, &of.total),
        share(1, &of.total),
        shorten(&of.name, NAME_CHARS),
    )
}

fn percent(change: &Change) -> String {
    match change.amounts {
        [0, 0] => "-".to_owned(),
        [0, _] => "new".to_owned(),
        [_, 0] => "gone".to_owned(),
        _ => format!("{:+.1} %", change.percent.min(MOST_PERCENT)),
    }
}
