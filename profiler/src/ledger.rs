//! The ledger of a recording: the accounts of samples and of waits, what else is worth knowing, and what
//! of it a user must be told.

use abi::{WAITS, reasons::Miss};
use output::{Ledger, RowKind};

use crate::{
    account::{EventAccount, WithoutStack, waits::WaitAccount},
    collected::Collected,
    names::{Nameless, Reading},
    record::Recorded,
    resolve::Resolved,
    sampling::Sampling,
    stacks::Findings,
    tables::TableCounts,
    unresolved::Unresolved,
};

/// The parts of a ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledgers {
    /// Of samples, where any were to be taken.
    pub samples: Option<Ledger>,
    /// Of waits, where they were recorded.
    pub waits: Option<Ledger>,
    /// What belongs to both.
    pub notes: Ledger,
}

impl Ledgers {
    /// The whole account of a recording.
    #[must_use]
    pub fn of(recorded: &Recorded, resolved: &Resolved<'_>) -> Self {
        let has_samples = !recorded.events.is_empty();
        let waits = wait_account(recorded, resolved);
        Self {
            samples: has_samples.then(|| samples(recorded, &resolved.findings)),
            waits: waits.map(|account| waits_ledger(&account, &resolved.findings)),
            notes: notes(recorded, &resolved.findings, &resolved.reading),
        }
    }

    /// All rows in one.
    #[must_use]
    pub fn whole(&self) -> Ledger {
        let mut whole = Ledger::default();
        for part in [&self.samples, &self.waits, &Some(self.notes.clone())] {
            whole.append(part.clone().unwrap_or_default());
        }
        whole
    }
}

/// The account of waits, where they were recorded.
#[must_use]
pub fn wait_account<'a>(
    recorded: &'a Recorded,
    resolved: &Resolved<'_>,
) -> Option<WaitAccount<'a>> {
    let waits = recorded.waits.as_ref()?;
    Some(WaitAccount {
        counters: &waits.counters,
        following: &recorded.processes,
        collected: &recorded.collected,
        hidden: resolved.waiting.hidden,
    })
}

fn waits_ledger(account: &WaitAccount<'_>, findings: &Findings) -> Ledger {
    let mut ledger = Ledger::default();
    let without = WithoutStack {
        unsent: findings.unsent.get(&WAITS).copied().unwrap_or(0),
        overflow: account.collected.waits_overflow.times,
    };
    account.write(&mut ledger, without);
    ledger
}

fn samples(recorded: &Recorded, findings: &Findings) -> Ledger {
    let mut ledger = Ledger::default();
    let events: &[(Sampling, EventAccount)] = &recorded.events;
    for (number, (sampling, account)) in (0..).zip(events) {
        let of = match events.len() {
            1 => String::new(),
            _ => format!(" ({})", sampling.event.name),
        };
        let overflow = recorded.collected.overflow.get(&number);
        let without_stack = WithoutStack {
            unsent: findings.unsent.get(&number).copied().unwrap_or(0),
            overflow: overflow.map_or(0, |count| count.samples),
        };
        account.write(&mut ledger, &of, without_stack);
    }
    ledger
}

/// A row that is part of no sum: its name, how many, and what that means.
type Note = (&'static str, u64, &'static str);

fn notes(recorded: &Recorded, findings: &Findings, reading: &Reading) -> Ledger {
    let mut ledger = Ledger::default();
    let known = misses(recorded)
        .chain(of_memory(&recorded.collected))
        .chain(of_tables(&recorded.tables))
        .chain(of_stacks(findings))
        .chain(of_names(reading));
    for (name, count, meaning) in known {
        ledger.push(RowKind::Note, name, count, meaning);
    }
    for (nameless, &count) in &findings.nameless {
        ledger.push(RowKind::Note, &nameless.name(), count, &nameless.meaning());
    }
    ledger
}

/// What the kernel programs did not find.
fn misses(recorded: &Recorded) -> impl Iterator<Item = Note> {
    // Waits without a stack are a loss of waits.
    let misses = Miss::ALL.iter().filter(|&&miss| miss != Miss::WaiterMoved);
    misses.map(|&miss| {
        let events = recorded.events.iter().map(|(_, account)| &account.counters);
        let waits = recorded.waits.iter().map(|waits| &waits.counters);
        let all = events.chain(waits).chain([&recorded.processes]);
        let count = all.map(|counters| counters.misses[miss as usize]).sum();
        (miss.name(), count, miss.meaning())
    })
}

/// What the recorder had no memory for.
fn of_memory(collected: &Collected) -> [Note; 4] {
    [
        (
            "stacks dropped",
            collected.stacks_dropped,
            "distinct stacks beyond the bound on memory",
        ),
        (
            "mappings not told",
            collected.sideband_lost + collected.files.paths_dropped + collected.kernel_code.dropped,
            "records of mapped files and BPF programs that found no room; what only short-lived processes map may lack names",
        ),
        (
            "processes with a JIT dropped",
            collected.jit.dropped,
            "sights of processes with a JIT beyond the bound on them, whose maps were not looked for",
        ),
        (
            "times of JIT code coarser",
            match collected.moments.mask() {
                u32::MAX => 0,
                _ => collected.moments.granule_ms(),
            },
            "milliseconds within which functions that shared an address are not told apart: there were too many samples to keep the time of each",
        ),
    ]
}

const fn of_tables(tables: &TableCounts) -> [Note; 5] {
    [
        (
            "unwind tables",
            tables.loaded,
            "tables of files in the kernel when the recording stopped",
        ),
        (
            "unwind tables evicted",
            tables.evicted,
            "tables that made room for others (--unwind-memory)",
        ),
        (
            "unwind tables without room",
            tables.no_room,
            "files whose table found no room (--unwind-memory)",
        ),
        (
            "unwind tables too large",
            tables.too_large,
            "files whose table takes more memory to build than is left (--unwind-memory)",
        ),
        (
            "files by frame pointer",
            tables.by_frame_pointer,
            "files without call frame information",
        ),
    ]
}

const fn of_stacks(findings: &Findings) -> [Note; 3] {
    [
        (
            "user stacks",
            findings.user,
            "samples and waits with a user stack",
        ),
        (
            "incomplete stacks",
            findings.incomplete,
            "of those, the ones whose outermost frame is not known",
        ),
        ("frames", findings.frames, "frames of all samples and waits"),
    ]
}

const fn of_names(reading: &Reading) -> [Note; 4] {
    [
        (
            "names from the cache",
            reading.cached,
            "places that an earlier recording had looked up",
        ),
        (
            "names looked up",
            reading.looked_up,
            "places that were looked up",
        ),
        (
            "readers lost",
            reading.lost.readers,
            "processes that reading a file made hang, crash or grow too large",
        ),
        (
            "files without detail",
            reading.lost.details,
            "files whose lines and inlined functions could not be read, within --symbol-memory and 10 s",
        ),
    ]
}

/// Shares, in percent, above which something is said loudly.
const LOUD_LOST: u64 = 1;
const LOUD_INCOMPLETE: u64 = 5;
const LOUD_UNRESOLVED: f64 = 5.0;

/// What a user must know before trusting the picture.
#[must_use]
pub fn warnings(ledgers: &Ledgers, findings: &Findings, unresolved: &Unresolved) -> Vec<String> {
    let mut warnings: Vec<String> = nothing(ledgers).map(str::to_owned).into_iter().collect();
    for (what, ledger) in [("samples", &ledgers.samples), ("waits", &ledgers.waits)] {
        let Some(ledger) = ledger else { continue };
        let lost = ledger.lost();
        if is_loud(lost, got(ledger) + lost, LOUD_LOST) {
            warnings.push(format!(
                "{lost} {what} were lost; they show as `[lost: …]`, and the ledger tells why"
            ));
        }
    }
    if is_loud(findings.incomplete, findings.user, LOUD_INCOMPLETE) {
        warnings.push(format!(
            "{} of {} user stacks are not whole (`[incomplete]`, `[truncated]`): the ledger tells \
             why, and `timesink doctor --pid PID` how each file of a process is unwound",
            findings.incomplete, findings.user
        ));
    }
    if unresolved.percent() > LOUD_UNRESOLVED {
        warnings.push(format!(
            "{:.1} % of what is shown ran or waited in functions without a name; the table above \
             tells where, why and what to do",
            unresolved.percent()
        ));
    }
    let hidden = symbolizer::Miss::KernelAddressesHidden;
    if findings
        .nameless
        .keys()
        .any(|&reason| reason == Nameless::of(hidden))
    {
        warnings.push(format!(
            "functions of the kernel have no names, and waits no causes: {hidden}; `timesink doctor` \
             tells what to do"
        ));
    }
    warnings
}

/// That nothing was recorded, where that is so: a target may well run all the time, or wait all the time.
fn nothing(ledgers: &Ledgers) -> Option<&'static str> {
    let is_empty = |ledger: &Ledger| got(ledger) + ledger.lost() == 0;
    match (&ledgers.samples, &ledgers.waits) {
        (Some(samples), None) if is_empty(samples) => {
            Some("no samples: the target did not run on a CPU while it was recorded")
        }
        (None, Some(waits)) if is_empty(waits) => {
            Some("no waits: no thread of the target was away from a CPU while it was recorded")
        }
        (Some(samples), Some(waits)) if is_empty(samples) && is_empty(waits) => {
            Some("no samples and no waits: no thread of the target was there while it was recorded")
        }
        _ => None,
    }
}

fn got(ledger: &Ledger) -> u64 {
    let rows = ledger.rows().iter();
    let got = rows.filter(|row| row.kind == RowKind::Got);
    got.map(|row| row.count).sum()
}

const fn is_loud(part: u64, whole: u64, percent: u64) -> bool {
    part > 0 && part * 100 > whole * percent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got_and_lost(got: u64, lost: u64) -> Option<Ledger> {
        let mut ledger = Ledger::default();
        ledger.push(RowKind::Got, "got", got, "");
        ledger.push(RowKind::Lost, "lost", lost, "");
        Some(ledger)
    }

    fn ledgers(samples: Option<Ledger>, waits: Option<Ledger>) -> Ledgers {
        Ledgers {
            samples,
            waits,
            notes: Ledger::default(),
        }
    }

    /// What spoils a picture is said, and what does not is not.
    #[test]
    fn losses_are_said_loudly() {
        let mut findings = Findings {
            user: 100,
            ..Findings::default()
        };
        let mut unresolved = Unresolved {
            total: 1000,
            unresolved: 50,
            ..Unresolved::default()
        };
        let well = ledgers(got_and_lost(100, 1), got_and_lost(100, 0));
        assert!(warnings(&well, &findings, &unresolved).is_empty());
        findings.incomplete = 6;
        unresolved.unresolved = 51;
        let badly = ledgers(got_and_lost(98, 2), got_and_lost(5, 3));
        let said = warnings(&badly, &findings, &unresolved).join("\n");
        for words in [
            "2 samples were lost",
            "3 waits were lost",
            "6 of 100",
            "5.1 % of what is shown",
        ] {
            assert!(said.contains(words), "{said}");
        }
    }

    /// A target that only waits has no samples, and one that only runs no waits; with neither there
    /// is nothing to see.
    #[test]
    fn nothing_at_all_is_said() {
        let said = |samples, waits| {
            let ledgers = ledgers(samples, waits);
            warnings(&ledgers, &Findings::default(), &Unresolved::default()).len()
        };
        assert_eq!(said(got_and_lost(0, 0), None), 1);
        assert_eq!(said(None, got_and_lost(0, 0)), 1);
        assert_eq!(said(None, got_and_lost(1, 0)), 0);
        assert_eq!(said(got_and_lost(0, 0), got_and_lost(1, 0)), 0);
        assert_eq!(said(got_and_lost(0, 0), got_and_lost(0, 0)), 1);
    }
}
