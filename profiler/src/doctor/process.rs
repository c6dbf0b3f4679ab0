//! How the code of a process is unwound and named: one line for each file that it maps as code.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::Serialize;
use symbolizer::NameSource;

use crate::{
    code_files,
    debug_files::{Finder, Subject},
    identity::ByStat,
    roots::Root,
    tables::{Budget, Built, Found, build_all},
    unwind::{pages, rules::RuleSet},
    worker::{Limits, Workers},
};

/// What a table may take while it is looked at: more than of any file that is not hostile.
const MOST_BYTES: usize = 1 << 30;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodeReport {
    /// Where the process found it.
    pub path: String,
    /// How stacks are walked through its code.
    pub unwound: String,
    /// Where the names of its functions come from.
    pub named: String,
    /// What to do for more, where there is something.
    pub mend: Option<String>,
}

/// Examines the files of a process.
///
/// # Errors
/// Where there is no such process, or its mappings may not be read.
pub fn examine(pid: u32) -> Result<Vec<CodeReport>> {
    std::fs::read(format!("/proc/{pid}/maps")).with_context(|| {
        format!("failed to read what the process {pid} maps; `ps -e` lists those that run")
    })?;
    let files = code_files::of_processes([pid], &ByStat);
    let workers = Workers::new(Limits::of_each(MOST_BYTES));
    let mut reports = Vec::new();
    let (finder, root) = (Finder::new(&workers, None), Root::of(pid).ok());
    for (file, _) in files {
        let described = workers.describe(&file.file);
        let source = described.map(|description| {
            let found = finder.find(&Subject {
                file: &file.file,
                description: &description,
                path: &file.path,
                root: root.as_ref(),
            });
            NameSource::of(&description, found.debug.is_some())
        });
        let report = |found: Found| reports.push(report(&found, source));
        build_all(vec![file], &Budget::new(MOST_BYTES), &workers, report);
    }
    reports.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(reports)
}

fn report(found: &Found, source: Result<NameSource, symbolizer::Miss>) -> CodeReport {
    let unwound = match &found.built {
        Built::Rows(rows) => {
            let pages = pages::build(rows, &mut RuleSet::default());
            let kib = pages.bytes() / 1024;
            format!("by its table, {} rows in {kib} KiB", rows.rows.len())
        }
        Built::ByFramePointer(why) => format!("by frame pointer: {why}"),
        Built::TooLarge(bytes) => format!("not at all: a table takes up to {bytes} bytes to build"),
    };
    let (named, mend) = named(source);
    CodeReport {
        path: output::clean(&found.path.to_string_lossy()).into_owned(),
        unwound,
        named,
        mend: mend.map(str::to_owned),
    }
}

fn named(source: Result<NameSource, symbolizer::Miss>) -> (String, Option<&'static str>) {
    const DEBUG_PACKAGE: &str = "install the package's debug symbols (Debian: find-dbgsym-packages from debian-goodies tells which), or do not strip it";
    let (named, mend) = match source {
        Ok(NameSource::SymbolTable) => ("by its symbol table", None),
        Ok(NameSource::DebugFile) => ("by its separate debug file", None),
        Ok(NameSource::MiniDebug) => ("by its compressed symbol table", None),
        Ok(NameSource::Dwarf) => ("by DWARF", None),
        Ok(NameSource::DynamicSymbols) => ("by exported functions only", Some(DEBUG_PACKAGE)),
        Ok(NameSource::Nothing) => ("not at all: the file is stripped", Some(DEBUG_PACKAGE)),
        Err(miss) => return (format!("not at all: {miss}"), None),
    };
    (named.to_owned(), mend)
}

/// The reports as text: aligned, with what mends below; what mends several is said once.
#[must_use]
pub fn text(reports: &[CodeReport]) -> String {
    let width = |of: fn(&CodeReport) -> &str| {
        reports
            .iter()
            .map(|report| of(report).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (paths, unwound) = (
        width(|report| &report.path),
        width(|report| &report.unwound),
    );
    let mut text = String::new();
    let mut said = Vec::new();
    for report in reports {
        let CodeReport {
            path,
            unwound: how,
            named,
            mend,
        } = report;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{path:paths$}  unwound {how:unwound$}  named {named}");
        if let Some(mend) = mend
            && !said.contains(&mend)
        {
            let _ = writeln!(text, "{:paths$}  → {mend}", "");
            said.push(mend);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is not there is an error that says where to look.
    #[test]
    fn an_absent_process_is_an_error() {
        let error = format!("{:#}", examine(4_194_305).unwrap_err());
        assert!(
            error.contains("4194305") && error.contains("`ps -e`"),
            "{error}"
        );
    }
}
