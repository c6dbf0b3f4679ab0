//! Order, bounds, and what a killed process or a bad disk leaves.

use super::*;
use crate::profile::{Meta, Profile, SampleType, Unit};

fn packed(time_nanos: i64) -> Vec<u8> {
    pack(&window(time_nanos))
}

fn window(time_nanos: i64) -> Profile {
    let meta = Meta {
        time_nanos,
        ..Meta::default()
    };
    Profile::new(meta, vec![SampleType::new("samples", Unit::Count)])
}

/// The times of all windows, taken out one by one.
fn drain(spool: &mut Spool) -> Vec<i64> {
    let mut times = Vec::new();
    while let Some(path) = spool.take() {
        times.push(read(&path).unwrap().meta().time_nanos);
        spool.land(true).unwrap();
    }
    times
}

/// What was put in comes out in that order, also from the next process, and a window that was not taken
/// stays first.
#[test]
fn order_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
    for time in 0..12 {
        assert_eq!(spool.put(&packed(time)).unwrap(), 0);
    }
    let first = spool.take().unwrap();
    spool.land(false).unwrap();
    assert_eq!(spool.take().unwrap(), first);
    drop(spool);
    let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
    assert_eq!(spool.size().0, 12);
    spool.put(&packed(12)).unwrap();
    assert_eq!(drain(&mut spool), (0..13).collect::<Vec<_>>());
    assert_eq!(spool.size(), (0, 0));
}

/// Beyond the bound the oldest windows go, but not the one in flight; a window larger than the bound never
/// comes in.
#[test]
fn the_bound_holds() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = packed(1).len() as u64;
    let mut spool = Spool::open(folder.path(), bytes * 3).unwrap();
    for time in 1..=3 {
        assert_eq!(spool.put(&packed(time)).unwrap(), 0);
    }
    spool.take().unwrap();
    assert_eq!(spool.put(&packed(4)).unwrap(), 1);
    assert_eq!(spool.put(&[0; 1 << 12]).unwrap(), 1);
    assert_eq!(spool.size(), (3, bytes * 3));
    let on_disk = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(on_disk, 4, "three windows and the lock");
    spool.land(false).unwrap();
    assert_eq!(drain(&mut spool), [1, 3, 4]);
}

/// Where all the room is the flying window's, the new one is dropped and counted.
#[test]
fn a_window_in_flight_is_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), packed(1).len() as u64).unwrap();
    spool.put(&packed(1)).unwrap();
    spool.take().unwrap();
    assert_eq!(spool.put(&packed(2)).unwrap(), 1);
    spool.land(false).unwrap();
    assert_eq!(drain(&mut spool), [1]);
}

/// What was being written when the process ended is removed, files of others are left alone.
#[test]
fn leftovers_go_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("00000000000000000007.new");
    let other = folder.path().join("notes.txt");
    fs::write(&new, b"half").unwrap();
    fs::write(&other, b"mine").unwrap();
    let spool = Spool::open(folder.path(), 1 << 20).unwrap();
    assert_eq!(spool.size(), (0, 0));
    assert!(!new.exists() && other.exists());
}

/// Two processes cannot have one spool.
#[test]
fn a_spool_is_used_once() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 1 << 20).unwrap();
    let error = Spool::open(folder.path(), 1 << 20).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(spool);
    Spool::open(folder.path(), 1 << 20).unwrap();
}

/// A file that was cut anywhere, changed at any byte, or is of another version is known for that.
#[test]
fn damage_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let whole = packed(1);
    let reason = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read(&path).unwrap_err().to_string()
    };
    for len in 0..whole.len() {
        let reason = reason(&whole[..len]);
        let words = ["cut short", "another form"];
        assert!(
            words.iter().any(|word| reason.contains(word)),
            "{len}: {reason}"
        );
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        reason(&changed);
    }
    let mut newer = whole;
    newer[7] += 1;
    assert!(reason(&newer).contains("another form or version"));
}
