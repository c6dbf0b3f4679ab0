//! `timesink doctor`: whether this machine lets timesink record, what it degrades, and how to mend
//! it. [`probe`] reads the machine into plain facts, [`findings`] judges them without reading
//! anything, [`show`] prints the judgement. Nothing here changes a setting.

pub mod capabilities;
#[cfg(test)]
mod examples;
pub mod findings;
pub mod machine;
pub mod probe;
pub mod process;
pub mod refusal;
pub mod show;

use std::io::Write;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::cli::DoctorArgs;

/// Examines the machine, or one process, and prints what was found. Gives whether recording can work.
///
/// # Errors
/// Where `/proc` cannot be read, or standard output cannot be written.
pub fn run(args: &DoctorArgs) -> Result<bool> {
    if let Some(pid) = args.pid {
        let reports = process::examine(pid)?;
        print(args.json, &reports, |reports| process::text(reports))?;
        return Ok(true);
    }
    let report = findings::Report::of(probe::machine()?);
    print(args.json, &report, show::text)?;
    Ok(report.can_record)
}

fn print<T: Serialize>(json: bool, report: &T, text: impl Fn(&T) -> String) -> Result<()> {
    let text = if json {
        show::json(report)?
    } else {
        text(report)
    };
    std::io::stdout()
        .write_all(output::clean_lines(&text).as_bytes())
        .context("failed to write to standard output")
}

/// Returns at once where a recording would be refused, with the reason in words in place of the
/// kernel's error from somewhere in the middle. It reads a few small files and loads nothing.
///
/// # Errors
/// Where a recording would be refused, or `/proc` cannot be read.
pub fn require_privileges() -> Result<()> {
    match refusal::refusal(&probe::essentials()?) {
        Some(refusal) => bail!("failed to record: {}; {}", refusal.why, refusal.mend),
        None => Ok(()),
    }
}
