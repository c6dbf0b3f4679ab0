//! The readers of call frame information and of cached tables on files that were damaged at
//! random: whatever comes, they answer, and within bounds.
//!
//! `FUZZ_SECONDS` and `FUZZ_SEED` do what `tests/src/damage.rs` says.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
use std::fs;

use abi::unwind::Machine;
use profiler::unwind::{
    cache::{self, Key},
    pages,
    rows::{self, FileRows, Rows},
    rules::RuleSet,
};
use tests::{Counting, damage, try_seeds};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one small file may take, however it is damaged: a table of 4 GiB of code has 16 MiB of
/// blocks, which a hostile file can ask for with one row.
const MOST_BYTES: usize = 64 << 20;

/// What must hold of any table: rows that ascend, change the rule and name one that is there.
fn check(table: &Rows) {
    assert!(
        table
            .rows
            .is_sorted_by(|row, next| row.start < next.start && row.rule != next.rule)
    );
    let rules = table.rules.len();
    assert!(table.rows.iter().all(|row| usize::from(row.rule) < rules));
    let pages = pages::build(table, &mut RuleSet::default());
    let blocks = |page: &abi::unwind::table::PageEntry| {
        u64::from(page.block) + u64::from(page.index_blocks()) + u64::from(page.data_blocks())
    };
    let reach = pages.entries.iter().map(blocks).max().unwrap_or(0);
    assert_eq!(reach, pages.blocks.len() as u64);
}

/// A small file of code, and where its call frame information is.
fn seed_file(path: &str) -> (Vec<u8>, std::ops::Range<usize>) {
    use object::{Object, ObjectSection};
    let bytes = fs::read(path).unwrap();
    let elf = object::File::parse(bytes.as_slice()).unwrap();
    let section = elf.section_by_name(".eh_frame").unwrap();
    let (start, size) = section.file_range().unwrap();
    let range = start as usize..(start + size) as usize;
    (bytes, range)
}

/// A program whose call frame information, headers or other bytes are damaged gives a sound table
/// or none, in bounded memory.
#[test]
fn damaged_programs() {
    damaged_files(&Machine::NATIVE, "/bin/true");
}

/// So does a library of arm64.
#[test]
fn damaged_libraries_of_arm64() {
    damaged_files(
        &Machine::AARCH64,
        "/usr/aarch64-linux-gnu/lib/libthread_db.so.1",
    );
}

fn damaged_files(machine: &Machine, path: &str) {
    let (whole, eh_frame) = seed_file(path);
    let headers = 0..0x400;
    let sections = whole.len() - 0x800..whole.len();
    let mut tables = 0;
    try_seeds(1500, MOST_BYTES, |random| {
        let mut bytes = whole.clone();
        let target = [&eh_frame, &eh_frame, &eh_frame, &headers, &sections][random.below(5)];
        damage(&mut bytes, target, random);
        if random.below(16) == 0 {
            bytes.truncate(random.below(whole.len()));
        }
        if let Ok(FileRows::Rows(table, _)) = rows::read(machine, bytes.as_slice()) {
            tables += 1;
            check(&table);
        }
    });
    assert!(tables > 0);
}

/// A cached table that is damaged, and has a right checksum all the same, gives a sound table or
/// none, in bounded memory.
#[test]
fn damaged_cached_tables() {
    let (program, _) = seed_file("/bin/true");
    let FileRows::Rows(table, _) = rows::read(&Machine::NATIVE, program.as_slice()).unwrap() else {
        panic!("no call frame information");
    };
    let key = Key {
        build_id: &[1, 2, 3, 4],
        file_bytes: program.len() as u64,
    };
    let whole = cache::encode(key, &table);
    assert_eq!(cache::decode(key, &whole), Some(table));
    let mut refused = 0;
    try_seeds(1500, MOST_BYTES, |random| {
        let mut bytes = whole.clone();
        let header = 16..64;
        let target = [header, 16..whole.len()][random.below(2)].clone();
        damage(&mut bytes, &target, random);
        let checksum = crc32fast::hash(&bytes[16..]).to_le_bytes();
        bytes[12..16].copy_from_slice(&checksum);
        match cache::decode(key, &bytes) {
            Some(table) => {
                let pages = pages::build(&table, &mut RuleSet::default());
                assert!(pages.entries.len() <= 1 << 16);
            }
            None => refused += 1,
        }
    });
    assert!(refused > 0);
}
