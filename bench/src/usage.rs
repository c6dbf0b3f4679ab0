//! What processes and the machine use: CPU time and memory, as the kernel accounts for them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// A process and all that descend from it and still run, itself first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let threads = fs::read_dir(process(pid).join("task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    found
}

/// The CPU time of a process and its descendants so far, in nanoseconds: that of those that run by
/// the kernel's exact clock, that of those that have ended in clock ticks.
///
/// # Errors
/// Where the process itself has ended.
pub(crate) fn tree_cpu_ns(root: u32) -> Result<u64> {
    let mut total = exact_cpu_ns(root)
        .with_context(|| format!("failed to read the CPU time of process {root}"))?;
    for pid in tree(root) {
        if pid != root {
            // A descendant that has ended meanwhile is in its parent's ticks.
            total += exact_cpu_ns(pid).unwrap_or(0);
        }
        let stat = fs::read_to_string(process(pid).join("stat")).unwrap_or_default();
        total += ticks_to_ns(reaped_ticks(&stat).unwrap_or(0));
    }
    Ok(total)
}

/// `/proc/PID/stat` has the same in ticks of 10 ms, a tenth of a percent of a recording.
fn exact_cpu_ns(pid: u32) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock = 0;
    // SAFETY: the call writes one clock id.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let rest = u64::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(seconds * NS_PER_SECOND + rest)
}

/// The largest memory that each process of a tree had so far, added up, in bytes.
pub(crate) fn tree_peak_bytes(root: u32) -> u64 {
    tree_bytes(root, "VmHWM:")
}

/// The memory of a tree of processes that is no file's, in bytes.
pub(crate) fn tree_private_bytes(root: u32) -> u64 {
    tree_bytes(root, "RssAnon:")
}

fn tree_bytes(root: u32, field: &str) -> u64 {
    let bytes = |pid: u32| {
        let status = fs::read_to_string(process(pid).join("status")).unwrap_or_default();
        kib(&status, field).unwrap_or(0) * 1024
    };
    tree(root).into_iter().map(bytes).sum()
}

/// The state of the machine's CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// CPUs that are online.
    pub(crate) cpus: usize,
    /// The time that all of them were busy since boot, in nanoseconds.
    pub(crate) busy_ns: u64,
}

/// The machine's CPUs as they are at this moment.
///
/// # Errors
/// Where `/proc/stat` is not as expected.
pub(crate) fn machine() -> Result<Machine> {
    let stat = fs::read_to_string("/proc/stat").context("failed to read `/proc/stat`")?;
    let (cpus, ticks) = cpus_and_busy_ticks(&stat).context("failed to parse `/proc/stat`")?;
    Ok(Machine {
        cpus,
        busy_ns: ticks_to_ns(ticks),
    })
}

/// Whether a child has ended, waited for or not.
pub(crate) fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(process(pid).join("stat")).unwrap_or_default();
    matches!(state(&stat), None | Some("Z" | "X"))
}

fn process(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn ticks_to_ns(ticks: u64) -> u64 {
    // SAFETY: the call takes no pointers.
    let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks * NS_PER_SECOND / u64::try_from(hz).unwrap_or(100).max(1)
}

/// The state of `/proc/PID/stat`: a letter behind the name.
fn state(stat: &str) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_whitespace().next()
}

/// User and system time of the children that a process has waited for: the fields `cutime` and
/// `cstime` of `/proc/PID/stat`, counted from behind the name, which may hold anything.
fn reaped_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A field of `/proc/PID/status`, in KiB.
fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many `cpuN` lines `/proc/stat` has, and the busy ticks of its first line: user, nice,
/// system, irq and softirq.
fn cpus_and_busy_ticks(stat: &str) -> Option<(usize, u64)> {
    let mut lines = stat.lines();
    let fields: Vec<u64> = lines
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let busy = [0, 1, 2, 5, 6].iter().map(|&index| fields.get(index));
    let cpus = lines.take_while(|line| line.starts_with("cpu")).count();
    Some((cpus, busy.sum::<Option<u64>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times are found behind a name with spaces and brackets.
    #[test]
    fn reaped_time_is_read_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 1 0 9";
        assert_eq!(reaped_ticks(stat), Some(150));
        assert_eq!(state(stat), Some("S"));
        assert_eq!(reaped_ticks("42 (cut) S 1"), None);
        assert_eq!(reaped_ticks(""), None);
    }

    /// The peak is the high-water mark and not the present size.
    #[test]
    fn the_peak_is_the_high_water_mark() {
        let status = "Name:\tx\nVmHWM:\t    8904 kB\nVmRSS:\t    100 kB\n";
        assert_eq!(kib(status, "VmHWM:"), Some(8904));
        assert_eq!(kib("Name:\tkthreadd\n", "VmHWM:"), None);
    }

    /// Idle, I/O wait and stolen time are not busy, and only the lines of CPUs are counted.
    #[test]
    fn busy_leaves_out_idle_and_stolen_time() {
        let stat = "cpu  10 20 30 4000 500 1 2 9 0 0\ncpu0 5 0 0 0\ncpu3 5 0 0 0\nintr 7\n";
        assert_eq!(cpus_and_busy_ticks(stat), Some((2, 63)));
        assert_eq!(cpus_and_busy_ticks("cpu  10 20\n"), None);
        assert_eq!(cpus_and_busy_ticks(""), None);
    }

    /// This process is in its own tree, uses CPU time and memory, and runs on a CPU.
    #[test]
    fn this_process_is_measured() {
        let pid = std::process::id();
        assert_eq!(tree(pid)[0], pid);
        assert!(!has_ended(pid));
        assert_ne!(tree_cpu_ns(pid).unwrap(), 0);
        assert!(tree_peak_bytes(pid) > 1 << 20);
        assert!((1..tree_peak_bytes(pid)).contains(&tree_private_bytes(pid)));
        assert!(machine().unwrap().cpus > 0);
    }
}
