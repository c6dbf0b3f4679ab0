//! The kernel's memory for unwind tables: who has which part of it, and storing a table there.

use std::{io, os::fd::BorrowedFd};

use abi::{
    tables::{Table, table},
    unwind::{
        Rule,
        table::{Block, PageEntry},
    },
};

use super::{extents::Extents, shared::SharedArray};
use crate::unwind::pages::Pages;

/// A table in the kernel's memory.
#[derive(Clone, Copy, Debug)]
struct Placed {
    pages: (u32, u32),
    blocks: (u32, u32),
}

/// The arrays of the kernel programs.
#[derive(Debug)]
pub(super) struct TableMemory {
    tables: SharedArray<Table>,
    pages: SharedArray<PageEntry>,
    blocks: SharedArray<Block>,
    rules: SharedArray<Rule>,
    free_pages: Extents,
    free_blocks: Extents,
    /// By table number.
    placed: Vec<Option<Placed>>,
}

/// The descriptor and the length of each array.
#[derive(Debug)]
pub struct Arrays<'a> {
    /// `TABLES`
    pub tables: (BorrowedFd<'a>, u32),
    /// `PAGES`
    pub pages: (BorrowedFd<'a>, u32),
    /// `BLOCKS`
    pub blocks: (BorrowedFd<'a>, u32),
    /// `RULES`
    pub rules: (BorrowedFd<'a>, u32),
}

impl Arrays<'_> {
    /// What pages and blocks take.
    pub(super) fn bytes(&self) -> usize {
        self.pages.1 as usize * size_of::<PageEntry>() + self.blocks.1 as usize * size_of::<Block>()
    }
}

impl TableMemory {
    pub(super) fn map(arrays: &Arrays<'_>) -> io::Result<Self> {
        let tables = SharedArray::map(arrays.tables.0, arrays.tables.1)?;
        Ok(Self {
            placed: vec![None; tables.length() as usize],
            tables,
            pages: SharedArray::map(arrays.pages.0, arrays.pages.1)?,
            blocks: SharedArray::map(arrays.blocks.0, arrays.blocks.1)?,
            rules: SharedArray::map(arrays.rules.0, arrays.rules.1)?,
            free_pages: Extents::new(arrays.pages.1),
            free_blocks: Extents::new(arrays.blocks.1),
        })
    }

    /// Stores rules from the `start`th on.
    pub(super) fn store_rules(&self, start: usize, rules: &[Rule]) {
        let start = u32::try_from(start).expect("there are 65,536 rules at most");
        self.rules.store(start, rules.iter().copied());
    }

    /// Stores a table and tells its number; `None` where there is no room.
    pub(super) fn store(&mut self, packed: &Pages) -> Option<u32> {
        let number = (table::FIRST..)
            .zip(&self.placed[table::FIRST as usize..])
            .find_map(|(number, placed)| placed.is_none().then_some(number))?;
        let page_count = u32::try_from(packed.entries.len()).ok()?;
        let block_count = u32::try_from(packed.blocks.len()).ok()?;
        let first_page = self.free_pages.take(page_count)?;
        let Some(first_block) = self.free_blocks.take(block_count) else {
            self.free_pages.give(first_page, page_count);
            return None;
        };
        self.blocks
            .store(first_block, packed.blocks.iter().copied());
        let pages = packed.entries.iter().map(|page| PageEntry {
            block: page.block + first_block,
            rows: page.rows,
        });
        self.pages.store(first_page, pages);
        let entry = Table {
            first_page,
            first_offset: packed.first_page,
            pages: page_count,
            used: 0,
        };
        self.tables.store(number, std::iter::once(entry));
        self.placed[number as usize] = Some(Placed {
            pages: (first_page, page_count),
            blocks: (first_block, block_count),
        });
        Some(number)
    }

    /// Whether a table would find room if it were the only one.
    pub(super) fn could_hold(&self, packed: &Pages) -> bool {
        packed.entries.len() <= self.pages.length() as usize
            && packed.blocks.len() <= self.blocks.length() as usize
    }

    /// Frees a table's memory, once no program can refer to it any more.
    pub(super) fn free(&mut self, number: u32) {
        if let Some(placed) = self.placed[number as usize].take() {
            self.free_pages.give(placed.pages.0, placed.pages.1);
            self.free_blocks.give(placed.blocks.0, placed.blocks.1);
        }
    }

    /// In which epoch a table was last used.
    pub(super) fn used(&self, number: u32) -> u32 {
        self.tables.load(number).used
    }
}
