//! The benchmark as a user runs it, short.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a failure is the answer, and a skipped one says why"
)]

use std::process::Command;

use serde_json::Value;

/// Whether this can run here. Where it must run, which `CI` says, it is a failure if it cannot.
fn is_root() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    assert!(
        is_root || std::env::var_os("CI").is_none(),
        "the benchmark needs root, to load BPF programs"
    );
    is_root
}

/// The median of a row's first column, which is timesink's.
fn first_number(table: &str, row: &str) -> f64 {
    let cells = table.lines().find_map(|line| line.strip_prefix(row));
    let cell = cells.unwrap().split_whitespace().next().unwrap();
    cell.parse().unwrap()
}

/// A quick run has timesink as the first profiler of its table and of its record, with samples
/// and a cost of each.
#[test]
fn a_quick_run_measures_timesink() {
    if !is_root() {
        eprintln!("skipped: the benchmark needs root, to load BPF programs");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("bench.json");
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--scenario", "frame-pointers", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");

    let head = table
        .lines()
        .skip_while(|line| !line.starts_with("frame-pointers:"));
    let first = head.skip(1).flat_map(str::split_whitespace).next();
    assert_eq!(first, Some("timesink"), "{table}");
    assert!(first_number(&table, "samples") > 0.0, "{table}");
    assert!(first_number(&table, "ns per sample") > 0.0, "{table}");

    let record: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let runs = &record["scenarios"][0]["runs"][0];
    assert_eq!(runs[0], "timesink", "{record}");
    assert_eq!(
        runs[1][0]["samples"].as_f64(),
        Some(first_number(&table, "samples")),
        "{record}"
    );
    assert_ne!(runs[1][0]["sampling_ns"], 0, "{record}");
}

/// What cannot be measured is an error that names it, rather than a table without timesink.
#[test]
fn a_missing_timesink_is_an_error() {
    if !is_root() {
        eprintln!("skipped: the benchmark needs root, to load BPF programs");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--timesink", "/no/such/timesink"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--timesink"), "{said}");
    assert!(output.stdout.is_empty());
}

/// Recording waits costs those who wait something, by the table and by the record.
#[test]
fn waits_have_a_cost() {
    if !is_root() {
        eprintln!("skipped: the benchmark needs root, to load BPF programs");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("bench.json");
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--scenario", "ping-pong", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let alone = first_number(&table, "alone");
    let watched = first_number(&table, "timesink, every stack");
    assert!(alone > 0.0 && watched > 0.0, "{table}");

    let record: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let ways = record["ping_pong"].as_array().unwrap();
    assert_eq!(ways[0][0], "alone", "{record}");
    assert_eq!(ways[1][1].as_array().unwrap().len(), 1, "{record}");
}

/// The way from a command's end to its picture is measured cold and warm, and what is known of the
/// samples is in the record: a program with debug information has names for its functions and, unless
/// that is turned off, inlined ones; names of the cold recording are there for the warm one.
#[test]
fn pictures_are_measured_cold_and_warm() {
    if !is_root() {
        eprintln!("skipped: the benchmark needs root, to load BPF programs");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("bench.json");
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--scenario", "symbols", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        first_number(&table, "timesink --no-inline, cold") > 0.0,
        "{table}"
    );

    let record: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let subjects = record["symbols"].as_array().unwrap();
    let large = subjects
        .iter()
        .find(|subject| subject["subject"] == "large");
    let way = |name: &str| {
        let ways = large.unwrap()["ways"].as_array().unwrap();
        let way = ways.iter().find(|way| way[0] == name).unwrap();
        way[1][0].clone()
    };
    for name in [
        "timesink --no-inline, cold",
        "timesink --no-inline, warm",
        "timesink, cold",
        "timesink, warm",
    ] {
        let run = way(name);
        let number = |field: &str| run[field].as_f64().unwrap();
        assert!(number("seconds") > 0.0, "{record}");
        assert!(number("peak_bytes") > f64::from(1 << 20), "{record}");
        assert!(number("named") >= 0.98 * number("samples"), "{record}");
        let has_inlined = number("inlined") > 0.0;
        assert_eq!(has_inlined, !name.contains("--no-inline"), "{record}");
    }
    assert_eq!(way("timesink, cold")["names_cached"], 0, "{record}");
    assert_ne!(way("timesink, warm")["names_cached"], 0, "{record}");
}
