//! `timesink record` as a user runs it.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::process::{Command, Output};

/// The binary, built by cargo first, so that it is never an old one.
fn timesink(arguments: &[&str]) -> Output {
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "profiler",
            "--bin",
            "timesink",
        ])
        .status()
        .unwrap();
    assert!(built.success());
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join("timesink");
    Command::new(binary).args(arguments).output().unwrap()
}

/// A busy process gives folded stacks of its own and a ledger, and leaves no program behind.
#[test]
fn a_process_gives_folded_stacks_and_a_ledger() {
    let mut shell = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .spawn()
        .unwrap();
    let pid = shell.id().to_string();
    let output = timesink(&["record", "-p", &pid, "-d", "1s", "-F", "999", "-o", "-"]);
    shell.kill().unwrap();
    shell.wait().unwrap();
    let (folded, ledger) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{ledger}");
    assert!(
        !folded.is_empty() && folded.lines().all(|line| line.starts_with("sh;")),
        "{folded}"
    );
    let samples: u64 = folded
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    let row = |name: &str| {
        let line = ledger.lines().find(|line| line.contains(name)).unwrap();
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(
        samples >= row("  sampled") && row("  sampled") > 0,
        "{ledger}"
    );
    assert!(sampling_programs_go_away());
}

/// With room for one stack in the map of counts, the rest shows as lost and the total stays.
#[test]
fn a_full_map_changes_the_ledger_and_not_the_total() {
    let output = timesink(&[
        "record",
        "-a",
        "-d",
        "1s",
        "-F",
        "999",
        "--count-entries",
        "1",
        "-v",
        "-o",
        "-",
    ]);
    let folded = String::from_utf8(output.stdout).unwrap();
    let ledger = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{ledger}");
    let row = |name: &str| {
        let line = ledger.lines().find(|line| line.contains(name)).unwrap();
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let total: u64 = folded
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_ne!(row("  count map full"), 0, "{ledger}");
    assert!(folded.contains("[lost: count map full]"), "{folded}");
    // On the whole machine every tick in which something ran is the target's.
    assert_eq!(
        total,
        row("  sampled") + row("  count map full") + row("  tick not delivered"),
        "{ledger}"
    );
}

/// Whether the kernel holds no sampling program, after a while in which it frees what was dropped
/// and the other tests of this file may come and go.
fn sampling_programs_go_away() -> bool {
    (0..50).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        !aya::programs::loaded_programs()
            .any(|program| program.unwrap().name_as_str() == Some("on_cpu"))
    })
}

/// What cannot be recorded or written is said, with a status of 1 or 2, and no file is made.
#[test]
fn bad_input_is_an_error_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("flame.svg");
    let svg = svg.to_str().unwrap();
    for (arguments, status, says) in [
        (
            vec!["record", "-p", "4194305", "-d", "1s", "-o", svg],
            1,
            "4194305",
        ),
        (
            vec!["record", "-a", "-d", "1s", "-o", "/no/such/folder/x.svg"],
            1,
            "/no/such/folder",
        ),
        (
            vec!["record", "-a", "-d", "1s", "-o", "x.unknown"],
            1,
            "format",
        ),
        (vec!["record", "-d", "1s"], 2, "--pid"),
        (vec!["record", "-a", "-d", "0s"], 2, "takes some time"),
        (vec!["record", "-a", "-F", "0"], 2, "--rate"),
    ] {
        let output = timesink(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
