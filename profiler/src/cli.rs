//! What was typed, as typed. What it means is decided by the recorder.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
    /// Sample a command, processes, a cgroup or the whole machine, and write a profile
    Record(Box<RecordArgs>),
    /// Say what this kernel allows, what is degraded, and how to mend it
    Doctor(DoctorArgs),
}

/// `timesink record`
#[derive(Args, Debug)]
pub struct RecordArgs {
    /// Record this process, its threads and its children (may be repeated)
    #[arg(short, long = "pid", value_name = "PID", help_heading = "Target")]
    pub pid: Vec<u32>,
    /// Record this thread only (may be repeated)
    #[arg(short, long = "tid", value_name = "TID", help_heading = "Target")]
    pub tid: Vec<u32>,
    /// Record the threads in this cgroup (version 2) and below it
    #[arg(long, value_name = "PATH", help_heading = "Target")]
    pub cgroup: Option<PathBuf>,
    /// Record the whole machine
    #[arg(short, long, help_heading = "Target")]
    pub all: bool,
    /// Record this command until it ends; its exit status is passed on
    #[arg(last = true, value_name = "COMMAND", help_heading = "Target")]
    pub argv: Vec<std::ffi::OsString>,

    /// Samples a second on each CPU [default: 99]
    #[arg(
        short = 'F',
        long = "rate",
        value_name = "HZ",
        conflicts_with = "period",
        help_heading = "Sampling"
    )]
    pub rate: Option<u64>,
    /// Take a sample each time this many events have happened
    #[arg(
        short = 'c',
        long = "period",
        value_name = "COUNT",
        help_heading = "Sampling"
    )]
    pub period: Option<u64>,
    /// What to sample on (may be repeated): cpu-clock, task-clock, cycles, instructions,
    /// cache-misses, branch-misses, page-faults, context-switches, cpu-migrations, a raw rNNNN, …
    /// [default: cycles where the machine counts them, else cpu-clock]
    #[arg(short, long = "event", value_name = "EVENT", help_heading = "Sampling")]
    pub event: Vec<String>,
    /// How long to record: 500ms, 10s, 5m, 1h [default: until Ctrl-C or the end of the target]
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration, help_heading = "Sampling")]
    pub duration: Option<std::time::Duration>,

    /// Write the profile here (may be repeated); the extension gives the format: .svg, .folded,
    /// .pb.gz; `-` is folded stacks on standard output [default: timesink.svg]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Vec<PathBuf>,
    /// The format of every output, whatever its extension: svg, folded, pprof
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<String>,
    /// Show each thread below its process
    #[arg(long, help_heading = "Output")]
    pub threads: bool,
    /// Say more about what is done
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,

    /// Bytes of the ring buffer between kernel and user space, a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = parse_ring_bytes, help_heading = "Limits")]
    pub ring_bytes: u32,
    /// Entries of the kernel's map of counts, emptied once a second [default: by rate and CPUs]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1 << 24), help_heading = "Limits")]
    pub count_entries: Option<u32>,
}

/// `timesink doctor`
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
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
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    match number
        .zip(milliseconds)
        .and_then(|(number, unit)| number.checked_mul(unit))
    {
        Some(0) => Err("a recording takes some time".to_owned()),
        Some(total) => Ok(std::time::Duration::from_millis(total)),
        None => Err("expected a number and a unit, such as 500ms, 10s, 5m or 1h".to_owned()),
    }
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
    fn durations_have_units_and_are_never_zero() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "0s", "10x", "-1s", "1.5s", "18446744073709551615h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
