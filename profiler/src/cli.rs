//! What was typed, as typed. What it means is decided by the recorder.

mod agent;
pub mod diff;
pub mod query;
mod serve;
pub mod when;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use output::Format;

pub use agent::{AgentArgs, AgentCommand};
pub use serve::ServeArgs;

/// Where does the time go?
#[derive(Debug, Parser)]
#[command(name = "timesink", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sample processes, threads or the whole machine, and write a profile
    Record(Box<RecordArgs>),
    /// Record the whole machine all the time, keep it, and show it as a web page
    Agent(Box<AgentArgs>),
    /// Write the profile of a range of time that a store has
    Query(Box<query::QueryArgs>),
    /// Compare two recordings, or two ranges of time of a store: what changed by more than chance
    Diff(Box<diff::DiffArgs>),
    /// Show a store as a web page
    Serve(ServeArgs),
    /// Tell whether this machine lets timesink record, and how to mend what does not
    Doctor(DoctorArgs),
    /// Copy standard input, a file that may never be read to its end, to standard output
    #[command(name = crate::copies::SUBCOMMAND, hide = true)]
    CopyFile {
        /// The inode of the file
        inode: u64,
    },
    /// The same, of a file that an overlay shows
    #[command(name = crate::copies::LAYERED, hide = true)]
    CopyLayeredFile {
        /// The inode of the file
        inode: u64,
        /// Its device, as the kernel programs tell it
        device: u32,
        /// The inode's generation
        generation: u32,
    },
}

/// `timesink doctor`
#[derive(Args, Clone, Copy, Debug)]
pub struct DoctorArgs {
    /// Print JSON: the findings, and the facts that they rest on
    #[arg(long)]
    pub json: bool,
    /// Tell how the code of this process is unwound and named instead
    #[arg(short, long, value_name = "PID")]
    pub pid: Option<u32>,
}

/// `timesink record`
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "timesink record [OPTIONS] <-p PID | -t TID | --cgroup PATH | -a | -- COMMAND [ARGUMENT]...>"
)]
#[command(group = clap::ArgGroup::new("target").args(["pid", "tid", "cgroup", "all", "command"]).required(true).multiple(true))]
#[command(group = clap::ArgGroup::new("waits").args(["off_cpu", "wall"]))]
pub struct RecordArgs {
    /// Record this process, its threads and its children (may be repeated)
    #[arg(short, long = "pid", value_name = "PID", help_heading = "Target")]
    pub pid: Vec<u32>,
    /// Record this thread only (may be repeated)
    #[arg(short, long = "tid", value_name = "TID", help_heading = "Target")]
    pub tid: Vec<u32>,
    /// Record what runs in this cgroup and below it: a folder, or its path below the cgroup root
    #[arg(long, value_name = "PATH", conflicts_with_all = ["pid", "tid", "all"], help_heading = "Target")]
    pub cgroup: Option<PathBuf>,
    /// Record the whole machine
    #[arg(short, long, conflicts_with_all = ["pid", "tid"], help_heading = "Target")]
    pub all: bool,
    /// Run this command and record it until it ends; with -a or --cgroup, record those meanwhile
    #[arg(last = true, value_name = "COMMAND", help_heading = "Target")]
    pub command: Vec<OsString>,

    /// Samples a second on each CPU [default: 99]
    #[arg(
        short = 'F',
        long = "rate",
        value_name = "HZ",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000),
        help_heading = "Sampling"
    )]
    pub rate: Option<u64>,
    /// Sample each time that the event has happened this often (nanoseconds for clocks)
    #[arg(
        short = 'c',
        long = "period",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64),
        conflicts_with = "rate",
        help_heading = "Sampling"
    )]
    pub period: Option<u64>,
    /// Sample on this event (may be repeated): cpu-clock, cycles, cache-misses, page-faults, …, or
    /// a raw event such as r01c2 [default: cycles where the CPU counts them, else cpu-clock]
    #[arg(short, long = "event", value_name = "EVENT", help_heading = "Sampling")]
    pub event: Vec<String>,
    /// Record where threads wait, every nanosecond of it, instead of what runs on the CPUs
    #[arg(long, conflicts_with_all = ["wall", "rate", "period", "event"], help_heading = "Waiting")]
    pub off_cpu: bool,
    /// Record both: what runs, where threads wait, and the two in one picture of all their time
    #[arg(long, conflicts_with_all = ["event", "period"], help_heading = "Waiting")]
    pub wall: bool,
    /// Show who ended each wait, with the stack of the thread that did
    #[arg(long, requires = "waits", help_heading = "Waiting")]
    pub wakers: bool,
    /// Take no stack of a wait shorter than this; its time is shown without one: 10us, 1ms
    #[arg(long, value_name = "TIME", value_parser = parse_wait, requires = "waits", help_heading = "Waiting")]
    pub min_block: Option<std::time::Duration>,
    /// Take the stack of a wait shorter than this by chance, so that one is taken for each such
    /// time of waiting on average: 100us, 1ms; 0 takes the stack of each wait [default: 0, and 1ms
    /// from the moment on when threads switch so often that it would cost too much]
    #[arg(long, value_name = "TIME", value_parser = parse_wait, requires = "waits", help_heading = "Waiting")]
    pub wait_period: Option<std::time::Duration>,
    /// Leave out the waits of threads that are idle, such as a pool's that waits for work
    #[arg(long, requires = "waits", help_heading = "Waiting")]
    pub hide_idle: bool,
    /// How long to record: 500ms, 10s, 5m, 1h [default: until the target ends, or Ctrl-C]
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration, help_heading = "Sampling")]
    pub duration: Option<std::time::Duration>,

    /// Write the profile here (may be repeated); the extension gives the format: .svg, .folded,
    /// .pb.gz; `-` is folded stacks on standard output [default: timesink.svg, and a table of the
    /// hottest functions]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Vec<PathBuf>,
    /// The format of every output, whatever its extension
    #[arg(long, value_name = "FORMAT", value_parser = Format::names(), help_heading = "Output")]
    pub format: Option<String>,
    /// Ask the servers of DEBUGINFOD_URLS for the symbols of programs that have none; they are told
    /// the build ids of these
    #[arg(long, help_heading = "Symbols")]
    pub debuginfod: bool,
    /// Show each thread below its process
    #[arg(long, help_heading = "Output")]
    pub threads: bool,
    /// Do not look up inlined functions and source lines: sooner done, and with less memory, where
    /// programs have much debug information
    #[arg(long, help_heading = "Symbols")]
    pub no_inline: bool,
    /// Show functions of C++ and Rust without template and generic arguments, parameters and return
    /// types
    #[arg(long, help_heading = "Symbols")]
    pub short_names: bool,
    /// Fail, once all is written, where functions without a name ran or waited for more than this
    /// part of what is shown, in percent
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, help_heading = "Symbols")]
    pub fail_unresolved: Option<f64>,
    /// Tell what is being done, and the whole ledger
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,

    /// Bytes of the ring buffer between kernel and user space, a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = parse_ring_bytes, help_heading = "Limits")]
    pub ring_bytes: u32,
    /// Bytes of memory for unwind tables, in the kernel and while they are built, with the unit K, M or G
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = parse_bytes, help_heading = "Limits")]
    pub unwind_memory: usize,
    /// Bytes of memory for reading symbols and debug information, with the unit K, M or G; files that
    /// take more have no inlined functions, or no names
    #[arg(long, value_name = "BYTES", default_value = "512M", value_parser = parse_bytes, help_heading = "Limits")]
    pub symbol_memory: usize,
    /// Entries of the kernel's map of counts, emptied once a second [default: 32768]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1 << 24), help_heading = "Limits")]
    pub count_entries: Option<u32>,
}

impl RecordArgs {
    /// Whether time in which threads do not run is recorded.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.off_cpu || self.wall
    }
}

/// A whole number with a unit: `500ms`, `10s`, `5m`, `1h`; without a unit it is seconds.
fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    match number
        .zip(milliseconds)
        .and_then(|(number, unit)| number.checked_mul(unit))
    {
        Some(0) => Err("a recording takes some time".to_owned()),
        Some(total) => Ok(std::time::Duration::from_millis(total)),
        None => Err("expected a number and a unit, such as 500ms, 10s, 5m, 1h or 30d".to_owned()),
    }
}

/// A whole number with a unit: `10us`, `1ms`, `1s`; `0` needs none.
fn parse_wait(text: &str) -> Result<std::time::Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let nanoseconds = match unit {
        "ns" => Some(1),
        "us" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "" if number == "0" => Some(0),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    number
        .zip(nanoseconds)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .map(std::time::Duration::from_nanos)
        .ok_or_else(|| "expected a number and a unit, such as 10us, 1ms or 1s".to_owned())
}

/// A whole number with a unit: `64K`, `256M`, `1G`; without a unit it is bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let shift = match &text[digits.len()..] {
        "" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        _ => None,
    };
    let number = digits.parse::<usize>().ok();
    match number
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
    {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("expected a number and a unit, such as 64M or 1G".to_owned()),
    }
}

/// From 0 to 100, with or without a `%`.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let percent = number.parse().ok();
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "expected a number from 0 to 100".to_owned())
}

/// The kernel takes a power of two that is a multiple of its page size.
fn parse_ring_bytes(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(bytes) if bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes) => Ok(bytes),
        _ => Err("expected a power of two from 4096 to 1073741824".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::time::Duration;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bytes_have_units_and_are_never_zero() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("64K"), Ok(1 << 16));
        assert_eq!(parse_bytes("1G"), Ok(1 << 30));
        for bad in ["", "M", "0M", "5MM", "-1K", "99999999999999999G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    /// A part is from 0 to 100.
    #[test]
    fn parts_are_in_percent() {
        assert_eq!(parse_percent("2.5"), Ok(2.5));
        assert_eq!(parse_percent("0%"), Ok(0.0));
        for bad in ["", "%", "-1", "101", "nan", "inf", "1%%"] {
            assert!(parse_percent(bad).is_err(), "{bad}");
        }
    }

    /// A wait has a unit, or is 0.
    #[test]
    fn waits_have_units() {
        assert_eq!(parse_wait("10us"), Ok(Duration::from_micros(10)));
        assert_eq!(parse_wait("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_wait("0"), Ok(Duration::ZERO));
        for bad in ["", "1", "us", "1m", "-1s", "99999999999s"] {
            assert!(parse_wait(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_units_and_are_never_zero() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "0s", "10x", "-1s", "1.5s", "18446744073709551615h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
