//! Names of the kernel's code: that which it makes while it runs, with real BPF programs, and the words
//! where it hides its addresses.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use tests::{Folded, Running, Workload, binary, record, require_root, timesink, tool};

/// The samples whose leaf is a BPF program of this name, and all of the workload's.
fn of_program(folded: &Folded, name: &str) -> (u64, u64) {
    let all = folded.of_process("programs");
    let end = format!("_{name}_[k]");
    let in_program = all.filter(|stack| {
        let leaf = stack.frames.last().unwrap();
        leaf.starts_with("bpf_prog_") && leaf.ends_with(&end)
    });
    (in_program.total(), all.total())
}

fn assert_named(folded: &Folded, name: &str) {
    let (named, all) = of_program(folded, name);
    assert!(all > 100, "{folded:?}");
    assert!(named * 100 >= all * 80, "{named} of {all}: {folded:?}");
}

/// A program that is loaded, runs and is unloaded during the recording has its name.
#[test]
fn a_program_that_has_gone_is_named() {
    if !require_root() {
        return;
    }
    let programs = Workload::compile("programs");
    let command = [programs.path(), "gone_program", "500", "drop"];
    let recorded = record(&["-F", "999"], &command);
    let folded = recorded.folded();
    // The rest is the search through the list of symbols, which is the kernel's own time.
    let busy = folded.filter(|stack| stack.has("run"));
    assert_named(&busy, "gone_program");
}

/// A program that was loaded before the recording and outlives it has its name.
#[test]
fn a_program_that_stays_is_named() {
    if !require_root() {
        return;
    }
    let programs = Workload::compile("programs");
    let mut running = Command::new(programs.path())
        .args(["kept_program", "50", "keep"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(running.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let pid = running.id().to_string();
    let run = timesink(&["record", "-p", &pid, "-d", "1s", "-F", "999", "-o", "-"]);
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(run.status.success(), "{}", run.stderr);
    assert_named(&Folded::parse(&run.stdout), "kept_program");
}

/// Where the kernel hides its addresses, its functions have no names, and the warning and the table say
/// why and what to do.
#[test]
fn hidden_addresses_are_said() {
    if !require_root() {
        return;
    }
    let mut without = Command::new(tool("setpriv"));
    without.args(["--bounding-set", "-syslog", "--inh-caps", "-syslog"]);
    without
        .arg(binary())
        .args(["record", "-F", "999", "-o", "-", "--"]);
    without.args([
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=64k",
        "count=50000",
    ]);
    let run = Running::spawn(without).finish();
    assert!(run.status.success(), "{}", run.stderr);
    let kernel = Folded::parse(&run.stdout).filter(|stack| stack.has("[unknown]_[k]"));
    assert!(
        kernel.total() > 0,
        "kernel.kptr_restrict 0 and perf_event_paranoid 1 hide nothing"
    );
    for words in [
        "the kernel: unnamed: kernel-addresses-hidden",
        "\nunnamed: kernel-addresses-hidden: run timesink as root or with CAP_SYSLOG",
        "timesink: warning: functions of the kernel have no names",
        "kernel.kptr_restrict",
    ] {
        assert!(run.stderr.contains(words), "no `{words}`: {}", run.stderr);
    }
}
