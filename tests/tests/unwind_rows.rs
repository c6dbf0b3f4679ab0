//! Rows against an independent reader of call frame information: binutils' `readelf`.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

mod arch;

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use abi::unwind::{Rule, cfa, fp, ra};
use arch::{AARCH64, Arch, X86_64};
use object::{Object, ObjectSection, ObjectSegment};
use profiler::unwind::rows::{self, FileRows, Rows};

impl Arch {
    fn name(&self, register: u8) -> &'static str {
        self.names[usize::from(register)]
    }
}

/// What `readelf` says from an address on.
#[derive(Clone, Debug)]
struct Expected {
    address: u64,
    cfa: String,
    fp: String,
    sp: String,
    ra: String,
}

/// The names of `readelf`'s columns at the rows that follow.
#[derive(Clone, Default)]
struct Columns(Vec<String>);

impl Columns {
    fn row(&self, arch: &Arch, line: &str) -> Option<Expected> {
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
            fp: cell(arch.name(arch.machine.frame_pointer)),
            sp: cell(arch.name(arch.machine.stack_pointer)),
            ra: cell("ra"),
        })
    }
}

/// The rows of each function. One without rows of its own has those of the entry that it shares.
fn expected(arch: &Arch, file: &str) -> Vec<Expected> {
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
        let mut rows: Vec<Expected> = lines.filter_map(|line| columns.row(arch, line)).collect();
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

fn cfa_agrees(arch: &Arch, rule: &Rule, expected: &str) -> bool {
    match rule.cfa {
        cfa::REGISTER => {
            expected == format!("{}{:+}", arch.name(rule.cfa_register), rule.cfa_offset)
        }
        cfa::DEREF | cfa::PLT | cfa::SIGNAL => expected == EXPRESSION,
        _ => false,
    }
}

fn fp_agrees(rule: &Rule, expected: &str) -> bool {
    match rule.fp {
        fp::SAME => expected == "u" || expected == "s",
        fp::AT_CFA => expected == format!("c{:+}", rule.fp_offset),
        fp::AT_FP => expected == EXPRESSION,
        _ => !expected.starts_with('c'),
    }
}

fn ra_agrees(arch: &Arch, rule: &Rule, expected: &str) -> bool {
    match rule.ra {
        // `readelf` does not say which register it is in that nothing was done with.
        ra::REGISTER if arch.machine.has_link => expected == "u" || expected == "s",
        ra::AT_CFA => expected == format!("c{:+}", rule.ra_offset),
        ra::REGISTER => expected == format!("r{}", rule.ra_offset),
        _ => expected == "u",
    }
}

fn agrees(arch: &Arch, rule: &Rule, expected: &Expected) -> bool {
    match (rule.cfa, rule.ra) {
        // The interrupted registers are found by the kernel's layout.
        (cfa::SIGNAL, _) => [&expected.cfa, &expected.fp, &expected.ra]
            .iter()
            .all(|cell| *cell == EXPRESSION),
        (_, ra::END) => expected.ra == "u",
        _ => {
            cfa_agrees(arch, rule, &expected.cfa)
                && fp_agrees(rule, &expected.fp)
                && ra_agrees(arch, rule, &expected.ra)
        }
    }
}

fn read(arch: &Arch, bytes: &[u8]) -> Rows {
    match rows::read(&arch.machine, bytes).unwrap() {
        FileRows::Rows(table, _) => table,
        FileRows::NoCfi => panic!("no call frame information"),
    }
}

/// Whether a row is one of those that no rule can say: a CFA by an odd expression, or a stack
/// pointer that is not the CFA.
fn is_beyond_rules(rule: &Rule, expected: &Expected) -> bool {
    rule.cfa == cfa::UNSUPPORTED && (expected.cfa == EXPRESSION || expected.sp != "u")
}

/// How many rows there are, and of them those that no rule can say and those of outermost frames.
#[derive(Debug, Default)]
struct Compared {
    rows: usize,
    beyond_rules: usize,
    ends: usize,
}

/// Compares every row of a file.
fn compare(arch: &Arch, file: &str) -> Compared {
    let bytes = fs::read(file).unwrap();
    let table = read(arch, &bytes);
    let elf = object::File::parse(bytes.as_slice()).unwrap();
    let offset = |address: u64| {
        elf.segments().find_map(|segment| {
            let (start, size) = segment.file_range();
            let inside = address.checked_sub(segment.address())?;
            (inside < size).then_some((start + inside) as u32)
        })
    };
    let expected = expected(arch, file);
    let mut compared = Compared::default();
    for row in &expected {
        let at = offset(row.address).unwrap();
        let behind = table.rows.partition_point(|row| row.start <= at);
        let rule = &table.rules[usize::from(table.rows[behind - 1].rule)];
        compared.rows += 1;
        compared.ends += usize::from(rule.ra == ra::END);
        if is_beyond_rules(rule, row) {
            compared.beyond_rules += 1;
        } else {
            assert!(agrees(arch, rule, row), "{file}: {row:x?} but {rule:?}");
        }
    }
    compared
}

/// CFA, frame pointer and return address are `readelf`'s at every row of the C library and of
/// Python; of all rows only the few in `longjmp`, which sets the stack pointer, are beyond rules.
#[test]
fn every_row_is_what_readelf_says() {
    let libc = compare(&X86_64, "/lib/x86_64-linux-gnu/libc.so.6");
    assert!(libc.rows > 20_000 && libc.beyond_rules <= 8, "{libc:?}");
    let python = compare(&X86_64, "/usr/bin/python3");
    assert!(
        python.rows > 20_000 && python.beyond_rules == 0,
        "{python:?}"
    );
}

/// The same for arm64's C library and loader, on whichever machine: a return address that no row
/// tells of is in the link register, unless the row says that there is none, as few do.
#[test]
fn every_row_of_arm64_is_what_readelf_says() {
    let folder = "/usr/aarch64-linux-gnu/lib";
    let libc = compare(&AARCH64, &format!("{folder}/libc.so.6"));
    assert!(libc.rows > 15_000 && libc.beyond_rules <= 8, "{libc:?}");
    assert!((1..=4).contains(&libc.ends), "{libc:?}");
    let loader = compare(&AARCH64, &format!("{folder}/ld-linux-aarch64.so.1"));
    assert!(
        loader.rows > 1_000 && loader.beyond_rules <= 8,
        "{loader:?}"
    );
}

/// The same for OpenSSL's library, whose assembly code has the oddest descriptions; only those that
/// multiply a register are not understood.
#[test]
fn odd_rows_are_what_readelf_says() {
    let crypto = compare(&X86_64, "/lib/x86_64-linux-gnu/libcrypto.so.3");
    assert!(
        crypto.rows > 20_000 && crypto.beyond_rules <= 8,
        "{crypto:?}"
    );
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
    let rows = compare(&X86_64, library.to_str().unwrap());
    assert!(rows.rows >= 3 && rows.beyond_rules == 0, "{rows:?}");
}
