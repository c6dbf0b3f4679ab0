//! Builds the unwind tables of files and prints what that took and gave: a check by hand, and the
//! source of the figures in docs/design/unwind-tables.md. Without a file, the kernel memory of the
//! tables of common programs and libraries, those that this machine has.

#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::{
    env,
    fs::{self, File},
    time::Duration,
};

use anyhow::Context;
use profiler::unwind::{
    file, pages,
    rows::{self, FileRows},
    rules::RuleSet,
};

/// What is mapped on most machines of Debian, with one very large library.
const COMMON: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib/x86_64-linux-gnu/libm.so.6",
    "/lib/x86_64-linux-gnu/libstdc++.so.6",
    "/lib/x86_64-linux-gnu/libgcc_s.so.1",
    "/lib/x86_64-linux-gnu/libcrypto.so.3",
    "/lib/x86_64-linux-gnu/libssl.so.3",
    "/lib/x86_64-linux-gnu/libz.so.1",
    "/lib/x86_64-linux-gnu/libzstd.so.1",
    "/lib/x86_64-linux-gnu/libsqlite3.so.0",
    "/lib/x86_64-linux-gnu/libglib-2.0.so.0",
    "/lib/x86_64-linux-gnu/libgnutls.so.30",
    "/usr/bin/bash",
    "/usr/bin/dash",
    "/usr/bin/git",
    "/usr/bin/perl",
    "/usr/bin/gzip",
    "/usr/bin/python3",
    "/usr/bin/node",
    "/lib/x86_64-linux-gnu/libLLVM.so.22.1",
];

fn main() -> anyhow::Result<()> {
    if env::args_os().len() == 1 {
        return print_common();
    }
    let mut rules = RuleSet::default();
    for path in env::args_os().skip(1) {
        let shown = path.display();
        let file = File::open(&path).with_context(|| format!("failed to open `{shown}`"))?;
        let started = cpu_time()?;
        let found =
            file::read(&file).with_context(|| format!("failed to build the table of `{shown}`"))?;
        println!("{shown}");
        match found {
            FileRows::Rows(table, counts) => {
                print(&table, &counts, cpu_time()? - started, &mut rules)?;
            }
            FileRows::NoCfi => println!("  no call frame information"),
        }
    }
    println!("all: {} rules", rules.rules().len());
    Ok(())
}

/// A line of a table for each file, and their sum.
fn print_common() -> anyhow::Result<()> {
    let mut rules = RuleSet::default();
    let (mut files, mut total_rows, mut total_bytes) = (0, 0, 0);
    println!("| file | bytes | rows | kernel bytes |\n|---|---|---|---|");
    for path in COMMON {
        let Ok(file) = File::open(path) else {
            continue;
        };
        let size = file.metadata()?.len();
        let found = file::read(&file).with_context(|| format!("failed to read `{path}`"))?;
        let FileRows::Rows(table, _) = found else {
            continue;
        };
        let bytes = pages::build(&table, &mut rules).bytes();
        println!("| `{path}` | {size} | {} | {bytes} |", table.rows.len());
        files += 1;
        total_rows += table.rows.len();
        total_bytes += bytes;
    }
    let rules = rules.rules().len();
    println!("| {files} files, {rules} rules | | {total_rows} | {total_bytes} |");
    Ok(())
}

fn print(
    table: &rows::Rows,
    counts: &rows::Counts,
    read: Duration,
    rules: &mut RuleSet,
) -> anyhow::Result<()> {
    let started = cpu_time()?;
    let pages = pages::build(table, rules);
    println!(
        "  read in {:.3} s, built in {:.3} s of CPU time",
        read.as_secs_f64(),
        (cpu_time()? - started).as_secs_f64()
    );
    let nothing = table.rows.iter().filter(|row| row.rule == 0).count();
    println!(
        "  {} rows, {nothing} of them without a rule; {} rules",
        table.rows.len(),
        table.rules.len()
    );
    println!(
        "  {} pages, {} blocks, {} bytes; at most {} rows in a page",
        pages.entries.len(),
        pages.blocks.len(),
        pages.bytes(),
        pages
            .entries
            .iter()
            .map(|page| page.rows)
            .max()
            .unwrap_or(0)
    );
    println!("  {counts:?}");
    println!("  {:?}", pages.counts);
    Ok(())
}

/// The time that this thread has spent on a CPU, which other work on the machine does not change
/// much.
fn cpu_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")
        .context("failed to read this thread's CPU time")?;
    let nanos = text
        .split(' ')
        .next()
        .context("failed to find the CPU time")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}
