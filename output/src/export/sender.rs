//! One sink with its spool: windows are put in at one side and sent at the other, in order.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::counters::lock;
use super::spool::{Spool, read};
use super::{Cause, Counters, SendError, Sink};

/// The longest wait that a server can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

/// How long to wait before a window is sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// After the first failure; doubled after each further one.
    pub(super) first: Duration,
    /// The end of the doubling.
    pub(super) longest: Duration,
}

/// A sink with what waits for it.
#[derive(Debug)]
pub(super) struct Lane {
    sink: Box<dyn Sink>,
    state: Mutex<State>,
    /// A window came, or the end.
    changed: Condvar,
    counters: Mutex<Counters>,
}

#[derive(Debug)]
struct State {
    spool: Spool,
    /// No more windows come, and a failure ends the sending.
    is_closing: bool,
}

impl Lane {
    pub(super) fn new(sink: Box<dyn Sink>, spool: Spool) -> Self {
        let (spooled, spooled_bytes) = spool.size();
        let counters = Counters {
            sink: sink.name().to_owned(),
            spooled,
            spooled_bytes,
            ..Counters::default()
        };
        let is_closing = false;
        Self {
            sink,
            state: Mutex::new(State { spool, is_closing }),
            changed: Condvar::new(),
            counters: Mutex::new(counters),
        }
    }

    pub(super) fn counters(&self) -> Counters {
        lock(&self.counters).clone()
    }

    pub(super) fn drop_one(&self, cause: Cause) {
        lock(&self.counters).add_dropped(cause, 1);
    }

    /// Puts a packed window into the spool, or counts why not.
    pub(super) fn keep(&self, packed: &[u8]) {
        let mut state = lock(&self.state);
        let outcome = state.spool.put(packed);
        let size = state.spool.size();
        drop(state);
        self.count(size, |counters| match outcome {
            Ok(windows) => counters.add_dropped(Cause::SpoolFull, windows),
            Err(error) => {
                counters.add_dropped(Cause::NotWritten, 1);
                counters.note(&format_args!("failed to write to the spool: {error}"));
            }
        });
        self.changed.notify_all();
    }

    /// Says that no more windows come.
    pub(super) fn close(&self) {
        lock(&self.state).is_closing = true;
        self.changed.notify_all();
    }

    /// Sends until the lane is closed and empty, or closed and the server is away.
    pub(super) fn run(&self, retry: Retry) {
        let mut failures = 0;
        while let Some(window) = self.next_window() {
            let outcome = self.send(&window);
            let later = match &outcome {
                Outcome::Later { after, .. } => Some(*after),
                Outcome::Sent | Outcome::Dropped(..) => None,
            };
            self.land(outcome);
            failures = later.map_or(0, |_| failures + 1);
            if let Some(after) = later
                && !self.pause(delay(retry, failures, after))
            {
                return;
            }
        }
    }

    /// Waits for a window; `None` at the end.
    fn next_window(&self) -> Option<PathBuf> {
        let mut state = lock(&self.state);
        loop {
            match state.spool.take() {
                Some(path) => return Some(path),
                None if state.is_closing => return None,
                None => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn send(&self, window: &Path) -> Outcome {
        let window = match read(window) {
            Ok(window) => window,
            Err(error) => return Outcome::Dropped(Cause::Damaged, error.to_string()),
        };
        match self.sink.send(&window) {
            Ok(()) => Outcome::Sent,
            Err(SendError::Later { reason, after }) => Outcome::Later { reason, after },
            Err(SendError::Refused { reason }) => Outcome::Dropped(Cause::Refused, reason),
        }
    }

    /// Counts what became of the window that was in flight, which goes unless it is to be sent again.
    fn land(&self, outcome: Outcome) {
        let mut state = lock(&self.state);
        let removed = state.spool.land(!matches!(outcome, Outcome::Later { .. }));
        let size = state.spool.size();
        drop(state);
        self.count(size, |counters| {
            match outcome {
                Outcome::Sent => counters.sent += 1,
                Outcome::Dropped(cause, reason) => {
                    counters.add_dropped(cause, 1);
                    counters.note(&reason);
                }
                Outcome::Later { reason, .. } => {
                    counters.retried += 1;
                    counters.note(&reason);
                }
            }
            if let Err(error) = removed {
                counters.note(&format_args!(
                    "failed to remove a window from the spool: {error}"
                ));
            }
        });
    }

    fn count(&self, (spooled, spooled_bytes): (u64, u64), change: impl FnOnce(&mut Counters)) {
        let mut counters = lock(&self.counters);
        change(&mut counters);
        counters.spooled = spooled;
        counters.spooled_bytes = spooled_bytes;
    }

    /// Waits, but no longer than until the lane is closed, and then says `true` once more: the last try.
    fn pause(&self, delay: Duration) -> bool {
        let state = lock(&self.state);
        if state.is_closing {
            return false;
        }
        let waited = self
            .changed
            .wait_timeout_while(state, delay, |state| !state.is_closing);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        true
    }
}

/// What became of a window.
enum Outcome {
    Sent,
    Dropped(Cause, String),
    Later {
        reason: String,
        after: Option<Duration>,
    },
}

/// Doubles with each failure, and is between half of that and all of it by chance, so that a fleet does not
/// come back all at once; never shorter than what the server asked for.
fn delay(retry: Retry, failures: u32, asked: Option<Duration>) -> Duration {
    let doubled = retry
        .first
        .saturating_mul(1 << failures.saturating_sub(1).min(20));
    let longest = doubled.min(retry.longest);
    // The seed of a new state is random.
    let chance = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    let delay = longest.mul_f64(0.5 + chance / 2.0);
    delay.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waiting doubles up to the longest, differs by chance within its half, and heeds the server.
    #[test]
    fn waiting_grows_and_differs() {
        let retry = Retry {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        };
        for (failures, longest) in [(1, 1), (2, 2), (5, 16), (7, 60), (u32::MAX, 60)] {
            let longest = Duration::from_secs(longest);
            let delays: Vec<_> = (0..50).map(|_| delay(retry, failures, None)).collect();
            assert!(
                delays.iter().all(|d| (longest / 2..=longest).contains(d)),
                "{delays:?}"
            );
            assert!(delays.iter().any(|d| *d != delays[0]), "{delays:?}");
        }
        let asked = Duration::from_secs(300);
        assert_eq!(delay(retry, 1, Some(asked)), asked);
        assert_eq!(delay(retry, 1, Some(Duration::MAX)), LONGEST_ASKED);
    }
}
