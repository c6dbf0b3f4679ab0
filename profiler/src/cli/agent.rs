//! `timesink agent`, as typed or as written in its file.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{Args, Parser};

use super::{RecordArgs, parse_bytes, parse_duration, serve::parse_host};
use crate::agent::budget::Budget;

/// The longest window: of what is newer than the last one, nothing is known.
const LONGEST_WINDOW: Duration = Duration::from_secs(600);

/// How long one session may go on: to attach everything takes a second, and what it holds grows.
const SESSIONS: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);

/// `timesink agent`, for words that come from more than one place.
#[derive(Parser, Debug)]
#[command(name = "timesink agent", args_override_self = true)]
pub struct AgentCommand {
    /// All of it.
    #[command(flatten)]
    pub args: AgentArgs,
}

/// `timesink agent`
#[derive(Args, Clone, Debug, PartialEq)]
pub struct AgentArgs {
    /// Read settings from this file: a line `NAME = VALUE` for each of these options, in TOML, with
    /// a list for what may be repeated; options on the command line come after it. SIGHUP has it
    /// read again
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Samples a second on each CPU
    #[arg(
        short = 'F',
        long = "rate",
        value_name = "HZ",
        default_value_t = 19,
        value_parser = clap::value_parser!(u64).range(1..=10_000),
        help_heading = "Sampling"
    )]
    pub rate: u64,
    /// Record where threads wait, too
    #[arg(long, help_heading = "Sampling")]
    pub off_cpu: bool,
    /// How long a window is: a second to ten minutes
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_window, help_heading = "Sampling")]
    pub window: Duration,
    /// How long until everything is attached anew: ten seconds to a day
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = parse_session, help_heading = "Limits")]
    pub session: Duration,
    /// Look up inlined functions and source lines
    #[arg(long, help_heading = "Sampling")]
    pub inline: bool,
    /// What the agent may use, and goes over to fewer samples for: `cpu` in percent of one CPU,
    /// `memory` in bytes with the unit K, M or G
    #[arg(long, value_name = "cpu=PERCENT,memory=BYTES", help_heading = "Limits")]
    pub budget: Option<Budget>,

    /// Where to keep windows: a folder, or the address of a server
    #[arg(
        long,
        value_name = "URL",
        default_value = "/var/lib/timesink",
        help_heading = "Store"
    )]
    pub store: String,
    /// Keep windows no longer than this: 12h, 30d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_duration, help_heading = "Store")]
    pub keep: Duration,
    /// Keep no more than this, with the unit K, M or G
    #[arg(long, value_name = "BYTES", default_value = "4G", value_parser = parse_bytes, help_heading = "Store")]
    pub keep_bytes: usize,

    /// Where to serve the page; all who can connect can read it
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:4041",
        help_heading = "Page"
    )]
    pub listen: SocketAddr,
    /// Serve no page and no metrics
    #[arg(long, help_heading = "Page")]
    pub no_listen: bool,
    /// Another name or address by which the page may be asked for, without a port, beside localhost
    /// and its addresses (may be repeated)
    #[arg(long = "host", value_name = "NAME", value_parser = parse_host, help_heading = "Page")]
    pub hosts: Vec<String>,

    /// Send windows here too (may be repeated): otlp+grpc://HOST:PORT, otlp+http://HOST:PORT,
    /// pyroscope+http://HOST:PORT, clickhouse://HOST:PORT/DATABASE
    #[arg(long = "export", value_name = "URL", help_heading = "Fleet")]
    pub exports: Vec<String>,
    /// A label for all that is sent (may be repeated)
    #[arg(long = "label", value_name = "NAME=VALUE", help_heading = "Fleet")]
    pub labels: Vec<String>,
    /// Where windows wait for a server that is away
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/var/lib/timesink/spool",
        help_heading = "Fleet"
    )]
    pub spool: PathBuf,
    /// How many bytes may wait there for each server, with the unit K, M or G
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = parse_bytes, help_heading = "Fleet")]
    pub spool_bytes: usize,

    /// Tell what is being done
    #[arg(short, long)]
    pub verbose: bool,
}

impl AgentArgs {
    /// As a recording of the whole machine.
    #[must_use]
    pub fn recording(&self) -> RecordArgs {
        let memory = self.budget.and_then(|budget| budget.memory_bytes);
        RecordArgs {
            pid: Vec::new(),
            tid: Vec::new(),
            cgroup: None,
            all: true,
            command: Vec::new(),
            rate: Some(self.rate),
            period: None,
            // Cycles do not tick on an idle CPU, and what is compared over weeks has one clock.
            event: vec!["cpu-clock".to_owned()],
            off_cpu: false,
            wall: self.off_cpu,
            wakers: false,
            min_block: None,
            wait_period: None,
            hide_idle: false,
            duration: None,
            output: Vec::new(),
            format: None,
            debuginfod: false,
            threads: false,
            no_inline: !self.inline,
            short_names: false,
            fail_unresolved: None,
            verbose: self.verbose,
            ring_bytes: 4 << 20,
            unwind_memory: 64 << 20,
            symbol_memory: memory.map_or(256 << 20, |bytes| bytes / 2),
            count_entries: None,
        }
    }
}

fn parse_window(text: &str) -> Result<Duration, String> {
    let window = parse_duration(text)?;
    let is_sound = (Duration::from_secs(1)..=LONGEST_WINDOW).contains(&window);
    match is_sound {
        true => Ok(window),
        false => Err("expected a time from 1s to 10m".to_owned()),
    }
}

fn parse_session(text: &str) -> Result<Duration, String> {
    let session = parse_duration(text)?;
    match SESSIONS.contains(&session) {
        true => Ok(session),
        false => Err("expected a time from 10s to 24h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window has bounds.
    #[test]
    fn windows_are_neither_short_nor_long() {
        assert_eq!(parse_window("1m"), Ok(Duration::from_secs(60)));
        for bad in ["999ms", "11m", "0s"] {
            assert!(parse_window(bad).is_err(), "{bad}");
        }
        for bad in ["9s", "25h"] {
            assert!(parse_session(bad).is_err(), "{bad}");
        }
    }
}
