//! From rows to pages and blocks, as [`abi::unwind::table`] lays them out for the kernel.

use abi::unwind::table::{
    BLOCK_ROWS, Block, MAX_PAGE_ROWS, PAGE_BITS, PageEntry, UNUSED, row, row_offset, rule_number,
};

use super::{
    rows::{Row, Rows},
    rules::RuleSet,
};

/// A file's table as the kernel holds it. Block numbers count from the table's first block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// The number of the first page: its file offset divided by 64 KiB.
    pub first_page: u32,
    /// That page and all that follow, up to the last with rows.
    pub entries: Vec<PageEntry>,
    /// Their rows and indexes.
    pub blocks: Vec<Block>,
    /// What did not fit.
    pub counts: PageCounts,
}

/// What did not fit into a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// Rows whose rule found no number; their code shows as unsupported.
    pub rules_full: u64,
    /// Pages of more rows than a page may have.
    pub crowded_pages: u64,
    /// The rows that were left out of them; their code shows as unsupported.
    pub crowded_rows: u64,
}

impl Pages {
    /// The entry of a page by its number in the file; without rows where it is not in the table.
    #[must_use]
    pub fn entry(&self, page: u32) -> PageEntry {
        let index = page.checked_sub(self.first_page);
        let entry = index.and_then(|index| self.entries.get(index as usize));
        entry.copied().unwrap_or_default()
    }

    /// The kernel memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(self.entries.as_slice()) + size_of_val(self.blocks.as_slice())
    }

    fn start_page(&mut self, page: u32) {
        if self.entries.is_empty() {
            self.first_page = page;
        }
        let index = (page - self.first_page) as usize;
        self.entries.resize(index, PageEntry::default());
    }

    /// Adds a page's rows, of which the first is at offset 0.
    fn add_page(&mut self, page: u32, rows: &mut Vec<u32>) {
        if rows.len() > MAX_PAGE_ROWS {
            self.counts.crowded_pages += 1;
            self.counts.crowded_rows += (rows.len() - MAX_PAGE_ROWS + 1) as u64;
            let from = row_offset(rows[MAX_PAGE_ROWS - 1]);
            rows.truncate(MAX_PAGE_ROWS - 1);
            rows.push(row(from, rule_number::UNSUPPORTED));
        }
        self.start_page(page);
        self.entries.push(PageEntry {
            block: self.blocks.len() as u32,
            rows: rows.len() as u32,
        });
        if rows.len() > BLOCK_ROWS {
            let index: Vec<u32> = rows.iter().step_by(BLOCK_ROWS).copied().collect();
            self.add_blocks(&index);
        }
        self.add_blocks(rows);
    }

    fn add_blocks(&mut self, rows: &[u32]) {
        self.blocks.extend(rows.chunks(BLOCK_ROWS).map(|chunk| {
            let mut block = [UNUSED; BLOCK_ROWS];
            block[..chunk.len()].copy_from_slice(chunk);
            block
        }));
    }
}

/// Builds the table of a file and gives its rules their numbers in `rules`, the set of all tables.
#[must_use]
pub fn build(table: &Rows, rules: &mut RuleSet) -> Pages {
    let numbers: Vec<Option<u16>> = table.rules.iter().map(|rule| rules.intern(*rule)).collect();
    let mut pages = Pages::default();
    let mut in_force = rule_number::NONE;
    let mut rest = table.rows.as_slice();
    let mut page_rows = Vec::new();
    while let Some(first) = rest.first() {
        let page = first.start >> PAGE_BITS;
        let count = rest.partition_point(|row| row.start >> PAGE_BITS <= page);
        let (here, behind) = rest.split_at(count);
        rest = behind;
        page_rows.clear();
        if first.start as u16 != 0 {
            page_rows.push(row(0, in_force));
        }
        page_rows.extend(here.iter().map(|&Row { start, rule }| {
            let number = numbers.get(usize::from(rule)).copied().flatten();
            pages.counts.rules_full += u64::from(number.is_none());
            in_force = number.unwrap_or(rule_number::UNSUPPORTED);
            row(start as u16, in_force)
        }));
        if page_rows.iter().any(|&row| row >> PAGE_BITS != 0) {
            pages.add_page(page, &mut page_rows);
        }
        carry_on(&mut pages, in_force, page + 1, rest.first());
    }
    pages
}

/// Adds the pages up to the next row's in which the rule in force does not change.
fn carry_on(pages: &mut Pages, in_force: u16, from_page: u32, next: Option<&Row>) {
    let Some(next) = next.filter(|_| in_force != rule_number::NONE) else {
        return;
    };
    for page in from_page..next.start >> PAGE_BITS {
        pages.add_page(page, &mut vec![row(0, in_force)]);
    }
}

#[cfg(test)]
mod tests;
