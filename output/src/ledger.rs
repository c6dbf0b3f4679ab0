//! The account of a recording: what was expected, what arrived, and where the rest went.
//!
//! Does not count anything itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clean::clean;

/// What a row of the [`Ledger`] says about the samples it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowKind {
    /// Samples that the period and the duration promise.
    Expected,
    /// Samples that are in the profile.
    Got,
    /// Samples that were rightly not taken, such as those of another process.
    Elsewhere,
    /// Samples that were taken and are not in the profile.
    Lost,
    /// A number worth knowing that is no part of the sum.
    Note,
}

/// One number of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// A few words, such as `ring full`.
    pub name: String,
    /// What the number adds up to.
    pub kind: RowKind,
    /// How many.
    pub count: u64,
    /// One sentence on what this means to the reader.
    pub meaning: String,
}

/// The rows of the account, in the order they were pushed.
///
/// Its [`Display`](fmt::Display) is a table of one row per line, for a terminal and for the comments of pprof.
/// Folded stacks have no comments, so there a loss shows only as samples of
/// [synthetic frames](crate::Profile::synthetic) such as `[lost: ring full]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    rows: Vec<LedgerRow>,
}

impl Ledger {
    /// Adds a row, with name and meaning cleaned.
    pub fn push(&mut self, kind: RowKind, name: &str, count: u64, meaning: &str) {
        self.rows.push(LedgerRow {
            name: clean(name).into_owned(),
            kind,
            count,
            meaning: clean(meaning).into_owned(),
        });
    }

    /// Adds the rows of another account.
    pub fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// All rows.
    pub fn rows(&self) -> &[LedgerRow] {
        &self.rows
    }

    /// How many samples were lost, whatever the cause.
    pub fn lost(&self) -> u64 {
        self.sum(RowKind::Lost).unwrap_or(0)
    }

    /// The account in one line, such as `990 expected, 985 got, 5 lost (ring full 5)`.
    ///
    /// A kind without rows is left out, except that a line without any loss says `0 lost`.
    pub fn summary(&self) -> String {
        let kinds = [
            (RowKind::Expected, "expected"),
            (RowKind::Got, "got"),
            (RowKind::Elsewhere, "elsewhere"),
        ];
        let sums = kinds
            .into_iter()
            .filter_map(|(kind, word)| Some(format!("{} {word}", self.sum(kind)?)));
        let loss = self.loss().unwrap_or_else(|| "0 lost".to_owned());
        sums.chain([loss]).collect::<Vec<_>>().join(", ")
    }

    /// The loss and its causes, such as `5 lost (ring full 5)`; `None` when nothing was lost.
    pub fn loss(&self) -> Option<String> {
        let causes: Vec<String> = self
            .of(RowKind::Lost)
            .filter(|row| row.count > 0)
            .map(|row| format!("{} {}", row.name, row.count))
            .collect();
        (!causes.is_empty()).then(|| format!("{} lost ({})", self.lost(), causes.join(", ")))
    }

    /// The account without the rows of what did not happen. What was expected and what is there is told
    /// even where it is nothing.
    #[must_use]
    pub fn without_zeros(&self) -> Self {
        let told = |row: &&LedgerRow| {
            row.count > 0 || matches!(row.kind, RowKind::Expected | RowKind::Got)
        };
        Self {
            rows: self.rows.iter().filter(told).cloned().collect(),
        }
    }

    fn of(&self, kind: RowKind) -> impl Iterator<Item = &LedgerRow> {
        self.rows.iter().filter(move |row| row.kind == kind)
    }

    /// `None` when no row is of this kind, which is not the same as a sum of zero.
    fn sum(&self, kind: RowKind) -> Option<u64> {
        self.of(kind)
            .map(|row| row.count)
            .reduce(u64::saturating_add)
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&LedgerRow) -> usize| self.rows.iter().map(text).max().unwrap_or(0);
        let count_width = width(|row| row.count.to_string().len());
        let name_width = width(|row| row.name.chars().count());
        for row in &self.rows {
            let LedgerRow {
                name,
                count,
                meaning,
                ..
            } = row;
            writeln!(f, "{count:>count_width$}  {name:<name_width$}  {meaning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.push(
            RowKind::Expected,
            "expected",
            990,
            "99 Hz on 1 CPU for 10 s",
        );
        ledger.push(RowKind::Got, "got", 983, "in this profile");
        ledger.push(RowKind::Elsewhere, "idle", 2, "nothing ran");
        ledger.push(RowKind::Lost, "ring full", 4, "the reader was late");
        ledger.push(RowKind::Lost, "no memory", 1, "the map was full");
        ledger.push(RowKind::Lost, "never", 0, "did not happen");
        ledger.push(RowKind::Note, "threads", 7, "seen");
        ledger
    }

    #[test]
    fn summary_names_every_cause_of_loss() {
        // The one-line form holds each sum and each cause that happened.
        let expected = "990 expected, 983 got, 2 elsewhere, 5 lost (ring full 4, no memory 1)";
        assert_eq!(ledger().summary(), expected);
        assert_eq!(ledger().lost(), 5);
    }

    #[test]
    fn without_rows_nothing_is_lost() {
        // An empty ledger claims no sums and no loss.
        assert_eq!(Ledger::default().summary(), "0 lost");
        assert_eq!(Ledger::default().loss(), None);
        assert_eq!(Ledger::default().to_string(), "");
    }

    #[test]
    fn table_is_aligned() {
        // Each row is one line, with counts to the right and meanings below each other.
        let text = ledger().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 7);
        assert_eq!(lines[0], "990  expected   99 Hz on 1 CPU for 10 s");
        assert_eq!(lines[3], "  4  ring full  the reader was late");
    }

    #[test]
    fn what_did_not_happen_is_left_out() {
        // Zeros go, but not those of what was promised and of what is in the profile.
        let mut ledger = ledger();
        ledger.push(RowKind::Note, "evicted", 0, "did not happen either");
        ledger.push(RowKind::Got, "got (faults)", 0, "in this profile");
        let told = ledger.without_zeros();
        let names: Vec<_> = told.rows().iter().map(|row| row.name.as_str()).collect();
        let expected = [
            "expected",
            "got",
            "idle",
            "ring full",
            "no memory",
            "threads",
            "got (faults)",
        ];
        assert_eq!(names, expected);
        assert_eq!(told.lost(), ledger.lost());
    }

    #[test]
    fn rows_are_cleaned() {
        // A hostile name cannot add a line to the table.
        let mut ledger = Ledger::default();
        ledger.push(RowKind::Note, "a\nb", 1, "c\x1b[2J");
        assert_eq!(ledger.to_string(), "1  a\u{FFFD}b  c\u{FFFD}[2J\n");
    }
}
