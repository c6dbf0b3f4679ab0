//! Files that are damaged at random, and what it takes to read them.
//!
//! A plain loop with a generator of numbers, so that stable Rust runs it. It tries as many inputs as
//! it is asked for; `FUZZ_SECONDS=60` goes on for a minute, with other numbers each time, and prints
//! the seed to which a failure belongs: `FUZZ_SEED=N` repeats it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Counts what is allocated, to tell how much one input takes: a test makes it its global allocator.
#[derive(Debug)]
pub struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALONE: Mutex<()> = Mutex::new(());

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

/// A generator of numbers (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % bound
    }

    /// Numbers with which readers go wrong.
    pub fn number(&mut self) -> u64 {
        let numbers = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_fff0, u64::MAX];
        match self.below(3) {
            0 => self.below(1 << 30) as u64,
            _ => numbers[self.below(numbers.len())],
        }
    }
}

/// Changes some bytes, mostly within `target`.
pub fn damage(bytes: &mut [u8], target: &Range<usize>, random: &mut Random) {
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

/// Runs `one` on seed after seed: `count` of them, or for as long as `FUZZ_SECONDS` says. None may take
/// `most_bytes` of memory.
#[allow(
    clippy::print_stdout,
    reason = "the seed is what a failure is repeated by"
)]
pub fn try_seeds(count: u64, most_bytes: usize, mut one: impl FnMut(&mut Random)) {
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
    let _alone = counted_alone();
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
        // The generator needs a state other than 0, and neighbours that differ.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let peak = bytes_taken(|| one(&mut random));
        assert!(peak < most_bytes, "{peak} bytes");
        std::mem::forget(failed);
    }
}

/// What is allocated is counted for all threads, so one test runs at a time.
pub fn counted_alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much memory something takes at its peak, where [`Counting`] is the allocator.
pub fn bytes_taken(of: impl FnOnce()) -> usize {
    let before = ALLOCATED.load(Relaxed);
    PEAK.store(before, Relaxed);
    of();
    PEAK.load(Relaxed).saturating_sub(before)
}

enum Limit {
    Count(u64),
    Time(Duration),
}

/// Prints the seed when a panic drops it.
struct FailedSeed(u64);

impl Drop for FailedSeed {
    #[allow(
        clippy::print_stdout,
        reason = "the seed is what a failure is repeated by"
    )]
    fn drop(&mut self) {
        println!("FUZZ_SEED={} repeats this", self.0);
    }
}

fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_nanos() as u64
}
