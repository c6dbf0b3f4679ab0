//! What a session is loaded and opened with.

use std::{collections::HashSet, os::fd::AsFd};

use abi::config::{Config, Offsets};
use anyhow::{Result, bail};

use super::Detail;
use crate::{
    addresses,
    bpf::{Programs, Sizes},
    cli::RecordArgs,
    code_files::{self, CodeFile},
    files::Files,
    sampling::{Opened, Sampling},
    tables::Ready,
    targets::Targets,
    worker::Workers,
};

/// Entries of the map of counts.
const COUNT_ENTRIES: u32 = 1 << 15;
/// Entries of the map of waits, which is emptied as often as that of counts and whose entries take half
/// a kilobyte each.
const WAIT_ENTRIES: u32 = 1 << 14;
/// Where all times are wanted, those within 17 ms share a count.
const MOMENT_MASK: u32 = u32::MAX << 8;

/// The files whose code is about to run. Those that run already are held: the process in which one is
/// first seen may be gone before anyone looks, and how they were mapped is not told.
pub(super) fn code_files(
    args: &RecordArgs,
    targets: &Targets,
    known: &mut Files,
    workers: &Workers,
) -> Result<Vec<CodeFile>> {
    let identify = known.identify();
    let mut files = Vec::new();
    for (file, pid) in targets.code_files(&*identify)? {
        known.hold_mapped(&file, pid);
        files.push(file);
    }
    if let Some(program) = args.command.first() {
        // Until it executes the program, a sample may meet it in this one.
        for (file, pid) in code_files::of_processes([std::process::id()], &*identify) {
            known.hold_mapped(&file, pid);
        }
        let running: HashSet<_> = files.iter().map(|file| file.identity).collect();
        let of_command =
            code_files::of_command(program, &*identify, |file| workers.loading(file)).into_iter();
        files.extend(of_command.filter(|file| !running.contains(&file.identity)));
    }
    Ok(files)
}

pub(super) fn sizes(args: &RecordArgs, ready: &Ready) -> Sizes {
    Sizes {
        tables: ready.sizes(),
        ring_bytes: args.ring_bytes,
        count_entries: args.count_entries.unwrap_or(COUNT_ENTRIES),
        wait_entries: match args.waits() {
            true => args.count_entries.unwrap_or(WAIT_ENTRIES),
            false => 1,
        },
    }
}

pub(super) fn open_events(
    programs: &mut Programs,
    samplings: Vec<Sampling>,
) -> Result<Vec<(Sampling, Opened)>> {
    let mut events = Vec::new();
    for (number, sampling) in (0..).zip(samplings) {
        let opened = Opened::on_all_cpus(&sampling)?;
        for (_, event) in &opened.events {
            programs.sample_on(event.as_fd(), number)?;
        }
        events.push((sampling, opened));
    }
    Ok(events)
}

pub(super) fn config(targets: &Targets, detail: Detail, offsets: Offsets) -> Result<Config> {
    let mut seed = [0; 16];
    // SAFETY: the call writes at most the length that is given.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    if got != 16 {
        bail!("failed to get random bytes from the kernel");
    }
    let (low, high) = seed.split_at(8);
    Ok(Config {
        hash_seed: [
            u64::from_ne_bytes(low.try_into()?),
            u64::from_ne_bytes(high.try_into()?),
        ],
        cgroup_id: targets.cgroup.id,
        cgroup_level: targets.cgroup.level,
        scope: targets.scope as u32,
        has_threads: u32::from(targets.has_threads()),
        with_cgroups: u32::from(detail.cgroups),
        moment_mask: if detail.times { MOMENT_MASK } else { 0 },
        padding: 0,
        addresses: addresses::of_this_machine(),
        offsets,
    })
}
