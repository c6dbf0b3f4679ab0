//! What an agent tells of itself: counts of what it did and lost, and what it used.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use output::{
    Cause, Counters, Exporter, Ledger, RowKind,
    web::{Live, Metric, MetricKind},
};
use tokio::sync::mpsc::UnboundedSender;

use super::memory::Memory;

/// How long who asks for a window waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// A window that is later than this many lengths is missing.
const LATE_WINDOWS: u32 = 3;

/// Tells that a window was kept, or why not.
pub type Kept = std::sync::mpsc::Sender<Result<(), String>>;

/// What an agent used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// CPU time of the agent and of the readers that have ended.
    pub own: Duration,
    /// CPU time of its programs in the kernel.
    pub kernel: Duration,
}

impl Used {
    /// Both.
    #[must_use]
    pub fn all(self) -> Duration {
        self.own + self.kernel
    }
}

#[derive(Debug)]
struct Counts {
    windows: u64,
    samples: u64,
    lost: BTreeMap<String, u64>,
    dropped: BTreeMap<&'static str, u64>,
    sessions: u64,
    changes: u64,
    rate_hz: u64,
    used: Used,
    last_kept: Instant,
    failure: Option<String>,
}

/// The health of an agent.
#[derive(Debug)]
pub struct Health {
    counts: Mutex<Counts>,
    /// Asks for the end of the window that goes on.
    close: UnboundedSender<Kept>,
    window: Duration,
    exporter: Option<Arc<Exporter>>,
}

impl Health {
    /// Of an agent that begins.
    #[must_use]
    pub fn new(
        window: Duration,
        close: UnboundedSender<Kept>,
        exporter: Option<Arc<Exporter>>,
    ) -> Self {
        let counts = Counts {
            windows: 0,
            samples: 0,
            lost: BTreeMap::new(),
            dropped: BTreeMap::new(),
            sessions: 0,
            changes: 0,
            rate_hz: 0,
            used: Used::default(),
            last_kept: Instant::now(),
            failure: None,
        };
        Self {
            counts: Mutex::new(counts),
            close,
            window,
            exporter,
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A window has its names, and this account.
    pub fn named(&self, ledger: &Ledger) {
        let mut counts = self.counts();
        for row in ledger.rows() {
            match row.kind {
                RowKind::Got => counts.samples += row.count,
                RowKind::Lost => *counts.lost.entry(row.name.clone()).or_default() += row.count,
                RowKind::Expected | RowKind::Elsewhere | RowKind::Note => {}
            }
        }
    }

    /// A window is in the store.
    pub fn kept(&self) {
        let mut counts = self.counts();
        counts.windows += 1;
        counts.last_kept = Instant::now();
        counts.failure = None;
    }

    /// The store did not take a window, which is tried again.
    pub fn failed(&self, why: &str) {
        self.counts().failure = Some(why.to_owned());
    }

    /// A window is lost.
    pub fn dropped(&self, cause: &'static str) {
        *self.counts().dropped.entry(cause).or_default() += 1;
    }

    /// All was attached anew.
    pub fn attached(&self) {
        self.counts().sessions += 1;
    }

    /// Samples are taken at this rate from now on.
    pub fn rate(&self, hz: u64) {
        self.counts().rate_hz = hz;
    }

    /// Something was changed for the budget.
    pub fn changed(&self) {
        self.counts().changes += 1;
    }

    /// What was used so far.
    pub fn used(&self, used: Used) {
        self.counts().used = used;
    }
}

impl Live for Health {
    fn metrics(&self) -> Vec<Metric> {
        let counts = self.counts();
        let mut metrics = vec![
            counter(
                "timesink_windows_total",
                "Windows in the store.",
                counts.windows as f64,
            ),
            counter(
                "timesink_samples_total",
                "Samples and waits in windows.",
                counts.samples as f64,
            ),
            counter(
                "timesink_sessions_total",
                "How often everything was attached.",
                counts.sessions as f64,
            ),
            counter(
                "timesink_budget_changes_total",
                "How often rate or memory were changed for the budget.",
                counts.changes as f64,
            ),
            gauge(
                "timesink_rate_hertz",
                "Samples a second on each CPU.",
                counts.rate_hz as f64,
            ),
        ];
        for (of, time) in [("agent", counts.used.own), ("kernel", counts.used.kernel)] {
            let help = "CPU time, by where it was used.";
            let metric = counter("timesink_cpu_seconds_total", help, time.as_secs_f64());
            metrics.push(labelled(metric, "of", of));
        }
        for (cause, count) in &counts.lost {
            let help = "Samples and waits that were lost, by cause.";
            let metric = counter("timesink_lost_total", help, *count as f64);
            metrics.push(labelled(metric, "cause", cause));
        }
        for (cause, count) in &counts.dropped {
            let help = "Windows that were lost, by cause.";
            let metric = counter("timesink_windows_dropped_total", help, *count as f64);
            metrics.push(labelled(metric, "cause", cause));
        }
        drop(counts);
        let memory = Memory::now();
        for (of, bytes) in [
            ("agent", memory.agent),
            ("readers", memory.readers),
            ("kernel", memory.kernel),
        ] {
            let metric = gauge(
                "timesink_memory_bytes",
                "Memory, by where it is.",
                bytes as f64,
            );
            metrics.push(labelled(metric, "of", of));
        }
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        metrics.push(gauge(
            "timesink_open_files",
            "Open descriptors.",
            open as f64,
        ));
        let exporter = self.exporter.iter();
        metrics.extend(
            exporter
                .flat_map(|exporter| exporter.counters())
                .flat_map(of_export),
        );
        metrics
    }

    fn close_window(&self) -> Result<(), String> {
        let (kept, answer) = std::sync::mpsc::channel();
        let closed = self.close.send(kept);
        closed.map_err(|_ended| "the agent is about to end".to_owned())?;
        match answer.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(_late_or_gone) => Err("the window was not kept in time".to_owned()),
        }
    }

    fn health(&self) -> Result<(), String> {
        let counts = self.counts();
        let late = counts.last_kept.elapsed() > self.window * LATE_WINDOWS + PATIENCE;
        match &counts.failure {
            Some(failure) => Err(failure.clone()),
            None if late => Err("no window has come for a long time".to_owned()),
            None => Ok(()),
        }
    }
}

fn of_export(counters: Counters) -> Vec<Metric> {
    let sink = &counters.sink;
    let of = |metric| labelled(metric, "to", sink);
    let mut metrics = vec![
        of(counter(
            "timesink_export_sent_total",
            "Windows that a server took.",
            counters.sent as f64,
        )),
        of(counter(
            "timesink_export_retried_total",
            "Tries that failed for the time being.",
            counters.retried as f64,
        )),
        of(gauge(
            "timesink_export_spool_bytes",
            "Bytes that wait for a server.",
            counters.spooled_bytes as f64,
        )),
    ];
    for cause in Cause::ALL {
        let help = "Windows that a server did not get, by cause.";
        let count = counters.dropped_by(cause) as f64;
        let metric = of(counter("timesink_export_dropped_total", help, count));
        metrics.push(labelled(metric, "cause", cause.name()));
    }
    metrics
}

fn counter(name: &'static str, help: &'static str, value: f64) -> Metric {
    Metric {
        name,
        help,
        kind: MetricKind::Counter,
        labels: Vec::new(),
        value,
    }
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Metric {
    Metric {
        kind: MetricKind::Gauge,
        ..counter(name, help, value)
    }
}

fn labelled(mut metric: Metric, label: &'static str, value: &str) -> Metric {
    metric.labels.push((label, value.to_owned()));
    metric
}
