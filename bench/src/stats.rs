//! What the kernel measured of the BPF programs and maps that a process holds, from its
//! descriptors in `/proc/PID/fdinfo`: so the programs of others who profile meanwhile do not count.

use std::{collections::BTreeMap, fs, os::fd::OwnedFd, path::Path};

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};

/// `BPF_PROG_TYPE_PERF_EVENT` of `linux/bpf.h`: the programs that sample.
const PERF_EVENT_PROGRAM: u64 = 7;

/// Makes the kernel measure its programs. That ends with the value, unlike a setting in
/// `/proc/sys`, which would stay behind.
#[derive(Debug)]
pub(crate) struct Measuring {
    _descriptor: OwnedFd,
}

impl Measuring {
    /// Starts it.
    ///
    /// # Errors
    /// Where the kernel refuses, such as to a user other than root.
    pub(crate) fn start() -> Result<Self> {
        let descriptor = enable_stats(Stats::RunTime)
            .context("failed to enable the kernel's BPF statistics; run as root")?;
        Ok(Self {
            _descriptor: descriptor,
        })
    }
}

/// A program's runs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Program {
    is_sampling: bool,
    run_count: u64,
    run_ns: u64,
}

/// What processes hold of the kernel's perf events and BPF objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// How many perf events.
    pub(crate) perf_events: usize,
    programs: BTreeMap<u64, Program>,
    map_bytes: BTreeMap<u64, u64>,
}

impl Held {
    /// Adds what a process holds; one that has ended holds nothing.
    pub(crate) fn add(&mut self, pid: u32) {
        let process = Path::new("/proc").join(pid.to_string());
        for entry in fs::read_dir(process.join("fd")).into_iter().flatten() {
            let Ok(entry) = entry else { continue };
            let link = fs::read_link(entry.path()).unwrap_or_default();
            let info = process.join("fdinfo").join(entry.file_name());
            self.see(
                &link.to_string_lossy(),
                &fs::read_to_string(info).unwrap_or_default(),
            );
        }
    }

    /// Takes in one descriptor: what it leads to, and the kernel's lines about it. Two that lead to
    /// the same object count once, except for perf events, which have no name.
    fn see(&mut self, link: &str, info: &str) {
        let field = |name| field(info, name);
        match link {
            "anon_inode:[perf_event]" => self.perf_events += 1,
            "anon_inode:bpf-prog" => {
                let program = Program {
                    is_sampling: field("prog_type:") == Some(PERF_EVENT_PROGRAM),
                    run_count: field("run_cnt:").unwrap_or(0),
                    run_ns: field("run_time_ns:").unwrap_or(0),
                };
                self.programs
                    .extend(field("prog_id:").map(|id| (id, program)));
            }
            "anon_inode:bpf-map" => {
                let sized = field("map_id:").zip(field("memlock:"));
                self.map_bytes.extend(sized);
            }
            _ => {}
        }
    }

    /// The runs of all programs together; `None` where none of them samples.
    pub(crate) fn runs(&self) -> Option<Runs> {
        let sampling = || self.programs.values().filter(|program| program.is_sampling);
        sampling().next()?;
        Some(Runs {
            sampling_count: sampling().map(|program| program.run_count).sum(),
            sampling_ns: sampling().map(|program| program.run_ns).sum(),
            all_ns: self.programs.values().map(|program| program.run_ns).sum(),
        })
    }

    /// The kernel memory of all maps together, which no process's own memory includes.
    pub(crate) fn map_bytes(&self) -> u64 {
        self.map_bytes.values().sum()
    }
}

/// The runs of a profiler's programs, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// How often the programs ran that perf events start.
    pub(crate) sampling_count: u64,
    /// How long these took, in nanoseconds.
    pub(crate) sampling_ns: u64,
    /// How long all of the programs took, in nanoseconds.
    pub(crate) all_ns: u64,
}

/// The number behind a field's name.
fn field(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLER: &str =
        "pos:\t0\nprog_type:\t7\nmemlock:\t4096\nprog_id:\t5\nrun_time_ns:\t900\nrun_cnt:\t3\n";
    const FOLLOWER: &str = "prog_type:\t17\nprog_id:\t6\nrun_time_ns:\t100\nrun_cnt:\t1\n";
    const MAP: &str = "map_type:\t5\nmemlock:\t492416\nmap_id:\t1121\n";

    /// Sampling programs are told from others, and an object held twice counts once.
    #[test]
    fn runs_add_up_and_objects_count_once() {
        let mut held = Held::default();
        for (link, info) in [
            ("anon_inode:bpf-prog", SAMPLER),
            ("anon_inode:bpf-prog", SAMPLER),
            ("anon_inode:bpf-prog", FOLLOWER),
            ("anon_inode:bpf-map", MAP),
            ("anon_inode:bpf-map", MAP),
            ("anon_inode:[perf_event]", "pos:\t0\n"),
            ("anon_inode:[perf_event]", "pos:\t0\n"),
            ("/dev/null", "pos:\t0\n"),
        ] {
            held.see(link, info);
        }
        let runs = Runs {
            sampling_count: 3,
            sampling_ns: 900,
            all_ns: 1000,
        };
        assert_eq!(held.runs(), Some(runs));
        assert_eq!((held.map_bytes(), held.perf_events), (492_416, 2));
    }

    /// Without a sampling program there are no runs to speak of, rather than none at all.
    #[test]
    fn no_sampling_program_is_no_answer() {
        let mut held = Held::default();
        held.see("anon_inode:bpf-prog", FOLLOWER);
        assert_eq!(held.runs(), None);
    }
}
