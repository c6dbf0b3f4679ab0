//! Whether the times of all threads add up, to what the scheduler and the clock say, whatever is lost
//! and however few stacks are taken. Run with `--nocapture` to see how far they are apart.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the figures are for whoever looks")]

use std::{thread, time::Duration};

use tests::{
    Ledger, Pprof, Recorded, ThreadRow, Workload, alone, record, record_while, require_root,
};

/// What a thread of `mixed` had, by the scheduler's and the clock's account, in nanoseconds.
struct Life {
    tid: String,
    on_ns: u64,
    queued_ns: u64,
    wall_ns: u64,
}

fn lives(stdout: &str) -> Vec<Life> {
    let life = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let number = |index: usize| words[index].parse().unwrap();
        Life {
            tid: words[0].to_owned(),
            on_ns: number(1),
            queued_ns: number(2),
            wall_ns: number(3),
        }
    };
    stdout.lines().map(life).collect()
}

/// How far a number is from the truth, as a part of a whole.
fn error(number: u64, truth: u64, whole: u64) -> f64 {
    (number as f64 - truth as f64) / whole as f64
}

fn largest(errors: impl Iterator<Item = f64>) -> f64 {
    errors.map(f64::abs).fold(0.0, f64::max)
}

/// Of 200 threads on two CPUs, that move between them and belong to four processes, each has all of its
/// time: what timesink saw of it away from the CPUs and the scheduler of it on them is what the clock
/// says, to 0.5 %, and what it waited for a CPU is the scheduler's figure, to 2 %.
#[test]
fn all_time_of_each_thread_is_there() {
    if !require_root() {
        return;
    }
    let mixed = Workload::without_frame_pointers("mixed.c", "mixed", &[]);
    let _alone = alone();
    let recorded = record(&["--off-cpu"], &[mixed.path(), "4000"]);
    let (profile, lives) = (recorded.pprof(), lives(&recorded.run.stdout));
    assert_eq!(lives.len(), 200);
    let own = |life: &Life| profile.filter(|sample| sample.label("tid") == life.tid);
    let seen: Vec<(Life, Pprof)> = lives
        .into_iter()
        .map(|life| (own(&life), life))
        .map(|(own, life)| (life, own))
        .collect();
    let wall = largest(
        seen.iter()
            .map(|(life, own)| error(own.away_ns() + life.on_ns, life.wall_ns, life.wall_ns)),
    );
    // What is queued for a moment only is compared in parts of 20 ms.
    let queued = largest(seen.iter().map(|(life, own)| {
        error(
            own.total("runnable"),
            life.queued_ns,
            life.queued_ns.max(20_000_000),
        )
    }));
    let residual_ns = recorded.ledger().count("largest residual");
    println!(
        "wall {:.3} %, run queue {:.3} %, residual {residual_ns} ns",
        wall * 100.0,
        queued * 100.0
    );
    assert!(wall <= 0.005, "{wall}");
    assert!(queued <= 0.02, "{queued}");
    assert!(residual_ns <= 20_000_000, "{residual_ns}");
    for row in ThreadRow::parse(&recorded.run.stderr) {
        assert!(row.residual_ms.abs() <= row.wall_ms * 0.005, "{row:?}");
    }
}

/// Records two seconds of a few threads that wait.
fn waits(options: &[&str]) -> (Recorded, Ledger) {
    let waits = Workload::without_frame_pointers("waits.c", "waits", &[]);
    let _alone = alone();
    let recorded = record(&[&["--off-cpu"], options].concat(), &[waits.path(), "2000"]);
    let ledger = recorded.ledger();
    (recorded, ledger)
}

/// The time away of all threads, in nanoseconds: each counts all of its own.
fn away_of_threads(recorded: &Recorded) -> u64 {
    let rows = ThreadRow::parse(&recorded.run.stderr);
    let ms: f64 = rows.iter().map(ThreadRow::away_ms).sum();
    (ms * 1e6) as u64
}

/// All stacks together have the time of all threads together.
fn assert_whole_sum(recorded: &Recorded) {
    let (sum, truth) = (recorded.pprof().away_ns(), away_of_threads(recorded));
    assert!(error(sum, truth, truth).abs() < 1e-4, "{sum} of {truth}");
    assert_eq!(recorded.folded().total(), sum);
}

/// With room for one wait in the kernel's map the rest is shown as lost, with its time.
#[test]
fn a_tiny_map_loses_stacks_and_no_time() {
    if require_root() {
        let (recorded, ledger) = waits(&["--count-entries", "1"]);
        assert_ne!(ledger.count("count map full (waits)"), 0, "{ledger:?}");
        let lost = recorded.pprof().of_function("[lost: count map full]");
        assert_ne!(lost.away_ns(), 0);
        assert_whole_sum(&recorded);
    }
}

/// A ring that holds a few stacks, which nobody empties for a second, makes the ledger change, and not
/// the sum.
#[test]
fn a_tiny_ring_loses_stacks_and_no_time() {
    if require_root() {
        let waits = Workload::without_frame_pointers("waits.c", "waits", &[]);
        let _alone = alone();
        let options = ["--off-cpu", "--ring-bytes", "4096", "--wakers"];
        // The recorder is stopped once it has started the command, and before that has many stacks.
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().join("started");
        let script = format!(
            ": >{}; sleep 0.5; exec {} 2000",
            started.display(),
            waits.path()
        );
        let recorded = record_while(&options, &["sh", "-c", &script], |timesink| {
            while !started.exists() {
                thread::sleep(Duration::from_millis(1));
            }
            timesink.signal(libc::SIGSTOP);
            thread::sleep(Duration::from_secs(1));
            timesink.signal(libc::SIGCONT);
        });
        let ledger = recorded.ledger();
        let lost = ["stack not sent (waits)", "stack sending delayed"];
        assert_ne!(ledger.sum(&lost), 0, "{ledger:?}");
        assert_whole_sum(&recorded);
    }
}

/// Waits shorter than a time are there without a stack, and those that are longer have theirs.
#[test]
fn short_waits_have_no_stack() {
    if require_root() {
        let (recorded, _) = waits(&["--min-block", "6ms"]);
        assert_whole_sum(&recorded);
        let profile = recorded.pprof();
        let short = profile.of_function("[shorter than --min-block]");
        assert_ne!(short.total("blocks"), 0);
        assert_ne!(profile.of_function("in_nanosleep").total("blocks"), 0);
        // The mutex is held for 4 ms, and longer only where something else has the CPU.
        let long = profile.of_function("in_mutex").total("blocks");
        assert!(long < 50, "{long}");
    }
}

/// The standard error of the sum that timesink states, as a part of it.
fn stated_error(stderr: &str) -> f64 {
    let (_, rest) = stderr
        .split_once("the standard error of the sum is ")
        .unwrap();
    let percent: f64 = rest.split_once(" %").unwrap().0.parse().unwrap();
    percent / 100.0
}

/// Where the stacks of a part of the waits are taken, their sum is within the stated error of what all
/// threads counted: within four times that, which chance exceeds once in 15,000 times.
#[test]
fn estimates_are_as_exact_as_stated() {
    if !require_root() {
        return;
    }
    let handed = Workload::without_frame_pointers("handed.c", "handed", &[]);
    let _alone = alone();
    for period in ["2ms", "10ms"] {
        let options = ["--off-cpu", "--wait-period", period];
        let recorded = record(&options, &[handed.path(), "threads", "2000", "1"]);
        let (sum, truth) = (recorded.pprof().away_ns(), away_of_threads(&recorded));
        let stated = stated_error(&recorded.run.stderr);
        let error = error(sum, truth, truth);
        println!(
            "{period}: {:.2} % off, stated {:.2} %",
            error * 100.0,
            stated * 100.0
        );
        assert!(stated > 0.001 && stated < 0.1, "{stated}");
        assert!(error.abs() <= 4.0 * stated, "{error} and {stated}");
        assert_ne!(
            recorded
                .pprof()
                .of_function("consume_by_condition")
                .away_ns(),
            0
        );
    }
}
