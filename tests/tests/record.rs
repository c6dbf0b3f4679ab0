//! `timesink record` as a user runs it.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs, io,
    os::unix::{fs::symlink, process::CommandExt},
    process::Command,
    time::{Duration, Instant},
};

use tests::{Folded, Ledger, Running, binary, require_root, timesink};

/// A busy process gives folded stacks of its own and a ledger.
#[test]
fn a_process_gives_folded_stacks_and_a_ledger() {
    if !require_root() {
        return;
    }
    let mut shell = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .spawn()
        .unwrap();
    let pid = shell.id().to_string();
    let run = timesink(&["record", "-p", &pid, "-d", "1s", "-F", "999", "-o", "-"]);
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert!(run.status.success(), "{}", run.stderr);
    let folded = Folded::parse(&run.stdout);
    let others = folded.filter(|stack| stack.process != "sh" && stack.process != "[lost]");
    assert_eq!(others.total(), 0, "{others:?}");
    let sampled = Ledger::parse(&run.stderr).count("sampled");
    assert_eq!(folded.of_process("sh").total(), sampled);
    assert_ne!(sampled, 0);
}

/// Without `-v` and without a terminal too, the event that was counted is said, and that the folded
/// stacks show one of two.
#[test]
fn events_are_named() {
    if !require_root() {
        return;
    }
    let events = ["-e", "task-clock", "-e", "page-faults"];
    let record = ["record", "-a", "-d", "200ms", "-o", "-"];
    let began = Instant::now();
    let run = timesink(&[&record[..], &events].concat());
    let most = began.elapsed().as_secs_f64();
    assert!(run.status.success(), "{}", run.stderr);
    let first = "show the first event, task-clock;";
    assert!(run.stderr.contains(first), "{}", run.stderr);
    let named = "timesink: task-clock at 99 Hz; page-faults at 99 Hz, ";
    let (_, rest) = run.stderr.split_once(named).unwrap();
    let seconds: f64 = rest.split_once(" s: ").unwrap().0.parse().unwrap();
    assert!(
        (0.2..=0.3).contains(&seconds) && seconds < most,
        "{}",
        run.stderr
    );
}

/// With room for one stack in the map of counts, the rest shows as lost and the total stays.
#[test]
fn a_full_map_changes_the_ledger_and_not_the_total() {
    if !require_root() {
        return;
    }
    let machine = ["record", "-v", "-a", "-d", "1s", "-F", "999", "-o", "-"];
    let run = timesink(&[&machine[..], &["--count-entries", "1"]].concat());
    assert!(run.status.success(), "{}", run.stderr);
    let (folded, ledger) = (Folded::parse(&run.stdout), Ledger::parse(&run.stderr));
    assert_ne!(ledger.count("count map full"), 0, "{ledger:?}");
    let full = folded.filter(|stack| stack.has("[lost: count map full]"));
    assert_eq!(full.total(), ledger.count("count map full"), "{ledger:?}");
    // On the whole machine every tick in which something ran is the target's.
    let ran = ["sampled", "count map full", "tick not delivered"];
    assert_eq!(folded.total(), ledger.sum(&ran), "{ledger:?}");
}

/// A command's status is passed on, and 128 and the number of the signal that ended it.
#[test]
fn the_status_of_a_command_is_passed_on() {
    if !require_root() {
        return;
    }
    for (script, status) in [("exit 7", 7), ("kill -KILL $$", 137), ("true", 0)] {
        let run = timesink(&["record", "-o", "-", "--", "sh", "-c", script]);
        assert_eq!(run.status.code(), Some(status), "{script}: {}", run.stderr);
    }
}

/// What cannot be recorded or written is said, with a status of 1 or 2, and no file is made.
#[test]
fn bad_input_is_an_error_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("flame.svg");
    let svg = svg.to_str().unwrap();
    let a_second = ["record", "-d", "1s", "-o"];
    for (arguments, status, says) in [
        (vec![svg, "-p", "4194305"], 1, "4194305"),
        (vec![svg, "-a", "-e", "no-such-event"], 1, "no-such-event"),
        (vec![svg, "--", "/no/such/program"], 1, "/no/such/program"),
        (vec!["/no/such/folder/x.svg", "-a"], 1, "/no/such/folder"),
        (vec!["x.unknown", "-a"], 1, "format"),
        (vec![svg], 2, "--pid"),
        (vec![svg, "-a", "-F", "0"], 2, "--rate"),
    ] {
        let run = timesink(&[&a_second[..], &arguments].concat());
        let error = run.stderr;
        assert_eq!(run.status.code(), Some(status), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    let run = timesink(&["record", "-a", "-d", "0s"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(run.stderr.contains("takes some time"), "{}", run.stderr);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A file behind a link is written and the link stays; a link to nowhere is an error at once.
#[test]
fn links_are_written_through() {
    if !require_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("real.folded"), "old").unwrap();
    symlink("real.folded", place("link.folded")).unwrap();
    symlink("nowhere.folded", place("loose.folded")).unwrap();
    let to = |name: &str| {
        let place = place(name);
        let options = ["record", "-a", "-d", "1s", "-o", place.to_str().unwrap()];
        timesink(&options)
    };
    let run = to("link.folded");
    assert!(run.status.success(), "{}", run.stderr);
    assert!(place("link.folded").is_symlink());
    assert_ne!(fs::read_to_string(place("real.folded")).unwrap(), "old");

    let run = to("loose.folded");
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stderr.contains("through the link"), "{}", run.stderr);
    assert!(place("loose.folded").is_symlink() && !place("nowhere.folded").exists());
}

/// Where nobody reads the words, as on a terminal that was closed, the profile is written all the same.
#[test]
fn a_profile_needs_no_listener() {
    if !require_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let outputs = ["one.folded", "two.svg"].map(|name| folder.path().join(name));
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(binary());
    command.args(["record", "-v", "-a", "-d", "200ms"]);
    for output in &outputs {
        command.arg("-o").arg(output);
    }
    assert!(command.stderr(writer).status().unwrap().success());
    assert!(outputs.iter().all(|output| output.is_file()));
}

/// Ctrl-C on a terminal goes to the recorder and to its command at once: whichever ends first, the
/// recording was stopped by it, and that is a success.
#[test]
fn an_interrupt_of_both_is_a_stop() {
    if !require_root() {
        return;
    }
    for _ in 0..10 {
        let mut command = Command::new(binary());
        command.args(["record", "-v", "-o", "-", "--", "sleep", "60"]);
        command.process_group(0);
        let mut running = Running::spawn(command);
        running.wait_for("recording");
        std::thread::sleep(Duration::from_millis(300));
        let group = libc::pid_t::try_from(running.pid()).unwrap();
        // SAFETY: the call takes no pointers; the group's leader was not waited for.
        assert_eq!(unsafe { libc::kill(-group, libc::SIGINT) }, 0);
        let run = running.finish();
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    }
}
