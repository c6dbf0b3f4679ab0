//! `inlined MILLISECONDS`: sorts, sums and looks up for that long, through functions that the compiler
//! inlines several deep: generic ones, closures, traits, iterators of the standard library.

use std::{
    collections::HashMap,
    env,
    hint::black_box,
    time::{Duration, Instant},
};

trait Mix {
    fn mix(&self, other: u64) -> u64;
}

impl Mix for u64 {
    #[inline]
    fn mix(&self, other: u64) -> u64 {
        self.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(other).rotate_left(17)
    }
}

struct Sum<T>(T);

impl<T: Mix + Copy + Into<u64> + From<u64>> Sum<T> {
    #[inline]
    fn add(&mut self, number: T) {
        self.0 = self.0.mix(number.into()).into();
    }
}

#[inline(never)]
fn round(seed: u64) -> u64 {
    let mut numbers: Vec<u64> = (0..5000u64).map(|number| number.mix(seed)).collect();
    numbers.sort_by(|a, b| (a % 1009).cmp(&(b % 1009)));
    let mut sum = Sum(seed);
    numbers.iter().filter(|number| **number % 3 == 0).for_each(|&number| sum.add(number));
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for number in &numbers {
        *counts.entry(number % 100).or_default() += number & 15;
    }
    sum.0 ^ counts.values().sum::<u64>()
}

fn main() {
    let milliseconds = env::args().nth(1).and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_millis(milliseconds.expect("a number of milliseconds"));
    let mut total = 0u64;
    while Instant::now() < end {
        total = total.wrapping_add(round(black_box(total)));
    }
    println!("{total}");
}
