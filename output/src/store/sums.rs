//! Sums by group and step, as a timeline.
//!
//! Does not know where samples come from.

use std::collections::HashMap;

use super::{Label, Query, Range, Row, StoreError, Timeline, TimelineOf};

/// Steps of a timeline at most: more than a screen has dots.
const MAX_STEPS: i64 = 100_000;
/// Sums of a timeline at most: 128 MiB of them.
const MAX_SUMS: usize = 1 << 24;

/// A timeline that is being added up.
#[derive(Debug)]
pub(crate) struct Sums {
    range: Range,
    step_ns: i64,
    steps: usize,
    by: Option<Label>,
    rows: HashMap<String, Vec<u64>>,
    covered: Vec<Range>,
}

impl Sums {
    /// # Errors
    /// When the step is not longer than 0, or there are too many.
    pub(crate) fn new(query: &Query, of: &TimelineOf<'_>) -> Result<Self, StoreError> {
        if of.step_ns <= 0 {
            let text = "the step of a timeline must be longer than 0".to_owned();
            return Err(StoreError::Refused(text));
        }
        let len_ns = query.range.len_ns();
        let steps = len_ns / of.step_ns + i64::from(len_ns % of.step_ns > 0);
        if steps > MAX_STEPS {
            let text = format!(
                "a timeline has at most {MAX_STEPS} steps, this one has {steps}: choose a longer step"
            );
            return Err(StoreError::Refused(text));
        }
        Ok(Self {
            range: query.range,
            step_ns: of.step_ns,
            steps: usize::try_from(steps).unwrap_or(0),
            by: of.by,
            rows: HashMap::new(),
            covered: Vec::new(),
        })
    }

    /// The step in which a moment lies; `None` outside the range.
    pub(crate) fn step(&self, at_ns: i64) -> Option<usize> {
        let inside = (self.range.from_ns..self.range.to_ns).contains(&at_ns);
        let since_ns = at_ns.saturating_sub(self.range.from_ns);
        inside.then(|| usize::try_from(since_ns / self.step_ns).ok())?
    }

    /// Adds to one step of a group.
    ///
    /// # Errors
    /// When there are more groups than memory is meant for.
    pub(crate) fn add(&mut self, group: &str, step: usize, value: u64) -> Result<(), StoreError> {
        if value == 0 {
            return Ok(());
        }
        if !self.rows.contains_key(group) {
            if (self.rows.len() + 1).saturating_mul(self.steps) > MAX_SUMS {
                let text = format!(
                    "the timeline has more than {} groups: choose a longer step or a shorter range",
                    self.rows.len()
                );
                return Err(StoreError::Refused(text));
            }
            self.rows.insert(group.to_owned(), vec![0; self.steps]);
        }
        let sum = self.rows.get_mut(group).and_then(|row| row.get_mut(step));
        if let Some(sum) = sum {
            *sum = sum.saturating_add(value);
        }
        Ok(())
    }

    /// There is a window from `from_ns` to `to_ns`.
    pub(crate) fn cover(&mut self, from_ns: i64, to_ns: i64) {
        let part = Range {
            from_ns: from_ns.max(self.range.from_ns),
            to_ns: to_ns.min(self.range.to_ns),
        };
        match self.covered.last_mut() {
            _ if part.is_empty() => {}
            // Windows come in order most of the time, so that few parts are ever held.
            Some(last) if last.from_ns <= part.from_ns && part.from_ns <= last.to_ns => {
                last.to_ns = last.to_ns.max(part.to_ns);
            }
            _ => self.covered.push(part),
        }
    }

    /// The groups, largest first; without a label to group by, the one group is always there.
    pub(crate) fn finish(mut self) -> Timeline {
        if self.by.is_none() {
            let steps = self.steps;
            self.rows
                .entry(String::new())
                .or_insert_with(|| vec![0; steps]);
        }
        let rows = self.rows.into_iter();
        let mut rows: Vec<Row> = rows.map(|(value, sums)| Row { value, sums }).collect();
        rows.sort_by_cached_key(|row| {
            let total = row.sums.iter().copied().fold(0, u64::saturating_add);
            (std::cmp::Reverse(total), row.value.clone())
        });
        Timeline {
            from_ns: self.range.from_ns,
            step_ns: self.step_ns,
            rows,
            covered: joined(self.covered),
        }
    }
}

/// The parts in order, those that touch as one.
fn joined(mut parts: Vec<Range>) -> Vec<Range> {
    parts.sort_unstable_by_key(|part| (part.from_ns, part.to_ns));
    let mut joined: Vec<Range> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if part.from_ns <= last.to_ns => last.to_ns = last.to_ns.max(part.to_ns),
            _ => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from_ns: i64, to_ns: i64) -> Query {
        Query {
            range: Range { from_ns, to_ns },
            matchers: Vec::new(),
        }
    }

    fn of(step_ns: i64) -> TimelineOf<'static> {
        TimelineOf {
            sample_type: "cpu",
            by: Some(Label::Process),
            step_ns,
        }
    }

    /// The last step may be short, and what lies outside the range has none.
    #[test]
    fn steps_begin_at_the_range() {
        let sums = Sums::new(&query(10, 35), &of(10)).unwrap();
        let steps = [9, 10, 19, 20, 34, 35].map(|at| sums.step(at));
        assert_eq!(steps, [None, Some(0), Some(0), Some(1), Some(2), None]);
    }

    /// A step of 0 and a million steps are refused in words.
    #[test]
    fn impossible_steps_are_refused() {
        let refused = |step| Sums::new(&query(0, 1 << 40), &of(step)).unwrap_err();
        assert!(refused(0).to_string().contains("longer than 0"));
        assert!(refused(1 << 10).to_string().contains("choose a longer"));
    }

    /// Groups come largest first, and windows that touch or overlap are one part, in whatever order.
    #[test]
    fn rows_and_parts_are_in_order() {
        let mut sums = Sums::new(&query(0, 100), &of(50)).unwrap();
        for (group, step, value) in [("a", 0, 1), ("b", 1, 5), ("a", 0, 2), ("c", 0, 0)] {
            sums.add(group, step, value).unwrap();
        }
        for (from, to) in [(80, 120), (0, 10), (10, 20), (15, 30), (-5, 0)] {
            sums.cover(from, to);
        }
        let timeline = sums.finish();
        let rows: Vec<_> = timeline
            .rows
            .iter()
            .map(|row| (row.value.as_str(), row.sums.as_slice()))
            .collect();
        assert_eq!(rows, [("b", &[0, 5][..]), ("a", &[3, 0][..])]);
        let part = |from_ns, to_ns| Range { from_ns, to_ns };
        assert_eq!(timeline.covered, [part(0, 30), part(80, 100)]);
    }
}
