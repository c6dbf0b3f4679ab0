//! `timesink query`, and `timesink diff` of ranges: from a store to files and tables.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use output::{
    Frame, FrameId, FrameKind, Function, Labels, Line, Meta, Period, Profile, RowKind, SampleType,
    Unit,
};
use tempfile::TempDir;
use tests::{Folded, Run, timesink};

const SECOND_NS: i64 = 1_000_000_000;
const WINDOW_NS: i64 = 10 * SECOND_NS;
const PERIOD_NS: u64 = 10_000_000;

/// A window of two processes, of which `nginx` has so many samples in `parse`.
fn window(time_nanos: i64, parse: u64) -> Profile {
    let meta = Meta {
        host: "box".to_owned(),
        time_nanos,
        duration_nanos: WINDOW_NS,
        event: "cpu-clock at 100 Hz".to_owned(),
        ..Meta::default()
    };
    let types = vec![
        SampleType::new("samples", Unit::Count),
        SampleType::new("cpu", Unit::Nanoseconds),
    ];
    let mut profile = Profile::new(meta, types.clone());
    profile.period = Some(Period {
        of: types[1].clone(),
        value: PERIOD_NS,
    });
    for (pid, process, unit) in [(7, "nginx", "nginx.service"), (8, "cron", "cron.service")] {
        let name = profile.intern_string(process);
        let cgroup = profile.intern_string(&format!("/system.slice/{unit}"));
        let labels = Labels {
            pid,
            tid: pid,
            process: name,
            thread: name,
            cgroup: Some(cgroup),
            slice: None,
            wait: None,
        };
        let parse = if process == "nginx" { parse } else { 100 };
        for (function, samples) in [
            ("parse", parse),
            ("send", 300),
            ("read", 200),
            ("log", 250),
            ("poll", 150),
        ] {
            let frames = ["main", function].map(|name| frame(&mut profile, name));
            let stack = profile.intern_frames(&frames).unwrap();
            profile.add(stack, labels, &[samples, samples * PERIOD_NS]);
        }
    }
    profile
        .ledger
        .push(RowKind::Got, "got", parse + 900, "in this profile");
    profile
}

fn frame(profile: &mut Profile, name: &str) -> FrameId {
    let name = profile.intern_string(name);
    let function = profile.intern_function(Function {
        name,
        system_name: name,
        file: None,
        start_line: 0,
    });
    profile.intern_frame(Frame {
        mapping: None,
        address: 1,
        kind: FrameKind::User,
        lines: vec![Line { function, line: 0 }],
    })
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

/// A store with a window of 100 samples in `parse` two hours ago, and of 300 half an hour ago.
fn store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = output::open(folder.path().to_str().unwrap()).unwrap();
    for (minutes, parse) in [(120, 100), (30, 300)] {
        store
            .append(&window(now_ns() - minutes * 60 * SECOND_NS, parse))
            .unwrap();
    }
    folder
}

fn query(store: &Path, options: &[&str]) -> Run {
    timesink(&[&["query", "--store", store.to_str().unwrap()], options].concat())
}

/// A range has the samples of its windows that match, in each format, and its ledger.
#[test]
fn a_range_becomes_a_profile() {
    let store = store();
    let files = ["q.folded", "q.pb.gz", "q.svg"].map(|file| store.path().with_extension(file));
    let mut options = vec!["--since", "3h", "--until", "1h", "--process", "nginx"];
    for file in &files {
        options.extend(["-o", file.to_str().unwrap()]);
    }
    let run = query(store.path(), &options);
    assert!(run.status.success(), "{}", run.stderr);
    assert!(
        run.stderr.contains("timesink: 1000 got, 0 lost"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stdout, "");
    let text = fs::read_to_string(&files[0]).unwrap();
    assert_eq!(Folded::parse(&text).total(), 1000);
    assert!(
        text.contains("nginx;main;parse 100\n") && !text.contains("cron"),
        "{text}"
    );
    let again = timesink(&[
        "diff",
        files[0].to_str().unwrap(),
        files[1].to_str().unwrap(),
        "--type",
        "samples",
    ]);
    assert!(again.status.success(), "{}", again.stderr);
    assert!(
        again.stdout.contains("1000 count in A, 1000 count in B"),
        "{}",
        again.stdout
    );
    for file in &files {
        fs::remove_file(file).unwrap();
    }
}

/// Without an output the hottest functions are printed, of the whole range or of a unit.
#[test]
fn the_hottest_functions_are_printed() {
    let store = store();
    let all = query(store.path(), &["--since", "3h"]);
    assert!(all.status.success(), "{}", all.stderr);
    assert!(
        all.stdout.contains(" 28.6%   28.6%  send"),
        "{}",
        all.stdout
    );
    let unit = query(
        store.path(),
        &["--from", "1h", "--to", "now", "--unit", "nginx.service"],
    );
    assert!(
        unit.stdout.contains(" 25.0%   25.0%  parse"),
        "{}",
        unit.stdout
    );
}

/// A range without a window exits with 1 and says which; one without such samples says so and is empty.
#[test]
fn nothing_found_is_told() {
    let store = store();
    let none = query(store.path(), &["--since", "90m", "--until", "1h"]);
    assert_eq!(none.status.code(), Some(1), "{}", none.stderr);
    assert!(
        none.stderr
            .contains("failed to find a window from 90m ago to 1h ago"),
        "{}",
        none.stderr
    );
    let other = query(store.path(), &["--since", "1h", "--process", "apache"]);
    assert!(other.status.success(), "{}", other.stderr);
    assert!(other.stderr.contains("no such samples"), "{}", other.stderr);
    let backwards = query(store.path(), &["--since", "1h", "--until", "2h"]);
    assert_eq!(backwards.status.code(), Some(1), "{}", backwards.stderr);
    let never = query(store.path(), &["--since", "yesterday"]);
    assert_eq!(never.status.code(), Some(2), "{}", never.stderr);
}

/// Two ranges of a store are compared, against what is typical and as times that their lengths divide.
#[test]
fn ranges_are_compared() {
    let store = store();
    let url = store.path().to_str().unwrap();
    let compare = |options: &[&str]| {
        let ranges = [
            "diff",
            "--store",
            url,
            "--process",
            "nginx",
            "@150m..90m",
            "@1h..now",
        ];
        timesink(&[&ranges[..], options].concat())
    };
    let run = compare(&["--fail-if", "parse>100%"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("`parse` grew by 19"), "{}", run.stderr);
    let absolute = compare(&["--absolute"]);
    assert!(
        absolute
            .stdout
            .contains("changes are those of the amounts themselves"),
        "{}",
        absolute.stdout
    );
    let file = store.path().with_extension("a.folded");
    let written = query(
        store.path(),
        &[
            "--since",
            "150m",
            "--until",
            "90m",
            "-o",
            file.to_str().unwrap(),
        ],
    );
    assert!(written.status.success(), "{}", written.stderr);
    let path = file.to_str().unwrap();
    let mixed = timesink(&[
        "diff", "--store", url, path, "@1h..now", "--type", "samples",
    ]);
    assert!(mixed.status.success(), "{}", mixed.stderr);
    let mixed = timesink(&[
        "diff",
        "--store",
        url,
        path,
        "@1h..now",
        "--type",
        "samples",
        "--absolute",
    ]);
    assert_eq!(mixed.status.code(), Some(1), "{}", mixed.stderr);
    fs::remove_file(file).unwrap();
}
