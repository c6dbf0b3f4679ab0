//! `timesink agent` on the running machine: what it keeps is what programs used, window after window, and
//! whatever ends it costs no window that was closed.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use output::{Label, Matcher, Profile, Query, Range, Store, TimelineOf, open};
use tempfile::TempDir;
use tests::{Agent, Cgroup, Running, Workload, alone, release_binary, require_root, tool};

const SECOND_NS: i64 = 1_000_000_000;
const WINDOW_NS: i64 = Agent::WINDOW_NS;

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}

fn all() -> Range {
    Range {
        from_ns: 0,
        to_ns: now_ns(),
    }
}

fn of(label: Label, value: &str) -> Query {
    Query {
        range: all(),
        matchers: vec![Matcher {
            label,
            value: value.to_owned(),
        }],
    }
}

fn store(folder: &TempDir) -> Box<dyn Store> {
    open(folder.path().to_str().unwrap()).unwrap()
}

/// The sum of a value over all samples.
fn sum(profile: &Profile, name: &str) -> u64 {
    let types = profile.sample_types();
    let place = types.iter().position(|of| of.name() == name).unwrap();
    profile.samples().map(|sample| sample.values[place]).sum()
}

/// Runs two busy threads for so many seconds, and gives the CPU time that they used, in ns.
fn busy(seconds: &str) -> u64 {
    let workload = Workload::compile("busy");
    let ran = Command::new(workload.path())
        .args(["2", seconds])
        .output()
        .unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    text.trim().parse().unwrap()
}

/// What a program used over many windows is what the store has of it, and no time between the first and
/// the last window is missing.
#[test]
fn all_windows_together_are_what_a_program_used() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let agent = Agent::start(&["--rate", "199"]);
    let used = busy("9");
    agent.wait_for_windows(5.0);
    let readers = agent.open_files();
    // Its readers live in a folder of `/proc` each, and come and go.
    let readers = readers.iter().filter(|path| path.ends_with("fd"));
    assert_eq!(readers.count(), 0);
    let (run, folder) = agent.end();
    assert!(run.status.success(), "{}", run.stderr);
    let store = store(&folder);
    let profile = store.query(&of(Label::Process, "busy")).unwrap().unwrap();
    let kept = sum(&profile, "cpu");
    assert!(kept.abs_diff(used) * 20 < used, "{kept} of {used} ns");
    let named = profile.samples().filter(|sample| {
        profile.leaf_first(sample.stack).any(|frame| {
            let lines = profile.frame(frame).lines.iter();
            let mut names = lines.map(|line| profile.text(profile.function(line.function).name));
            names.any(|name| name == "work")
        })
    });
    let named: u64 = named.map(|sample| sample.values[0]).sum();
    let samples = sum(&profile, "samples");
    assert!(named * 100 >= samples * 98, "{named} of {samples}");

    let timeline = TimelineOf {
        sample_type: "cpu",
        by: Some(Label::Process),
        step_ns: WINDOW_NS,
    };
    let query = Query {
        range: all(),
        matchers: Vec::new(),
    };
    let kept = store.kept().unwrap();
    let range = Range {
        from_ns: kept.oldest_ns.unwrap(),
        to_ns: kept.newest_ns.unwrap(),
    };
    let timeline = store
        .timeline(&Query { range, ..query }, &timeline)
        .unwrap();
    let covered: i64 = timeline.covered.iter().map(|part| part.len_ns()).sum();
    // The machine's clock may be slewed between two windows.
    assert!(
        range.len_ns() - covered < 1_000_000,
        "{covered} of {range:?}"
    );
}

/// Each window has all the time of a thread that sleeps through it, and all of them together are how long
/// it was there.
#[test]
fn long_waits_are_in_every_window() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let agent = Agent::start(&["--off-cpu"]);
    let begin = now_ns();
    let mut sleeper = Command::new(tool("sleep")).arg("30").spawn().unwrap();
    thread::sleep(Duration::from_secs(9));
    let long = now_ns() - begin;
    let before = agent.metric("timesink_windows_total");
    agent.wait_for_windows(before + 2.0);
    let (run, folder) = agent.end();
    let end = now_ns();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert!(run.status.success(), "{}", run.stderr);
    let pid = sleeper.id().to_string();
    let store = store(&folder);
    let profile = store.query(&of(Label::Pid, &pid)).unwrap().unwrap();
    let away = i64::try_from(sum(&profile, "wall")).unwrap();
    assert!(
        (long..end - begin + SECOND_NS / 10).contains(&away),
        "{away} ns, {long} at least"
    );
    let within = Range {
        from_ns: begin + WINDOW_NS - begin % WINDOW_NS,
        to_ns: begin + long - (begin + long) % WINDOW_NS,
    };
    let query = Query {
        range: within,
        ..of(Label::Pid, &pid)
    };
    let timeline = TimelineOf {
        sample_type: "wall",
        by: None,
        step_ns: WINDOW_NS,
    };
    let timeline = store.timeline(&query, &timeline).unwrap();
    let sums: Vec<u64> = timeline.rows[0].sums.clone();
    // A window begins a little before or after the round time that it is called by.
    let total: u64 = sums.iter().sum();
    let expected = within.len_ns().unsigned_abs();
    assert!(sums.len() >= 3, "{sums:?}");
    assert!(
        total.abs_diff(expected) <= WINDOW_NS.unsigned_abs() + expected / 50,
        "{sums:?}"
    );
    let whole = sums
        .iter()
        .filter(|&&sum| sum.abs_diff(WINDOW_NS.unsigned_abs()) < WINDOW_NS.unsigned_abs() / 10);
    assert!(whole.count() + 1 >= sums.len(), "{sums:?}");
}

/// Where a session takes the place of another, no time is missing and none counts twice, neither of who
/// sleeps nor of who runs.
#[test]
fn sessions_follow_one_another() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let agent = Agent::start(&["--off-cpu", "--session", "10s", "--rate", "199"]);
    let begin = now_ns();
    let mut sleeper = Command::new(tool("sleep")).arg("300").spawn().unwrap();
    let used = busy("25");
    while agent.metric("timesink_sessions_total") < 3.0 {
        thread::sleep(Duration::from_millis(200));
    }
    let before = agent.metric("timesink_windows_total");
    agent.wait_for_windows(before + 2.0);
    let slept = now_ns() - begin;
    let (run, folder) = agent.end();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert!(run.status.success(), "{}", run.stderr);
    let store = store(&folder);
    let of_sleeper = of(Label::Pid, &sleeper.id().to_string());
    let kept = sum(&store.query(&of_sleeper).unwrap().unwrap(), "wall");
    assert!(
        kept.abs_diff(slept.unsigned_abs()) < SECOND_NS.unsigned_abs() / 5,
        "{kept} of {slept} ns: {}",
        run.stderr
    );
    let profile = store.query(&of(Label::Process, "busy")).unwrap().unwrap();
    let kept = sum(&profile, "cpu");
    assert!(
        kept.abs_diff(used) * 30 < used,
        "{kept} of {used} ns: {}",
        run.stderr
    );
}

/// A process is found by its control group, and the unit and container in it.
#[test]
fn processes_have_their_control_group() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let group = Cgroup::new("test.service");
    let agent = Agent::start(&["--rate", "199"]);
    let workload = Workload::compile("busy");
    let mut busy = Command::new(workload.path())
        .args(["1", "4"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    group.add(busy.id());
    busy.wait().unwrap();
    let before = agent.metric("timesink_windows_total");
    agent.wait_for_windows(before + 2.0);
    let (_, folder) = agent.end();
    let query = of(Label::Unit, group.name());
    let profile = store(&folder).query(&query).unwrap().unwrap();
    let used = sum(&profile, "cpu");
    assert!(used > 3_000_000_000, "{used} ns");
}

/// SIGHUP has the settings read again: the new rate is in force, what cannot be used changes nothing, and no window
/// is lost on the way.
#[test]
fn settings_are_read_again() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let settings = tempfile::NamedTempFile::new().unwrap();
    fs::write(settings.path(), "rate = 19\nno-listen = false\n").unwrap();
    let mut agent = Agent::start(&["--config", settings.path().to_str().unwrap()]);
    assert_eq!(agent.metric("timesink_rate_hertz"), 19.0);
    fs::write(settings.path(), "rate = 49\n").unwrap();
    agent.running.signal(libc::SIGHUP);
    agent.wait_for_page();
    agent.running.wait_for("recording cpu-clock at 49 Hz");
    fs::write(settings.path(), "rat = 49\n").unwrap();
    agent.running.signal(libc::SIGHUP);
    agent
        .running
        .wait_for("warning: failed to use the settings");
    agent.running.wait_for("the page is at http://");
    agent.running.wait_for("recording cpu-clock at 49 Hz");
    fs::write(settings.path(), "rate = 99\nexport = ['smtp://a:25']\n").unwrap();
    agent.running.signal(libc::SIGHUP);
    let said = agent.running.wait_for("warning: failed");
    assert!(said.contains("smtp://"), "{said}");
    agent.running.wait_for("recording cpu-clock at 49 Hz");
    let (run, folder) = agent.end();
    assert!(run.status.success(), "{}", run.stderr);
    assert!(store(&folder).kept().unwrap().windows >= 3);
}

/// SIGKILL costs the window that was open, and none that was kept; the next agent goes on in the same
/// store, and the kernel keeps nothing.
#[test]
fn a_kill_costs_no_window_that_was_kept() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let agent = Agent::start(&[]);
    agent.wait_for_windows(2.0);
    let kept = agent.metric("timesink_windows_total");
    agent.running.signal(libc::SIGKILL);
    let _killed = agent.running.finish();
    let windows = store(&agent.folder).kept().unwrap().windows;
    assert!(windows as f64 >= kept, "{windows} of {kept}");
    let agent = Agent::start_in(agent.folder, &[]);
    agent.wait_for_windows(1.0);
    let (run, folder) = agent.end();
    assert!(run.status.success(), "{}", run.stderr);
    assert!(store(&folder).kept().unwrap().windows > windows);
}

/// The program that people use for this reads a profile from the agent, of the time that it asks for.
#[test]
fn go_reads_the_time_that_follows() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let agent = Agent::start(&["--rate", "199"]);
    let workload = Workload::compile("busy");
    let mut busy = Command::new(workload.path())
        .args(["1", "60"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!(
        "http://{}/debug/pprof/profile?seconds=3&pid={}",
        agent.address,
        busy.id()
    );
    let read = Command::new(tool("go"))
        .args([
            "tool",
            "pprof",
            "-top",
            "-nodecount=3",
            "-unit=seconds",
            "-symbolize=none",
            &url,
        ])
        .output()
        .unwrap();
    busy.kill().unwrap();
    busy.wait().unwrap();
    let text = String::from_utf8(read.stdout).unwrap();
    let (run, _folder) = agent.end();
    assert!(read.status.success(), "{text} {}", run.stderr);
    let row = text.lines().find(|line| line.ends_with(" work")).unwrap();
    let seconds: f64 = row
        .split_whitespace()
        .nth(3)
        .unwrap()
        .trim_end_matches('s')
        .parse()
        .unwrap_or_else(|_| panic!("{text} {}", run.stderr));
    assert!((2.0..3.5).contains(&seconds), "{text}");
}

/// With next to nothing to use, samples become fewer, what they weigh does not, and the metrics tell.
#[test]
fn a_budget_costs_samples_and_no_time() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let agent = Agent::start(&["--rate", "999", "--budget", "cpu=0.01%"]);
    agent.wait_for_windows(8.0);
    let used = busy("8");
    let before = agent.metric("timesink_windows_total");
    agent.wait_for_windows(before + 2.0);
    assert!(agent.metric("timesink_budget_changes_total") >= 1.0);
    assert!(agent.metric("timesink_rate_hertz") < 999.0);
    let (run, folder) = agent.end();
    assert!(
        run.stderr.contains("samples a second and CPU from here on"),
        "{}",
        run.stderr
    );
    let profile = store(&folder)
        .query(&of(Label::Process, "busy"))
        .unwrap()
        .unwrap();
    let kept = sum(&profile, "cpu");
    assert!(kept.abs_diff(used) * 10 < used, "{kept} of {used} ns");
}

/// What cannot work is told at once, with what to do, and leaves nothing behind.
#[test]
fn what_cannot_work_is_told() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let agent = Agent::start(&[]);
    let store = agent.folder.path().to_str().unwrap().to_owned();
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(release_binary());
        command.arg("agent").args(arguments);
        Running::spawn(command).finish()
    };
    for (arguments, words) in [
        (&["--store", &store, "--no-listen"][..], "store"),
        (&["--store", "/proc/none", "--no-listen"], "/proc/none"),
        (&["--store", "nothing://here"], "nothing://"),
        (&["--listen", &agent.address], "--listen"),
        (&["--export", "smtp://here:25", "--no-listen"], "smtp://"),
        (&["--config", "/nowhere.toml"], "/nowhere.toml"),
    ] {
        let run = refused(arguments);
        assert_eq!(run.status.code(), Some(1), "{arguments:?} {}", run.stderr);
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    let (run, _folder) = agent.end();
    assert!(run.status.success(), "{}", run.stderr);
}
