//! The ledger as it stands on standard error: a count, two blanks, a name, two blanks, a meaning.

use std::collections::BTreeMap;

/// The counts by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Ledger(BTreeMap<String, u64>);

impl Ledger {
    /// Takes the lines that are rows of the table; others are the program's messages.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(row).collect())
    }

    /// The count of a row that must be there.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let count = self.0.get(name);
        *count.unwrap_or_else(|| panic!("no row `{name}` in {:?}", self.0))
    }

    /// The sum of rows that must be there.
    #[must_use]
    pub fn sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.count(name)).sum()
    }
}

fn row(line: &str) -> Option<(String, u64)> {
    let (count, rest) = line.trim_start().split_once("  ")?;
    let (name, _) = rest.split_once("  ")?;
    Some((name.to_owned(), count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are found by name, whatever is written around the table.
    #[test]
    fn rows_are_told_from_messages() {
        let text = "timesink: writing\n 12  expected   ticks of 2 CPUs\n  7  ring full  late\n";
        let ledger = Ledger::parse(text);
        assert_eq!(ledger.count("expected"), 12);
        assert_eq!(ledger.sum(&["expected", "ring full"]), 19);
        assert_eq!(ledger.0.len(), 2);
    }
}
