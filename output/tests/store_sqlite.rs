//! The store in a folder: right answers before and after roll-ups, one writer, what is kept.

mod store;

use std::path::Path;

use output::{Retention, Store, open};
use store::windows::{self, MINUTE_NS, START_NS};

const ALL: Retention = Retention {
    age_ns: i64::MAX,
    bytes: u64::MAX,
};

fn open_at(path: &Path) -> Box<dyn Store> {
    open(path.to_str().unwrap()).unwrap()
}

/// A store with the windows of the suite, and its folder.
fn filled() -> (tempfile::TempDir, Box<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
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
