//! What a test asks of the machine: root, a tool, to be alone.

use std::{
    env,
    fs::{self, File},
    os::fd::AsRawFd,
    path::Path,
};

/// Whether the test can run: the kernel lets only root sample. The reason is printed where not, and
/// with `CI` set that is a failure.
#[must_use]
#[allow(
    clippy::print_stderr,
    reason = "the reader of the test's output is told"
)]
pub fn require_root() -> bool {
    // SAFETY: the call has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(
        root || env::var_os("CI").is_none(),
        "the tests that record must run as root"
    );
    if !root {
        eprintln!("skipped: only root can record");
    }
    root
}

/// The name of a tool that is known to be there.
#[must_use]
pub fn tool(name: &str) -> &str {
    let found = env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    assert!(found, "there is no `{name}`; tests/install-tools brings it");
    name
}

/// While it lives, no other test that asked to be alone runs, in this process or another.
#[derive(Debug)]
pub struct Alone {
    _locked: File,
}

/// Waits until no other test records.
#[must_use]
pub fn alone() -> Alone {
    let test = env::current_exe().unwrap();
    let locked = File::create(test.with_file_name("recording.lock")).unwrap();
    // SAFETY: the call takes a descriptor that is open. It ends with the descriptor's closing.
    assert_eq!(unsafe { libc::flock(locked.as_raw_fd(), libc::LOCK_EX) }, 0);
    Alone { _locked: locked }
}

/// The time, in ns, for which the host has kept the CPUs of this machine to itself so far, as the kernel
/// tells it (`steal` in `man 5 proc_stat`).
#[must_use]
pub fn stolen_ns() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let steal = stat.split_ascii_whitespace().nth(8).unwrap();
    // Times in this file are in hundredths of a second, whatever the kernel's own rate is.
    steal.parse::<u64>().unwrap() * 10_000_000
}

/// How many CPUs are online.
#[must_use]
pub fn online_cpus() -> u64 {
    let list = fs::read_to_string(Path::new("/sys/devices/system/cpu/online")).unwrap();
    list.trim()
        .split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1
        })
        .sum()
}
