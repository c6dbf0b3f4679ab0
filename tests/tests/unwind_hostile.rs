//! The readers of call frame information and of cached tables on files that were damaged at
//! random: whatever comes, they answer, and within bounds.
//!
//! A plain loop with a generator of numbers, so that stable Rust runs it. It tries as many files as
//! fit in a few seconds of CPU time; `FUZZ_SECONDS=60` goes on for a minute, with other numbers
//! each time, and prints the seed to which a failure belongs: `FUZZ_SEED=N` repeats it.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(
    clippy::print_stdout,
    reason = "the seed is what a failure is repeated by"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env, fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use abi::unwind::Machine;
use profiler::unwind::{
    cache::{self, Key},
    pages,
    rows::{self, FileRows, Rows},
    rules::RuleSet,
};

/// Counts what is allocated, to tell how much one input takes.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALONE: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = ALLOCATED.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What one small file may take, however it is damaged: a table of 4 GiB of code has 16 MiB of
/// blocks, which a hostile file can ask for with one row.
const MOST_BYTES: usize = 64 << 20;

/// A generator of numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % bound
    }

    /// Numbers with which readers go wrong.
    fn number(&mut self) -> u64 {
        let numbers = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_fff0, u64::MAX];
        match self.below(3) {
            0 => self.below(1 << 30) as u64,
            _ => numbers[self.below(numbers.len())],
        }
    }
}

/// Changes some bytes, mostly within `target`.
fn damage(bytes: &mut [u8], target: &std::ops::Range<usize>, random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        let at = match random.below(4) {
            0 => random.below(bytes.len()),
            _ => target.start + random.below(target.len()),
        };
        let width = [1, 1, 4, 8][random.below(4)].min(bytes.len() - at);
        let number = random.number().to_le_bytes();
        bytes[at..at + width].copy_from_slice(&number[..width]);
    }
}

/// Runs `one` on seed after seed: `count` of them, or for as long as `FUZZ_SECONDS` says.
fn run(count: u64, mut one: impl FnMut(&mut Random)) {
    let number = |name| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let (first, limit) = match (number("FUZZ_SEED"), number("FUZZ_SECONDS")) {
        (Some(seed), _) => (seed, Limit::Count(1)),
        (None, Some(seconds)) => (clock(), Limit::Time(Duration::from_secs(seconds))),
        (None, None) => (1, Limit::Count(count)),
    };
    // What is allocated is counted for all threads, so one test runs at a time.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let started = Instant::now();
    for tried in 0.. {
        let done = match limit {
            Limit::Count(count) => tried >= count,
            Limit::Time(time) => started.elapsed() >= time,
        };
        if done {
            println!("{tried} inputs");
            return;
        }
        let seed = first.wrapping_add(tried);
        let failed = FailedSeed(seed);
        let before = ALLOCATED.load(Relaxed);
        PEAK.store(before, Relaxed);
        // The generator needs a state other than 0, and neighbours that differ.
        one(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        let peak = PEAK.load(Relaxed) - before;
        assert!(peak < MOST_BYTES, "{peak} bytes");
        std::mem::forget(failed);
    }
}

enum Limit {
    Count(u64),
    Time(Duration),
}

/// Prints the seed when a panic drops it.
struct FailedSeed(u64);

impl Drop for FailedSeed {
    fn drop(&mut self) {
        println!("FUZZ_SEED={} repeats this", self.0);
    }
}

fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_nanos() as u64
}

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
    run(1500, |random| {
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
    run(1500, |random| {
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
