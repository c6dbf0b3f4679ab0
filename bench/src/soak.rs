//! The agent for a long time, among processes that come and go by the hundred, a library that is loaded
//! and unloaded without an end, and busy threads: whether anything grows, what it costs, and whether any
//! time is missing from its store.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use output::{Query, Range, RowKind, TimelineOf};
use serde::Serialize;

use crate::{
    process::Process,
    scenario::{Load, Scenario},
    stats::Held,
    usage::{tree_cpu_ns, tree_private_bytes},
    workload::{self, Build, Running},
};

/// How many looks are taken.
const LOOKS: u32 = 60;
/// How often memory is looked at.
const PEAK_POLL: Duration = Duration::from_secs(2);
/// The budget that the agent has to keep.
const BUDGET: &str = "cpu=6%,memory=256M";
/// A library that the load is not linked with.
const LIBRARY: &str = "libm.so.6";
const MIB: f64 = (1 << 20) as f64;

/// What the agent had at the end of one part of the time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Minute {
    seconds: f64,
    /// Of one CPU, in percent: the agent and its readers.
    cpu_percent: f64,
    /// The same of its programs in the kernel.
    kernel_percent: f64,
    /// Of the agent and its readers, without pages of files.
    private_bytes: u64,
    /// Of BPF maps.
    map_bytes: u64,
    /// The most of both together that was seen.
    peak_bytes: u64,
    open_files: usize,
    store_bytes: u64,
}

/// Runs it.
///
/// # Errors
/// Where a part of it cannot be started, or the agent ends before it is told to.
pub(crate) fn measure(
    scenario: &Scenario,
    timesink: &Path,
    folder: &Path,
    mut show: impl FnMut(&str),
) -> Result<Vec<Minute>> {
    let _load = load(folder)?;
    let store = folder.join("soak");
    let mut command = Command::new(timesink);
    command.args(["agent", "--no-listen", "--off-cpu", "--rate"]);
    command
        .arg(scenario.hz.to_string())
        .args(["--budget", BUDGET]);
    command.arg("--store").arg(&store);
    command.arg("--spool").arg(folder.join("spool"));
    let stderr = folder.join("soak.err");
    let agent = Process::start(&mut command, &folder.join("soak.out"), &stderr)?;
    show(&format!(
        "{:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>6} {:>9}",
        "minutes", "CPU %", "BPF %", "own MiB", "maps MiB", "peak MiB", "files", "store MiB"
    ));
    let mut looks = Vec::new();
    let mut last = Look::at(agent.pid())?;
    for _ in 0..LOOKS {
        let peak_bytes = peak_within(scenario.duration / LOOKS, agent.pid());
        let look = Look::at(agent.pid()).context("the agent has ended")?;
        let mut minute = look.since(&last, looks.last(), &store);
        minute.peak_bytes = peak_bytes.max(look.private_bytes + look.map_bytes);
        show(&row(&minute));
        looks.push(minute);
        last = look;
    }
    agent.interrupt()?;
    let ended = agent.wait()?;
    let said = fs::read_to_string(&stderr).unwrap_or_default();
    if !ended.is_success() {
        bail!("the agent failed: {said}");
    }
    for line in said.lines() {
        show(&format!("the agent said: {line}"));
    }
    show(&account(&store)?);
    Ok(looks)
}

/// Waits, and tells the most memory that the agent had meanwhile.
fn peak_within(time: Duration, pid: u32) -> u64 {
    let until = Instant::now() + time;
    let mut peak = 0;
    while Instant::now() < until {
        thread::sleep(PEAK_POLL.min(time));
        let mut held = Held::default();
        held.add(pid);
        peak = peak.max(tree_private_bytes(pid) + held.map_bytes());
    }
    peak
}

/// Two busy threads, children of milliseconds, and a library in a loop.
fn load(folder: &Path) -> Result<Running> {
    let build = Build::default();
    let chains = workload::compile("chains", build, folder)?;
    let storm = workload::compile("storm", build, folder)?;
    let mut running = Running::start(Load::Chains, &chains)?;
    running.add(Command::new(&storm).arg("fork"))?;
    running.add(Command::new(&storm).args(["dlopen", LIBRARY]))?;
    Ok(running)
}

/// What the agent had at a moment.
struct Look {
    at: Instant,
    cpu_ns: u64,
    kernel_ns: u64,
    map_bytes: u64,
    private_bytes: u64,
    open_files: usize,
}

impl Look {
    fn at(pid: u32) -> Result<Self> {
        let mut held = Held::default();
        held.add(pid);
        Ok(Self {
            at: Instant::now(),
            cpu_ns: tree_cpu_ns(pid)?,
            kernel_ns: held.runs().unwrap_or_default().all_ns,
            map_bytes: held.map_bytes(),
            private_bytes: tree_private_bytes(pid),
            open_files: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }

    fn since(&self, last: &Self, before: Option<&Minute>, store: &Path) -> Minute {
        let elapsed = self.at.duration_since(last.at);
        let percent = |now: u64, then: u64| {
            let used = Duration::from_nanos(now.saturating_sub(then));
            100.0 * used.as_secs_f64() / elapsed.as_secs_f64()
        };
        Minute {
            seconds: before.map_or(0.0, |before| before.seconds) + elapsed.as_secs_f64(),
            cpu_percent: percent(self.cpu_ns, last.cpu_ns),
            kernel_percent: percent(self.kernel_ns, last.kernel_ns),
            private_bytes: self.private_bytes,
            map_bytes: self.map_bytes,
            peak_bytes: 0,
            open_files: self.open_files,
            store_bytes: bytes_in(store),
        }
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| entry.metadata().ok());
    files.map(|file| file.len()).sum()
}

fn row(minute: &Minute) -> String {
    format!(
        "{:>7.1} {:>7.2} {:>7.2} {:>8.1} {:>8.1} {:>8.1} {:>6} {:>9.1}",
        minute.seconds / 60.0,
        minute.cpu_percent,
        minute.kernel_percent,
        minute.private_bytes as f64 / MIB,
        minute.map_bytes as f64 / MIB,
        minute.peak_bytes as f64 / MIB,
        minute.open_files,
        minute.store_bytes as f64 / MIB,
    )
}

/// What the store has of all the time: the windows, the time between them, and the ledger.
fn account(store: &Path) -> Result<String> {
    let path = store.to_str().context("the folder's name is no text")?;
    let store = output::open(path)?;
    let kept = store.kept()?;
    let (from, to) = kept
        .oldest_ns
        .zip(kept.newest_ns)
        .context("no window was kept")?;
    let query = Query {
        range: Range {
            from_ns: from,
            to_ns: to,
        },
        matchers: Vec::new(),
    };
    let timeline = store.timeline(
        &query,
        &TimelineOf {
            sample_type: "wall",
            by: None,
            step_ns: query.range.len_ns().max(1),
        },
    )?;
    let covered: i64 = timeline.covered.iter().map(|part| part.len_ns()).sum();
    let gaps_ms = (query.range.len_ns() - covered) as f64 / 1e6;
    let profile = store.query(&query)?.context("no window was kept")?;
    let sum = |kind: RowKind| -> u64 {
        let rows = profile.ledger.rows().iter();
        rows.filter(|row| row.kind == kind)
            .map(|row| row.count)
            .sum()
    };
    let rows = profile.ledger.rows().iter();
    let waits: u64 = rows
        .filter(|row| row.name == "waits")
        .map(|row| row.count)
        .sum();
    let (expected, got) = (sum(RowKind::Expected), sum(RowKind::Got) - waits);
    let (elsewhere, lost) = (sum(RowKind::Elsewhere), sum(RowKind::Lost));
    Ok(format!(
        "{} windows over {:.1} s, {gaps_ms:.1} ms between them\n\
         samples: {expected} expected, {got} got, {elsewhere} elsewhere, {lost} lost (with waits); \
         {} not accounted for\n{waits} waits; {}",
        kept.windows,
        query.range.len_ns() as f64 / 1e9,
        expected as i64 - (got + elsewhere + lost) as i64,
        profile.ledger.loss().unwrap_or_else(|| "0 lost".to_owned()),
    ))
}
