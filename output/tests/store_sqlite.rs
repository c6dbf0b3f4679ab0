//! The store in a folder: right answers before and after roll-ups, one writer, what is kept.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

mod store;

use std::path::Path;

use output::{Profile, Retention, Store, open};
use store::windows::{self, MINUTE_NS, Random, SECOND_NS, START_NS};

const ALL: Retention = Retention {
    age_ns: i64::MAX,
    bytes: u64::MAX,
};

fn open_at(path: &Path) -> Box<dyn Store> {
    open(path.to_str().unwrap()).unwrap()
}

/// A store with the windows of the suite, and its folder.
fn filled() -> (tempfile::TempDir, Box<dyn Store>) {
    let folder = store::folder();
    let store = open_at(folder.path());
    for window in windows::all() {
        store.append(&window).unwrap();
    }
    (folder, store)
}

/// Every answer is what the windows add up to, also to one who only reads.
#[test]
fn answers_are_right() {
    let (folder, _store) = filled();
    store::answers_are_right(&*open_at(folder.path()));
}

/// Roll-ups change no answer.
#[test]
fn roll_ups_change_no_answer() {
    let (_folder, store) = filled();
    let before = store.kept().unwrap().windows;
    store.tidy(START_NS + 180 * MINUTE_NS, ALL).unwrap();
    let rolled = store.kept().unwrap().windows - before;
    assert!(rolled >= 5, "{rolled} roll-ups");
    store::answers_are_right(&*store);
}

const HOUR_NS: i64 = 60 * MINUTE_NS;

fn window_at(start_ns: i64) -> Profile {
    windows::window(&mut Random(start_ns as u64), "one", start_ns, false)
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".db")).collect();
    names.sort();
    names
}

/// Each window goes into the file of the day in which it begins, also when the clock jumps back.
#[test]
fn days_have_files() {
    let folder = store::folder();
    let store = open_at(folder.path());
    for hours in [0, 1, 25, 0, 49, -24] {
        store
            .append(&window_at(START_NS + hours * HOUR_NS))
            .unwrap();
    }
    let days = [
        "2023-11-13.db",
        "2023-11-14.db",
        "2023-11-15.db",
        "2023-11-16.db",
        "2023-11-17.db",
    ];
    assert_eq!(files(folder.path()), days);
    assert_eq!(store.kept().unwrap().windows, 6);
}

/// Days that are too old go as files, hours of the day in between as windows.
#[test]
fn the_old_is_removed() {
    let folder = store::folder();
    let store = open_at(folder.path());
    for hours in [0, 24, 25, 26, 30] {
        store
            .append(&window_at(START_NS + hours * HOUR_NS))
            .unwrap();
    }
    let retention = Retention {
        age_ns: 5 * HOUR_NS,
        bytes: u64::MAX,
    };
    store.tidy(START_NS + 31 * HOUR_NS, retention).unwrap();
    assert_eq!(files(folder.path()), ["2023-11-16.db"]);
    let kept = store.kept().unwrap();
    assert_eq!(kept.oldest_ns, Some(START_NS + 26 * HOUR_NS));
    assert_eq!(kept.windows, 2);
}

/// Where there are too many bytes the oldest days go, and of the last day its oldest windows.
#[test]
fn too_much_is_removed() {
    let folder = store::folder();
    let store = open_at(folder.path());
    store.append(&window_at(START_NS - 24 * HOUR_NS)).unwrap();
    for number in 0..60 {
        store
            .append(&window_at(START_NS + number * 30 * SECOND_NS))
            .unwrap();
    }
    let newest_ns = store.kept().unwrap().newest_ns;
    let bytes = store.kept().unwrap().bytes * 2 / 3;
    let retention = Retention {
        age_ns: i64::MAX,
        bytes,
    };
    store.tidy(START_NS + HOUR_NS, retention).unwrap();
    let kept = store.kept().unwrap();
    assert!(kept.bytes <= bytes, "{kept:?}");
    assert!(kept.oldest_ns >= Some(START_NS), "{kept:?}");
    assert_eq!(kept.newest_ns, newest_ns);
    store.append(&window_at(START_NS + HOUR_NS)).unwrap();
}

/// A late window is in the answers although its time was rolled up, and is rolled up again.
#[test]
fn late_windows_are_rolled_up_again() {
    let (_folder, store) = filled();
    let now_ns = START_NS + 3 * HOUR_NS;
    store.tidy(now_ns, ALL).unwrap();
    let before = store.kept().unwrap().windows;
    let late = window_at(START_NS + 15 * MINUTE_NS);
    store.append(&late).unwrap();
    let windows: Vec<Profile> = windows::all().into_iter().chain([late]).collect();
    let query = &store::queries()[0];
    for _ in 0..2 {
        let found = store.query(query).unwrap().unwrap();
        let right = store::expected::samples(&windows, query).unwrap();
        assert_eq!(store::expected::samples_of(&found), right);
        store.tidy(now_ns, ALL).unwrap();
        assert_eq!(store.kept().unwrap().windows, before + 1);
    }
}

/// What is no folder, and what no store answers to, is refused in words; what is not there is an error.
#[test]
fn other_addresses_are_refused() {
    let folder = store::folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = |url: &str| open(url).unwrap_err().to_string();
    assert!(refused(file.to_str().unwrap()).contains("is not a folder"));
    assert!(refused("ftp://host").contains("no store called `ftp://`"));
    let missing = open_at(&folder.path().join("missing"));
    let error = missing.kept().unwrap_err().to_string();
    assert!(error.contains("failed to read the store"), "{error}");
}
