//! What it means for the times that the stacks of a part of the waits only were taken.
//!
//! With the period `P` a wait of the length `l < P` is taken with the probability `1/w`, where
//! `w = floor(P / (l + 1 ns)) + 1`, and counts `w` times: the sum is right on average. Taking or not
//! taking it adds `(w - 1)·l²` to the variance of the sum. Of a wait that was taken `w` are counted, so
//! the sum of `(w - 1)·l²` over all that were counted estimates that variance.

use std::time::Duration;

use abi::{
    reasons::State,
    waits::{WaitCount, flags},
};
use output::human_duration;

use super::{Waiting, distributions::middle, nanoseconds};
use crate::watching::Waits;

/// How exact the times of a recording are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// All time away, in nanoseconds.
    pub all_ns: f64,
    /// The part that waits stand for of which some were taken only.
    pub estimated_ns: f64,
    /// The variance of the sum of all times, in square nanoseconds.
    pub variance: f64,
}

impl Estimate {
    /// Adds waits of one place, of which those shorter than the period were taken by chance.
    pub fn add(&mut self, count: &WaitCount, is_ready: bool, period_ns: u64) {
        let times = count.times.max(1);
        let (histogram, besides) = match is_ready {
            true => (&count.queued, 0),
            false => (&count.asleep, count.queued_ns / times),
        };
        for (bucket, &times) in histogram
            .iter()
            .enumerate()
            .filter(|(_, times)| **times > 0)
        {
            let length = middle(bucket).unwrap_or(u64::MAX).saturating_add(besides);
            if length < period_ns {
                let weight = (period_ns / (length + 1) + 1) as f64;
                let (times, length) = (f64::from(times), length as f64);
                self.estimated_ns += times * length;
                self.variance += times * (weight - 1.0) * length * length;
            }
        }
        self.all_ns += (count.asleep_ns + count.queued_ns) as f64;
    }

    /// The part of the time that is estimated, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        (self.estimated_ns / self.all_ns.max(1.0)).min(1.0)
    }

    /// The standard error of the sum of all times, as a part of it.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        self.variance.sqrt() / self.all_ns.max(1.0)
    }
}

/// How stacks were taken, and what that means.
#[must_use]
pub fn describe(waits: &Waits, waiting: &Waiting<'_>) -> String {
    let shortest = waiting.rules.shortest;
    let mut words = match waits.periods.iter().rfind(|(_, period)| !period.is_zero()) {
        None => "the stack of each wait was taken".to_owned(),
        Some(&(since, period)) => chance(since, period, waiting),
    };
    if !shortest.is_zero() {
        words += &format!(
            "; waits shorter than {} have none (--min-block)",
            human_duration(nanoseconds(shortest))
        );
    }
    words
}

fn chance(since: Duration, period: Duration, waiting: &Waiting<'_>) -> String {
    let period_ns = nanoseconds(period);
    let mut estimate = Estimate::default();
    for wait in &waiting.waits {
        let is_certain = wait.key.flags & flags::OPEN != 0 || wait.state == State::Starting;
        let is_short = wait.key.user == wait.key.kernel;
        let period_ns = if is_certain || is_short { 0 } else { period_ns };
        estimate.add(wait.count, wait.is_ready(), period_ns);
    }
    let duration = waiting.rules.duration.as_secs_f64().max(f64::MIN_POSITIVE);
    let part = (1.0 - since.as_secs_f64() / duration).clamp(0.0, 1.0);
    estimate.estimated_ns *= part;
    estimate.variance *= part;
    let from = match since.is_zero() {
        true => String::new(),
        false => format!(
            " from {:.1} s on, as threads switched often,",
            since.as_secs_f64()
        ),
    };
    format!(
        "{from} one stack was taken per {} of waiting on average: {:.1} % of the time is an \
         estimate, and the standard error of the sum is {:.2} %",
        human_duration(period_ns),
        estimate.share() * 100.0,
        estimate.relative_error() * 100.0,
    )
    .trim_start()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::waits::bucket;

    /// Waits of one length, with what each that is taken stands for.
    fn waits(times: u32, length_ns: u64) -> WaitCount {
        let mut count = WaitCount {
            times: times.into(),
            asleep_ns: u64::from(times) * length_ns,
            ..WaitCount::ZERO
        };
        count.asleep[bucket(length_ns)] = times;
        count
    }

    /// What is longer than the period is exact.
    #[test]
    fn long_waits_are_exact() {
        let mut estimate = Estimate::default();
        estimate.add(&waits(10, 5_000_000), false, 1_000_000);
        assert_eq!((estimate.share(), estimate.relative_error()), (0.0, 0.0));
    }

    /// A million waits of 10 µs at a period of 1 ms are taken 10,000 times: the error is about
    /// 1/√10,000, by the buckets' width more or less.
    #[test]
    fn short_waits_have_the_error_of_their_number() {
        let mut estimate = Estimate::default();
        estimate.add(&waits(1_000_000, 10_000), false, 1_000_000);
        let error = estimate.relative_error();
        assert!((0.008..0.012).contains(&error), "{error}");
        assert!(estimate.share() > 0.8);
    }

    /// The error is that which drawing lots has.
    #[test]
    fn the_error_is_that_of_drawing() {
        let (period, length, number) = (1_000_000, 30_000, 2_000u32);
        let weight = period / (length + 1) + 1;
        let mut random = 12345u64;
        let mut draw = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33).is_multiple_of(weight)
        };
        let truth = f64::from(number) * length as f64;
        let mut squares = 0.0;
        for _ in 0..300 {
            let taken = (0..number).filter(|_| draw()).count() as f64;
            let error = taken * (weight * length) as f64 / truth - 1.0;
            squares += error * error;
        }
        let drawn = (squares / 300.0).sqrt();
        let mut estimate = Estimate::default();
        estimate.add(&waits(number, length), false, period);
        let told = estimate.relative_error();
        assert!((drawn / told - 1.0).abs() < 0.25, "{drawn}, told {told}");
    }
}
