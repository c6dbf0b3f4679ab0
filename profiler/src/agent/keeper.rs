//! From what was counted in a window to the store, on a thread of its own: names take their time, and a
//! disk may be full for a while.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use abi::reasons::Outcome;
use anyhow::{Context, Result};
use output::{Exporter, Profile, Retention, RowKind, Store, StoreError};

use super::health::{Health, Kept};
use crate::{
    cli::RecordArgs, limits::give_freed_memory_back, names::Remembered, profile::profile,
    record::Recorded, report::tell,
};

/// How many windows may wait for their names.
const QUEUE: usize = 4;
/// How many windows with names may wait for the store: five minutes of the usual ones.
const MAX_WAITING: usize = 30;
/// How often the store is tidied.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);

/// A window that was cut.
#[derive(Debug)]
pub(super) struct Closed {
    /// What was counted.
    pub(super) recorded: Recorded,
    /// How.
    pub(super) args: Arc<RecordArgs>,
    /// What the profile is to say of it.
    pub(super) comments: Vec<String>,
    /// Whether what was named before is to be forgotten.
    pub(super) forget: bool,
    /// Who waits for it.
    pub(super) kept: Option<Kept>,
    /// Samples of windows before it that are lost.
    pub(super) unkept: u64,
}

/// Where windows go.
#[derive(Debug)]
pub(super) struct Places {
    /// The store; `None` where windows only are sent to it, by the exporter.
    pub(super) store: Option<Arc<dyn Store>>,
    /// Who sends windows.
    pub(super) exporter: Option<Arc<Exporter>>,
    /// What the store is to keep.
    pub(super) retention: Retention,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Keeper {
    windows: SyncSender<Closed>,
    thread: JoinHandle<()>,
    health: Arc<Health>,
    /// Samples of windows that found no room, to be told by the next that does.
    unkept: u64,
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    /// Where there is no room for a thread.
    pub(super) fn start(places: Places, health: Arc<Health>) -> Result<Self> {
        let (windows, closed) = sync_channel(QUEUE);
        let mut work = Work {
            places,
            health: Arc::clone(&health),
            waiting: VecDeque::new(),
            remembered: Remembered::default(),
            unkept: 0,
            tidied: None,
            told: String::new(),
            untidy: String::new(),
        };
        let thread = thread::Builder::new().name("timesink-keep".to_owned());
        let thread = thread.spawn(move || work.run(&closed));
        Ok(Self {
            windows,
            thread: thread.context("failed to start a thread")?,
            health,
            unkept: 0,
        })
    }

    /// Hands over a window; where too many wait for their names, it is lost, and counted.
    pub(super) fn keep(&mut self, mut closed: Closed) {
        closed.unkept += std::mem::take(&mut self.unkept);
        let lost = match self.windows.try_send(closed) {
            Ok(()) => return,
            Err(TrySendError::Full(closed) | TrySendError::Disconnected(closed)) => closed,
        };
        self.unkept = lost.unkept + samples(&lost.recorded);
        self.health.dropped("naming too slow");
        tell(format_args!(
            "timesink: warning: a window is lost: the names of those before it are still being found\n"
        ));
    }

    /// Waits until all windows are kept, or cannot be.
    pub(super) fn end(self) {
        drop(self.windows);
        // A thread that panicked has told so.
        let _ = self.thread.join();
        tell_lost(self.unkept);
    }
}

/// Samples and waits of a window without names.
fn samples(recorded: &Recorded) -> u64 {
    let sampled = Outcome::Sampled as usize;
    let events = recorded
        .events
        .iter()
        .map(|(_, account)| account.counters.outcomes[sampled]);
    let waits = recorded
        .waits
        .iter()
        .map(|waits| waits.counters.outcomes[sampled]);
    events.chain(waits).sum()
}

struct Work {
    places: Places,
    health: Arc<Health>,
    waiting: VecDeque<(Arc<Profile>, Option<Kept>)>,
    remembered: Remembered,
    /// Samples of windows that the store did not take, to be told by the next that it takes.
    unkept: u64,
    tidied: Option<Instant>,
    /// The last failure to keep a window that was told.
    told: String,
    /// The last failure to tidy that was told.
    untidy: String,
}

impl Work {
    fn run(&mut self, windows: &Receiver<Closed>) {
        for mut closed in windows {
            if closed.forget {
                self.remembered = Remembered::default();
            }
            let kept = closed.kept.take();
            let profile = Arc::new(self.name(closed));
            if let Some(exporter) = &self.places.exporter {
                exporter.offer(Arc::clone(&profile));
            }
            self.waiting.push_back((profile, kept));
            self.store();
            self.tidy();
            give_freed_memory_back();
        }
        self.store();
        for (profile, _) in std::mem::take(&mut self.waiting) {
            self.drop(&profile);
        }
        tell_lost(self.unkept);
    }

    fn name(&mut self, closed: Closed) -> Profile {
        let Closed {
            recorded,
            args,
            comments,
            unkept,
            ..
        } = closed;
        let lines = !args.no_inline;
        let (mut profile, resolved, _) = profile(&recorded, &args, lines, Some(&self.remembered));
        let given_up = recorded.collected.files.finding();
        let of_jits = recorded.collected.jit.findings();
        let findings = given_up.iter().chain(&resolved.words).chain(of_jits);
        for finding in findings.chain(&comments) {
            profile.comment(finding);
        }
        let unkept = unkept + std::mem::take(&mut self.unkept);
        if unkept > 0 {
            let meaning =
                "samples and waits of windows before this one, which are not in the store";
            profile
                .ledger
                .push(RowKind::Lost, "window not kept", unkept, meaning);
        }
        self.health.named(&profile.ledger);
        profile
    }

    /// Gives the store what waits for it, the oldest first.
    fn store(&mut self) {
        while let Some((profile, kept)) = self.waiting.pop_front() {
            let stored = match &self.places.store {
                Some(store) => store.append(&profile),
                None => Ok(()),
            };
            match stored {
                Ok(()) => {
                    self.health.kept();
                    self.recovered();
                    answer(kept, Ok(()));
                }
                Err(error) => {
                    let words = in_words(error);
                    answer(kept, Err(words.clone()));
                    self.health.failed(&words);
                    tell_once(&mut self.told, words);
                    self.waiting.push_front((profile, None));
                    break;
                }
            }
        }
        while self.waiting.len() > MAX_WAITING
            && let Some((oldest, _)) = self.waiting.pop_front()
        {
            self.drop(&oldest);
        }
    }

    fn tidy(&mut self) {
        let is_due = self
            .tidied
            .is_none_or(|last| last.elapsed() >= TIDY_INTERVAL);
        let Some(store) = self.places.store.as_ref().filter(|_| is_due) else {
            return;
        };
        self.tidied = Some(Instant::now());
        match store.tidy(now_ns(), self.places.retention) {
            Ok(()) => self.untidy.clear(),
            Err(error) => {
                let words = in_words(error);
                self.health.failed(&words);
                tell_once(&mut self.untidy, words);
            }
        }
    }

    fn drop(&mut self, profile: &Profile) {
        let rows = profile.ledger.rows().iter();
        let got = rows
            .filter(|row| row.kind == RowKind::Got)
            .map(|row| row.count);
        self.unkept += got.sum::<u64>();
        self.health.dropped("not kept");
    }

    fn recovered(&mut self) {
        if !std::mem::take(&mut self.told).is_empty() {
            tell(format_args!("timesink: windows are kept again\n"));
        }
    }
}

/// Tells of what no window will tell any more.
fn tell_lost(unkept: u64) {
    if unkept > 0 {
        tell(format_args!(
            "timesink: warning: {unkept} samples and waits of the last windows are lost\n"
        ));
    }
}

/// What goes wrong again and again is told once.
fn tell_once(told: &mut String, words: String) {
    if *told != words {
        tell(format_args!(
            "timesink: warning: {words}; it is tried again\n"
        ));
        *told = words;
    }
}

/// An error with all that led to it.
fn in_words(error: StoreError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

/// Nanoseconds from the Unix epoch to this moment.
pub(super) fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

fn answer(kept: Option<Kept>, answer: Result<(), String>) {
    if let Some(kept) = kept {
        // Who asked may have gone.
        let _ = kept.send(answer);
    }
}
