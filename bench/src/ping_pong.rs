//! What recording waits costs those who wait: two processes on one CPU that wait for each other as
//! often as they can, alone and while each recorder watches them, one after another in rounds.
//!
//! The cost is CPU time of the two processes for each round trip. Programs at the scheduler run on
//! their account, and what else runs on the CPU does not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    figures::Summary,
    process::Process,
    scenario::Scenario,
    table, usage,
    workload::{self, Build},
};

/// A recorder watches the processes by then.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// What happens in this time after a recorder said that it records is its start.
const SETTLE: Duration = Duration::from_secs(1);
/// bpftrace 0.17 loses a SIGINT that comes while it is not waiting.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const STOP_TRIES: u32 = 3;
/// Where tracepoints have no names, bpftrace gets a mount of its own that shows them.
const WITH_TRACEFS: &str =
    "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec bpftrace -e \"$1\"";
/// Time stamps alone: the least that a recorder of waits can do.
const STAMPS: &str = r#"tracepoint:sched:sched_switch {
    if (comm == "pingpong") { @left[tid] = nsecs; }
    if (@left[args->next_pid]) {
        @off[args->next_pid] = sum(nsecs - @left[args->next_pid]);
        delete(@left[args->next_pid]);
    }
}"#;
/// Time off the CPU by both stacks and the thread's name, as timesink counts it.
const STACKS: &str = r#"tracepoint:sched:sched_switch {
    if (comm == "pingpong") {
        @left[tid] = nsecs;
        @user[tid] = ustack(127);
        @kernel[tid] = kstack(127);
    }
    if (@left[args->next_pid]) {
        @off[@user[args->next_pid], @kernel[args->next_pid], args->next_comm] =
            sum(nsecs - @left[args->next_pid]);
        delete(@left[args->next_pid]);
    }
}"#;

/// How the processes are watched.
#[derive(Clone, Copy, Debug)]
enum Watch {
    Not,
    Timesink(&'static [&'static str]),
    Bpftrace(&'static str),
}

const WAYS: &[(&str, Watch)] = &[
    ("alone", Watch::Not),
    (
        "timesink, every stack",
        Watch::Timesink(&["--off-cpu", "--wait-period", "0"]),
    ),
    (
        "timesink, one stack per 1 ms",
        Watch::Timesink(&["--off-cpu", "--wait-period", "1ms"]),
    ),
    ("bpftrace, time stamps", Watch::Bpftrace(STAMPS)),
    ("bpftrace, every stack", Watch::Bpftrace(STACKS)),
];

/// CPU time of each round trip in nanoseconds, by way and round.
pub(crate) type Trips = Vec<(String, Vec<f64>)>;

/// Measures each way once in each round, on the same running processes.
///
/// # Errors
/// Where the processes or a recorder do not start, or do not end.
pub(crate) fn measure(scenario: &Scenario, timesink: &Path, folder: &Path) -> Result<Trips> {
    let running = PingPong::start(folder)?;
    let has_bpftrace = Command::new("bpftrace").arg("--version").output().is_ok();
    let ways = WAYS
        .iter()
        .filter(|(_, watch)| has_bpftrace || !matches!(watch, Watch::Bpftrace(_)));
    let mut trips: Trips = ways
        .clone()
        .map(|(name, _)| ((*name).to_owned(), Vec::new()))
        .collect();
    for _ in 0..scenario.rounds {
        for ((name, watch), (_, values)) in ways.clone().zip(&mut trips) {
            let recorder = Recorder::start(*watch, timesink, running.process.pid(), folder)
                .with_context(|| format!("failed to record with {name}"))?;
            values.push(running.trip_ns(scenario.duration)?);
            recorder
                .stop()
                .with_context(|| format!("failed to stop {name}"))?;
        }
    }
    Ok(trips)
}

/// The two processes; they end with the value.
#[derive(Debug)]
struct PingPong {
    process: Process,
    counter: PathBuf,
}

impl PingPong {
    fn start(folder: &Path) -> Result<Self> {
        let binary = workload::compile("pingpong", Build::default(), folder)?;
        let counter = folder.join("trips");
        let said = folder.join("pingpong-said");
        let process = Process::start(Command::new(binary).arg(&counter), &said, &said)?;
        std::thread::sleep(SETTLE);
        Ok(Self { process, counter })
    }

    /// Round trips so far, and the CPU time of both processes.
    fn state(&self) -> Result<(u64, u64)> {
        let bytes = fs::read(&self.counter).context("failed to read the number of round trips")?;
        let trips = bytes.first_chunk().copied().map(u64::from_ne_bytes);
        let trips = trips.context("the processes do not count round trips")?;
        Ok((trips, usage::tree_cpu_ns(self.process.pid())?))
    }

    fn trip_ns(&self, duration: Duration) -> Result<f64> {
        let (trips_before, cpu_before) = self.state()?;
        std::thread::sleep(duration);
        let (trips, cpu) = self.state()?;
        if trips == trips_before {
            bail!("the processes make no round trips");
        }
        Ok((cpu - cpu_before) as f64 / (trips - trips_before) as f64)
    }
}

/// What watches the processes, if anything does.
#[derive(Debug)]
struct Recorder(Option<Process>);

impl Recorder {
    fn start(watch: Watch, timesink: &Path, pid: u32, folder: &Path) -> Result<Self> {
        let said = folder.join("recorder-said");
        let (mut command, ready) = match watch {
            Watch::Not => return Ok(Self(None)),
            Watch::Timesink(options) => {
                let mut command = Command::new(timesink);
                command.args(["record", "-v", "-p", &pid.to_string()]);
                command.args(options).arg("-o").arg(folder.join("out.svg"));
                (command, "timesink: recording")
            }
            Watch::Bpftrace(program) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", WITH_TRACEFS, "sh", program]);
                (command, "Attaching")
            }
        };
        let process = Process::start(&mut command, &said, &folder.join("recorder-errors"))?;
        let text = || {
            let files = [said.clone(), folder.join("recorder-errors")];
            files.map(|file| fs::read_to_string(file).unwrap_or_default())
        };
        let started = Instant::now();
        while !text().iter().any(|text| text.contains(ready)) {
            if usage::has_ended(process.pid()) || started.elapsed() > START_LIMIT {
                bail!("it does not record: {}", text().concat().trim());
            }
            std::thread::sleep(POLL);
        }
        std::thread::sleep(SETTLE);
        Ok(Self(Some(process)))
    }

    fn stop(self) -> Result<()> {
        let Some(process) = self.0 else {
            return Ok(());
        };
        for _ in 0..STOP_TRIES {
            process.interrupt()?;
            let asked = Instant::now();
            while asked.elapsed() < STOP_LIMIT {
                if usage::has_ended(process.pid()) {
                    let ended = process.wait()?;
                    if !ended.is_success() {
                        bail!("it ended with {}", ended.status);
                    }
                    return Ok(());
                }
                std::thread::sleep(POLL);
            }
        }
        bail!("it goes on after {STOP_TRIES} SIGINT")
    }
}

/// The table: the time of a round trip, and how many times that is what it is alone.
pub(crate) fn render(trips: &Trips) -> String {
    let summaries: Vec<_> = trips
        .iter()
        .map(|(name, values)| (name, Summary::new(values.clone())))
        .collect();
    let alone = summaries.first().and_then(|(_, summary)| *summary);
    let mut rows = vec![
        ["", "ns per round trip", "ratio"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(summaries.iter().map(|(name, summary)| {
        vec![
            (*name).clone(),
            table::cell(*summary, 0),
            table::ratio(*summary, alone),
        ]
    }));
    table::align(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each way is held against the first.
    #[test]
    fn ratios_are_to_the_processes_alone() {
        let trips = vec![
            ("alone".to_owned(), vec![100.0, 90.0, 110.0]),
            ("watched".to_owned(), vec![150.0]),
        ];
        let table = render(&trips);
        let line = |number: usize| {
            let line = table.lines().nth(number).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line(1), "alone 100 (90–110) 1.00");
        assert_eq!(line(2), "watched 150 1.50");
    }
}
