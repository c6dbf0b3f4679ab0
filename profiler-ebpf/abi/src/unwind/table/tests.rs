extern crate std;

use std::{vec, vec::Vec};

use super::*;

/// A small generator of numbers (xorshift64*), so that every run tests the same tables.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

/// `count` rows at distinct offsets, the first at 0, each with a rule of its own.
fn rows(random: &mut Random, count: usize) -> Vec<u32> {
    let mut taken = vec![false; 1 << PAGE_BITS];
    taken[0] = true;
    let mut left = count - 1;
    while left > 0 {
        let place = &mut taken[random.below(1 << PAGE_BITS) as usize];
        left -= usize::from(!*place);
        *place = true;
    }
    let offsets = (0..=u16::MAX).filter(|&offset| taken[usize::from(offset)]);
    offsets
        .zip(4..)
        .map(|(offset, rule)| row(offset, rule))
        .collect()
}

fn block_of(rows: &[u32]) -> Block {
    let mut block = [UNUSED; BLOCK_ROWS];
    block[..rows.len()].copy_from_slice(rows);
    block
}

/// Lays a page out behind `before` blocks of others, as the module's text says.
fn page(rows: &[u32], before: usize) -> (PageEntry, Vec<Block>) {
    let mut blocks = vec![[row(0, 1); BLOCK_ROWS]; before];
    if rows.len() > BLOCK_ROWS {
        let index: Vec<u32> = rows.iter().step_by(BLOCK_ROWS).copied().collect();
        blocks.extend(index.chunks(BLOCK_ROWS).map(block_of));
    }
    blocks.extend(rows.chunks(BLOCK_ROWS).map(block_of));
    let entry = PageEntry {
        block: before as u32,
        rows: rows.len() as u32,
    };
    (entry, blocks)
}

fn plain_search(rows: &[u32], offset: u16) -> u16 {
    let behind = rows.partition_point(|&row| row_offset(row) <= offset);
    row_rule(rows[behind - 1])
}

/// The offsets at which a mistake would show: around every row, and the page's last byte.
fn telling_offsets(rows: &[u32]) -> impl Iterator<Item = u16> {
    let around = rows.iter().flat_map(|&row| {
        let offset = row_offset(row);
        [offset.saturating_sub(1), offset, offset.saturating_add(1)]
    });
    around.chain([u16::MAX])
}

/// The search through blocks finds what a plain binary search finds, for every size of page at
/// which the layout changes and for sizes at random.
#[test]
fn finds_what_a_plain_search_finds() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let edges = [
        1, 2, 63, 64, 65, 127, 128, 129, 4095, 4096, 4097, 4160, 4161, 8191, 8192,
    ];
    let sizes: Vec<usize> = edges
        .into_iter()
        .chain((0..60).map(|size| 1 + size * 137))
        .collect();
    for size in sizes {
        let rows = rows(&mut random, size);
        let before = random.below(5) as usize;
        let (entry, blocks) = page(&rows, before);
        assert_eq!(
            blocks.len() - before,
            (entry.index_blocks() + entry.data_blocks()) as usize
        );
        for offset in telling_offsets(&rows) {
            let found = find(entry, offset, |number| blocks.get(number as usize));
            assert_eq!(
                found,
                Some(plain_search(&rows, offset)),
                "{size} rows, {offset:#x}"
            );
        }
    }
}

/// A search reads one block in a small page, two in a larger one, three in the largest.
#[test]
fn reads_few_blocks() {
    let mut random = Random(7);
    for (size, most) in [(64, 1), (65, 2), (4096, 2), (4097, 3), (8192, 3)] {
        let (entry, blocks) = page(&rows(&mut random, size), 0);
        let reads = core::cell::Cell::new(0);
        find(entry, 0xffff, |number| {
            reads.set(reads.get() + 1);
            blocks.get(number as usize)
        });
        assert_eq!(reads.get(), most, "{size} rows");
    }
}

/// A page without rows needs no block, and says that no row covers the offset.
#[test]
fn an_empty_page_has_no_row() {
    let entry = PageEntry { block: 3, rows: 0 };
    assert_eq!(find(entry, 17, |_| None), Some(rule_number::NONE));
}

/// A block that is not there is no answer, whichever of the search's blocks it is.
#[test]
fn a_missing_block_is_no_answer() {
    let (entry, blocks) = page(&rows(&mut Random(9), 5000), 0);
    for missing in 0..blocks.len() as u32 {
        let block = |number: u32| blocks.get(number as usize).filter(|_| number != missing);
        let answers = (0..=u16::MAX)
            .step_by(3)
            .map(|offset| find(entry, offset, block));
        assert!(
            answers.into_iter().any(|answer| answer.is_none()),
            "block {missing}"
        );
    }
}

/// An entry with more rows than a page can have gives some answer or none, and does not panic.
#[test]
fn an_impossible_entry_is_harmless() {
    let blocks = [[row(5, 9); BLOCK_ROWS]; 4];
    for rows in [8193, 1 << 16, 0x00ff_ffff, u32::MAX - 1, u32::MAX] {
        for block in [0, 3, u32::MAX] {
            let entry = PageEntry { block, rows };
            for offset in [0, 5, u16::MAX] {
                let _ = find(entry, offset, |number| blocks.get(number as usize));
            }
        }
    }
}
