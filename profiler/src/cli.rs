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
    /// Sample processes, threads or the whole machine, and write a profile
    Record(Box<RecordArgs>),
}

/// `timesink record`
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("target").args(["pid", "tid", "all"]).required(true).multiple(true))]
pub struct RecordArgs {
    /// Record this process, its threads and its children (may be repeated)
    #[arg(short, long = "pid", value_name = "PID", help_heading = "Target")]
    pub pid: Vec<u32>,
    /// Record this thread only (may be repeated)
    #[arg(short, long = "tid", value_name = "TID", help_heading = "Target")]
    pub tid: Vec<u32>,
    /// Record the whole machine
    #[arg(short, long, help_heading = "Target")]
    pub all: bool,

    /// Samples a second on each CPU [default: 99]
    #[arg(
        short = 'F',
        long = "rate",
        value_name = "HZ",
        value_parser = clap::value_parser!(u64).range(1..=100_000),
        help_heading = "Sampling"
    )]
    pub rate: Option<u64>,
    /// How long to record: 500ms, 10s, 5m, 1h [default: until Ctrl-C]
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration, help_heading = "Sampling")]
    pub duration: Option<std::time::Duration>,

    /// Write the profile here (may be repeated); the extension gives the format: .svg, .folded,
    /// .pb.gz; `-` is folded stacks on standard output [default: timesink.svg]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Vec<PathBuf>,
    /// Show each thread below its process
    #[arg(long, help_heading = "Output")]
    pub threads: bool,

    /// Bytes of the ring buffer between kernel and user space, a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = parse_ring_bytes, help_heading = "Limits")]
    pub ring_bytes: u32,
    /// Entries of the kernel's map of counts, emptied once a second [default: 32768]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1 << 24), help_heading = "Limits")]
    pub count_entries: Option<u32>,
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
