//! What the facts mean for a user: a pure function from the machine to one finding for each fact.

mod essential;
mod optional;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::{machine::Machine, refusal};

/// How well a fact suits a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As a recording wants it.
    Ok,
    /// Worth knowing; no recording is the worse for it.
    Note,
    /// A recording works, and lacks something.
    Degraded,
    /// No recording works.
    Missing,
}

impl State {
    /// As it is printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// One fact, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at; stays the same from version to version.
    pub name: &'static str,
    /// How well it suits.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What that means for a recording.
    pub means: String,
    /// What to do about it, in one line; none where all is well.
    pub mend: Option<String>,
}

impl Finding {
    /// A finding with nothing to mend.
    fn new(name: &'static str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            found: found.into(),
            means: means.into(),
            mend: None,
        }
    }

    /// The same finding in another state, with what mends it.
    fn but(self, state: State, mend: impl Into<String>) -> Self {
        Self {
            state,
            mend: Some(mend.into()),
            ..self
        }
    }

    /// The same finding as a note that asks for nothing.
    fn noted(self) -> Self {
        Self {
            state: State::Note,
            ..self
        }
    }
}

/// The machine and what it means.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether recording can work, degraded or not.
    pub can_record: bool,
    /// The same in words, with the reason where it cannot.
    pub verdict: String,
    /// One for each fact, in the order in which they are best mended.
    pub findings: Vec<Finding>,
    /// The facts.
    pub machine: Machine,
}

impl Report {
    /// Judges a machine.
    #[must_use]
    pub fn of(machine: Machine) -> Self {
        let findings = findings(&machine);
        let can_record = named(&findings, State::Missing).is_empty();
        Self {
            can_record,
            verdict: verdict(&machine, &findings),
            findings,
            machine,
        }
    }
}

/// One finding for each fact.
#[must_use]
pub fn findings(machine: &Machine) -> Vec<Finding> {
    let mut findings = essential::findings(machine);
    findings.extend(optional::findings(machine));
    findings
}

fn named(findings: &[Finding], state: State) -> Vec<&'static str> {
    let of_state = findings.iter().filter(|finding| finding.state == state);
    of_state.map(|finding| finding.name).collect()
}

fn verdict(machine: &Machine, findings: &[Finding]) -> String {
    let missing = named(findings, State::Missing);
    let degraded = named(findings, State::Degraded);
    if let Some(refusal) = refusal::refusal(&machine.essentials) {
        format!("timesink cannot record here: {}", refusal.why)
    } else if !missing.is_empty() {
        format!("timesink cannot record here: {}", missing.join(", "))
    } else if !degraded.is_empty() {
        format!(
            "timesink can record on this machine; degraded: {}",
            degraded.join(", ")
        )
    } else {
        "timesink can record on this machine".to_owned()
    }
}
