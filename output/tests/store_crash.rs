//! What was acknowledged outlives the process that wrote it.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

mod store;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use output::{Profile, Query, Range, open};
use store::expected;
use store::windows::{Random, SECOND_NS, START_NS, window};

/// Where the child writes.
const FOLDER: &str = "STORE_CRASH_FOLDER";
/// With which window it begins.
const FIRST: &str = "STORE_CRASH_FIRST";
/// How it tells of a window that is kept.
const KEPT: &str = "kept window ";
const KILLS: u64 = 50;

/// The windows reach over midnight after 80 of them, so that the kills meet a new file too.
fn window_of(number: u64) -> Profile {
    let start_ns = START_NS + number as i64 * 30 * SECOND_NS;
    window(&mut Random(number + 1), "one", start_ns, false)
}

/// Not a test: appends windows and tells of each, until it is killed.
#[test]
#[ignore = "the process that `acknowledged_windows_outlive_kills` starts and kills"]
fn writer() {
    let store = open(&std::env::var(FOLDER).unwrap()).unwrap();
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    for number in first.. {
        store.append(&window_of(number)).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{KEPT}{number}").unwrap();
    }
}

/// Kills a writer at some moment; the number after the last window that it told of.
fn killed(folder: &Path, first: u64, random: &mut Random) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut kept = lines.map_while(Result::ok).filter_map(|line| {
        let number = line.strip_prefix(KEPT)?;
        number.parse::<u64>().ok()
    });
    // After some windows, and then somewhere within the next.
    let windows = 1 + random.below(4) as usize;
    let mut next = kept.by_ref().take(windows).last().unwrap() + 1;
    std::thread::sleep(Duration::from_micros(random.below(20_000)));
    child.kill().unwrap();
    next = kept.last().map_or(next, |number| number + 1);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    next
}

/// SIGKILL at 50 random moments: after each, every window that was told of is read back whole.
#[test]
fn acknowledged_windows_outlive_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(0x6b69_6c6c);
    let mut next = 0;
    for kill in 0..KILLS {
        let first = next;
        next = killed(folder.path(), first, &mut random);
        let store = open(folder.path().to_str().unwrap()).unwrap();
        for number in first..next {
            is_whole(&*store, number, kill);
        }
        // The window that was being written may be there too, and is then whole.
        let at_ns = window_of(next).meta().time_nanos;
        let kept = store.kept().unwrap();
        if kept.newest_ns > Some(at_ns) {
            is_whole(&*store, next, kill);
            next += 1;
        }
        assert_eq!(kept.windows, next, "after kill {kill}");
        assert_eq!(kept.damaged, 0, "after kill {kill}");
    }
    let store = open(folder.path().to_str().unwrap()).unwrap();
    for number in 0..next {
        is_whole(&*store, number, KILLS);
    }
}

fn is_whole(store: &dyn output::Store, number: u64, kill: u64) {
    let window = window_of(number);
    let from_ns = window.meta().time_nanos;
    let query = Query {
        range: Range {
            from_ns,
            to_ns: expected::end_ns(&window),
        },
        matchers: Vec::new(),
    };
    let found = store.query(&query).unwrap();
    let found = found.unwrap_or_else(|| panic!("window {number} is gone after kill {kill}"));
    let right = expected::samples_of(&window);
    assert_eq!(expected::samples_of(&found), right, "window {number}");
    assert_eq!(expected::rows_of([&found]), expected::rows_of([&window]));
}
