//! A report as text for people and as JSON for programs.

use std::fmt::Write;

use anyhow::Result;

use serde::Serialize;

use super::findings::{Finding, Report};

/// One aligned line for each finding, with what mends it below, and the verdict last.
#[must_use]
pub fn text(report: &Report) -> String {
    let names = report.findings.iter().map(|finding| finding.name.len());
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    for (index, finding) in report.findings.iter().enumerate() {
        let Finding { name, means, .. } = finding;
        let state = finding.state.name();
        // What the kernel's verifier says may take many lines; JSON has all of them.
        let found = finding.found.lines().next().unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{state:8}  {name:width$}  {found}; {means}");
        if let Some(mend) = mend(&report.findings[..index], finding) {
            let _ = writeln!(text, "{:8}  {:width$}  → {mend}", "", "");
        }
    }
    text.push_str(&report.verdict);
    text.push('\n');
    text
}

/// What mends a finding, or which of the earlier ones is mended by the same.
fn mend(earlier: &[Finding], finding: &Finding) -> Option<String> {
    let mend = finding.mend.as_ref()?;
    match earlier
        .iter()
        .find(|other| other.mend.as_ref() == Some(mend))
    {
        Some(same) => Some(format!("as for {}", same.name)),
        None => Some(mend.clone()),
    }
}

/// All of the report as one JSON object, indented.
///
/// # Errors
/// Where a fact has no form in JSON.
pub fn json(report: &impl Serialize) -> Result<String> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    Ok(json)
}
