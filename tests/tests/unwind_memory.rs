//! The memory of unwind tables: in the kernel and while they are built, it keeps within
//! `--unwind-memory`, and what it has no room for is counted.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the figures are for whoever looks")]

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tests::{Ledger, Mounts, Running, require_root, run_tool};

/// What the rest of the recorder may take more or less of from one run to the next.
const NOISE_KIB: u64 = 6 << 10;

/// The most memory that a process has used, in KiB; 0 where it is gone.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
    peak.unwrap_or(0)
}

/// The most memory that one of the recorder's readers is seen to have used until it is over: tables
/// are built there.
fn readers_peak_kib(recorder: u32, is_over: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !is_over.load(Ordering::Relaxed) {
        let tasks = fs::read_dir(format!("/proc/{recorder}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_ascii_whitespace() {
                let words = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
                if String::from_utf8_lossy(&words).contains("read-for-timesink") {
                    peak = peak.max(peak_kib(child.parse().unwrap()));
                }
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    peak
}

/// Records a command with a budget in MiB, the cache being empty: the most memory that the recorder and
/// the largest of its readers have used when sampling ends, in KiB, and the ledger.
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
    let (pid, is_over) = (running.pid(), AtomicBool::new(false));
    let peak = thread::scope(|scope| {
        let readers = scope.spawn(|| readers_peak_kib(pid, &is_over));
        running.wait_for("symbolizing");
        let own = peak_kib(pid);
        is_over.store(true, Ordering::Relaxed);
        own + readers.join().unwrap()
    });
    let run = running.finish();
    assert!(run.status.success(), "{}", run.stderr);
    (peak, Ledger::parse(&run.stderr))
}

/// With each budget, from one that is too small for the tables to one that has room for all of
/// them, the recorder and its reader take no more than that beside what they take without any table.
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
