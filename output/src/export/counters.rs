//! What became of the windows of a sink.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clean::{clean, shorten};

/// The longest reason that is kept, in characters.
const MAX_REASON_CHARS: usize = 400;

/// Why a window was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The disk was too slow for the windows that came.
    QueueFull,
    /// The spool was at its bound, and this was the oldest window or larger than the bound.
    SpoolFull,
    /// It could not be written to the spool.
    NotWritten,
    /// What the spool had of it was cut short or changed.
    Damaged,
    /// The server, or the format, will never take it, or a part of it.
    Refused,
}

impl Cause {
    /// All of them, in the order of [`Counters::dropped`].
    pub const ALL: [Self; 5] = [
        Self::QueueFull,
        Self::SpoolFull,
        Self::NotWritten,
        Self::Damaged,
        Self::Refused,
    ];

    /// The name that metrics have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::SpoolFull => "spool_full",
            Self::NotWritten => "not_written",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
        }
    }
}

/// The name.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counts of a sink since the exporter started, and what its spool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The address of the sink.
    pub sink: String,
    /// Windows that were taken.
    pub sent: u64,
    /// Tries after which a window was to be sent again.
    pub retried: u64,
    /// Windows that were dropped, by cause, in the order of [`Cause::ALL`].
    pub dropped: [u64; Cause::ALL.len()],
    /// Windows that wait in the spool.
    pub spooled: u64,
    /// The bytes of their files.
    pub spooled_bytes: u64,
    /// Why a window was not taken the last time that one was not.
    pub last_error: Option<String>,
}

impl Counters {
    /// How many windows were dropped for this cause.
    pub fn dropped_by(&self, cause: Cause) -> u64 {
        let named = Cause::ALL.into_iter().zip(self.dropped);
        let of_cause = named.filter(|(of, _)| *of == cause);
        of_cause.map(|(_, count)| count).sum()
    }

    pub(super) fn add_dropped(&mut self, cause: Cause, windows: u64) {
        let named = Cause::ALL.into_iter().zip(&mut self.dropped);
        named
            .filter(|(of, _)| *of == cause)
            .for_each(|(_, count)| *count += windows);
    }

    pub(super) fn note(&mut self, error: &impl fmt::Display) {
        let error = error.to_string();
        let error = clean(&error);
        self.last_error = Some(shorten(&error, MAX_REASON_CHARS).into_owned());
    }
}

/// Takes a lock whose holder may have ended: what these locks guard is whole between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
