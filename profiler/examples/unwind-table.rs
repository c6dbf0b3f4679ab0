//! Builds the unwind tables of files and prints what that took and gave: a check by hand, and the
//! source of the figures in docs/design/unwind-tables.md.

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

fn main() -> anyhow::Result<()> {
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
        size_of_val(pages.entries.as_slice()) + size_of_val(pages.blocks.as_slice()),
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
