//! What was typed.

use std::path::PathBuf;

use clap::Parser;

use crate::scenario::Name;

/// Measures timesink beside perf and bpftrace on the same work, and prints ratios
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// One round of two seconds each: shows that all of it works, and measures little
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this scenario (may be repeated) [default: all]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) scenario: Vec<Name>,
    /// Write every single measurement here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measure this binary, rather than build the workspace's own
    #[arg(long, value_name = "PATH")]
    pub(crate) timesink: Option<PathBuf>,
}
