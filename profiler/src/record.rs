//! One recording: start the command, collect until something stops it, account.

use std::{
    future::pending,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, SystemTime},
};

use abi::{config::target, reasons::Counters};
use anyhow::{Context, Result};

use crate::{
    account::EventAccount,
    cli::RecordArgs,
    collected::{Bounds, Collected},
    command::{Running, Waiting},
    limits::{Descriptors, keep_freed_memory},
    report::{Report, Signals},
    sampling::Sampling,
    schedstat::{self, Schedstats},
    session::{Detail, Session},
    tables::TableCounts,
    targets::{Targets, target_of},
    watching::Waits,
    worker::Workers,
};

/// Within this time of a signal that went to the command too, it reaches the recorder.
const SAME_MOMENT: Duration = Duration::from_millis(50);

/// What a recording gave.
#[derive(Debug)]
pub struct Recorded {
    /// All that the kernel sent.
    pub collected: Collected,
    /// What became of the samples of each event.
    pub events: Vec<(Sampling, EventAccount)>,
    /// The counters of the programs that follow processes.
    pub processes: Counters,
    /// What became of unwind tables.
    pub tables: TableCounts,
    /// What the programs at the scheduler told, where waits were recorded.
    pub waits: Option<Waits>,
    /// What the scheduler says of threads, where that was to be compared.
    pub schedstats: Option<Schedstats>,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Why it ended.
    pub stop: Stop,
    /// Who reads the files that stacks name.
    pub workers: Arc<Workers>,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The time was over.
    Time,
    /// A signal asked for it.
    Asked,
    /// The command ended, with this status.
    CommandEnded(ExitStatus),
    /// The last of the processes and threads ended.
    TargetsEnded,
}

/// Records as asked.
///
/// # Errors
/// Where a target is not there, an event cannot be counted, or the kernel refuses what it needs.
pub async fn record(
    args: &RecordArgs,
    signals: &mut Signals,
    report: &mut Report,
) -> Result<Recorded> {
    let limit = Descriptors::raise();
    let targets = Targets::find(args)?;
    let samplings = Sampling::plan(args)?;
    report.preparing();
    let how = (Detail::default(), Bounds::default());
    let mut session = Session::attach(args, &targets, samplings, how, report)?;
    let waiting = match args.command.as_slice() {
        [] => None,
        words => Some(Waiting::start(words, limit)?),
    };
    let compares = args.waits() && args.verbose;
    let threads_before = compares.then(schedstat::of_all);
    session.begin()?;
    // From now on, whatever is done before it is waited for.
    let time = tokio::time::sleep(args.duration.unwrap_or(Duration::MAX));
    // Not before: until it begins, the command is a thread of this program that waits.
    if let Some(waiting) = &waiting {
        session.add_target(waiting.pid, target_of(target::PROCESS))?;
    }
    report.recording(&session.describe());
    let mut command = waiting.map(Waiting::go).transpose()?;
    let stop = {
        let stopped = stopped(time, signals, &targets, command.as_mut());
        session.collect(stopped, report).await?
    };
    let stopped = session.stop()?;
    keep_freed_memory();
    let schedstats = threads_before.map(|before| Schedstats {
        before,
        after: schedstat::of_all(),
    });
    Ok(Recorded {
        schedstats,
        stop,
        ..session.end(stopped)?
    })
}

/// Resolves when the recording is to end.
async fn stopped(
    time: impl Future<Output = ()>,
    signals: &mut Signals,
    targets: &Targets,
    command: Option<&mut Running>,
) -> Result<Stop> {
    let is_command = command.is_some();
    let command_ended = async {
        match command {
            Some(command) => command.ended().await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = time => Ok(Stop::Time),
        _ = signals.next() => Ok(Stop::Asked),
        status = command_ended => {
            let status = status.context("failed to wait for the command")?;
            Ok(match asked_too(status, signals).await {
                true => Stop::Asked,
                false => Stop::CommandEnded(status),
            })
        }
        ended = targets.ended(), if !is_command => ended.map(|()| Stop::TargetsEnded),
    }
}

/// Whether a command that died of a signal died of one that asks the recorder for the end: Ctrl-C on a
/// terminal goes to both, and the command may be gone before the recorder is told.
async fn asked_too(status: ExitStatus, signals: &mut Signals) -> bool {
    let asks = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].map(Some);
    asks.contains(&status.signal())
        && tokio::time::timeout(SAME_MOMENT, signals.next())
            .await
            .is_ok()
}
