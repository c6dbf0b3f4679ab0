//! Which blocks answer for a part of time: the coarsest roll-ups that lie in it, and windows for the rest.

use crate::store::Range;

/// How many resolutions there are: windows, and two of roll-ups.
pub(super) const LEVELS: usize = 3;
/// How long the roll-ups of each level are, in nanoseconds; windows have their own length. A day is a
/// multiple of each, and each is one of that before.
pub(super) const ROLLUP_NS: [i64; LEVELS] = [0, 600_000_000_000, 3_600_000_000_000];

/// A block, without its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: i64,
    /// 0 for a window.
    pub(super) level: u8,
    pub(super) from_ns: i64,
    /// After the beginning of the last slice.
    pub(super) to_ns: i64,
    /// 0 without slices.
    pub(super) slice_ns: i64,
}

impl Key {
    /// The time in which its samples begin.
    fn range(&self) -> Range {
        let to_ns = match self.slice_ns {
            0 if self.level == 0 => self.from_ns.saturating_add(1),
            _ => self.to_ns,
        };
        Range {
            from_ns: self.from_ns,
            to_ns,
        }
    }

    /// When a sample of it begins.
    pub(super) fn begin_ns(&self, slice: Option<u32>) -> i64 {
        let since_ns = self.slice_ns.saturating_mul(slice.unwrap_or(0).into());
        self.from_ns.saturating_add(since_ns)
    }
}

/// All blocks of a file.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// By level, each in the order of time.
    levels: [Vec<Key>; LEVELS],
    longest_ns: i64,
}

impl Keys {
    pub(super) fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let mut all = Self::default();
        for key in keys {
            if let Some(level) = all.levels.get_mut(usize::from(key.level)) {
                level.push(key);
            }
        }
        for level in &mut all.levels {
            level.sort_unstable_by_key(|key| (key.from_ns, key.id));
        }
        let lengths = all.levels[0].iter().map(|key| key.range().len_ns());
        all.longest_ns = lengths.max().unwrap_or(0);
        all
    }

    pub(super) fn of_level(&self, level: usize) -> &[Key] {
        &self.levels[level]
    }

    fn starting(&self, level: usize, range: Range) -> &[Key] {
        let keys = &self.levels[level];
        let from = keys.partition_point(|key| key.from_ns < range.from_ns);
        let to = keys.partition_point(|key| key.from_ns < range.to_ns);
        keys.get(from..to).unwrap_or(&[])
    }

    /// The windows of which a sample may begin in `range`.
    fn windows(&self, range: Range) -> impl Iterator<Item = &Key> {
        let around = Range {
            from_ns: range.from_ns.saturating_sub(self.longest_ns),
            ..range
        };
        let keys = self.starting(0, around).iter();
        keys.filter(move |key| key.range().to_ns > range.from_ns)
    }
}

/// The blocks that answer for a range, each moment once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Roll-ups, which count with all their samples.
    pub(super) rolled: Vec<Key>,
    /// Windows, and whether all their samples count.
    pub(super) windows: Vec<(Key, bool)>,
    /// The parts for which windows answer, in order.
    gaps: Vec<Range>,
}

impl Plan {
    /// For `range`, with the roll-ups of `up_to` this level that `fits` agrees to.
    pub(super) fn new(
        keys: &Keys,
        range: Range,
        up_to: usize,
        fits: impl Fn(Range) -> bool,
    ) -> Self {
        let mut plan = Self {
            gaps: vec![range],
            ..Self::default()
        };
        for level in (1..=up_to).rev() {
            for gap in std::mem::take(&mut plan.gaps) {
                let inside = keys.starting(level, gap).iter();
                let inside = inside.filter(|key| key.to_ns <= gap.to_ns && fits(key.range()));
                plan.fill(gap, inside);
            }
        }
        for &gap in &plan.gaps {
            for key in keys.windows(gap) {
                let samples = key.range();
                let is_whole = gap.from_ns <= samples.from_ns && samples.to_ns <= gap.to_ns;
                plan.windows.push((*key, is_whole));
            }
        }
        // A window that begins before one gap and ends in the next comes with both.
        plan.windows
            .sort_unstable_by_key(|(key, _)| (key.from_ns, key.id));
        plan.windows.dedup_by_key(|(key, _)| key.id);
        plan
    }

    fn fill<'a>(&mut self, gap: Range, inside: impl Iterator<Item = &'a Key>) {
        let mut from_ns = gap.from_ns;
        for key in inside.filter(|key| key.to_ns > key.from_ns) {
            if key.from_ns < from_ns {
                continue;
            }
            self.leave(from_ns, key.from_ns);
            self.rolled.push(*key);
            from_ns = key.to_ns;
        }
        self.leave(from_ns, gap.to_ns);
    }

    fn leave(&mut self, from_ns: i64, to_ns: i64) {
        let gap = Range { from_ns, to_ns };
        if !gap.is_empty() {
            self.gaps.push(gap);
        }
    }

    /// Whether windows answer for a moment.
    pub(super) fn is_of_windows(&self, at_ns: i64) -> bool {
        let after = self.gaps.partition_point(|gap| gap.from_ns <= at_ns);
        let before = after.checked_sub(1).map(|index| self.gaps[index]);
        before.is_some_and(|gap| at_ns < gap.to_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    fn key(id: i64, level: u8, from: i64, to: i64) -> Key {
        Key {
            id,
            level,
            from_ns: from * MINUTE,
            to_ns: to * MINUTE,
            slice_ns: if level == 0 { MINUTE } else { 0 },
        }
    }

    fn range(from: i64, to: i64) -> Range {
        Range {
            from_ns: from * MINUTE,
            to_ns: to * MINUTE,
        }
    }

    /// Windows of 3 minutes for two hours, six roll-ups of the first hour, which also has one of its own.
    fn keys() -> Keys {
        let windows = (0..40).map(|n| key(n, 0, n * 3, n * 3 + 3));
        let tens = (0..6).map(|n| key(100 + n, 1, n * 10, n * 10 + 10));
        Keys::new(windows.chain(tens).chain([key(200, 2, 0, 60)]))
    }

    fn ids(plan: &Plan) -> (Vec<i64>, Vec<(i64, bool)>) {
        let rolled = plan.rolled.iter().map(|key| key.id).collect();
        let windows = plan.windows.iter();
        (
            rolled,
            windows.map(|(key, whole)| (key.id, *whole)).collect(),
        )
    }

    /// A range takes the hour where it fits, then ten minutes, then windows, those at its ends in part.
    #[test]
    fn the_coarsest_that_fits_is_taken() {
        let keys = keys();
        let all = |_| true;
        let (rolled, windows) = ids(&Plan::new(&keys, range(0, 63), 2, all));
        assert_eq!((rolled, windows), (vec![200], vec![(20, true)]));
        let (rolled, windows) = ids(&Plan::new(&keys, range(8, 32), 2, all));
        assert_eq!(rolled, [101, 102]);
        assert_eq!(windows, [(2, false), (3, false), (10, false)]);
        let (rolled, _) = ids(&Plan::new(&keys, range(0, 63), 0, all));
        assert!(rolled.is_empty());
    }

    /// Each minute is answered for by a roll-up or by windows, never by both.
    #[test]
    fn each_moment_counts_once() {
        let keys = keys();
        for (from, to) in [(0, 120), (5, 65), (8, 32), (59, 61), (13, 14)] {
            let plan = Plan::new(&keys, range(from, to), 2, |_| true);
            for minute in -1..121 {
                let rolled = plan.rolled.iter();
                let rolled =
                    rolled.filter(|key| (key.from_ns..key.to_ns).contains(&(minute * MINUTE)));
                let times = rolled.count() + usize::from(plan.is_of_windows(minute * MINUTE));
                let expected = usize::from((from..to).contains(&minute));
                assert_eq!(times, expected, "minute {minute} of {from} to {to}");
            }
        }
    }

    /// A window without slices is in the range in which it begins, and in no other.
    #[test]
    fn without_slices_the_beginning_decides() {
        let keys = Keys::new([Key {
            slice_ns: 0,
            ..key(1, 0, 10, 20)
        }]);
        let windows = |from, to| Plan::new(&keys, range(from, to), 2, |_| true).windows.len();
        assert_eq!(
            [windows(0, 10), windows(10, 11), windows(11, 30)],
            [0, 1, 0]
        );
    }
}
