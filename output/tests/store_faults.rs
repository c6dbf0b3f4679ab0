//! What a store does when something is wrong: damage, a full or read-only disk, a second writer, files of
//! another version.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

mod store;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use output::{Profile, Query, Range, Store, StoreError, open};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use store::expected;
use store::windows::{Random, SECOND_NS, START_NS, window};

/// 2023-11-14, the day of all windows here.
const FILE: &str = "2023-11-14.db";

fn open_at(path: &Path) -> Box<dyn Store> {
    open(path.to_str().unwrap()).unwrap()
}

fn windows(count: i64) -> Vec<Profile> {
    let mut random = Random(7);
    let numbers = 0..count;
    numbers
        .map(|number| {
            let start_ns = START_NS + number * 30 * SECOND_NS;
            window(&mut random, "one", start_ns, false)
        })
        .collect()
}

fn fill(path: &Path, windows: &[Profile]) {
    let store = open_at(path);
    for window in windows {
        store.append(window).unwrap();
    }
}

fn all() -> Query {
    Query {
        range: Range {
            from_ns: START_NS,
            to_ns: START_NS + 3_600 * SECOND_NS,
        },
        matchers: Vec::new(),
    }
}

/// The sum of a sample type, as time and so also of what has no name any more.
fn cpu_ns(samples: &expected::Samples) -> u64 {
    samples.values().filter_map(|sums| sums.get("cpu")).sum()
}

fn text(error: StoreError) -> String {
    use std::error::Error;
    let source = error.source().map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

/// An empty file system in memory that only this thread sees.
fn small_disk(kilobytes: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    // SAFETY: no file descriptor is taken from other threads; only the mounts of this one are apart.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let options = std::ffi::CString::new(format!("size={kilobytes}k")).unwrap();
    let flags = MountFlags::empty();
    mount("tmpfs", folder.path(), "tmpfs", flags, &*options).unwrap();
    folder
}

/// Wherever bytes of the file are damaged, what is answered is right or the answer tells of damage; the
/// rest is there, and windows are still kept.
#[test]
fn damage_is_told_and_survived() {
    let folder = store::folder();
    let windows = windows(20);
    fill(folder.path(), &windows);
    let bytes = fs::read(folder.path().join(FILE)).unwrap();
    let right = expected::samples(&windows, &all()).unwrap();
    let mut told = 0;
    for number in 0..64 {
        let damaged = store::folder();
        let path = damaged.path().join(FILE);
        fs::write(&path, &bytes).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let at = bytes.len() as u64 * number / 64 + number;
        file.write_all_at(&[0xa5; 32], at).unwrap();
        let store = open_at(damaged.path());
        let found = store.query(&all()).unwrap();
        let found = found.as_ref().map(expected::samples_of);
        let is_told = store.kept().unwrap().damaged > 0;
        told += u32::from(is_told);
        let found = found.unwrap_or_default();
        assert!(cpu_ns(&found) <= cpu_ns(&right), "damage at {at}");
        assert!(found == right || is_told, "damage at {at} is not told");
        store
            .append(&windows[0])
            .unwrap_or_else(|error| panic!("damage at {at}: {}", text(error)));
    }
    // The rest hit room that is empty, or what only the writer reads.
    assert!(told >= 8, "{told} of 64 damages were told");
}

/// A block whose bytes have changed is left out, the others are there, and the answer says so.
#[test]
fn a_damaged_block_costs_itself() {
    let folder = store::folder();
    let windows = windows(20);
    fill(folder.path(), &windows);
    let db = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    let sql = "UPDATE blocks SET samples = samples || x'00' WHERE id = 5";
    assert_eq!(db.execute(sql, []).unwrap(), 1);
    drop(db);
    let store = open_at(folder.path());
    let found = store.query(&all()).unwrap().unwrap();
    let mut others = windows;
    others.remove(4);
    let right = expected::samples(&others, &all()).unwrap();
    assert_eq!(expected::samples_of(&found), right);
    assert_eq!(store.kept().unwrap().damaged, 1);
    let rows = found.ledger.rows();
    assert!(
        rows.iter()
            .any(|row| row.name == "damaged parts" && row.count == 1)
    );
}

/// A file that is none of SQLite costs its day, and windows of that day go into a second file.
#[test]
fn a_file_of_garbage_costs_itself() {
    let folder = store::folder();
    let windows = windows(2);
    fs::write(folder.path().join(FILE), [0xa5; 100_000]).unwrap();
    fill(folder.path(), &windows);
    assert!(folder.path().join("2023-11-14.1.db").exists());
    let store = open_at(folder.path());
    let found = store.query(&all()).unwrap().unwrap();
    let right = expected::samples(&windows, &all()).unwrap();
    assert_eq!(expected::samples_of(&found), right);
    assert_eq!(store.kept().unwrap().damaged, 1);
}

/// On a full disk a window is refused in words, what is there can be read, and the next window is kept
/// when there is room again.
#[test]
fn a_full_disk_is_survived() {
    let disk = small_disk(1024);
    let path = disk.path().join("store");
    let windows = windows(4);
    fill(&path, &windows[..2]);
    let store = open_at(&path);
    let filler = disk.path().join("filler");
    let mut room = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut room, &[0; 4096]).is_ok() {}
    drop(room);
    let error = text(store.append(&windows[2]).unwrap_err());
    assert!(
        error.contains("failed to keep a window") && error.contains("disk is full"),
        "{error}"
    );
    for store in [&store, &open_at(&path)] {
        let found = store.query(&all()).unwrap().unwrap();
        let right = expected::samples(&windows[..2], &all()).unwrap();
        assert_eq!(expected::samples_of(&found), right);
    }
    fs::remove_file(filler).unwrap();
    store.append(&windows[3]).unwrap();
    let kept = [&windows[..2], &windows[3..]].concat();
    let found = store.query(&all()).unwrap().unwrap();
    let right = expected::samples(&kept, &all()).unwrap();
    assert_eq!(expected::samples_of(&found), right);
}

/// From a read-only disk all is read, also what was still in the log when the writer died; a window is
/// refused in words.
#[test]
fn a_read_only_disk_is_read() {
    let disk = small_disk(8192);
    let path = disk.path().join("store");
    let windows = windows(3);
    for has_log in [false, true] {
        fs::create_dir(&path).unwrap();
        let source = store::folder();
        let writer = open_at(source.path());
        for window in &windows {
            writer.append(window).unwrap();
        }
        let files: Vec<PathBuf> = match has_log {
            true => vec![FILE.into(), format!("{FILE}-wal").into()],
            false => {
                drop(writer);
                vec![FILE.into()]
            }
        };
        for file in files {
            fs::copy(source.path().join(&file), path.join(&file)).unwrap();
        }
        mount_remount(disk.path(), MountFlags::RDONLY, c"").unwrap();
        let store = open_at(&path);
        let found = store.query(&all()).unwrap().unwrap();
        let right = expected::samples(&windows, &all()).unwrap();
        assert_eq!(expected::samples_of(&found), right, "with a log: {has_log}");
        let error = text(store.append(&windows[0]).unwrap_err());
        assert!(error.contains("Read-only file system"), "{error}");
        mount_remount(disk.path(), MountFlags::empty(), c"").unwrap();
        fs::remove_dir_all(&path).unwrap();
    }
}

/// A second writer is refused and told who writes; it may read, and write once the first has gone.
#[test]
fn a_second_writer_is_refused() {
    let folder = store::folder();
    let windows = windows(2);
    let (first, second) = (open_at(folder.path()), open_at(folder.path()));
    first.append(&windows[0]).unwrap();
    let error = text(second.append(&windows[1]).unwrap_err());
    let process = format!("process {} writes to", std::process::id());
    assert!(error.contains(&process), "{error}");
    assert!(second.query(&all()).unwrap().is_some());
    drop(first);
    second.append(&windows[1]).unwrap();
}

/// A file of a later version is neither read nor written, in words.
#[test]
fn a_later_version_is_refused() {
    let folder = store::folder();
    let windows = windows(1);
    fill(folder.path(), &windows);
    let db = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    db.pragma_update(None, "user_version", 2).unwrap();
    drop(db);
    let store = open_at(folder.path());
    for error in [
        text(store.query(&all()).unwrap_err()),
        text(store.append(&windows[0]).unwrap_err()),
    ] {
        assert!(error.contains("written by a later timesink"), "{error}");
    }
}
