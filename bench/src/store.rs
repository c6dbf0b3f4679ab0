//! What a day of a busy core takes in the store, and how long it takes to ask for it.
//!
//! Fills a store with the windows of a machine that never was ([`machine`]), since a day cannot be waited for.

mod machine;

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result};
use output::{Label, Matcher, Query, Range, Retention, Store, TimelineOf};
use serde::Serialize;

use crate::scenario::Scenario;
use machine::{Machine, WINDOW_NS};

/// The rates, in Hz.
const RATES: [u32; 2] = [19, 99];
/// 2023-11-14, midnight: a day is one file.
const START_NS: i64 = 1_699_920_000_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;
const MIB: f64 = (1 << 20) as f64;

/// A store at one rate.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    hz: u32,
    hours: i64,
    /// Of all files, roll-ups included.
    bytes: u64,
    windows: u64,
    append_ms: Vec<f64>,
    tidy_s: f64,
    questions: Vec<Asked>,
}

/// A question, and how long its answers took, in milliseconds, in the order of the rounds.
#[derive(Debug, Serialize)]
struct Asked {
    question: &'static str,
    /// With nothing of the store in the page cache.
    cold_ms: Vec<f64>,
    /// The same once more.
    warm_ms: Vec<f64>,
}

/// A question to ask.
type Ask = fn(&dyn Store, i64) -> Result<()>;

const QUESTIONS: [(&str, Ask); 4] = [
    ("1 h of the whole machine", |store, end_ns| {
        profile(store, end_ns, 1, None)
    }),
    ("24 h of one process", |store, end_ns| {
        profile(store, end_ns, 24, Some("process-3"))
    }),
    ("24 h of the whole machine", |store, end_ns| {
        profile(store, end_ns, 24, None)
    }),
    ("timeline of 24 h by process", timeline),
];

/// Fills a store at each rate and asks it; tells of each by `show`.
///
/// # Errors
/// Where the store fails.
pub(crate) fn measure(
    scenario: &Scenario,
    folder: &Path,
    show: impl Fn(&str),
) -> Result<Vec<Measured>> {
    let hours = if scenario.quick { 1 } else { 24 };
    let measured = RATES.map(|hz| {
        let measured = at_rate(scenario, &folder.join(format!("store-{hz}")), hz, hours)?;
        show(&rendered(&measured));
        Ok(measured)
    });
    measured.into_iter().collect()
}

fn at_rate(scenario: &Scenario, folder: &Path, hz: u32, hours: i64) -> Result<Measured> {
    let url = folder.to_str().context("the folder's name is no text")?;
    let end_ns = START_NS + hours * HOUR_NS;
    let store = output::open(url)?;
    let mut machine = Machine::new(0x7453_6e6b);
    let mut append_ms = Vec::new();
    for number in 0..hours * HOUR_NS / WINDOW_NS {
        let window = machine.window(START_NS + number * WINDOW_NS, hz);
        let begin = Instant::now();
        store.append(&window)?;
        append_ms.push(milliseconds(begin));
    }
    let begin = Instant::now();
    let all = Retention {
        age_ns: i64::MAX,
        bytes: u64::MAX,
    };
    store.tidy(end_ns + HOUR_NS, all)?;
    let tidy_s = milliseconds(begin) / 1e3;
    drop(store);
    let kept = output::open(url)?.kept()?;
    let questions = QUESTIONS
        .map(|(question, ask)| asked(scenario, folder, question, |store| ask(store, end_ns)));
    Ok(Measured {
        hz,
        hours,
        bytes: kept.bytes,
        windows: kept.windows,
        append_ms,
        tidy_s,
        questions: questions.into_iter().collect::<Result<_>>()?,
    })
}

fn asked(
    scenario: &Scenario,
    folder: &Path,
    question: &'static str,
    ask: impl Fn(&dyn Store) -> Result<()>,
) -> Result<Asked> {
    let url = folder.to_str().context("the folder's name is no text")?;
    let mut asked = Asked {
        question,
        cold_ms: Vec::new(),
        warm_ms: Vec::new(),
    };
    for _ in 0..scenario.rounds {
        forget(folder)?;
        for times in [&mut asked.cold_ms, &mut asked.warm_ms] {
            let begin = Instant::now();
            ask(&*output::open(url)?)?;
            times.push(milliseconds(begin));
        }
    }
    Ok(asked)
}

/// Takes a folder's files out of the page cache.
fn forget(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let file = File::open(entry?.path())?;
        file.sync_all()?;
        // SAFETY: the call takes a descriptor that is open and three numbers.
        let failed =
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        anyhow::ensure!(failed == 0, "failed to empty the page cache");
    }
    Ok(())
}

fn profile(store: &dyn Store, end_ns: i64, hours: i64, process: Option<&str>) -> Result<()> {
    let found = store.query(&Query {
        // Not on the hour, so that no roll-up fits the ends.
        range: Range {
            from_ns: end_ns - hours * HOUR_NS + WINDOW_NS / 4,
            to_ns: end_ns - WINDOW_NS / 4,
        },
        matchers: process.into_iter().map(of_process).collect(),
    })?;
    let found = found.context("the store has no such window")?;
    anyhow::ensure!(found.samples().next().is_some(), "the answer is empty");
    Ok(())
}

fn of_process(name: &str) -> Matcher {
    Matcher {
        label: Label::Process,
        value: name.to_owned(),
    }
}

fn timeline(store: &dyn Store, end_ns: i64) -> Result<()> {
    let query = Query {
        range: Range {
            from_ns: end_ns - 24 * HOUR_NS,
            to_ns: end_ns,
        },
        matchers: Vec::new(),
    };
    let of = TimelineOf {
        sample_type: "cpu",
        by: Some(Label::Process),
        step_ns: 24 * HOUR_NS / 500,
    };
    let found = store.timeline(&query, &of)?;
    anyhow::ensure!(!found.rows.is_empty(), "the answer is empty");
    Ok(())
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rendered(of: &Measured) -> String {
    use std::fmt::Write as _;
    let mib = of.bytes as f64 / MIB;
    let samples = f64::from(of.hz) * (of.hours * 3_600) as f64;
    let mut text = format!(
        "{} Hz, {} h: {mib:.1} MiB, {:.2} bytes a sample, {} windows and roll-ups; {:.1} ms to keep a \
         window, {:.1} s to roll all up\n{:<30}{:>10}{:>10}",
        of.hz,
        of.hours,
        of.bytes as f64 / samples,
        of.windows,
        median(&of.append_ms),
        of.tidy_s,
        "",
        "cold, ms",
        "warm, ms"
    );
    for asked in &of.questions {
        let (cold, warm) = (median(&asked.cold_ms), median(&asked.warm_ms));
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{:<30}{cold:>10.0}{warm:>10.0}", asked.question);
    }
    text
}
