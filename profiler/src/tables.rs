//! Which file has which unwind table in the kernel: tables are built off the sampling path, shared
//! by files with the same rows, and make room for each other within a budget.
//!
//! A table hangs on the file, not on the process, so a process that starts from files already known
//! is unwound from its first sample on. A file is published in this order: rows, page entries,
//! table, number; and withdrawn in the reverse one.

mod budget;
mod build;
pub(crate) mod cost;
mod extents;
mod memory;
mod shared;

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use abi::{
    records::FileIdentity,
    tables::table,
    unwind::{
        Machine,
        table::{Block, PageEntry},
    },
};
use anyhow::{Context, Result};

use crate::{
    bpf::Programs,
    unwind::{
        pages::{self, Pages},
        rows::FileRows,
        rules::RuleSet,
        vdso,
    },
};
pub use budget::Budget;
pub use build::{Builder, Built, Found, build_all};
pub use memory::Arrays;
use memory::TableMemory;

/// Room for files that are met later, beside that for the files that are known: some 30 libraries.
const HEADROOM_BYTES: usize = 16 << 20;
/// Pages are few; one for each 16 blocks is more than any file has.
const BLOCKS_PER_PAGE: usize = 4;

/// How many entries the kernel's arrays for rows have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSizes {
    /// Entries of `PAGES`.
    pub pages: u32,
    /// Entries of `BLOCKS`.
    pub blocks: u32,
}

/// Tables on their way into the kernel, before there are programs.
#[derive(Debug)]
pub struct Ready {
    budget: Budget,
    /// What the tables take of it.
    bytes: usize,
    rules: RuleSet,
    files: Vec<(FileIdentity, Option<Pages>)>,
    no_room: HashSet<FileIdentity>,
    too_large: HashSet<FileIdentity>,
}

impl Ready {
    /// None yet.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            bytes: 0,
            rules: RuleSet::default(),
            files: Vec::new(),
            no_room: HashSet::new(),
            too_large: HashSet::new(),
        }
    }

    /// Lays out the table of a file.
    pub fn add(&mut self, found: Found) {
        match &found.built {
            Built::Rows(rows) => {
                let pages = pages::build(rows, &mut self.rules);
                let bytes = pages.bytes();
                if self.bytes + bytes > self.budget.for_tables() {
                    self.no_room.insert(found.identity);
                    return;
                }
                self.bytes += bytes;
                self.files.push((found.identity, Some(pages)));
                drop(found.built);
                self.budget.keep_of(found.loan, bytes);
            }
            Built::ByFramePointer(_) => self.files.push((found.identity, None)),
            Built::TooLarge(_) => {
                self.too_large.insert(found.identity);
            }
        }
    }

    /// Room for these tables and as much again for others, within the budget.
    #[must_use]
    pub fn sizes(&self) -> TableSizes {
        let tables = self.files.iter().filter_map(|(_, pages)| pages.as_ref());
        let blocks: usize = tables.clone().map(|pages| pages.blocks.len()).sum();
        let entries: usize = tables.map(|pages| pages.entries.len()).sum();
        let most = self.budget.for_tables()
            / (size_of::<Block>() + size_of::<PageEntry>() / BLOCKS_PER_PAGE);
        let blocks = (blocks * 2)
            .max(blocks + HEADROOM_BYTES / size_of::<Block>())
            .min(most);
        let pages = (blocks / BLOCKS_PER_PAGE).max(entries + 1024);
        let number = |count: usize| u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        TableSizes {
            pages: number(pages),
            blocks: number(blocks),
        }
    }
}

/// What was done for want of room, and what could not be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Tables in the kernel.
    pub loaded: u64,
    /// Tables that made room for others.
    pub evicted: u64,
    /// Files whose table found no room.
    pub no_room: u64,
    /// Files whose table would have taken too much to build.
    pub too_large: u64,
    /// Files without call frame information, or none that could be read.
    pub by_frame_pointer: u64,
}

/// A table in the kernel and the files that have it.
#[derive(Debug, Default)]
struct Holder {
    files: Vec<FileIdentity>,
    content: u64,
}

/// All tables that are in the kernel.
#[derive(Debug)]
pub struct Tables {
    memory: TableMemory,
    rules: RuleSet,
    rules_stored: usize,
    /// The number of each file's table.
    files: HashMap<FileIdentity, u32>,
    holders: HashMap<u32, Holder>,
    /// The numbers of tables by a hash of what is in them. Not by build id, which a file may forge.
    by_content: HashMap<u64, u32>,
    hasher: RandomState,
    /// Files that are being built, and those that never can be.
    asked: HashSet<FileIdentity>,
    /// Files whose table found no room, and may find some when others are no longer used.
    refused: HashSet<FileIdentity>,
    /// For the ledger.
    pub counts: TableCounts,
}

impl Tables {
    /// Puts the tables that are ready into the kernel.
    ///
    /// # Errors
    /// Where the kernel's memory cannot be mapped or a map cannot be written.
    pub fn publish(ready: Ready, programs: &mut Programs) -> Result<Self> {
        let arrays = programs.arrays()?;
        ready.budget.keep(arrays.bytes());
        let memory = TableMemory::map(&arrays).context("failed to map the unwind tables")?;
        let mut tables = Self {
            memory,
            rules: ready.rules,
            rules_stored: 0,
            files: HashMap::new(),
            holders: HashMap::new(),
            by_content: HashMap::new(),
            hasher: RandomState::new(),
            counts: TableCounts {
                no_room: ready.no_room.len() as u64,
                too_large: ready.too_large.len() as u64,
                ..TableCounts::default()
            },
            asked: ready.too_large,
            refused: ready.no_room,
        };
        tables.store_rules();
        for (identity, pages) in ready.files {
            match pages {
                Some(pages) => tables.add(programs, identity, &pages)?,
                None => tables.walk_by_frame_pointer(programs, identity)?,
            }
        }
        ready.budget.give_back(ready.bytes);
        tables.add_vdso(programs)?;
        Ok(tables)
    }

    /// The vdso has no identity: the kernel maps the same one into every process.
    fn add_vdso(&mut self, programs: &mut Programs) -> Result<()> {
        let rows = symbolizer::vdso_image().map(|image| vdso::read(&Machine::NATIVE, &image));
        let number = match rows {
            Some(Ok(FileRows::Rows(rows, _))) => {
                let pages = pages::build(&rows, &mut self.rules);
                self.store_rules();
                self.memory.store(&pages).unwrap_or(table::MISSING)
            }
            _ => table::BY_FRAME_POINTER,
        };
        programs.set_vdso_table(number)
    }

    /// Whether a file is to be built: it has no table and nobody builds it. From now on somebody
    /// does.
    pub fn ask(&mut self, identity: FileIdentity) -> bool {
        !self.files.contains_key(&identity) && self.asked.insert(identity)
    }

    /// Nobody builds a file after all: it could not be opened.
    pub fn forget(&mut self, identity: &FileIdentity) {
        self.asked.remove(identity);
    }

    /// Takes in a file that was built.
    ///
    /// # Errors
    /// Where a map cannot be written.
    pub fn take(&mut self, programs: &mut Programs, found: Found) -> Result<()> {
        if matches!(found.built, Built::TooLarge(_)) {
            self.counts.too_large += 1;
            return Ok(());
        }
        self.asked.remove(&found.identity);
        match &found.built {
            Built::Rows(rows) => {
                let pages = pages::build(rows, &mut self.rules);
                self.store_rules();
                self.add(programs, found.identity, &pages)?;
            }
            Built::ByFramePointer(_) | Built::TooLarge(_) => {
                self.walk_by_frame_pointer(programs, found.identity)?;
            }
        }
        programs.tables_changed()
    }

    fn store_rules(&mut self) {
        let rules = self.rules.rules();
        self.memory
            .store_rules(self.rules_stored, &rules[self.rules_stored..]);
        self.rules_stored = rules.len();
    }

    fn walk_by_frame_pointer(
        &mut self,
        programs: &mut Programs,
        identity: FileIdentity,
    ) -> Result<()> {
        self.counts.by_frame_pointer += 1;
        self.files.insert(identity, table::BY_FRAME_POINTER);
        programs.set_table(&identity, table::BY_FRAME_POINTER)
    }

    fn add(
        &mut self,
        programs: &mut Programs,
        identity: FileIdentity,
        pages: &Pages,
    ) -> Result<()> {
        let content = self
            .hasher
            .hash_one((pages.first_page, &pages.entries, &pages.blocks));
        let number = match self.by_content.get(&content) {
            Some(&number) => number,
            None => match self.store(programs, pages)? {
                Some(number) => number,
                None => {
                    self.counts.no_room += u64::from(self.refused.insert(identity));
                    return Ok(());
                }
            },
        };
        self.refused.remove(&identity);
        self.by_content.insert(content, number);
        let holder = self.holders.entry(number).or_default();
        holder.content = content;
        holder.files.push(identity);
        self.files.insert(identity, number);
        programs.set_table(&identity, number)
    }

    /// Stores a table, in the place of others that were used longest ago if need be.
    fn store(&mut self, programs: &mut Programs, pages: &Pages) -> Result<Option<u32>> {
        loop {
            if let Some(number) = self.memory.store(pages) {
                self.counts.loaded += 1;
                return Ok(Some(number));
            }
            let unused = self.unused(programs.epoch());
            let Some(number) = unused.filter(|_| self.memory.could_hold(pages)) else {
                return Ok(None);
            };
            self.evict(programs, number)?;
        }
    }

    /// The table that was used longest ago, where that is long enough to give it up.
    fn unused(&self, epoch: u32) -> Option<u32> {
        let numbers = self.holders.keys();
        let oldest = numbers
            .map(|&number| (self.memory.used(number), number))
            .min();
        oldest
            .filter(|&(used, _)| used + 1 < epoch)
            .map(|(_, number)| number)
    }

    /// Has the files that found no room announced again when they are next met, where by now a table
    /// can make room.
    ///
    /// # Errors
    /// Where a map cannot be written.
    pub fn retry(&mut self, programs: &mut Programs) -> Result<()> {
        if self.refused.is_empty() || self.unused(programs.epoch()).is_none() {
            return Ok(());
        }
        for identity in &self.refused {
            programs.remove_table(identity)?;
        }
        programs.tables_changed()
    }

    /// Takes a table out of the kernel. Its files are announced again when they are next met.
    fn evict(&mut self, programs: &mut Programs, number: u32) -> Result<()> {
        let Some(holder) = self.holders.remove(&number) else {
            return Ok(());
        };
        for identity in &holder.files {
            self.files.remove(identity);
            programs.remove_table(identity)?;
        }
        self.by_content.remove(&holder.content);
        programs.tables_changed()?;
        programs.wait_for_running();
        self.memory.free(number);
        self.counts.evicted += 1;
        self.counts.loaded -= 1;
        Ok(())
    }
}
