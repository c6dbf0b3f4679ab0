//! Files that someone damaged, or made to do harm: each offset is answered, and at once.

mod common;

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use common::{PROGRAM, compile, names, offset_of, resolve_all, run, xorshift};
use object::{Object, ObjectSection};
use symbolizer::{Detail, Miss};
use tempfile::tempdir;

const NONE: Detail = Detail {
    lines: false,
    inlines: false,
};
const LINES: Detail = Detail {
    lines: true,
    inlines: false,
};
const ALL: Detail = Detail {
    lines: true,
    inlines: true,
};

fn make_fifo(path: &Path) {
    run(&format!("mkfifo {}", path.display()));
}

/// What is not a regular file is refused without waiting for anything.
#[test]
fn not_regular() {
    let directory = tempdir().unwrap();
    let fifo_path = directory.path().join("fifo");
    make_fifo(&fifo_path);
    let fifo = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo_path);
    for file in [File::open(directory.path()), fifo, File::open("/dev/zero")] {
        let file = file.unwrap();
        assert_eq!(
            resolve_all(&file, &[0, 1], ALL),
            vec![Err(Miss::Unreadable); 2]
        );
        assert_eq!(symbolizer::build_id(&file), None);
    }
}

/// Regular files that are no ELF files, or those of another machine, say so.
#[test]
fn not_elf() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("file");
    for (content, miss) in [
        (&b""[..], Miss::NotElf),
        (b"\x7fELF", Miss::NotElf),
        (b"#!/bin/sh\nexit 0\n", Miss::NotElf),
        (b"\x7fELF\x02\x02\x01padding", Miss::ForeignElf),
        (b"\x7fELF\x09\x01\x01padding", Miss::ForeignElf),
        (b"\x7fELF\x02\x01\x01", Miss::Malformed),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(common::resolve(&path, 0, ALL), Err(miss), "{content:?}");
    }
}

/// A file cut off at any of 64 places answers each offset.
#[test]
fn truncated() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let offsets = [offset_of(&path, "leaf"), offset_of(&path, "main"), 0];
    let content = std::fs::read(&path).unwrap();
    let copy = File::create_new(directory.path().join("copy")).unwrap();
    let copy_read = File::open(directory.path().join("copy")).unwrap();
    copy.write_all_at(&content, 0).unwrap();
    for step in (0..64).rev() {
        copy.set_len((content.len() * step / 64) as u64).unwrap();
        for detail in [NONE, ALL] {
            assert_eq!(
                resolve_all(&copy_read, &offsets, detail).len(),
                offsets.len()
            );
        }
        symbolizer::build_id(&copy_read);
    }
}

/// A file with one changed bit answers each offset, for 2,000 bits by a fixed seed.
#[test]
fn flipped_bits() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let offsets = [offset_of(&path, "leaf"), offset_of(&path, "caller") + 8, 0];
    let content = std::fs::read(&path).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d;
    for _ in 0..2_000 {
        let at = xorshift(&mut state) as usize % content.len();
        let flipped = content[at] ^ (1 << (xorshift(&mut state) % 8));
        file.write_all_at(&[flipped], at as u64).unwrap();
        for detail in [NONE, ALL] {
            assert_eq!(resolve_all(&file, &offsets, detail).len(), offsets.len());
        }
        symbolizer::build_id(&file);
        file.write_all_at(&content[at..=at], at as u64).unwrap();
    }
}

/// The places in the file of the sections whose name begins with `prefix`.
fn sections(path: &Path, prefix: &str) -> Vec<Range<u64>> {
    let content = std::fs::read(path).expect("the file is readable");
    let elf = object::File::parse(content.as_slice()).expect("the file is ELF");
    let named = elf
        .sections()
        .filter(|section| section.name().is_ok_and(|name| name.starts_with(prefix)));
    let ranges = named.filter_map(|section| section.file_range());
    ranges.map(|(start, size)| start..start + size).collect()
}

/// Any changed bit of the line table costs lines at most: blazesym panics on some of them.
#[test]
fn damaged_line_table() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let offset = offset_of(&path, "leaf");
    let content = std::fs::read(&path).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let line_table = sections(&path, ".debug_line").remove(0);
    for (at, bit) in line_table.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let original = content[at as usize];
        file.write_all_at(&[original ^ (1 << bit)], at).unwrap();
        assert_eq!(names(&resolve_all(&file, &[offset], LINES)[0]), ["leaf"]);
        file.write_all_at(&[original], at).unwrap();
    }
}

/// Compressed sections that claim to be huge are not decompressed, and the symbol table is used
/// all the same.
#[test]
fn claimed_decompressed_sizes() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g", "-gz"]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut patched = 0;
    for section in sections(&path, ".debug_") {
        // `Elf64_Chdr`: the type, 1 for zlib, is at 0, and the size at 8.
        let mut kind = [0; 4];
        file.read_exact_at(&mut kind, section.start).unwrap();
        if kind == [1, 0, 0, 0] {
            file.write_all_at(&(1_u64 << 50).to_le_bytes(), section.start + 8)
                .unwrap();
            patched += 1;
        }
    }
    assert!(patched > 0);
    assert_eq!(
        names(&common::resolve(&path, offset_of(&path, "leaf"), ALL)),
        ["leaf"]
    );
}

/// A debug link to a FIFO is not followed, and the symbol table is used all the same.
#[test]
fn debug_link_to_fifo() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let link_target = directory.path().join("target.debug");
    std::fs::write(&link_target, "content").unwrap();
    run(&format!(
        "objcopy --add-gnu-debuglink={} {}",
        link_target.display(),
        path.display()
    ));
    std::fs::remove_file(&link_target).unwrap();
    make_fifo(&link_target);
    let answer = common::resolve(&path, offset_of(&path, "leaf"), ALL);
    assert_eq!(names(&answer), ["leaf"]);
}

/// A sparse file whose note segment claims a terabyte has no build id, and costs no memory.
#[test]
fn claimed_sizes() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &[]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    file.set_len(1 << 42).unwrap();
    let mut headers = [0; 64 + 56 * 16];
    file.read_exact_at(&mut headers, 0).unwrap();
    // `Elf64_Phdr`: the type is at 0, the size in the file at 32.
    for at in (64..headers.len())
        .step_by(56)
        .filter(|&at| headers[at..at + 4] == [4, 0, 0, 0])
    {
        file.write_all_at(&(1_u64 << 40).to_le_bytes(), at as u64 + 32)
            .unwrap();
    }
    assert_eq!(symbolizer::build_id(&file), None);
}
