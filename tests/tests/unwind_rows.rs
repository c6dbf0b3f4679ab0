//! Rows against an independent reader of call frame information: binutils' `readelf`.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use abi::unwind::{Rule, cfa, fp, ra};
use object::{Object, ObjectSection, ObjectSegment};
use profiler::unwind::rows::{self, FileRows, Rows};

/// What `readelf` says from an address on.
#[derive(Clone, Debug)]
struct Expected {
    address: u64,
    cfa: String,
    rbp: String,
    rsp: String,
    ra: String,
}

/// The names of `readelf`'s columns at the rows that follow.
#[derive(Clone, Default)]
struct Columns(Vec<String>);

impl Columns {
    fn row(&self, line: &str) -> Option<Expected> {
        // A register is shown as `r1 (rdx)`.
        let mut cells = line
            .split_whitespace()
            .filter(|cell| !cell.starts_with('('));
        let address = u64::from_str_radix(cells.next()?, 16).ok()?;
        let cells: BTreeMap<&str, &str> = self.0.iter().map(String::as_str).zip(cells).collect();
        let cell = |name| (*cells.get(name).unwrap_or(&"u")).to_owned();
        Some(Expected {
            address,
            cfa: cell("CFA"),
            rbp: cell("rbp"),
            rsp: cell("rsp"),
            ra: cell("ra"),
        })
    }
}

/// The rows of each function. One without rows of its own has those of the entry that it shares.
fn expected(file: &str) -> Vec<Expected> {
    let output = Command::new("readelf")
        .args(["--debug-dump=frames-interp", "--wide", file])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut shared = BTreeMap::new();
    let mut all = Vec::new();
    for entry in text.split("\n\n") {
        let mut lines = entry.trim_start_matches('\n').lines();
        let header: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
        let columns = lines.next().map(|line| {
            let names = line.split_whitespace().skip(1);
            Columns(names.map(str::to_owned).collect())
        });
        let columns = columns.unwrap_or_default();
        let mut rows: Vec<Expected> = lines.filter_map(|line| columns.row(line)).collect();
        let pointed = |name: &str| header.iter().find_map(|word| word.strip_prefix(name));
        if header.contains(&"CIE") {
            shared.insert(header[0].to_owned(), rows);
        } else if let (Some(cie), Some(range)) = (pointed("cie="), pointed("pc=")) {
            if rows.is_empty() {
                let start = u64::from_str_radix(range.split("..").next().unwrap(), 16).unwrap();
                rows = shared[cie].clone();
                rows[0].address = start;
            }
            all.append(&mut rows);
        }
    }
    all
}

/// Expressions that a row has a kind for, of which `readelf` says only that they are expressions.
const EXPRESSION: &str = "exp";

fn cfa_agrees(rule: &Rule, expected: &str) -> bool {
    match rule.cfa {
        cfa::REGISTER => {
            expected == format!("{}{:+}", register(rule.cfa_register), rule.cfa_offset)
        }
        cfa::DEREF | cfa::PLT | cfa::SIGNAL => expected == EXPRESSION,
        _ => false,
    }
}

fn rbp_agrees(rule: &Rule, expected: &str) -> bool {
    match rule.fp {
        fp::SAME => expected == "u" || expected == "s",
        fp::AT_CFA => expected == format!("c{:+}", rule.fp_offset),
        fp::AT_FP => expected == EXPRESSION,
        _ => !expected.starts_with('c'),
    }
}

fn ra_agrees(rule: &Rule, expected: &str) -> bool {
    match rule.ra {
        ra::AT_CFA => expected == format!("c{:+}", rule.ra_offset),
        ra::REGISTER => expected == format!("r{}", rule.ra_offset),
        _ => expected == "u",
    }
}

fn register(number: u8) -> &'static str {
    [
        "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ][usize::from(number)]
}

fn agrees(rule: &Rule, expected: &Expected) -> bool {
    match (rule.cfa, rule.ra) {
        // The interrupted registers are found by the kernel's layout.
        (cfa::SIGNAL, _) => [&expected.cfa, &expected.rbp, &expected.ra]
            .iter()
            .all(|cell| *cell == EXPRESSION),
        (_, ra::END) => expected.ra == "u",
        _ => {
            cfa_agrees(rule, &expected.cfa)
                && rbp_agrees(rule, &expected.rbp)
                && ra_agrees(rule, &expected.ra)
        }
    }
}

fn read(bytes: &[u8]) -> Rows {
    match rows::read(&Machine::NATIVE, bytes).unwrap() {
        FileRows::Rows(table, _) => table,
        FileRows::NoCfi => panic!("no call frame information"),
    }
}

/// Whether a row is one of those that no rule can say: a CFA by an odd expression, or a stack
/// pointer that is not the CFA.
fn is_beyond_rules(rule: &Rule, expected: &Expected) -> bool {
    rule.cfa == cfa::UNSUPPORTED && (expected.cfa == EXPRESSION || expected.rsp != "u")
}

/// Compares every row of a file and gives how many there are and how many no rule can say.
fn compare(file: &str) -> (usize, usize) {
    let bytes = fs::read(file).unwrap();
    let table = read(&bytes);
    let elf = object::File::parse(bytes.as_slice()).unwrap();
    let offset = |address: u64| {
        elf.segments().find_map(|segment| {
            let (start, size) = segment.file_range();
            let inside = address.checked_sub(segment.address())?;
            (inside < size).then_some((start + inside) as u32)
        })
    };
    let expected = expected(file);
    let mut beyond_rules = 0;
    for row in &expected {
        let at = offset(row.address).unwrap();
        let behind = table.rows.partition_point(|row| row.start <= at);
        let rule = &table.rules[usize::from(table.rows[behind - 1].rule)];
        if is_beyond_rules(rule, row) {
            beyond_rules += 1;
        } else {
            assert!(agrees(rule, row), "{file}: {row:x?} but {rule:?}");
        }
    }
    (expected.len(), beyond_rules)
}

/// CFA, frame pointer and return address are `readelf`'s at every row of the C library and of
/// Python; of all rows only the few in `longjmp`, which sets the stack pointer, are beyond rules.
#[test]
fn every_row_is_what_readelf_says() {
    let libc = compare("/lib/x86_64-linux-gnu/libc.so.6");
    assert!(libc.0 > 20_000 && libc.1 <= 8, "{libc:?}");
    let python = compare("/usr/bin/python3");
    assert!(python.0 > 20_000 && python.1 == 0, "{python:?}");
}

/// The same for OpenSSL's library, whose assembly code has the oddest descriptions; only those that
/// multiply a register are not understood.
#[test]
fn odd_rows_are_what_readelf_says() {
    let crypto = compare("/lib/x86_64-linux-gnu/libcrypto.so.3");
    assert!(crypto.0 > 20_000 && crypto.1 <= 8, "{crypto:?}");
}

/// A library with call frame information for debuggers only, in `.debug_frame`, has the rows of it.
#[test]
fn rows_come_from_debug_frame_too() {
    let folder = tempfile::tempdir().unwrap();
    let [source, library] = ["code.c", "code.so"].map(|name| folder.path().join(name));
    let code = "int g(int *); int f(int n) { int a[40]; a[n] = g(a); return g(a) + a[2]; }";
    fs::write(&source, code).unwrap();
    let options =
        "-g -O2 -fPIC -shared -nostdlib -fno-unwind-tables -fno-asynchronous-unwind-tables";
    let status = Command::new("gcc")
        .args(options.split(' '))
        // The linker's own description of the procedure linkage table would be an `.eh_frame`.
        .args(["-Wl,--no-ld-generated-unwind-info", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(status.success());
    let bytes = fs::read(&library).unwrap();
    let elf = object::File::parse(bytes.as_slice()).unwrap();
    let has = |name| {
        elf.section_by_name(name)
            .is_some_and(|section| section.size() > 0)
    };
    assert!(has(".debug_frame") && !has(".eh_frame"));
    let rows = compare(library.to_str().unwrap());
    assert!(rows.0 >= 3 && rows.1 == 0, "{rows:?}");
}
