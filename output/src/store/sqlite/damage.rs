//! What was found damaged, each part once.

use std::cell::RefCell;
use std::collections::HashSet;

use super::folder::Name;

/// Parts that are remembered at most; damage beyond it is not counted.
const MAX_PARTS: usize = 1 << 16;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// All of it.
    File,
    /// The index of a table.
    Index(&'static str),
    /// A row of a table, by its number.
    Row(&'static str, i64),
}

/// Damaged parts.
pub(super) type Parts = HashSet<(Name, Part)>;

/// The damage that one call meets.
#[derive(Debug, Default)]
pub(super) struct Damage(RefCell<Parts>);

impl Damage {
    pub(super) fn note(&self, name: Name, part: Part) {
        let mut parts = self.0.borrow_mut();
        if parts.len() < MAX_PARTS {
            parts.insert((name, part));
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.borrow().len() as u64
    }

    /// Adds all to `parts`.
    pub(super) fn add_to(&self, parts: &mut Parts) {
        for part in self.0.take() {
            if parts.len() < MAX_PARTS {
                parts.insert(part);
            }
        }
    }
}
