//! The memory of unwind tables: in the kernel and while they are built, it keeps within
//! `--unwind-memory`, and what it has no room for is counted.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the figures are for whoever looks")]

use std::fs;

use tests::{Ledger, Mounts, Running, require_root, run_tool};

/// What the rest of the recorder may take more or less of from one run to the next.
const NOISE_KIB: u64 = 6 << 10;

/// Records a command with a budget in MiB, the cache being empty: the most memory that the recorder
/// has used when sampling ends, in KiB, and the ledger.
fn recorded(budget_mib: u64, command: &[&str]) -> (u64, Ledger) {
    let budget = match budget_mib {
        0 => "1".to_owned(),
        mib => format!("{mib}M"),
    };
    let options = [
        "record",
        "-v",
        "-F",
        "999",
        "-o",
        "-",
        "--unwind-memory",
        &budget,
        "--",
    ];
    let mut running = Running::start(&[&options, command].concat());
    running.wait_for("symbolizing");
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().strip_suffix(" kB").unwrap();
    let run = running.finish();
    assert!(run.status.success(), "{}", run.stderr);
    (peak.parse().unwrap(), Ledger::parse(&run.stderr))
}

/// With each budget, from one that is too small for the tables to one that has room for all of
/// them, the recorder takes no more than that beside what it takes without any table.
fn assert_bounded(command: &[&str]) {
    let mounts = Mounts::new();
    fs::create_dir_all("/var/cache/timesink").unwrap();
    run_tool("mount", &["-t", "tmpfs", "tmpfs", "/var/cache/timesink"]);
    let (fixed, ledger) = recorded(0, command);
    assert_ne!(ledger.count("unwind tables too large"), 0, "{ledger:?}");
    assert_eq!(ledger.count("unwind tables"), 0, "{ledger:?}");
    for budget in [16, 64, 256] {
        run_tool("rm", &["-rf", "/var/cache/timesink/unwind"]);
        let (peak, ledger) = recorded(budget, command);
        println!("{command:?}: {fixed} KiB, with {budget} MiB for tables {peak} KiB");
        assert!(
            peak <= fixed + (budget << 10) + NOISE_KIB,
            "{peak} KiB with {budget} MiB, {fixed} KiB without"
        );
        assert_ne!(ledger.count("unwind tables"), 0, "{ledger:?}");
        let refused = ledger.count("unwind tables too large");
        assert_eq!(refused > 0, budget == 16, "{ledger:?}");
    }
    drop(mounts);
}

/// clang, whose large libraries are known before it starts.
#[test]
fn a_compiler_that_is_started() {
    if require_root() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/frames.cpp");
        assert_bounded(&["clang++", "-O2", "-c", source, "-o", "/dev/null"]);
    }
}

/// rustc behind a shell, so that its large libraries are met while samples are taken.
#[test]
fn a_compiler_that_is_met() {
    if require_root() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/mixture.rs");
        let script = format!("rustc -O {source} -o /dev/null --emit=obj");
        assert_bounded(&["sh", "-c", &script]);
    }
}
