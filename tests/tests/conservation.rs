//! Whether every tick of the clock is in the profile or in the ledger, held against the CPU time
//! that the kernel's scheduler gives for the same programs.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use abi::reasons::Outcome;
use tests::{
    Ledger, Recorded, Workload, alone, online_cpus, record, require_root, stolen_ns, tool,
};

/// How many samples a program should have.
#[derive(Debug)]
struct Truth {
    samples: u64,
    /// So many more it may have: a tick that comes late because the host keeps the CPU is whose it
    /// interrupts, and CPU time leaves out what the host keeps.
    stolen: u64,
}

impl Truth {
    /// Of a program that says in ns how long it ran.
    fn of(recorded: &Recorded, stolen_ns: u64, hz: u64) -> Self {
        let nanoseconds: u64 = recorded.run.stdout.trim().parse().unwrap();
        let samples = |nanoseconds: u64| nanoseconds * hz / 1_000_000_000;
        Self {
            samples: samples(nanoseconds),
            stolen: samples(stolen_ns),
        }
    }

    /// Whether so many are right to 1 %.
    fn is(&self, total: u64) -> bool {
        is_close(total, total.clamp(self.samples, self.samples + self.stolen))
    }
}

/// Records, and gives the time that the host kept the CPUs meanwhile.
fn record_stolen(options: &[&str], command: &[&str]) -> (Recorded, u64) {
    let before = stolen_ns();
    let recorded = record(options, command);
    (recorded, stolen_ns() - before)
}

/// Whether two numbers differ by at most 1 % of the second.
fn is_close(number: u64, truth: u64) -> bool {
    number.abs_diff(truth) * 100 <= truth
}

/// All that can become of a tick adds up to what the clock promised.
fn assert_accounted(ledger: &Ledger) {
    let outcomes = Outcome::ALL.iter().map(|outcome| outcome.name());
    let names: Vec<&str> = outcomes
        .chain(["stack not sent", "thread table full"])
        .chain(["idle without a tick", "stolen"])
        .chain(["tick not delivered", "tick of others not delivered"])
        .collect();
    let expected = ledger.count("expected");
    assert!(is_close(ledger.sum(&names), expected), "{ledger:?}");
}

/// The profile's total is the CPU time of two threads that are always busy.
fn two_busy_threads(hz: &str, seconds: &str, options: &[&str]) -> Ledger {
    let busy = Workload::compile("busy");
    let _alone = alone();
    let (recorded, stolen) = record_stolen(
        &[&["-F", hz], options].concat(),
        &[busy.path(), "2", seconds],
    );
    let total = recorded.folded().total();
    let truth = Truth::of(&recorded, stolen, hz.parse().unwrap());
    let ledger = recorded.ledger();
    assert!(truth.is(total), "{total} of {truth:?}: {ledger:?}");
    assert_accounted(&ledger);
    ledger
}

/// At 99 Hz the total is right to 1 %, which is 19 samples here.
#[test]
fn busy_threads_are_whole_at_99_hz() {
    if require_root() {
        let ledger = two_busy_threads("99", "10", &[]);
        assert_eq!(ledger.sum(&["count map full", "stack not sent"]), 0);
    }
}

/// At 999 Hz the total is right to 1 %.
#[test]
fn busy_threads_are_whole_at_999_hz() {
    if require_root() {
        let ledger = two_busy_threads("999", "4", &[]);
        assert_eq!(ledger.sum(&["count map full", "stack not sent"]), 0);
    }
}

/// A map of counts with one entry makes the ledger change, and not the total.
#[test]
fn a_tiny_map_changes_the_ledger_alone() {
    if require_root() {
        let ledger = two_busy_threads("999", "3", &["--count-entries", "1"]);
        assert_ne!(ledger.count("count map full"), 0, "{ledger:?}");
    }
}

/// With one thread busy and the other CPUs idle, each tick of each CPU has its row.
#[test]
fn idle_ticks_are_accounted() {
    if !require_root() {
        return;
    }
    let busy = Workload::compile("busy");
    let _alone = alone();
    let options = ["-a", "-F", "999"];
    let (recorded, stolen) = record_stolen(&options, &[busy.path(), "1", "5"]);
    let (profile, ledger) = (recorded.pprof(), recorded.ledger());

    let truth = Truth::of(&recorded, stolen, 999);
    let total = recorded.folded().of_process("busy").total();
    assert!(truth.is(total), "{total} of {truth:?}: {ledger:?}");
    let ticks = profile.duration_ns * online_cpus() * 999 / 1_000_000_000;
    assert!(is_close(ledger.count("expected"), ticks), "{ledger:?}");
    assert_accounted(&ledger);
}

/// What 10,000 processes used is in the profile. They go before all else on their CPUs, since
/// what waits at each start is sampled right only on average.
fn short_lived(options: &[&str]) -> Ledger {
    let forks = Workload::compile("forks");
    let _alone = alone();
    let (recorded, stolen) = record_stolen(
        &[&["-F", "999"], options].concat(),
        &[tool("chrt"), "--fifo", "1", forks.path(), "10000", "0"],
    );
    let folded = recorded.folded();
    let own = folded.filter(|stack| ["forks", "[lost]"].contains(&stack.process.as_str()));
    let (total, truth) = (own.total(), Truth::of(&recorded, stolen, 999));
    let ledger = recorded.ledger();
    assert!(truth.is(total), "{total} of {truth:?}: {ledger:?}");
    assert_accounted(&ledger);
    ledger
}

/// As children of the command, 10,000 processes are followed one by one.
#[test]
fn short_lived_children_are_whole() {
    if require_root() {
        let ledger = short_lived(&[]);
        assert_eq!(ledger.count("target map full"), 0);
    }
}

/// As part of the whole machine, 10,000 processes are counted.
#[test]
fn short_lived_processes_of_the_machine_are_whole() {
    if require_root() {
        let ledger = short_lived(&["-a"]);
        assert_eq!(ledger.count("count map full"), 0);
    }
}

/// A ring that holds a few stacks makes the ledger change, and not the total.
#[test]
fn a_tiny_ring_changes_the_ledger_alone() {
    if require_root() {
        let ledger = short_lived(&["--ring-bytes", "4096"]);
        assert_ne!(ledger.count("stack not sent"), 0, "{ledger:?}");
    }
}
