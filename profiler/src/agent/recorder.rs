//! The loop that cuts windows: sessions one after the other, without a gap between them.
//!
//! A session holds what it has seen, within bounds; a new one begins with nothing. It is prepared beside
//! the old one, which goes on until the new one counts; what both have counted is the old one's.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinHandle};

use super::{
    budget::{Governor, Thrift},
    health::{Health, Kept},
    keeper::{Closed, Keeper},
    memory::Memory,
    usage::Usage,
};
use crate::{
    cli::{AgentArgs, RecordArgs},
    perf::Rate,
    record::Recorded,
    report::{Asked, Report, Signals, tell},
    sampling::Sampling,
    session::{Detail, Session},
    targets::Targets,
};

/// How long a session that becomes full goes on at least: to attach everything takes a second.
const SHORTEST_SESSION: Duration = Duration::from_secs(600);
/// From this part of its bounds on, a session makes room for another.
const FULL: f64 = 0.5;
/// No window is shorter than this, but where somebody asks for one.
const SHORTEST: Duration = Duration::from_millis(100);
/// One that takes too much memory goes on at least so long: what is prepared for a session takes some of it.
const SETTLING: Duration = Duration::from_secs(60);

/// What ends a look at what comes.
enum Event {
    /// The window is over.
    Window,
    /// Somebody waits for what was counted up to now.
    Close(Kept),
    /// The next session is ready.
    Ready(Box<Result<Session>>),
    /// A signal came.
    Asked(Asked),
}

/// Records until a signal asks for something else.
///
/// # Errors
/// Where the kernel refuses what it takes.
pub(super) async fn record(
    args: &AgentArgs,
    signals: &mut Signals,
    closes: &mut UnboundedReceiver<Kept>,
    keeper: &mut Keeper,
    health: &Health,
) -> Result<Asked> {
    let asked = Arc::new(args.recording());
    let governor = Governor::new(args.budget.unwrap_or_default(), args.rate);
    let mut session = attach(&asked, governor.thrift())?;
    let usage = Usage::begin()?;
    session.begin()?;
    health.attached();
    health.rate(args.rate);
    let report = Report::new(args.verbose);
    report.say(&format!("recording {}", session.describe()));
    let recorder = Recorder {
        governor,
        window: args.window,
        longest: args.session,
        asked,
        keeper,
        health,
        session,
        began: Instant::now(),
        next: None,
        is_first: true,
        usage,
        report,
        comments: Vec::new(),
    };
    recorder.run(signals, closes).await
}

struct Recorder<'a> {
    asked: Arc<RecordArgs>,
    window: Duration,
    /// How long a session goes on.
    longest: Duration,
    governor: Governor,
    keeper: &'a mut Keeper,
    health: &'a Health,
    session: Session,
    /// When the session began.
    began: Instant,
    next: Option<JoinHandle<Result<Session>>>,
    /// Whether no window was cut from the session.
    is_first: bool,
    usage: Usage,
    report: Report,
    /// For the next window.
    comments: Vec<String>,
}

impl Recorder<'_> {
    async fn run(
        mut self,
        signals: &mut Signals,
        closes: &mut UnboundedReceiver<Kept>,
    ) -> Result<Asked> {
        loop {
            let left = until_next(self.window, SystemTime::now());
            let event = next_event(left, signals, closes, self.next.as_mut());
            match self.session.collect(event, &self.report).await? {
                Event::Window => self.cut(None)?,
                Event::Close(kept) => self.cut(Some(kept))?,
                Event::Ready(next) => self.hand_over(*next)?,
                Event::Asked(asked) => {
                    let stopped = self.session.stop()?;
                    let last = self.session.end(stopped)?;
                    self.keeper.keep(Closed {
                        recorded: last,
                        args: self.asked,
                        comments: self.comments,
                        forget: self.is_first,
                        kept: None,
                        unkept: 0,
                    });
                    return Ok(asked);
                }
            }
        }
    }

    /// Ends the window, while all goes on.
    fn cut(&mut self, kept: Option<Kept>) -> Result<()> {
        let recorded = self.session.cut()?;
        let length = recorded.duration;
        self.send(recorded, kept);
        let used = self.usage.since_last(&self.session)?;
        self.health.used(self.usage.total());
        if self.next.is_some() {
            return Ok(());
        }
        if let Some(words) = self.governor.after_window(used, length) {
            self.change()?;
            self.changed(words);
        }
        let age = self.began.elapsed();
        let is_full = self.session.fullness() > FULL && age > SHORTEST_SESSION;
        if is_full || age > self.longest {
            self.governor.session_ends();
            self.begin_anew();
        } else if age > SETTLING {
            self.after_growth(Memory::now().all());
        }
        Ok(())
    }

    fn after_growth(&mut self, bytes: u64) {
        if let Some(words) = self.governor.after_growth(bytes) {
            self.changed(words);
            self.begin_anew();
        } else if let Some(words) = self.governor.excess(bytes) {
            tell(format_args!("timesink: warning: {words}\n"));
            self.comments.push(words);
        }
    }

    /// Prepares the next session.
    fn begin_anew(&mut self) {
        let (asked, thrift) = (Arc::clone(&self.asked), self.governor.thrift());
        let attach = move || attach(&asked, thrift);
        self.next = Some(tokio::task::spawn_blocking(attach));
    }

    /// Says what was changed for the budget.
    fn changed(&mut self, words: String) {
        self.health.changed();
        tell(format_args!("timesink: {words}\n"));
        self.comments.push(words);
    }

    /// Goes over to another rate.
    fn change(&mut self) -> Result<()> {
        let thrift = self.governor.thrift();
        self.session.resample(samplings(&self.asked, thrift)?)?;
        if thrift.samples_waits() {
            self.session.sample_waits();
        }
        let rate = thrift.rate(self.asked.rate.unwrap_or(1));
        self.health.rate(rate);
        Ok(())
    }

    /// Goes over to the next session. Where it could not be attached, this one goes on as if it began
    /// now.
    fn hand_over(&mut self, next: Result<Session>) -> Result<()> {
        self.next = None;
        self.began = Instant::now();
        let mut next = match next {
            Ok(next) => next,
            Err(error) => {
                let words = format!("failed to begin anew: {error:#}");
                tell(format_args!("timesink: warning: {words}\n"));
                return Ok(());
            }
        };
        next.begin()?;
        if self.governor.thrift().samples_waits() {
            next.sample_waits();
        }
        let mut last = std::mem::replace(&mut self.session, next);
        let stopped = last.stop()?;
        // What both have counted is in the window of the last.
        drop(self.session.cut()?);
        self.usage.session_ends(&last)?;
        self.send(last.end(stopped)?, None);
        self.is_first = true;
        self.health.attached();
        Ok(())
    }

    fn send(&mut self, recorded: Recorded, kept: Option<Kept>) {
        self.keeper.keep(Closed {
            recorded,
            args: Arc::clone(&self.asked),
            comments: std::mem::take(&mut self.comments),
            forget: std::mem::take(&mut self.is_first),
            kept,
            unkept: 0,
        });
    }
}

/// What comes first.
async fn next_event(
    left: Duration,
    signals: &mut Signals,
    closes: &mut UnboundedReceiver<Kept>,
    next: Option<&mut JoinHandle<Result<Session>>>,
) -> Result<Event> {
    let ready = async {
        match next {
            Some(next) => next.await.context("failed to begin anew"),
            None => pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep(left) => Ok(Event::Window),
        Some(kept) = closes.recv() => Ok(Event::Close(kept)),
        ready = ready => Ok(Event::Ready(Box::new(ready?))),
        asked = signals.next() => Ok(Event::Asked(asked)),
    }
}

fn attach(asked: &RecordArgs, thrift: Thrift) -> Result<Session> {
    let asked = &thrift.recording(asked);
    let targets = Targets::find(asked)?;
    let detail = Detail {
        cgroups: true,
        times: true,
    };
    let report = Report::new(asked.verbose);
    let samplings = samplings(asked, thrift)?;
    let how = (detail, thrift.bounds());
    Session::attach(asked, &targets, samplings, how, &report)
}

/// What is sampled on, with as many samples as the budget has room for.
fn samplings(asked: &RecordArgs, thrift: Thrift) -> Result<Vec<Sampling>> {
    let mut samplings = Sampling::plan(asked)?;
    for sampling in &mut samplings {
        if let Rate::Hz(hz) = &mut sampling.rate {
            *hz = thrift.rate(*hz);
        }
    }
    Ok(samplings)
}

/// How long until the next time that is a multiple of the length of a window: the windows of all
/// machines end together. One that would be very short is part of the next.
fn until_next(window: Duration, now: SystemTime) -> Duration {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let window_ns = window.as_nanos().max(1);
    let over_ns = since_epoch.as_nanos() % window_ns;
    let left = Duration::from_nanos(u64::try_from(window_ns - over_ns).unwrap_or(u64::MAX));
    if left < SHORTEST { left + window } else { left }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows end at multiples of their length, and none is very short.
    #[test]
    fn windows_end_at_round_times() {
        let window = Duration::from_secs(10);
        let left = |ms| until_next(window, UNIX_EPOCH + Duration::from_millis(ms)).as_millis();
        assert_eq!((left(1_000_000), left(1_003_000)), (10_000, 7_000));
        assert_eq!((left(1_009_900), left(1_009_950)), (100, 10_050));
    }
}
