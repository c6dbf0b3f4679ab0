//! Reads the machine. Nothing is judged here, and what cannot be read is a fact too.

use std::{
    collections::BTreeMap,
    ffi::CStr,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    os::fd::AsFd,
    path::Path,
    time::Duration,
};

use abi::config::{Config, Scope};
use anyhow::{Context, Result, anyhow};

use super::{
    capabilities::Capabilities,
    machine::{Attempt, Essentials, Machine, Settings},
};
use crate::{
    addresses,
    bpf::{Identifier, Programs, Sizes, WaitSettings},
    btf::{self, Btf},
    events::Event,
    perf::{PerCpuEvent, Rate, online_cpus},
    tables::TableSizes,
};

/// Samples a second on each CPU: what a recording takes where nothing else is asked for.
const RATE: Rate = Rate::Hz(crate::sampling::DEFAULT_HZ);
/// Enough to load the programs; nothing is ever sampled.
const SIZES: Sizes = Sizes {
    ring_bytes: 4096,
    wait_entries: 1,
    count_entries: 16,
    tables: TableSizes {
        pages: 1,
        blocks: 1,
    },
};
/// The inodes of the namespaces that the machine starts with: `linux/proc_ns.h`.
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;
/// On 64-bit machines the kernel has the upper half of the addresses.
const FIRST_KERNEL_ADDRESS: u64 = 1 << 63;

/// What decides whether anything can be recorded.
///
/// # Errors
/// Where `/proc/self/status` cannot be read.
pub fn essentials() -> Result<Essentials> {
    let status = fs::read_to_string("/proc/self/status")
        .context("failed to read `/proc/self/status`; is /proc mounted?")?;
    let (kernel_release, arch) = uname()?;
    Ok(Essentials {
        kernel_release,
        arch,
        // SAFETY: the call has no preconditions.
        uid: unsafe { libc::geteuid() },
        program: std::env::current_exe().map_or_else(
            |_| "timesink".to_owned(),
            |path| path.to_string_lossy().into_owned(),
        ),
        capabilities: Capabilities::from_status(&status)
            .context("failed to find `CapEff` in `/proc/self/status`")?,
        initial_user_namespace: in_namespace("user", INITIAL_USER_NAMESPACE),
        btf: File::open(btf::VMLINUX).into(),
        lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
            .ok()
            .and_then(|levels| chosen(&levels)),
    })
}

/// All that is looked at. Loads the kernel programs for a moment.
///
/// # Errors
/// Where `/proc` or the list of CPUs cannot be read.
pub fn machine() -> Result<Machine> {
    let online_cpus = online_cpus()?;
    let cycles = Event::by_name("cycles")?;
    let (offsets, loaded) = programs(&online_cpus);
    let not_tried = || Attempt::Fails("the kernel programs are needed first".to_owned());
    Ok(Machine {
        essentials: essentials()?,
        offsets,
        wait_programs: loaded
            .as_ref()
            .map_or_else(|_| not_tried(), |loaded| loaded.waits.clone()),
        wait_sampling: loaded
            .as_ref()
            .map_or_else(|_| not_tried(), |loaded| loaded.wait_sampling.clone()),
        verified_instructions: loaded
            .as_ref()
            .map(|loaded| loaded.verified.clone())
            .unwrap_or_default(),
        kernel_programs: loaded.into(),
        cpu_clock: opens(&Event::cpu_clock(), &online_cpus),
        cycles: opens(&cycles, online_cpus.get(..1).unwrap_or_default()),
        online_cpus,
        settings: settings(),
        kernel_addresses: kernel_addresses().unwrap_or(false),
        initial_pid_namespace: in_namespace("pid", INITIAL_PID_NAMESPACE),
        memlock_bytes: memlock_bytes(),
        tracefs: fs::read("/proc/self/mounts")
            .ok()
            .and_then(|mounts| mount_point(&String::from_utf8_lossy(&mounts), "tracefs")),
    })
}

/// The release and the machine's architecture.
fn uname() -> Result<(String, String)> {
    // SAFETY: all bytes zero is a value of these arrays of characters.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills the struct that it is given.
    if unsafe { libc::uname(&raw mut names) } != 0 {
        return Err(io::Error::last_os_error()).context("failed to ask the kernel for its release");
    }
    let text = |name: &[libc::c_char]| {
        // SAFETY: the kernel ends each name with a zero byte inside of its array.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) };
        name.to_string_lossy().into_owned()
    };
    Ok((text(&names.release), text(&names.machine)))
}

/// Whether this process is in the namespace of that inode. A kernel built without that kind of
/// namespace has no link to read, and all processes in the one that there is.
fn in_namespace(kind: &str, inode: u64) -> bool {
    fs::read_link(Path::new("/proc/self/ns").join(kind))
        .is_ok_and(|link| link == Path::new(&format!("{kind}:[{inode}]")))
        || !Path::new("/proc/self/ns").join(kind).is_symlink()
}

/// The word in brackets, of those that the kernel offers: `none [integrity] confidentiality`.
fn chosen(levels: &str) -> Option<String> {
    let (_, rest) = levels.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Finding the offsets, then loading and attaching as a recording does. Dropping the programs
/// removes all of it.
fn programs(cpus: &[u32]) -> (Attempt, Result<Loaded>) {
    let offsets = Btf::of_kernel().and_then(|btf| btf::offsets(&btf));
    let loaded = match &offsets {
        Ok(offsets) => load(
            &Config {
                hash_seed: [0; 2],
                cgroup_id: 0,
                cgroup_level: 0,
                // The scope for which the programs do most.
                scope: Scope::Tasks as u32,
                has_threads: 0,
                with_cgroups: 0,
                moment_mask: 0,
                padding: 0,
                addresses: addresses::of_this_machine(),
                offsets: *offsets,
            },
            cpus,
        ),
        Err(_) => Err(anyhow!("the kernel's type information is needed first")),
    };
    (offsets.into(), loaded)
}

/// What came of loading and attaching.
struct Loaded {
    waits: Attempt,
    wait_sampling: Attempt,
    /// Instructions that were verified, by program.
    verified: BTreeMap<String, u32>,
}

/// Loads and attaches; no thread is a target, so none is watched.
fn load(config: &Config, cpus: &[u32]) -> Result<Loaded> {
    let mut programs = Programs::load(config, SIZES)?;
    programs.follow_processes()?;
    for event in open(&Event::cpu_clock(), cpus)? {
        programs.sample_on(event.as_fd(), 0)?;
    }
    let every_wait = WaitSettings {
        wakers: true,
        shortest: Duration::ZERO,
        period: Duration::ZERO,
    };
    let waits = programs
        .prepare_waits(every_wait)
        .and_then(|()| programs.begin_waits());
    let wait_sampling = match &waits {
        Ok(()) => programs.set_wait_period(Duration::from_millis(1)),
        Err(_) => Err(anyhow!("the programs at the scheduler are needed first")),
    };
    let mut verified = programs.verified_instructions()?;
    verified.extend(Identifier::load(&config.offsets)?.verified_instructions()?);
    Ok(Loaded {
        waits: waits.into(),
        wait_sampling: wait_sampling.into(),
        verified,
    })
}

fn opens(event: &Event, cpus: &[u32]) -> Attempt {
    open(event, cpus).into()
}

/// The event on each CPU, switched off.
fn open(event: &Event, cpus: &[u32]) -> io::Result<Vec<PerCpuEvent>> {
    let opened: io::Result<Vec<_>> = cpus
        .iter()
        .map(|&cpu| PerCpuEvent::open(event, RATE, cpu))
        .collect();
    Ok(opened?.into_iter().flatten().collect())
}

fn settings() -> Settings {
    let read = |name: &str| {
        let text = fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).ok()?;
        text.trim().parse().ok()
    };
    Settings {
        perf_event_paranoid: read("perf_event_paranoid"),
        unprivileged_bpf_disabled: read("unprivileged_bpf_disabled"),
        perf_event_max_sample_rate: read("perf_event_max_sample_rate"),
        perf_cpu_time_max_percent: read("perf_cpu_time_max_percent"),
        kptr_restrict: read("kptr_restrict"),
        bpf_stats_enabled: read("bpf_stats_enabled"),
    }
}

/// Whether the kernel's list of symbols has an address in it. The first ones may be small numbers
/// that are no addresses, so the list is read up to the first that is one.
fn kernel_addresses() -> io::Result<bool> {
    for line in BufReader::new(File::open("/proc/kallsyms")?).lines() {
        let line = line?;
        let digits = line.split(' ').next().unwrap_or_default();
        if u64::from_str_radix(digits, 16).is_ok_and(|address| address >= FIRST_KERNEL_ADDRESS) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn memlock_bytes() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call fills the struct that it is given.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (answer == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Where the first file system of a type is mounted. A line of the table is the device, the place
/// and the type, with blanks between them.
fn mount_point(mounts: &str, wanted: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == wanted).then(|| place.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The level of lockdown is the one in brackets.
    #[test]
    fn the_chosen_level_is_in_brackets() {
        let levels = "none [integrity] confidentiality\n";
        assert_eq!(chosen(levels).as_deref(), Some("integrity"));
        for text in ["", "none", "[none", "]none["] {
            assert_eq!(chosen(text), None, "{text}");
        }
    }

    /// The table of mounts is searched by type, not by name or place.
    #[test]
    fn a_mount_is_found_by_its_type() {
        let mounts = "tracefs /a tmpfs rw 0 0\nnodev /sys/kernel/tracing tracefs rw 0 0\n";
        assert_eq!(
            mount_point(mounts, "tracefs").as_deref(),
            Some("/sys/kernel/tracing")
        );
        assert_eq!(mount_point("\nshort line\n", "line"), None);
        assert_eq!(mount_point(mounts, "proc"), None);
    }

    /// This machine, as root, is one on which the programs load on every CPU, and the kernel tells
    /// what it verified.
    #[test]
    fn the_programs_load_on_this_machine() {
        let machine = machine().unwrap();
        assert_eq!(machine.offsets, Attempt::Works);
        assert_eq!(machine.kernel_programs, Attempt::Works);
        let names: Vec<_> = machine.verified_instructions.keys().collect();
        assert_eq!(
            names,
            [
                "each_thread",
                "identify",
                "on_cpu",
                "process_executed",
                "process_fork",
                "process_free",
                "thread_created",
                "thread_switched",
                "thread_waking",
                "thread_woken",
                "wait_ended"
            ]
        );
        assert!(
            machine
                .verified_instructions
                .values()
                .all(|&count| count > 0)
        );
        assert_eq!(machine.cpu_clock, Attempt::Works);
        assert!(!machine.online_cpus.is_empty());
        assert!(machine.essentials.capabilities.lacking().is_empty());
    }
}
