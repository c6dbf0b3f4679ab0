//! `mixture MS`: that many milliseconds of what Rust programs do, in two threads: maps, sorting by a
//! closure, formatting, virtual calls, panics that are caught.

use std::{
    collections::BTreeMap,
    env, panic, thread,
    time::{Duration, Instant},
};

trait Step {
    fn step(&self, round: u64) -> usize;
}

struct Sorted;
struct Formatted;
struct Panicking;

impl Step for Sorted {
    #[inline(never)]
    fn step(&self, round: u64) -> usize {
        let mut numbers: Vec<u64> = (0..500).map(|n| n * (round | 1) % 977).collect();
        numbers.sort_by(|a, b| (b % 31, b).cmp(&(a % 31, a)));
        numbers[0] as usize
    }
}

impl Step for Formatted {
    #[inline(never)]
    fn step(&self, round: u64) -> usize {
        let mut names = BTreeMap::new();
        for number in 0..100 {
            names.entry(format!("{:08x}", number * round)).or_insert(number);
        }
        names.len()
    }
}

impl Step for Panicking {
    #[inline(never)]
    fn step(&self, round: u64) -> usize {
        let caught = panic::catch_unwind(|| {
            let empty: Vec<u64> = Vec::new();
            empty[round as usize]
        });
        usize::from(caught.is_err())
    }
}

fn run(end: Instant) -> usize {
    let steps: [Box<dyn Step>; 3] = [Box::new(Sorted), Box::new(Formatted), Box::new(Panicking)];
    let mut sum = 0;
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        sum += steps.iter().map(|step| step.step(round)).sum::<usize>();
    }
    sum
}

fn main() {
    let milliseconds = env::args().nth(1).unwrap().parse().unwrap();
    panic::set_hook(Box::new(|_| {}));
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let other = thread::spawn(move || run(end));
    let sum = run(end) + other.join().unwrap();
    assert_ne!(sum, 0);
}
