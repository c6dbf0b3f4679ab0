//! The times of samples in JIT code, which the kernel programs put into the keys of counts: how fine
//! they are told, and what they stand for.
//!
//! With each sample's own time in its key, each sample is a count of its own. Where they become many
//! the times are made coarser, so that samples share counts again: it costs their order within
//! seconds, and no sample.

use abi::samples::MOMENT_SHIFT;

/// How many bits the times lose when they are made coarser.
const COARSER_BITS: u32 = 3;

/// How the times of one recording are told.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// When it began, in units.
    began: u64,
    mask: u32,
}

impl Moments {
    /// As fine as can be, for a recording that begins at a time of the monotonic clock.
    #[must_use]
    pub fn since(began_ns: u64) -> Self {
        Self {
            // One less, so that no moment of the recording is 0.
            began: (began_ns >> MOMENT_SHIFT).saturating_sub(1),
            mask: u32::MAX,
        }
    }

    /// The bits that the kernel programs keep.
    #[must_use]
    pub const fn mask(&self) -> u32 {
        self.mask
    }

    /// How many milliseconds a moment stands for.
    #[must_use]
    pub const fn granule_ms(&self) -> u64 {
        match self.mask {
            0 => u64::MAX,
            mask => (1 << (mask.trailing_zeros() + MOMENT_SHIFT)) / 1_000_000,
        }
    }

    /// Makes the times coarser from now on.
    pub fn coarsen(&mut self) {
        self.mask <<= COARSER_BITS;
    }

    /// From the moment in a key of the kernel's, which was taken before `now_ns`, to one that counts
    /// from the recording's beginning. 0 stays none.
    #[must_use]
    pub fn of_kernel(&self, moment: u32, now_ns: u64) -> u32 {
        if moment == 0 {
            return 0;
        }
        let now = now_ns >> MOMENT_SHIFT;
        // The kernel's has the lower bits alone.
        let age = (now as u32).wrapping_sub(moment);
        let first = now - u64::from(age).min(now);
        let since = (first + u64::from(!self.mask)).saturating_sub(self.began);
        self.coarse(u32::try_from(since).unwrap_or(u32::MAX).max(1))
    }

    /// A moment as coarse as they are by now. It is the last of those that it stands for.
    #[must_use]
    pub const fn coarse(&self, moment: u32) -> u32 {
        match moment {
            0 => 0,
            _ if self.mask == 0 => 0,
            _ => moment | !self.mask,
        }
    }

    /// The end of a moment on the monotonic clock, in ns.
    #[must_use]
    pub const fn end_ns(&self, moment: u32) -> Option<u64> {
        match moment {
            0 => None,
            _ => Some((self.began + moment as u64 + 1) << MOMENT_SHIFT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: u64 = 3_600_000_000_000;

    fn kernel(ns: u64) -> u32 {
        (ns >> MOMENT_SHIFT) as u32
    }

    /// A time comes back to a unit, after any uptime and any length of recording below the limit.
    #[test]
    fn times_come_back() {
        for began in [0, 5, 77 * HOUR_NS, 79 * HOUR_NS, 10_000 * HOUR_NS] {
            let moments = Moments::since(began);
            for after in [1 << MOMENT_SHIFT, 1_000_000_000, 20 * HOUR_NS] {
                let sampled = began + after;
                let now = sampled + 1_500_000_000;
                let moment = moments.of_kernel(kernel(sampled), now);
                let end = moments.end_ns(moment).unwrap();
                assert!(
                    sampled < end && end - sampled <= 2 << MOMENT_SHIFT,
                    "{began} {after}"
                );
            }
        }
        assert_eq!(Moments::since(7).end_ns(0), None);
        assert_eq!(Moments::since(7).of_kernel(0, HOUR_NS), 0);
    }

    /// Coarser times share moments, whose end is not before them, and in the end there are none.
    #[test]
    fn coarser_times_share_moments() {
        let mut moments = Moments::since(HOUR_NS);
        let sampled = [1, 2, 3].map(|ms| HOUR_NS + ms * 1_000_000);
        let now = HOUR_NS + 1_000_000_000;
        let mut distinct = 3;
        for _ in 0..11 {
            let found = sampled.map(|ns| moments.of_kernel(kernel(ns), now));
            let coarse = sampled.map(|ns| moments.of_kernel(kernel(ns) & moments.mask(), now));
            for (ns, &moment) in sampled
                .iter()
                .chain(&sampled)
                .zip(found.iter().chain(&coarse))
            {
                assert!(moments.end_ns(moment).is_none_or(|end| end > *ns));
            }
            let mut found = found.to_vec();
            found.dedup();
            assert!(found.len() <= distinct);
            distinct = found.len();
            moments.coarsen();
        }
        assert_eq!((moments.mask(), distinct), (0, 1));
        assert_eq!(moments.of_kernel(kernel(sampled[0]), now), 0);
        assert_eq!(moments.coarse(77), 0);
    }
}
