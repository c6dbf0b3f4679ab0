//! Whether what two recordings tell of a function differs by more than chance.
//!
//! Pure arithmetic over numbers of samples; `docs/diff.md` has the formulas and where they come from.

use std::cmp::Ordering;

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

/// Half of what a number of samples can be off for being whole: keeps the logarithm of none finite.
const HALF: f64 = 0.5;
/// The median of the square of a standard normal variable.
const MEDIAN_CHI_SQUARED: f64 = 0.454_936;
/// The widest spread that is looked for: a factor of e^2 between two runs of the same.
const WIDEST: f64 = 4.0;
/// Halvings of it, down to a spread that makes no difference.
const HALVINGS: u32 = 40;

/// What was seen of something in the two recordings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// How many samples, or of what varies from sample to sample the number that would be as certain.
    pub(super) counts: [f64; 2],
    /// What one of them stands for.
    pub(super) units: [f64; 2],
}

impl Evidence {
    /// How many samples together.
    pub(super) fn samples(&self) -> f64 {
        self.counts[0] + self.counts[1]
    }

    /// The logarithm of how many times as much the second recording has.
    pub(super) fn log_ratio(&self) -> f64 {
        let [before, after] = [0, 1].map(|side| (self.counts[side] + HALF) * self.units[side]);
        (after / before).ln()
    }

    /// The variance of that, for counts of events that do not depend on each other.
    pub(super) fn variance(&self) -> f64 {
        let [before, after] = self.counts.map(|count| 1.0 / (count + HALF));
        before + after
    }

    /// How likely samples would fall on the two sides so unevenly or more, were there `level` times as
    /// much on the second.
    fn exact_p(&self, log_level: f64) -> f64 {
        let [before, after] = self.counts.map(|count| count.round() as u64);
        let odds = log_level.exp() * self.units[0] / self.units[1];
        let Ok(split) = Binomial::new(odds / (1.0 + odds), before + after) else {
            return 1.0;
        };
        let at_most = split.cdf(after);
        let at_least = match after {
            0 => 1.0,
            _ => split.sf(after - 1),
        };
        (2.0 * at_most.min(at_least)).min(1.0)
    }
}

/// How many times as much the second recording has of everything, as a logarithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) log: f64,
    /// The variance of `log`.
    pub(super) variance: f64,
    /// By how much single functions differ between two runs of the same, beyond what sampling does: the
    /// variance of the logarithm.
    pub(super) spread: f64,
}

impl Level {
    /// What is typical of functions. It takes more than half of them, by their weight, to move it.
    pub(super) fn typical(functions: &[Evidence]) -> Self {
        let is_narrow = |spread| median_surprise(functions, spread) <= MEDIAN_CHI_SQUARED;
        let (mut low, mut high) = (0.0, WIDEST);
        if is_narrow(low) {
            return center(functions, low);
        }
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            match is_narrow(middle) {
                true => high = middle,
                false => low = middle,
            }
        }
        center(functions, high)
    }

    /// The same spread, at a level that is known.
    pub(super) fn at(self, ratio: f64) -> Self {
        Self {
            log: ratio.ln(),
            variance: 0.0,
            ..self
        }
    }

    /// By what the logarithm of a ratio differs from the level, and the variance of that.
    pub(super) fn distance(&self, of: &Evidence) -> (f64, f64) {
        let variance = of.variance() + 2.0 * self.spread + self.variance;
        (of.log_ratio() - self.log, variance)
    }

    /// How likely chance alone makes such a difference or a larger one: the larger of two answers, that
    /// of the normal distribution with the spread and that of the exact distribution without it.
    pub(super) fn p_value(&self, of: &Evidence) -> f64 {
        let (distance, variance) = self.distance(of);
        let normal = 2.0 * Normal::standard().sf(distance.abs() / variance.sqrt());
        normal.max(of.exact_p(self.log))
    }
}

/// The weighted median of the logarithms, each with the weight of what it is certain by.
fn center(functions: &[Evidence], spread: f64) -> Level {
    let variances: Vec<f64> = functions
        .iter()
        .map(|of| of.variance() + 2.0 * spread)
        .collect();
    let weighted = functions.iter().zip(&variances);
    let weighted = weighted.map(|(of, variance)| (of.log_ratio(), 1.0 / variance.sqrt()));
    let certainty: f64 = variances.iter().map(|variance| 1.0 / variance).sum();
    Level {
        log: weighted_median(weighted.collect()),
        variance: std::f64::consts::FRAC_PI_2 / certainty,
        spread,
    }
}

/// The median of the squares of distances from the center, each by its own variance.
fn median_surprise(functions: &[Evidence], spread: f64) -> f64 {
    let level = center(functions, spread);
    let squares = functions.iter().map(|of| {
        let distance = of.log_ratio() - level.log;
        (distance * distance / (of.variance() + 2.0 * spread), 1.0)
    });
    weighted_median(squares.collect())
}

/// The value with as much weight below it as above; between two of them where it is equal. 0 of none.
fn weighted_median(mut values: Vec<(f64, f64)>) -> f64 {
    values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    for (at, (value, weight)) in values.iter().enumerate() {
        below += weight;
        match below.total_cmp(&half) {
            Ordering::Less => {}
            Ordering::Equal if at + 1 < values.len() => return (value + values[at + 1].0) / 2.0,
            Ordering::Equal | Ordering::Greater => return *value,
        }
    }
    values.last().map_or(0.0, |(value, _)| *value)
}

/// Which of several are more than chance, so that the probability of even one wrong answer is at most
/// `error`: Holm's procedure.
pub(super) fn holm(p_values: &[f64], error: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut significant = vec![false; p_values.len()];
    for (place, of) in order.into_iter().enumerate() {
        if p_values[of] > error / (p_values.len() - place) as f64 {
            break;
        }
        significant[of] = true;
    }
    significant
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(before: f64, after: f64) -> Evidence {
        Evidence {
            counts: [before, after],
            units: [1.0, 1.0],
        }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    /// Half of the weight lies on each side, also where the values do not come in order.
    #[test]
    fn the_median_has_equal_weight_on_both_sides() {
        assert_eq!(weighted_median(vec![]), 0.0);
        assert_eq!(
            weighted_median(vec![(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]),
            2.0
        );
        assert_eq!(weighted_median(vec![(1.0, 1.0), (2.0, 1.0)]), 1.5);
        assert_eq!(
            weighted_median(vec![(1.0, 5.0), (2.0, 1.0), (9.0, 1.0)]),
            1.0
        );
    }

    /// Holm's own steps: each next value is held to a wider bound, and the first that fails ends it.
    #[test]
    fn holm_steps_down() {
        assert_eq!(holm(&[], 0.05), [false; 0]);
        assert_eq!(holm(&[0.01, 0.04, 0.03], 0.05), [true, false, false]);
        assert_eq!(holm(&[0.02, 0.01], 0.05), [true, true]);
        assert_eq!(holm(&[0.03, 0.04], 0.05), [false, false]);
    }

    /// Few samples are judged by the binomial distribution: 10 against 0 has 2 chances in 2^10.
    #[test]
    fn few_samples_are_judged_exactly() {
        assert!(close(seen(0.0, 10.0).exact_p(0.0), 2.0 / 1024.0));
        assert!(close(seen(10.0, 0.0).exact_p(0.0), 2.0 / 1024.0));
        assert!(close(seen(5.0, 5.0).exact_p(0.0), 1.0));
        // A sample of the second stands for twice as much, so that it should have a third of them.
        let slow = Evidence {
            counts: [0.0, 3.0],
            units: [1.0, 2.0],
        };
        assert!(close(slow.exact_p(0.0), 2.0 / 27.0));
    }

    /// One function that grows does not move the level, nor does a machine that is slower move it alone.
    #[test]
    fn one_change_is_not_typical() {
        let mut functions: Vec<Evidence> = (1..9)
            .map(|by| seen(by as f64 * 1e3, by as f64 * 1.2e3))
            .collect();
        functions.push(seen(2e3, 9e3));
        let level = Level::typical(&functions);
        assert!((level.log.exp() - 1.2).abs() < 0.001, "{level:?}");
        assert!(level.p_value(&functions[8]) < 1e-9);
        assert!(functions[..8].iter().all(|of| level.p_value(of) > 0.5));
    }

    /// Functions that all differ widen what counts as chance.
    #[test]
    fn unsteady_functions_widen_the_spread() {
        let steady: Vec<Evidence> = (0..9).map(|_| seen(1e6, 1e6)).collect();
        assert_eq!(Level::typical(&steady).spread, 0.0);
        let factors = [0.9, 1.1, 0.95, 1.05, 1.0, 1.08, 0.92, 1.03, 0.97];
        let unsteady: Vec<Evidence> = factors.iter().map(|by| seen(1e6, 1e6 * by)).collect();
        let level = Level::typical(&unsteady);
        assert!(
            level.spread.sqrt() > 0.02 && level.spread.sqrt() < 0.1,
            "{level:?}"
        );
        assert!(unsteady.iter().all(|of| level.p_value(of) > 0.01));
    }
}
