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
const NOISE_KIB: u64 = 3 << 10;

/// The most memory that a process has used since it was last asked, in KiB; 0 where it is gone.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
    // 5 has the peak begin anew, see `man 5 proc_pid_clear_refs`.
    let _is_gone = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    peak.unwrap_or(0)
}

/// The readers of a recorder: tables are built there.
fn readers(recorder: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{recorder}/task"));
    let mut readers = Vec::new();
    for task in tasks.into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_ascii_whitespace() {
            let words = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&words).contains("read-for-timesink") {
                readers.push(child.parse().unwrap());
            }
        }
    }
    readers
}

/// The most memory that the recorder and its readers have used together, in KiB, until it is over:
/// looked at every few milliseconds, each with its peak since the look before.
fn together_kib(recorder: u32, is_over: &AtomicBool) -> u64 {
    let mut peak = 0;
    loop {
        let is_last = is_over.load(Ordering::Relaxed);
        let readers = readers(recorder).into_iter().map(peak_kib).sum::<u64>();
        peak = peak.max(peak_kib(recorder) + readers);
        if is_last {
            return peak;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Records a command with a budget in MiB, the cache being empty: the most memory that the recorder and
/// its readers use together before sampling ends, in KiB, and the ledger.
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
        let looks = scope.spawn(|| together_kib(pid, &is_over));
        running.wait_for("symbolizing");
        is_over.store(true, Ordering::Relaxed);
        looks.join().unwrap()
    });
    let run = running.finish();
    assert!(run.status.success(), "{}", run.stderr);
    (peak, Ledger::parse(&run.stderr))
}

/// With each budget, from one that is too small for the tables to one that has room for all of
/// them, the recorder and its readers take no more than that beside what they take without any table.
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
