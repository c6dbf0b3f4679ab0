//! A window as several requests, because servers limit the size of one.

use std::sync::{Mutex, PoisonError};

use super::SendError;
use super::service::Service;
use crate::profile::{Profile, Sample};

/// Samples of one service.
pub(super) type Group<'a> = (&'a Service, &'a [Sample<'a>]);

/// The requests of a window.
#[derive(Debug)]
pub(super) struct Parts<T> {
    /// Each within the server's limits.
    pub(super) requests: Vec<T>,
    /// Samples that alone are beyond the limits.
    pub(super) too_large: usize,
}

impl<T> Parts<T> {
    pub(super) const fn new() -> Self {
        Self {
            requests: Vec::new(),
            too_large: 0,
        }
    }

    /// Adds the request that `build` makes of `groups`, or those of their halves, and so on, where it is
    /// beyond the limits and `build` gives `None`.
    pub(super) fn add<F>(&mut self, groups: &[Group<'_>], build: &F)
    where
        F: Fn(&[Group<'_>]) -> Option<T>,
    {
        if let Some(request) = build(groups) {
            self.requests.push(request);
            return;
        }
        match groups {
            [(service, samples)] if samples.len() > 1 => {
                let (left, right) = samples.split_at(samples.len() / 2);
                self.add(&[(service, left)], build);
                self.add(&[(service, right)], build);
            }
            [_] | [] => self.too_large += 1,
            _ => {
                let (left, right) = groups.split_at(groups.len() / 2);
                self.add(left, build);
                self.add(right, build);
            }
        }
    }
}

/// How far the window that is being sent has come, so that a retry does not repeat what was answered.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Host, beginning and number of requests.
    window: (String, i64, usize),
    answered: usize,
    refused: usize,
    first_refusal: String,
}

impl Progress {
    /// Sends what is left of a window. A request that is refused does not hold up the others.
    ///
    /// # Errors
    /// When a request is to be tried later, or when all were tried and not all taken.
    pub(super) fn send<T>(
        &self,
        window: &Profile,
        parts: &Parts<T>,
        send: impl Fn(&T) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meta = window.meta();
        let key = (meta.host.clone(), meta.time_nanos, parts.requests.len());
        if state.window != key {
            *state = State {
                window: key,
                ..State::default()
            };
        }
        for request in &parts.requests[state.answered..] {
            match send(request) {
                Ok(()) => {}
                Err(SendError::Refused { reason }) => state.refuse(reason),
                Err(later) => return Err(later),
            }
            state.answered += 1;
        }
        std::mem::take(&mut *state).outcome(parts.too_large)
    }
}

impl State {
    fn refuse(&mut self, reason: String) {
        if self.refused == 0 {
            self.first_refusal = reason;
        }
        self.refused += 1;
    }

    fn outcome(self, too_large: usize) -> Result<(), SendError> {
        let Self {
            refused,
            first_refusal,
            ..
        } = self;
        match (refused, self.answered, too_large) {
            (0, _, 0) => Ok(()),
            (0, _, samples) => Err(SendError::refused(format_args!(
                "samples that alone are larger than a request may be: {samples}"
            ))),
            (1, 1, _) => Err(SendError::refused(first_refusal)),
            (_, requests, _) => Err(SendError::refused(format_args!(
                "{refused} of the window's {requests} requests, the first: {first_refusal}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::profile::{Meta, SampleType, Unit};

    fn window(time_nanos: i64) -> Profile {
        let meta = Meta {
            time_nanos,
            ..Meta::default()
        };
        Profile::new(meta, vec![SampleType::new("samples", Unit::Count)])
    }

    fn parts(requests: &[&'static str], too_large: usize) -> Parts<&'static str> {
        Parts {
            requests: requests.to_vec(),
            too_large,
        }
    }

    /// After a failure only what was not answered is sent again; another window starts from its beginning.
    #[test]
    fn what_was_answered_is_not_repeated() {
        let (progress, sent) = (Progress::default(), RefCell::new(Vec::new()));
        let parts = parts(&["a", "b", "c"], 0);
        let fail_at = |failing: &'static str| {
            let sent = &sent;
            move |request: &&'static str| {
                sent.borrow_mut().push(*request);
                match *request == failing {
                    true => Err(SendError::later("away")),
                    false => Ok(()),
                }
            }
        };
        assert!(progress.send(&window(1), &parts, fail_at("b")).is_err());
        assert!(progress.send(&window(1), &parts, fail_at("c")).is_err());
        assert!(progress.send(&window(2), &parts, fail_at("b")).is_err());
        assert_eq!(progress.send(&window(2), &parts, fail_at("")), Ok(()));
        assert_eq!(*sent.borrow(), ["a", "b", "b", "c", "a", "b", "b", "c"]);
    }

    /// Refused requests do not hold up the others, and the outcome tells how many there were and why.
    #[test]
    fn refusals_are_told_at_the_end() {
        let refuse = |request: &&'static str| match *request {
            "ok" => Ok(()),
            reason => Err(SendError::refused(reason)),
        };
        let outcome = |requests: &[&'static str], too_large| {
            let parts = parts(requests, too_large);
            let outcome = Progress::default().send(&window(1), &parts, refuse);
            outcome.unwrap_err().to_string()
        };
        assert_eq!(outcome(&["bad"], 0), "bad");
        assert_eq!(
            outcome(&["ok", "bad", "worse"], 0),
            "2 of the window's 3 requests, the first: bad"
        );
        assert_eq!(
            outcome(&["ok"], 2),
            "samples that alone are larger than a request may be: 2"
        );
    }
}
