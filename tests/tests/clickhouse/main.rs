//! Windows in real ClickHouse servers: one alone, and two as a cluster.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

mod agents;
mod loss;
mod served;
mod servers;
#[path = "../../../output/tests/store/mod.rs"]
mod suite;
mod windows;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use output::{
    FrameId, Kept, Label, Matcher, Profile, Query, Range, Retention, Store, StoreError, TimelineOf,
    open,
};

use servers::Cluster;
use suite::expected;
use suite::windows::{MINUTE_NS, Random, SECOND_NS, START_NS, all, window};
use windows::{HOSTILE, hostile};

const DAY_NS: i64 = 24 * 60 * MINUTE_NS;

fn store(url: &str) -> Box<dyn Store> {
    open(url).unwrap()
}

fn append_all(store: &dyn Store, windows: &[Profile]) {
    windows
        .iter()
        .for_each(|window| store.append(window).unwrap());
}

/// All that any of these tests appends.
fn everything() -> Query {
    Query {
        range: Range {
            from_ns: START_NS - DAY_NS,
            to_ns: START_NS + 2 * DAY_NS,
        },
        matchers: Vec::new(),
    }
}

/// Whether a store has exactly these windows: their samples, ledgers and times.
fn assert_has(store: &dyn Store, windows: &[Profile]) {
    let query = everything();
    let found = store.query(&query).unwrap();
    let expected = expected::samples(windows, &query);
    assert_eq!(found.as_ref().map(expected::samples_of), expected);
    assert_eq!(expected::rows_of(&found), expected::rows(windows, &query));
    let of = TimelineOf {
        sample_type: "cpu",
        by: Some(Label::Host),
        step_ns: MINUTE_NS,
    };
    let timeline = store.timeline(&query, &of).unwrap();
    assert_eq!(timeline, expected::timeline(windows, &query, &of));
    assert_eq!(store.kept().unwrap().windows, windows.len() as u64);
}

/// One server alone answers all questions of the suite.
#[test]
fn one_server_answers() {
    let cluster = Cluster::start();
    let store = store(&cluster.servers[0].url("x"));
    assert!(store.query(&everything()).unwrap().is_none());
    assert_eq!(store.kept().unwrap(), Kept::default());
    append_all(&*store, &all());
    assert_has(&*store, &all());
    suite::answers_are_right(&*store);
}

/// Two servers, each with a part of the windows, answer all questions of the suite as one.
#[test]
fn two_servers_answer_as_one() {
    let cluster = Cluster::start();
    let store = store(&cluster.url("x"));
    append_all(&*store, &all());
    for server in &cluster.servers {
        assert_ne!(server.sql("SELECT count() FROM x.windows"), "0\n");
    }
    assert_has(&*store, &all());
    suite::answers_are_right(&*store);
}

/// A window that is appended again counts once: at the same server, at another, and by who does not know
/// that it was. Samples without the row of their window, as of a writer that ended too early, do not count.
#[test]
fn windows_count_once() {
    let cluster = Cluster::start();
    let windows = &all()[..40];
    append_all(&*store(&cluster.url("x")), windows);
    for server in &cluster.servers {
        append_all(&*store(&server.url("x")), windows);
        let columns = "day, copy, time_ns, host, process, type, type_unit, stack, value";
        let torn = columns.replace("copy", "copy + 1 AS copy");
        let table = "x.samples";
        server.sql(&format!(
            "INSERT INTO {table} ({columns}) SELECT {torn} FROM {table}"
        ));
    }
    assert_has(&*store(&cluster.url("x")), windows);
}

/// The same window put together in another order is the same window.
#[test]
fn order_makes_no_other_window() {
    let cluster = Cluster::start();
    let store = store(&cluster.servers[0].url("x"));
    let window = window(&mut Random(1), "one", START_NS, false);
    let mut turned = Profile::new(window.meta().clone(), window.sample_types().to_vec());
    turned.period.clone_from(&window.period);
    turned.ledger.clone_from(&window.ledger);
    window
        .comments()
        .iter()
        .for_each(|line| turned.comment(line));
    let samples: Vec<_> = window.samples().collect();
    for sample in samples.iter().rev() {
        let frames: Vec<_> = window.root_first(sample.stack).collect();
        let frames: Vec<_> = frames
            .iter()
            .map(|&id| moved(&window, &mut turned, id))
            .collect();
        let stack = turned.intern_frames(&frames).unwrap();
        let mut labels = sample.labels;
        labels.process = turned.intern_string(window.text(labels.process));
        labels.thread = turned.intern_string(window.text(labels.thread));
        labels.cgroup = labels
            .cgroup
            .map(|id| turned.intern_string(window.text(id)));
        turned.add(stack, labels, sample.values);
    }
    append_all(&*store, &[window.clone(), turned]);
    assert_has(&*store, &[window]);
}

/// A frame of one profile in another.
fn moved(from: &Profile, to: &mut Profile, id: FrameId) -> FrameId {
    let mut frame = from.frame(id).clone();
    frame.mapping = frame.mapping.map(|id| {
        let mut mapping = from.mapping(id).clone();
        mapping.name = to.intern_string(from.text(mapping.name));
        to.intern_mapping(mapping)
    });
    for line in &mut frame.lines {
        let mut function = from.function(line.function).clone();
        function.name = to.intern_string(from.text(function.name));
        function.system_name = to.intern_string(from.text(function.system_name));
        function.file = function.file.map(|id| to.intern_string(from.text(id)));
        line.function = to.intern_function(function);
    }
    to.intern_frame(frame)
}

/// A database that is taken away under a store, at one server or at all, is made again, with the stacks that
/// had been sent before.
#[test]
fn missing_tables_are_made() {
    let cluster = Cluster::start();
    let store = store(&cluster.url("x"));
    let windows = &all()[..40];
    append_all(&*store, windows);
    cluster.servers[1].sql("DROP DATABASE x");
    let rest = store.query(&everything()).unwrap();
    assert_ne!(
        rest.as_ref().map(expected::samples_of),
        expected::samples(windows, &everything())
    );
    append_all(&*store, windows);
    assert_has(&*store, windows);
    for server in &cluster.servers {
        server.sql("DROP DATABASE x");
    }
    append_all(&*store, windows);
    assert_has(&*store, windows);
}

/// Names that mean something to SQL come back as they were, and can be asked for.
#[test]
fn names_are_data() {
    let cluster = Cluster::start();
    names_stay_names(&*store(&cluster.url("x")));
}

fn names_stay_names(store: &dyn Store) {
    let windows = [hostile(), window(&mut Random(1), "one", START_NS, true)];
    append_all(store, &windows);
    assert_has(store, &windows);
    let of = TimelineOf {
        sample_type: windows[0].sample_types()[0].name(),
        by: Some(Label::Thread),
        step_ns: DAY_NS,
    };
    for label in Label::ALL {
        for value in [
            HOSTILE,
            "' OR '1' = '1",
            "\\",
            "\\' OR 1 = 1 --",
            "\0\n;",
            "é\u{10FFFF}",
        ] {
            let value = value.to_owned();
            let query = Query {
                matchers: vec![Matcher { label, value }],
                ..everything()
            };
            let found = store.query(&query).unwrap();
            let expected = expected::samples(&windows, &query);
            assert_eq!(
                found.as_ref().map(expected::samples_of),
                expected,
                "{query:?}"
            );
            let timeline = store.timeline(&query, &of).unwrap();
            assert_eq!(
                timeline,
                expected::timeline(&windows, &query, &of),
                "{query:?}"
            );
            let values = store.values(&query, label).unwrap();
            assert_eq!(
                values,
                expected::values(&windows, &query, label),
                "{query:?}"
            );
        }
    }
}

/// Days beyond the age go, then the oldest beyond the size, and the newest day stays.
#[test]
fn old_days_are_removed() {
    let cluster = Cluster::start();
    let store = store(&cluster.url("x"));
    let midnight = (START_NS / DAY_NS + 1) * DAY_NS;
    let windows: Vec<Profile> = (-5..5)
        .map(|number| {
            window(
                &mut Random(7),
                "one",
                midnight + number * 10 * SECOND_NS,
                false,
            )
        })
        .collect();
    let (of_before, of_after) = windows.split_at(5);
    let tidy = |now_ns, age_ns, bytes| {
        store.tidy(now_ns, Retention { age_ns, bytes }).unwrap();
    };
    append_all(&*store, &windows);
    tidy(midnight + DAY_NS - 1, DAY_NS, u64::MAX);
    assert_has(&*store, &windows);
    tidy(midnight + DAY_NS, DAY_NS, u64::MAX);
    assert_has(&*store, of_after);

    append_all(&*store, of_before);
    tidy(midnight, DAY_NS, store.kept().unwrap().bytes);
    assert_has(&*store, &windows);
    tidy(midnight, DAY_NS, 1);
    assert_has(&*store, of_after);
}

/// A current version takes the same statements and gives the same answers.
#[test]
#[ignore = "needs `chdb-core` of PyPI: tests/clickhouse-current says how"]
fn current_version_answers() {
    let python = env::var("TIMESINK_CHDB").unwrap();
    let mut current = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/clickhouse-current"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    let output = current.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut url).unwrap();
    let store = store(url.trim());
    names_stay_names(&*store);
    let retention = Retention {
        age_ns: 0,
        bytes: 0,
    };
    store.tidy(START_NS + DAY_NS, retention).unwrap();
    assert_eq!(store.kept().unwrap(), Kept::default());
    let windows = &all()[..40];
    append_all(&*store, windows);
    assert_has(&*store, windows);
    // Its standard input ends with the value, and the process with that.
    drop(current.stdin.take());
    assert!(current.wait().unwrap().success());
}

/// Windows whose time no table can hold are refused, and nothing of them is kept.
#[test]
fn impossible_times_are_refused() {
    let cluster = Cluster::start();
    let store = store(&cluster.servers[0].url("x"));
    for time_nanos in [-1, i64::MIN, i64::MAX - DAY_NS] {
        let refused = store.append(&window(&mut Random(1), "one", time_nanos, true));
        assert!(
            matches!(refused, Err(StoreError::Refused(_))),
            "{refused:?}"
        );
    }
    assert_eq!(store.kept().unwrap().windows, 0);
}
