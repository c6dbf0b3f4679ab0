//! The events that can be sampled on: their names, what the kernel calls them, their units.

use perf_event_open_sys::bindings as perf;
use thiserror::Error;

/// Something that the kernel or the CPU counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// As typed and as shown.
    pub name: String,
    /// `perf_event_attr.type`
    pub kind: u32,
    /// `perf_event_attr.config`
    pub config: u64,
    /// What one count of it is.
    pub measure: Measure,
}

/// What one count of an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A nanosecond of CPU time; a period of 1e9/Hz gives Hz samples a second.
    Nanoseconds,
    /// A CPU cycle: a measure of CPU time too, but not one of a fixed length.
    Cycles,
    /// One happening of what the name says.
    Count,
}

/// A name that stands for no event.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "failed to find an event `{0}`; known are {known}, and raw events such as r01c2",
    known = names().join(", ")
)]
pub struct UnknownEvent(String);

/// Name, type, config, measure.
type Row = (&'static str, u32, u32, Measure);

const EVENTS: &[Row] = &[
    (
        "cpu-clock",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_CPU_CLOCK,
        Measure::Nanoseconds,
    ),
    (
        "task-clock",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_TASK_CLOCK,
        Measure::Nanoseconds,
    ),
    (
        "page-faults",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_PAGE_FAULTS,
        Measure::Count,
    ),
    (
        "minor-faults",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_PAGE_FAULTS_MIN,
        Measure::Count,
    ),
    (
        "major-faults",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_PAGE_FAULTS_MAJ,
        Measure::Count,
    ),
    (
        "context-switches",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_CONTEXT_SWITCHES,
        Measure::Count,
    ),
    (
        "cpu-migrations",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_CPU_MIGRATIONS,
        Measure::Count,
    ),
    (
        "alignment-faults",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_ALIGNMENT_FAULTS,
        Measure::Count,
    ),
    (
        "emulation-faults",
        perf::PERF_TYPE_SOFTWARE,
        perf::PERF_COUNT_SW_EMULATION_FAULTS,
        Measure::Count,
    ),
    (
        "cycles",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_CPU_CYCLES,
        Measure::Cycles,
    ),
    (
        "instructions",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_INSTRUCTIONS,
        Measure::Count,
    ),
    (
        "cache-references",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_CACHE_REFERENCES,
        Measure::Count,
    ),
    (
        "cache-misses",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_CACHE_MISSES,
        Measure::Count,
    ),
    (
        "branches",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
        Measure::Count,
    ),
    (
        "branch-misses",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_BRANCH_MISSES,
        Measure::Count,
    ),
    (
        "bus-cycles",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_BUS_CYCLES,
        Measure::Count,
    ),
    (
        "ref-cycles",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_REF_CPU_CYCLES,
        Measure::Count,
    ),
    (
        "stalled-cycles-frontend",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_STALLED_CYCLES_FRONTEND,
        Measure::Count,
    ),
    (
        "stalled-cycles-backend",
        perf::PERF_TYPE_HARDWARE,
        perf::PERF_COUNT_HW_STALLED_CYCLES_BACKEND,
        Measure::Count,
    ),
];

/// Other names for the same events, as perf takes them.
const ALIASES: &[(&str, &str)] = &[
    ("cpu-cycles", "cycles"),
    ("faults", "page-faults"),
    ("cs", "context-switches"),
    ("migrations", "cpu-migrations"),
    ("branch-instructions", "branches"),
];

/// Every name that is not an alias.
#[must_use]
pub fn names() -> Vec<&'static str> {
    EVENTS.iter().map(|row| row.0).collect()
}

impl Event {
    /// The event of this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn by_name(name: &str) -> Result<Self, UnknownEvent> {
        if let Some(config) = name.strip_prefix('r').and_then(parse_raw) {
            return Ok(Self {
                name: name.to_owned(),
                kind: perf::PERF_TYPE_RAW,
                config,
                measure: Measure::Count,
            });
        }
        let full = ALIASES
            .iter()
            .find(|alias| alias.0 == name)
            .map_or(name, |alias| alias.1);
        EVENTS
            .iter()
            .find(|row| row.0 == full)
            .map(Self::from_row)
            .ok_or_else(|| UnknownEvent(name.to_owned()))
    }

    fn from_row(&(name, kind, config, measure): &Row) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            config: u64::from(config),
            measure,
        }
    }

    /// The kernel's own clock, which every machine has.
    #[must_use]
    pub fn cpu_clock() -> Self {
        Self::by_name("cpu-clock").expect("it is in the table")
    }

    /// The CPU's cycles.
    #[must_use]
    pub fn cycles() -> Self {
        Self::by_name("cycles").expect("it is in the table")
    }

    /// Whether the CPU counts it, which takes a PMU that many virtual machines do not have.
    #[must_use]
    pub const fn needs_pmu(&self) -> bool {
        self.kind != perf::PERF_TYPE_SOFTWARE
    }
}

/// The hexadecimal digits of a raw event.
fn parse_raw(digits: &str) -> Option<u64> {
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    (hexadecimal && !digits.is_empty()).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_raw_events_are_found() {
        assert_eq!(Event::by_name("cs").unwrap().name, "context-switches");
        assert_eq!(Event::by_name("cpu-clock").unwrap(), Event::cpu_clock());
        let raw = Event::by_name("r01c2").unwrap();
        assert_eq!((raw.kind, raw.config), (perf::PERF_TYPE_RAW, 0x1c2));
        assert_eq!(
            Event::by_name("ref-cycles").unwrap().kind,
            perf::PERF_TYPE_HARDWARE
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        for name in ["", "r", "rxyz", "cycle", "r10000000000000000"] {
            let error = Event::by_name(name).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")) && error.contains("cache-misses"));
        }
    }
}
