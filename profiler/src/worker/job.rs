//! What readers are asked, and what they answer: plain data, since either side is another process.

use std::fs::File;

use serde::{Deserialize, Serialize};
use symbolizer::{Description, Detail, JitNames, Loading, Miss, Names, Sources};

use crate::{jit::Kind, unwind::cache::Key};

/// The most files that come with one job; the kernel takes 253 in a message.
pub(super) const MAX_FILES: usize = 4 + MAX_UNITS;
/// The most `.dwo` files that come with one job.
pub const MAX_UNITS: usize = 192;

/// Something to do with files that come with it, in the order in which they are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// [`symbolizer::describe`]
    Describe,
    /// [`symbolizer::crc32`]
    Checksum,
    /// [`symbolizer::loading`]
    Loading,
    /// [`symbolizer::file`]
    Names {
        /// The places to name.
        offsets: Vec<u64>,
        /// Those of them of which lines and inlined functions are wanted, in ascending order.
        detailed: Vec<u64>,
        /// Which of the two.
        detail: Detail,
        /// Which files come with that which runs.
        given: Given,
    },
    /// [`symbolizer::perf_map`] or [`symbolizer::jitdump`]
    JitNames {
        /// Which of them.
        kind: Kind,
        /// In ascending order.
        addresses: Vec<u64>,
    },
    /// What it takes to build the unwind table.
    TableCost,
    /// The unwind table.
    Table,
}

/// What the answer to a job takes at the most, beside what it takes for each offset or address.
const SMALL_ANSWER_BYTES: u32 = 1 << 20;
/// What a name takes at the most on average: with functions that are inlined into each other, and lines.
const NAME_BYTES: u32 = 8 << 10;
/// What any answer takes at the most: the largest unwind table that is built has 50 MB.
const ANSWER_BYTES: u32 = 64 << 20;

impl Job {
    /// The most bytes that an answer may have. A reader is trusted no more than its file.
    pub(super) fn most_answer_bytes(&self) -> u32 {
        let names = |count: usize| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let bytes = count.saturating_mul(NAME_BYTES);
            bytes.saturating_add(SMALL_ANSWER_BYTES).min(ANSWER_BYTES)
        };
        match self {
            Self::Describe | Self::Checksum | Self::Loading | Self::TableCost => SMALL_ANSWER_BYTES,
            Self::Names { offsets, .. } => names(offsets.len()),
            // Names come and go at an address.
            Self::JitNames { .. } | Self::Table => ANSWER_BYTES,
        }
    }

    /// Whether files are opened once more to do it.
    pub(super) const fn opens_files(&self) -> bool {
        matches!(self, Self::Names { .. })
    }
}

/// What a job gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Of [`Job::Describe`].
    Description(Result<Description, Miss>),
    /// Of [`Job::Checksum`].
    Checksum(Option<u32>),
    /// Of [`Job::Loading`].
    Loading(Result<Loading, Miss>),
    /// Of [`Job::Names`].
    Names(Names),
    /// Of [`Job::JitNames`].
    JitNames(JitNames),
    /// Of [`Job::TableCost`].
    TableCost(TableCost),
    /// Of [`Job::Table`]: as it is cached, under a key of no file, or why there is none.
    Table(Result<Vec<u8>, String>),
    /// There were not the files that the job names.
    Nothing,
}

/// What is known of an unwind table before it is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCost {
    /// The most memory that building takes at a time.
    pub bytes: usize,
    /// The file's build id.
    pub build_id: Option<Vec<u8>>,
}

/// A table that is on its way has no other name.
pub(super) const TABLE_KEY: Key<'static> = Key {
    build_id: &[],
    file_bytes: 0,
};

/// Which files follow the one that runs, in this order; what comes behind them are `.dwo` files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    debug: bool,
    supplementary: bool,
    package: bool,
}

impl Given {
    /// Those of `sources`, and all files in their order.
    pub(super) fn of(sources: Sources<'_>) -> (Self, Vec<&File>) {
        let others = [sources.debug, sources.supplementary, sources.package];
        let given = Self {
            debug: others[0].is_some(),
            supplementary: others[1].is_some(),
            package: others[2].is_some(),
        };
        let files = [sources.main]
            .into_iter()
            .chain(others.into_iter().flatten())
            .chain(sources.units.iter().take(MAX_UNITS));
        (given, files.collect())
    }

    /// The other way round; `None` where there are fewer files.
    pub(super) fn sources(self, files: &[File], decompressed_bytes: u64) -> Option<Sources<'_>> {
        let (main, others) = files.split_first()?;
        let mut others = others.iter();
        let mut next = |is_given: bool| is_given.then(|| others.next()).flatten();
        Some(Sources {
            main,
            debug: next(self.debug),
            supplementary: next(self.supplementary),
            package: next(self.package),
            units: others.as_slice(),
            decompressed_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files are found again under what they were given as.
    #[test]
    fn files_keep_their_places() {
        let file = || tempfile::tempfile().unwrap();
        let (main, debug, package, units) = (file(), file(), file(), [file(), file()]);
        let sources = Sources {
            debug: Some(&debug),
            package: Some(&package),
            units: &units,
            ..Sources::alone(&main)
        };
        let (given, files) = Given::of(sources);
        assert_eq!(files.len(), 5);
        let received: Vec<File> = files.iter().map(|file| file.try_clone().unwrap()).collect();
        let found = given.sources(&received, 0).unwrap();
        assert!(std::ptr::eq(found.debug.unwrap(), &raw const received[1]));
        assert!(std::ptr::eq(found.package.unwrap(), &raw const received[2]));
        assert!(found.supplementary.is_none() && found.units.len() == 2);
        assert!(given.sources(&[], 0).is_none());
    }
}
