//! Time off the CPUs is where programs say that they waited. Run with `--nocapture` to see the tables.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the tables are for whoever looks")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tests::{Ledger, Pprof, Recorded, Workload, alone, record, require_root, timesink, tool};

/// A row of what `waits` prints: a function, how often it waited, and for how long, less what the calls
/// took of the CPU.
struct Truth {
    function: String,
    waits: u64,
    ns: u64,
}

fn truths(stdout: &str) -> Vec<Truth> {
    let row = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        Truth {
            function: words[0].to_owned(),
            waits: number(1),
            ns: number(2) - number(3),
        }
    };
    stdout.lines().map(row).collect()
}

/// How far a number is from the truth, as a part of it.
fn error(number: u64, truth: u64) -> f64 {
    (number as f64 - truth as f64) / truth as f64
}

fn bytes(recorded: &Recorded) -> [u64; 2] {
    [recorded.pprof_path(), recorded.svg_path()].map(|path| fs::metadata(path).unwrap().len())
}

/// The time in each function is what it measured itself, to 1 %, and 99 % of that has a whole stack
/// with all names.
fn assert_times(kind: &str, waits: &Workload) {
    let _alone = alone();
    let recorded = record(&["--off-cpu"], &[waits.path(), "3000"]);
    let profile = recorded.pprof();
    let [pprof, svg] = bytes(&recorded);
    println!("{kind}: pprof {pprof} bytes, SVG {svg} bytes");
    for Truth {
        function,
        waits,
        ns,
    } in truths(&recorded.run.stdout)
    {
        let own = profile.of_function(&function);
        let (away_ns, whole_ns) = (own.away_ns(), own.whole_away_ns());
        let (error, whole) = (error(away_ns, ns), whole_ns as f64 / away_ns as f64);
        println!(
            "{function:14} {waits:5} waits {ns:11} ns, error {:6.3} %, {:7.3} % whole",
            error * 100.0,
            whole * 100.0
        );
        assert!(error.abs() <= 0.01, "{function}: {away_ns} of {ns} ns");
        assert!(whole >= 0.99, "{function}: {whole}: {:?}", own.samples);
    }
}

/// Sleeping, a condition, a pipe, poll, a mutex and the end of a thread, with frame pointers.
#[test]
fn times_are_true_with_frame_pointers() {
    if require_root() {
        assert_times("with frame pointers", &Workload::compile("waits"));
    }
}

/// The same as programs are built for use.
#[test]
fn times_are_true_without_frame_pointers() {
    if require_root() {
        let waits = Workload::without_frame_pointers("waits.c", "waits", &[]);
        assert_times("without frame pointers", &waits);
    }
}

/// A program that waits until the value goes.
struct Blocked(Child);

impl Blocked {
    fn start(workload: &Workload) -> Self {
        let child = Command::new(workload.path()).stdout(Stdio::piped()).spawn();
        let mut blocked = Self(child.unwrap());
        let mut said = String::new();
        let mut stdout = BufReader::new(blocked.0.stdout.as_mut().unwrap());
        stdout.read_line(&mut said).unwrap();
        blocked
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A thread that waits from before the recording until after it has all of its duration, with its
/// stack, marked as begun before and not ended.
#[test]
fn one_long_wait_has_the_whole_duration() {
    if !require_root() {
        return;
    }
    let blocked = Workload::without_frame_pointers("blocked.c", "blocked", &[]);
    let child = Blocked::start(&blocked);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.pb.gz");
    let pid = child.0.id().to_string();
    let options = ["record", "-v", "--off-cpu", "-d", "2s", "-p", &pid, "-o"];
    let run = timesink(&[&options[..], &[path.to_str().unwrap()]].concat());
    drop(child);

    assert!(run.status.success(), "{}", run.stderr);
    let profile = Pprof::read(&path);
    let own = profile.of_function("in_pause");
    assert_eq!(own.samples.len(), 1, "{profile:?}");
    let off = error(own.total("off_cpu"), profile.duration_ns);
    assert!(off.abs() < 0.01, "{off}");
    assert_eq!(own.total("blocks"), 1);
    assert_eq!(own.samples[0].label("interval"), "seeded, open");
    let ledger = Ledger::parse(&run.stderr);
    assert_eq!(ledger.count("wake-ups missed"), 0, "{ledger:?}");
    assert_eq!(own.whole_away_ns(), own.away_ns());
}

/// A thread that goes to sleep on one CPU and wakes on another has slept once, for as long as it says.
#[test]
fn a_wait_across_cpus_counts_once() {
    if !require_root() {
        return;
    }
    let hops = Workload::compile("hops");
    let _alone = alone();
    let recorded = record(&["--off-cpu"], &[hops.path(), "100"]);
    let (hopped, slept_ns) = recorded.run.stdout.trim().split_once(' ').unwrap();
    let (hopped, slept_ns): (u32, u64) = (hopped.parse().unwrap(), slept_ns.parse().unwrap());
    assert!(hopped >= 50, "{hopped}");
    let own = recorded.pprof().of_function("nap");
    let asleep = own.filter(|sample| sample.label("state") == "blocked");
    assert_eq!(asleep.total("blocks"), 100, "{own:?}");
    assert!(
        error(own.away_ns(), slept_ns).abs() <= 0.01,
        "{slept_ns}: {own:?}"
    );
}

/// Two programs that share a CPU lose it to each other, and neither is ever blocked.
#[test]
fn losing_the_cpu_is_not_blocking() {
    if !require_root() {
        return;
    }
    let busy = Workload::compile("busy");
    let _alone = alone();
    let recorded = record(
        &["--off-cpu"],
        &[tool("taskset"), "-c", "0", busy.path(), "3", "2"],
    );
    let work = recorded.pprof().of_function("work");
    let preempted = work.filter(|sample| sample.has("[preempted]"));
    println!("{} of {} ns preempted", preempted.away_ns(), work.away_ns());
    assert_eq!(work.total("off_cpu"), 0, "{work:?}");
    assert_eq!(preempted.away_ns(), work.away_ns());
    // Each of three threads waits two thirds of the time.
    assert!(error(work.total("runnable"), 4_000_000_000).abs() < 0.1);
}

/// A thread that waits in the same function again and again, called from elsewhere or for something
/// else each few times: each wait is where it was, though its stack is known again and not walked.
#[test]
fn waits_are_told_apart_by_where_they_are() {
    if !require_root() {
        return;
    }
    for places in [
        Workload::compile("places"),
        Workload::without_frame_pointers("places.c", "places", &[]),
    ] {
        let options = ["--off-cpu", "--wait-period", "0"];
        let recorded = record(&options, &[places.path(), "5000"]);
        let blocked = recorded
            .pprof()
            .filter(|sample| sample.label("state") == "blocked");
        let mut slept = 0;
        for row in recorded.run.stdout.lines() {
            let [function, cause, waits] = row.split(';').collect::<Vec<_>>()[..] else {
                panic!("{row}");
            };
            let there = blocked.filter(|sample| sample.has(function) && sample.has(cause));
            assert_eq!(
                there.total("blocks"),
                waits.parse::<u64>().unwrap(),
                "{row}"
            );
            assert_eq!(there.whole_away_ns(), there.away_ns(), "{row}");
            slept += there.total("blocks");
        }
        assert!(slept > 4000, "{slept}");
    }
}
