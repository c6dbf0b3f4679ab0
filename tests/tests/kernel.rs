//! The kernel programs on the running kernel.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    collections::HashMap,
    io::Read,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use abi::{
    config::{Config, Scope, Target, target},
    reasons::{Miss, Outcome, StackEnd},
    records::kind,
    samples::{SampleCount, SampleKey},
};
use aya::sys::{Stats, enable_stats};
use profiler::{
    addresses,
    bpf::{Programs, Sizes, WhoCounts},
    btf::{self, Btf},
    events::Event,
    perf::{PerCpuEvent, Rate, online_cpus},
    sideband::{Sideband, Told},
    tables::TableSizes,
};

const HZ: u64 = 999;

fn config(scope: Scope) -> Config {
    Config {
        hash_seed: [1, 2],
        cgroup_id: 0,
        cgroup_level: 0,
        scope: scope as u32,
        has_threads: 0,
        with_cgroups: 0,
        moment_mask: 0,
        padding: 0,
        addresses: addresses::of_this_machine(),
        offsets: btf::offsets(&Btf::of_kernel().unwrap()).unwrap(),
    }
}

/// The CPU time of this thread so far.
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

fn spin(time: Duration) -> Duration {
    let (start, begin) = (thread_time(), Instant::now());
    let mut word = 1u64;
    while begin.elapsed() < time {
        word = std::hint::black_box(word.wrapping_mul(6_364_136_223_846_793_005));
    }
    thread_time() - start
}

struct Recorded {
    programs: Programs,
    counts: HashMap<SampleKey, SampleCount>,
    records: Vec<Vec<u8>>,
    spun: Duration,
    ticks: u64,
}

/// Samples while this thread spins for a second.
fn record(mut programs: Programs) -> Recorded {
    let mut ring = programs.take_ring().unwrap();
    let clock = Event::cpu_clock();
    let events: Vec<_> = online_cpus()
        .unwrap()
        .into_iter()
        .filter_map(|cpu| PerCpuEvent::open(&clock, Rate::Hz(HZ), cpu).unwrap())
        .collect();
    for event in &events {
        programs
            .sample_on(std::os::fd::AsFd::as_fd(event), 0)
            .unwrap();
    }
    for event in &events {
        event.enable().unwrap();
    }
    // Every CPU is kept busy: an idle one of a virtual machine may get no ticks at all.
    let others: Vec<_> = (1..events.len())
        .map(|_| std::thread::spawn(|| spin(Duration::from_secs(1))))
        .collect();
    let spun = spin(Duration::from_secs(1));
    for other in others {
        other.join().unwrap();
    }
    for event in &events {
        event.disable().unwrap();
    }
    let nanoseconds: u64 = events.iter().map(|event| event.count().unwrap()).sum();
    let mut records = Vec::new();
    while let Some(record) = ring.next() {
        records.push(record.to_vec());
    }
    let taken = programs.take_counts(WhoCounts::Nobody).unwrap();
    Recorded {
        programs,
        counts: taken.counts.into_iter().collect(),
        records,
        spun,
        ticks: nanoseconds * HZ / 1_000_000_000,
    }
}

fn load(scope: Scope) -> Programs {
    let sizes = Sizes {
        ring_bytes: 1 << 20,
        count_entries: 16384,
        wait_entries: 1,
        tables: TableSizes {
            pages: 1,
            blocks: 1,
        },
    };
    Programs::load(&config(scope), sizes).unwrap()
}

/// Every tick that the kernel delivers ends in one outcome, and this thread's samples are its CPU time
/// but for the ticks that a busy host did not let happen.
#[test]
fn ticks_and_samples_add_up() {
    let _measuring = enable_stats(Stats::RunTime).unwrap();
    let mut programs = load(Scope::Machine);
    programs.follow_processes().unwrap();
    let recorded = record(programs);
    let counters = recorded.programs.counters(0).unwrap();
    let ticks: u64 = counters.outcomes.iter().sum();
    assert_eq!(ticks, recorded.programs.runs().unwrap()["on_cpu"].count);
    assert!(ticks > recorded.ticks / 2, "{ticks} of {}", recorded.ticks);
    // On each CPU an event may have begun a tick when it was stopped.
    let missing = (recorded.ticks + 2).saturating_sub(ticks);
    let counted: u64 = recorded.counts.values().map(|count| count.samples).sum();
    assert_eq!(counted, counters.outcomes[Outcome::Sampled as usize]);
    assert_eq!(counted, counters.ends.iter().sum::<u64>());

    // SAFETY: the call has no preconditions.
    let tid = unsafe { libc::gettid() }.cast_unsigned();
    let own: u64 = recorded
        .counts
        .iter()
        .filter(|(key, _)| key.tid == tid)
        .map(|(_, count)| count.weight)
        .sum();
    let spun = u64::try_from(recorded.spun.as_nanos()).unwrap();
    let undelivered = missing * 1_000_000_000 / HZ;
    let margin = spun / 50 + undelivered;
    assert!(own.abs_diff(spun) <= margin, "{own} of {spun} ns");
}

/// A process that is busy for as long as this lives.
struct Spinner(Child);

impl Spinner {
    fn start() -> Self {
        let mut child = Command::new("sh")
            .args(["-c", "echo ready; while :; do :; done"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.as_mut().unwrap();
        output.read_exact(&mut [0; 6]).unwrap();
        Self(child)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Only the target is counted, each stack that was counted was sent, and its file announced.
#[test]
fn a_target_is_counted_alone_and_its_stacks_are_sent() {
    let mut programs = load(Scope::Tasks);
    // Not this process: threads of it end meanwhile, and at its very end a thread has no stack.
    let spinner = Spinner::start();
    let pid = spinner.0.id();
    let process = Target {
        kind: target::PROCESS,
        padding: 0,
        start_ns: 0,
    };
    programs.add_target(pid, process).unwrap();
    let recorded = record(programs);
    drop(spinner);
    assert!(!recorded.counts.is_empty());
    assert!(recorded.counts.keys().all(|key| key.pid == pid));
    let kinds = |wanted: u32| {
        recorded
            .records
            .iter()
            .filter(move |record| record[..4] == wanted.to_ne_bytes())
    };
    assert_ne!(kinds(kind::FILE).count(), 0);
    let sent: Vec<&[u8]> = kinds(kind::USER_STACK)
        .map(|record| &record[8..24])
        .collect();
    for key in recorded.counts.keys() {
        let hash = [key.user.low.to_ne_bytes(), key.user.high.to_ne_bytes()].concat();
        assert!(sent.contains(&hash.as_slice()), "{key:?}");
    }
    let counters = recorded.programs.counters(0).unwrap();
    assert_eq!(counters.ends[StackEnd::NoUserStack as usize], 0);
    assert_eq!(counters.misses[Miss::TreeUnreadable as usize], 0);
    assert_eq!(counters.misses[Miss::FileTableFull as usize], 0);
}

/// The kernel tells the file of a process that has ended before anyone looks.
#[test]
fn a_process_that_is_gone_has_told_its_file() {
    let mut sideband = Sideband::open().unwrap();
    let ended = std::process::Command::new("/bin/true").status().unwrap();
    assert!(ended.success());
    let program = std::fs::canonicalize("/bin/true").unwrap();
    let mut told = false;
    sideband.drain(|record| {
        told |= matches!(record, Told::Mapped { path, .. } if path == program);
    });
    assert!(told);
}
