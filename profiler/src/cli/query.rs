//! `timesink query`, and how samples of a store are chosen.

use std::path::PathBuf;

use clap::Args;
use output::{Format, Label, Matcher};

use super::when::Moment;

/// `timesink query`
#[derive(Args, Debug)]
pub struct QueryArgs {
    /// The store: a folder, or clickhouse://HOST…
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// From when: so long ago (90m, 2h), or RFC 3339 (2026-01-31T12:00:00Z)
    #[arg(long, visible_alias = "from", value_name = "TIME")]
    pub since: Moment,
    /// Until when
    #[arg(long, visible_alias = "to", value_name = "TIME", default_value = "now")]
    pub until: Moment,
    /// Which samples
    #[command(flatten)]
    pub selection: Selection,
    /// Write the profile here (may be repeated); the extension gives the format: .svg, .folded,
    /// .pb.gz; `-` is folded stacks on standard output [default: a table of the hottest functions]
    #[arg(short, long, value_name = "FILE")]
    pub output: Vec<PathBuf>,
    /// The format of every output, whatever its extension
    #[arg(long, value_name = "FORMAT", value_parser = Format::names())]
    pub format: Option<String>,
    /// Show each thread below its process
    #[arg(long)]
    pub threads: bool,
}

/// Which samples of a store: those that have all of these.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which samples")]
pub struct Selection {
    /// Of processes called so
    #[arg(long, value_name = "NAME")]
    pub process: Option<String>,
    /// Of this process
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Of threads called so
    #[arg(long, value_name = "NAME")]
    pub thread: Option<String>,
    /// Of this thread
    #[arg(long, value_name = "TID")]
    pub tid: Option<u32>,
    /// Of this control group, as a path below the root of all
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
    /// Of this container, by its short id
    #[arg(long, value_name = "ID")]
    pub container: Option<String>,
    /// Of this unit of systemd
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// Of this machine
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

impl Selection {
    /// What a store is asked for.
    #[must_use]
    pub fn matchers(&self) -> Vec<Matcher> {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let chosen = [
            (Label::Process, self.process.clone()),
            (Label::Pid, number(self.pid)),
            (Label::Thread, self.thread.clone()),
            (Label::Tid, number(self.tid)),
            (Label::Cgroup, self.cgroup.clone()),
            (Label::Container, self.container.clone()),
            (Label::Unit, self.unit.clone()),
            (Label::Host, self.host.clone()),
        ];
        let chosen = chosen.into_iter();
        chosen
            .filter_map(|(label, value)| {
                Some(Matcher {
                    label,
                    value: value?,
                })
            })
            .collect()
    }

    /// Whether nothing was chosen.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.matchers().is_empty()
    }
}
