//! The unwind table of a file as the kernel holds it, and the search in it.
//!
//! A table is addressed by file offset, in pages of 64 KiB. A page's rows are 4 bytes each and lie
//! in blocks of 64, ascending:
//!
//! ```text
//! row   = offset in the page (bits 0..16) | rule number (bits 16..32)
//! rule  : holds from its row's offset up to the next row's, or to the end of the page
//!
//! page with 1 to 64 rows:      [data]
//! page with 65 to 4,096 rows:  [index][data 0][data 1]…
//! page with more:              [index 0][index 1][data 0][data 1]…
//! ```
//!
//! Entry `i` of the index is a copy of the first row of data block `i`. The first row of a page is
//! at offset 0: it carries on what held at the end of the page before. A search reads one block in
//! a small page, two in most, and three in one of more than 4,096 rows.

/// How many bits of a file offset are the offset in its page.
pub const PAGE_BITS: u32 = 16;
/// How many rows, or entries of an index, a block holds.
pub const BLOCK_ROWS: usize = 64;
/// The most rows of one page: two blocks of index for 128 blocks of data.
pub const MAX_PAGE_ROWS: usize = 2 * BLOCK_ROWS * BLOCK_ROWS;

/// Rows or an index; what lies behind the last one is [`UNUSED`].
pub type Block = [u32; BLOCK_ROWS];

/// Fills a block behind its last row. No search looks at it.
pub const UNUSED: u32 = u32::MAX;

const _: () = assert!(size_of::<Block>() == 256);

/// Rules whose number is the same in every table.
pub mod rule_number {
    /// [`Rule::NONE`](crate::unwind::Rule::NONE)
    pub const NONE: u16 = 0;
    /// [`Rule::frame_pointer`](crate::unwind::Rule::frame_pointer)
    pub const FRAME_POINTER: u16 = 1;
    /// [`Rule::signal`](crate::unwind::Rule::signal)
    pub const SIGNAL: u16 = 2;
    /// [`Rule::UNSUPPORTED`](crate::unwind::Rule::UNSUPPORTED)
    pub const UNSUPPORTED: u16 = 3;
    /// The first number that tables give to rules of their own.
    pub const FIRST_FREE: u16 = 4;
}

/// Where the rows of a page are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PageEntry {
    /// The number of the page's first block.
    pub block: u32,
    /// How many rows the page has, [`MAX_PAGE_ROWS`] at most; 0 where no row covers any of it.
    pub rows: u32,
}

const _: () = assert!(size_of::<PageEntry>() == 8);

impl PageEntry {
    /// How many blocks hold rows.
    #[must_use]
    #[inline(always)]
    pub const fn data_blocks(self) -> u32 {
        self.rows.div_ceil(BLOCK_ROWS as u32)
    }

    /// How many blocks of index come before them.
    #[must_use]
    #[inline(always)]
    pub const fn index_blocks(self) -> u32 {
        match self.data_blocks() {
            0..=1 => 0,
            data => data.div_ceil(BLOCK_ROWS as u32),
        }
    }
}

/// Packs a row.
#[must_use]
#[inline(always)]
pub const fn row(offset: u16, rule: u16) -> u32 {
    (rule as u32) << PAGE_BITS | offset as u32
}

/// The offset in its page from which a row holds.
#[must_use]
#[inline(always)]
pub const fn row_offset(row: u32) -> u16 {
    row as u16
}

/// The number of a row's rule.
#[must_use]
#[inline(always)]
pub const fn row_rule(row: u32) -> u16 {
    (row >> PAGE_BITS) as u16
}

/// The number of the rule that holds at an offset in a page. `block` gives a block by its number;
/// `None` is the answer where it gives none.
#[inline(always)]
pub fn find<'a>(
    page: PageEntry,
    offset: u16,
    block: impl Fn(u32) -> Option<&'a Block>,
) -> Option<u16> {
    if page.rows == 0 {
        return Some(rule_number::NONE);
    }
    let data = data_block_of(page, offset, &block)?;
    let rows = block(
        page.block
            .wrapping_add(page.index_blocks())
            .wrapping_add(data),
    )?;
    let count = page.rows.wrapping_sub(data.wrapping_mul(BLOCK_ROWS as u32));
    let at = last_not_above(rows, count, offset, page.rows);
    Some(row_rule(rows[at & (BLOCK_ROWS - 1)]))
}

/// Which of the page's data blocks has the row for an offset, by the index.
#[inline(always)]
fn data_block_of<'a>(
    page: PageEntry,
    offset: u16,
    block: &impl Fn(u32) -> Option<&'a Block>,
) -> Option<u32> {
    let blocks = page.data_blocks();
    if blocks <= 1 {
        return Some(0);
    }
    let mut index = block(page.block)?;
    let mut before = 0;
    if blocks > BLOCK_ROWS as u32 {
        let second = block(page.block.wrapping_add(1))?;
        if row_offset(second[0]) <= offset {
            index = second;
            before = BLOCK_ROWS as u32;
        }
    }
    let at = last_not_above(index, blocks.wrapping_sub(before), offset, page.rows);
    Some(before.wrapping_add(at as u32))
}

/// The place of the last of a block's first `count` rows that is not above an offset, the first
/// where all are above it. Six halvings, each with the same code whatever it finds.
///
/// The kernel's verifier follows a number that it knows on every path that computes it, which is
/// 64 paths here, and one that it does not know only once: so the search starts from a 0 that is
/// computed from `rows`, the rows of the page, and each place is masked to the block.
#[inline(always)]
fn last_not_above(block: &Block, count: u32, offset: u16, rows: u32) -> usize {
    const MASK: u32 = BLOCK_ROWS as u32 - 1;
    let mut at = (rows >> PAGE_BITS) & MASK;
    let mut half = BLOCK_ROWS as u32 / 2;
    while half > 0 {
        let middle = (at + half) & MASK;
        if middle < count && row_offset(block[middle as usize]) <= offset {
            at = middle;
        }
        half /= 2;
    }
    at as usize
}

#[cfg(test)]
mod tests;
