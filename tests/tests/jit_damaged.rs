//! The readers of perf maps and jitdumps on files that are damaged at random, that change while they
//! are read, and that are as long as they can be: they answer, and within bounds.
//!
//! `FUZZ_SECONDS` and `FUZZ_SEED` do what `tests/src/damage.rs` says.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use symbolizer::{JitNames, Miss, jitdump, perf_map};
use tests::{Counting, Random, bytes_taken, counted_alone, damage, try_seeds};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What reading a small file may take, however it is damaged, with its own bytes.
const MOST_BYTES: usize = 8 << 20;
/// What reading a large one may take, for the few addresses that are asked for.
const FEW_BYTES: usize = 2 << 20;
/// Addresses that are asked for.
const ADDRESSES: [u64; 6] = [0, 0x1000, 0x1008, 0x2010, 0x7fff_ffff, u64::MAX];

fn file(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// What must hold of any answer.
fn check(found: &JitNames) {
    assert_eq!(found.names.len(), ADDRESSES.len());
    for names in &found.names {
        assert!(names.is_sorted_by_key(|name| name.since));
        for name in names {
            let [function] = name.symbol.functions.as_slice() else {
                panic!("{name:?}");
            };
            assert!(!function.name.is_empty() && function.name.len() <= 4 * 4096);
        }
    }
}

/// A jitdump with all kinds of records, as a JIT writes it.
fn dump() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(
        [0x4a69_5444u32, 1, 40, 62, 0, 1]
            .map(u32::to_ne_bytes)
            .concat(),
    );
    bytes.extend([0u64, 0].map(u64::to_ne_bytes).concat());
    for number in 0..40u64 {
        let start = 0x1000 + (number % 3) * 0x800;
        let lines = [start, 2].map(u64::to_ne_bytes).concat();
        let line = |address: u64, file: &[u8]| {
            [
                &address.to_ne_bytes(),
                [7u32, 0].map(u32::to_ne_bytes).as_flattened(),
                file,
            ]
            .concat()
        };
        let lines = [
            lines,
            line(start, b"/src/a.js\0"),
            line(start + 8, b"\xff\0"),
        ]
        .concat();
        let code = [0, start, start, 64, number].map(u64::to_ne_bytes).concat();
        let code = [&code[..], b"JS:*f /src/a.js:1:1\0", &[0x90; 64]].concat();
        let moved = [0, start, start, 0x2000 + number, 64, number].map(u64::to_ne_bytes);
        let moved = moved.concat();
        for (kind, body) in [(2u32, &lines), (0, &code), (4, &code), (1, &moved)] {
            let size = 16 + body.len() as u32;
            bytes.extend([kind, size].map(u32::to_ne_bytes).concat());
            bytes.extend((number * 1000).to_ne_bytes());
            bytes.extend(body);
        }
    }
    bytes
}

fn map() -> Vec<u8> {
    let lines = (0..60u64).map(|line| {
        let start = 0x1000 + (line % 5) * 8;
        format!("{start:x} 20 JS:~name_{line} /src/a.js:{line}:1\n")
    });
    lines.collect::<String>().into_bytes()
}

fn damaged(whole: &[u8], random: &mut Random) -> File {
    let mut bytes = whole.to_vec();
    let all = 0..bytes.len();
    let header = 0..64;
    damage(&mut bytes, [&all, &all, &header][random.below(3)], random);
    if random.below(8) == 0 {
        bytes.truncate(random.below(whole.len()));
    }
    file(&bytes)
}

/// A jitdump that is damaged gives names or none, in bounded memory.
#[test]
fn damaged_jitdumps() {
    let whole = dump();
    check(&jitdump(&file(&whole), &ADDRESSES));
    let (mut named, mut cut) = (0, 0);
    try_seeds(3000, MOST_BYTES, |random| {
        let found = jitdump(&damaged(&whole, random), &ADDRESSES);
        check(&found);
        named += usize::from(found.names.iter().any(|names| !names.is_empty()));
        cut += usize::from(found.cut.is_some());
    });
    assert!(named > 0);
    assert!(cut > 0 || std::env::var_os("FUZZ_SEED").is_some());
}

/// So does a perf map, which has no parts that others depend on.
#[test]
fn damaged_perf_maps() {
    let whole = map();
    try_seeds(3000, MOST_BYTES, |random| {
        let found = perf_map(&damaged(&whole, random), &ADDRESSES);
        check(&found);
        assert_eq!(found.cut, None);
    });
}

/// A file that is cut off and written anew while it is read gives what is there, or nothing.
#[test]
fn files_that_change_while_they_are_read() {
    let _alone = counted_alone();
    for (whole, is_dump) in [(dump().repeat(300), true), (map().repeat(1000), false)] {
        let file = file(&whole);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                while !stop.load(Relaxed) {
                    for length in [whole.len() / 3, 0, 17] {
                        file.set_len(length as u64).unwrap();
                        file.write_all_at(&whole[..whole.len() / 2], length as u64 / 2)
                            .unwrap();
                    }
                }
            });
            for _ in 0..200 {
                let found = match is_dump {
                    true => jitdump(&file, &ADDRESSES),
                    false => perf_map(&file, &ADDRESSES),
                };
                check(&found);
            }
            stop.store(true, Relaxed);
            writer.join().unwrap();
        });
    }
}

/// A perf map of 400 MB in 20 million lines takes no more memory than a short one.
#[test]
fn memory_does_not_grow_with_the_map() {
    let _alone = counted_alone();
    let file = tempfile::tempfile().unwrap();
    let mut out = BufWriter::new(&file);
    for line in 0..20_000_000u32 {
        writeln!(out, "{line:08x} 10 f{line:08x}").unwrap();
    }
    out.flush().unwrap();
    drop(out);
    assert!(file.metadata().unwrap().len() >= 400_000_000);
    let mut found = JitNames::default();
    let taken = bytes_taken(|| found = perf_map(&file, &ADDRESSES));
    assert!(taken < FEW_BYTES, "{taken} bytes");
    assert_eq!(found.names[1].len(), 16);
    // The time may be too short in a debug build.
    assert!(found.cut.is_none_or(|cut| cut == Miss::JitMapTooLong));
}

/// A map and a dump in which every line names every address with another long name stop at the bound.
#[test]
fn names_have_a_bound() {
    let _alone = counted_alone();
    let file = tempfile::tempfile().unwrap();
    let mut out = BufWriter::new(&file);
    for line in 0..40_000 {
        writeln!(out, "0 ffffffffffffffff {line}{}", "x".repeat(4000)).unwrap();
    }
    out.flush().unwrap();
    drop(out);
    let mut found = JitNames::default();
    let taken = bytes_taken(|| found = perf_map(&file, &ADDRESSES));
    assert!(taken < 64 << 20, "{taken} bytes");
    assert_eq!(found.cut, Some(Miss::JitMapTooLong));
}
