//! One recording by one profiler: start, measure, stop, measure again.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::{
    process::Process,
    profilers::{Profiler, Task},
    stats::{Held, Runs},
    usage::{self, Machine},
};

/// A profiler that does not sample by then never will.
const START_LIMIT: Duration = Duration::from_secs(60);
const START_POLL: Duration = Duration::from_millis(5);
/// What a profiler does in this time after it started to sample counts as its start: perf reads
/// the mappings of all processes then.
const SETTLE: Duration = Duration::from_millis(500);
/// A profiler that goes on sampling for so long after it was asked to stop has not heard.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const STOP_POLL: Duration = Duration::from_millis(1);
/// A program that has not run for this many polls runs no more: it would at each tick of the clock.
const STILL_POLLS: u32 = 100;
const STOP_TRIES: u32 = 3;

/// All that one recording gave.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Run {
    /// From the start of the profiler until it sampled.
    pub(crate) start_s: f64,
    /// The time over which the use of CPUs was measured: from [`SETTLE`] later until the stop.
    pub(crate) recorded_s: f64,
    /// From the stop until the result was there.
    pub(crate) finish_s: f64,
    /// Samples in the result.
    pub(crate) samples: u64,
    /// How often the sampling program ran until the stop.
    pub(crate) sampling_runs: Option<u64>,
    /// How long these runs took.
    pub(crate) sampling_ns: Option<u64>,
    /// How long all runs of all of the profiler's programs took in `recorded_s`.
    pub(crate) programs_ns: Option<u64>,
    /// Kernel memory of its BPF maps.
    pub(crate) map_bytes: u64,
    /// CPU time of its processes until [`SETTLE`] after it sampled.
    pub(crate) start_cpu_ns: u64,
    /// The same in `recorded_s`.
    pub(crate) recording_cpu_ns: u64,
    /// The same from the stop to the result.
    pub(crate) finish_cpu_ns: u64,
    /// Their largest memory until the stop.
    pub(crate) recording_bytes: u64,
    /// Their largest memory until the end.
    pub(crate) peak_bytes: u64,
    /// The size of what the recording left.
    pub(crate) written_bytes: u64,
    /// CPU time that the recorded program got, a second.
    pub(crate) target_cores: Option<f64>,
    /// CPU time that all of the machine used, a second.
    pub(crate) machine_cores: f64,
}

/// What the kernel accounted for until one moment.
#[derive(Debug)]
struct State {
    at: Instant,
    cpu_ns: u64,
    peak_bytes: u64,
    runs: Option<Runs>,
    map_bytes: u64,
    target_cpu_ns: Option<u64>,
    machine: Machine,
}

impl State {
    fn now(pid: u32, target: Option<u32>) -> Result<Self> {
        let held = held(pid);
        Ok(Self {
            at: Instant::now(),
            cpu_ns: usage::tree_cpu_ns(pid)?,
            peak_bytes: usage::tree_peak_bytes(pid),
            runs: held.runs(),
            map_bytes: held.map_bytes(),
            target_cpu_ns: target.map(usage::tree_cpu_ns).transpose()?,
            machine: usage::machine()?,
        })
    }
}

/// Records for some time; `target` is the process whose CPU time tells how much the work got.
///
/// # Errors
/// Where the profiler does not start, fails, or leaves no result; what it said is in the error.
pub(crate) fn record(
    profiler: &dyn Profiler,
    task: &Task<'_>,
    duration: Duration,
    target: Option<u32>,
) -> Result<Run> {
    let recorded = measure(profiler, task, duration, target);
    recorded.with_context(|| {
        let said = fs::read_to_string(task.stderr()).unwrap_or_default();
        format!(
            "failed to record with {}, which said `{}`",
            profiler.name(),
            said.trim()
        )
    })
}

fn measure(
    profiler: &dyn Profiler,
    task: &Task<'_>,
    duration: Duration,
    target: Option<u32>,
) -> Result<Run> {
    let started = Instant::now();
    let mut command = profiler.record(task);
    let process = Process::start(&mut command, &task.stdout(), &task.stderr())?;
    let pid = process.pid();
    wait_until_sampling(pid, profiler.uses_bpf())?;
    let start_s = started.elapsed().as_secs_f64();
    std::thread::sleep(SETTLE);
    let begin = State::now(pid, target)?;
    std::thread::sleep(duration);
    let (stop, asked) = stop(&process, target)?;
    let mut run = between(&begin, &stop);
    run.start_s = start_s;
    finish(profiler, task, process, &stop, &mut run)?;
    run.finish_s = asked.elapsed().as_secs_f64();
    run.samples = profiler.samples(task)?;
    run.written_bytes = fs::metadata(profiler.artefact(task))
        .context("failed to find what the recording left")?
        .len();
    Ok(run)
}

/// A profiler samples once it holds a perf event on each CPU, and its BPF program if it has one.
fn wait_until_sampling(pid: u32, uses_bpf: bool) -> Result<()> {
    let cpus = usage::machine()?.cpus;
    let started = Instant::now();
    while started.elapsed() < START_LIMIT {
        let held = held(pid);
        if held.perf_events >= cpus && (held.runs().is_some() || !uses_bpf) {
            return Ok(());
        }
        if usage::has_ended(pid) {
            bail!("failed to start: it ended at once");
        }
        std::thread::sleep(START_POLL);
    }
    bail!("failed to start: it did not sample within {START_LIMIT:?}")
}

/// Asks the profiler to stop, and gives its state just before it was asked, and when that was.
/// bpftrace 0.17 loses a SIGINT that comes while it is not waiting, and would go on for ever: so
/// one that goes on is asked again.
fn stop(process: &Process, target: Option<u32>) -> Result<(State, Instant)> {
    for _ in 0..STOP_TRIES {
        let state = State::now(process.pid(), target)?;
        let asked = Instant::now();
        process.interrupt()?;
        if is_stopping(process.pid()) {
            return Ok((state, asked));
        }
    }
    bail!("failed to stop: it went on sampling after {STOP_TRIES} SIGINT")
}

/// Whether the profiler ends or its sampling program no longer runs, within [`STOP_LIMIT`].
fn is_stopping(pid: u32) -> bool {
    let sampled = || held(pid).runs().map(|runs| runs.sampling_count);
    let begin = Instant::now();
    let mut before = sampled();
    while begin.elapsed() < STOP_LIMIT {
        for _ in 0..STILL_POLLS {
            if usage::has_ended(pid) {
                return true;
            }
            std::thread::sleep(STOP_POLL);
        }
        let now = sampled();
        if now.is_none() || now == before {
            return true;
        }
        before = now;
    }
    false
}

fn held(pid: u32) -> Held {
    let mut held = Held::default();
    for process in usage::tree(pid) {
        held.add(process);
    }
    held
}

/// What happened between two states.
fn between(begin: &State, stop: &State) -> Run {
    let recorded_s = (stop.at - begin.at).as_secs_f64();
    let programs_before = begin.runs.map_or(0, |runs| runs.all_ns);
    let cores = |before: u64, after: u64| after.saturating_sub(before) as f64 / 1e9 / recorded_s;
    let target = begin.target_cpu_ns.zip(stop.target_cpu_ns);
    Run {
        recorded_s,
        sampling_runs: stop.runs.map(|runs| runs.sampling_count),
        sampling_ns: stop.runs.map(|runs| runs.sampling_ns),
        programs_ns: stop
            .runs
            .map(|runs| runs.all_ns.saturating_sub(programs_before)),
        map_bytes: stop.map_bytes,
        start_cpu_ns: begin.cpu_ns,
        recording_cpu_ns: stop.cpu_ns.saturating_sub(begin.cpu_ns),
        target_cores: target.map(|(before, after)| cores(before, after)),
        machine_cores: cores(begin.machine.busy_ns, stop.machine.busy_ns),
        recording_bytes: stop.peak_bytes,
        ..Run::default()
    }
}

/// Waits for the profiler's end and, where it leaves stacks without names, has them named.
fn finish(
    profiler: &dyn Profiler,
    task: &Task<'_>,
    process: Process,
    stop: &State,
    run: &mut Run,
) -> Result<()> {
    let ended = process.wait()?;
    if !(ended.is_success() || (profiler.dies_of_sigint() && ended.is_interrupted())) {
        bail!("failed to record: it ended with {}", ended.status);
    }
    run.finish_cpu_ns = ended.cpu_ns.saturating_sub(stop.cpu_ns);
    run.peak_bytes = ended.peak_bytes.max(run.recording_bytes);
    if let Some(mut command) = profiler.name_stacks(task) {
        let (stdout, stderr) = (task.folder.join("named"), task.folder.join("naming"));
        let naming = Process::start(&mut command, &stdout, &stderr)?.wait()?;
        if !naming.is_success() {
            let said = fs::read_to_string(&stderr).unwrap_or_default();
            bail!("failed to name the stacks: {}", said.trim());
        }
        run.finish_cpu_ns += naming.cpu_ns;
        run.peak_bytes = run.peak_bytes.max(naming.peak_bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Use of CPUs is a difference; the runs of the sampling program count from the first sample on,
    /// as the samples do.
    #[test]
    fn a_run_is_the_difference_of_two_states() {
        let state = |at, cpu_ns, all_ns, target_cpu_ns, busy_ns| State {
            at,
            cpu_ns,
            peak_bytes: 7,
            runs: Some(Runs {
                sampling_count: 4,
                sampling_ns: 800,
                all_ns,
            }),
            map_bytes: 9,
            target_cpu_ns: Some(target_cpu_ns),
            machine: Machine { cpus: 2, busy_ns },
        };
        let start = Instant::now();
        let begin = state(start, 5_000, 300, 1_000_000_000, 0);
        let later = start + Duration::from_secs(2);
        let stop = state(later, 7_000, 900, 4_000_000_000, 4_000_000_000);
        let run = between(&begin, &stop);
        assert_eq!((run.start_cpu_ns, run.recording_cpu_ns), (5_000, 2_000));
        assert_eq!((run.sampling_runs, run.sampling_ns), (Some(4), Some(800)));
        assert_eq!(run.programs_ns, Some(600));
        assert_eq!((run.recording_bytes, run.map_bytes), (7, 9));
        assert_eq!((run.target_cores, run.machine_cores), (Some(1.5), 2.0));
    }
}
