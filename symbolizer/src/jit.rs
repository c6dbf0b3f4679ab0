//! What the maps that JITs write say of addresses, within bounds: what the readers of perf maps and
//! jitdumps have in common.
//!
//! A reader is given the addresses that are asked for and keeps what matches them, so that a map of
//! any length costs the memory of its answers. Which of an address's names was the one at a moment is
//! decided by the caller, who knows the moments.

use std::{ops::Range, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Function, Miss, SourceLine, Symbol,
    demangle::{capped, demangle},
};

/// How long one map is read. Who reads is ended after longer, and then all of the names are lost.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(6);
/// Bytes of names that one map may give.
const MAX_NAMES_BYTES: usize = 32 << 20;
/// How often code of a map may cover an address that was asked for, and how many of its source lines
/// are looked at: overlapping ranges would otherwise take as many steps as there are of them times the
/// addresses.
const MAX_STEPS: usize = 8 << 20;

/// What one address was called from a point on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JitName {
    /// In a jitdump when the code came to be there, in nanoseconds of `CLOCK_MONOTONIC`; in a perf map,
    /// which has no times, how many bytes of the file end with the line.
    pub since: u64,
    /// What it is.
    pub symbol: Symbol,
}

/// What a JIT's map says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JitNames {
    /// For each address, in the order in which they were asked for, all that it was called, the oldest
    /// first.
    pub names: Vec<Vec<JitName>>,
    /// Why the map was not read to its end. What was read before counts.
    pub cut: Option<Miss>,
}

/// Collects names, and refuses what is beyond the bounds.
pub(crate) struct Collector<'a> {
    addresses: &'a [u64],
    names: Vec<Vec<JitName>>,
    bytes: usize,
    steps: usize,
}

impl<'a> Collector<'a> {
    /// For addresses in ascending order.
    pub(crate) fn new(addresses: &'a [u64]) -> Self {
        Self {
            addresses,
            names: vec![Vec::new(); addresses.len()],
            bytes: 0,
            steps: 0,
        }
    }

    /// The address with an index.
    pub(crate) fn address(&self, index: usize) -> u64 {
        self.addresses[index]
    }

    /// Which addresses lie in `size` bytes of code. None do where the end is beyond the last address
    /// that there is.
    pub(crate) fn covered(&mut self, start: u64, size: u64) -> Result<Range<usize>, Miss> {
        let Some(end) = start.checked_add(size) else {
            return Ok(0..0);
        };
        let first = self.addresses.partition_point(|&address| address < start);
        let rest = &self.addresses[first..];
        let covered = first..first + rest.partition_point(|&address| address < end);
        self.step(covered.len())?;
        Ok(covered)
    }

    /// Takes steps, as far as the bound on them allows.
    pub(crate) fn step(&mut self, steps: usize) -> Result<(), Miss> {
        self.steps += steps;
        match self.steps <= MAX_STEPS {
            true => Ok(()),
            false => Err(Miss::JitMapTooLong),
        }
    }

    /// Adds what an address is called from a point on.
    pub(crate) fn add(&mut self, index: usize, since: u64, symbol: &Symbol) -> Result<(), Miss> {
        let known = &mut self.names[index];
        if known.last().is_some_and(|last| last.symbol == *symbol) {
            return Ok(());
        }
        self.bytes += bytes_of(symbol);
        if self.bytes > MAX_NAMES_BYTES {
            return Err(Miss::JitMapTooLong);
        }
        let symbol = symbol.clone();
        known.push(JitName { since, symbol });
        Ok(())
    }

    /// All of it. Records of several threads may be out of order.
    pub(crate) fn finish(mut self, cut: Option<Miss>) -> JitNames {
        for names in &mut self.names {
            names.sort_by_key(|name| name.since);
        }
        JitNames {
            names: self.names,
            cut,
        }
    }
}

fn bytes_of(symbol: &Symbol) -> usize {
    let functions = symbol.functions.iter();
    let bytes = functions.map(|function| {
        let file = function.source.as_ref().map_or(0, |line| line.file.len());
        function.name.len() + function.system_name.len() + file
    });
    size_of::<JitName>() + bytes.sum::<usize>()
}

/// A function by the name that a JIT has for it. Only what is mangled beyond doubt is demangled: names
/// of scripts may hold anything.
pub(crate) fn symbol(name: &str, source: Option<SourceLine>) -> Symbol {
    let is_mangled = name.trim_start_matches('_').len() < name.len()
        && name.trim_start_matches('_').starts_with(['Z', 'R']);
    let shown = match is_mangled {
        true => demangle(name),
        false => capped(name),
    };
    let function = Function {
        name: shown,
        system_name: capped(name),
        source,
    };
    Symbol {
        functions: vec![function],
    }
}
