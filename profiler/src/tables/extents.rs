//! Which parts of a numbered space are free: first fit, neighbours joined.

use std::collections::BTreeMap;

/// The free parts of a space of numbers from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extents {
    /// First number to length; no two touch.
    free: BTreeMap<u32, u32>,
}

impl Extents {
    /// A space of which all is free.
    pub(super) fn new(length: u32) -> Self {
        let free = if length > 0 {
            BTreeMap::from([(0, length)])
        } else {
            BTreeMap::new()
        };
        Self { free }
    }

    /// Takes `length` numbers side by side and tells the first; `None` where there is no such gap.
    pub(super) fn take(&mut self, length: u32) -> Option<u32> {
        if length == 0 {
            return Some(0);
        }
        let (&start, &found) = self.free.iter().find(|&(_, &found)| found >= length)?;
        self.free.remove(&start);
        if found > length {
            self.free.insert(start + length, found - length);
        }
        Some(start)
    }

    /// Gives back what was taken.
    pub(super) fn give(&mut self, start: u32, length: u32) {
        if length == 0 {
            return;
        }
        let (mut start, mut length) = (start, length);
        if let Some((&before, &free)) = self.free.range(..start).next_back()
            && before + free == start
        {
            self.free.remove(&before);
            start = before;
            length += free;
        }
        if let Some(behind) = self.free.remove(&(start + length)) {
            length += behind;
        }
        self.free.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given back joins its neighbours, in whatever order, until the space is whole again.
    #[test]
    fn neighbours_join() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
            let mut extents = Extents::new(30);
            let starts = [5, 15, 10].map(|length| (extents.take(length).unwrap(), length));
            assert_eq!(extents.take(1), None);
            for index in order {
                let (start, length) = starts[index];
                extents.give(start, length);
            }
            assert_eq!(extents, Extents::new(30));
        }
    }

    /// A gap that is too small is passed over, and nothing takes no room.
    #[test]
    fn the_first_gap_that_fits_is_taken() {
        let mut extents = Extents::new(20);
        let first = extents.take(4).unwrap();
        extents.take(4).unwrap();
        extents.give(first, 4);
        assert_eq!(extents.take(5), Some(8));
        assert_eq!(extents.take(3), Some(0));
        assert_eq!(extents.take(0), Some(0));
        assert_eq!(extents.take(8), None);
    }
}
