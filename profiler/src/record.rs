//! One recording: attach, collect until the time is over or Ctrl-C, resolve, account.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use abi::{
    MAX_EVENTS,
    config::{Config, Scope, Target, target},
    reasons::{Counters, Miss, Outcome, StackEnd},
};
use anyhow::{Context, Result, bail};
use aya::maps::{MapData, RingBuf};
use output::{Labels, Meta, Period, Profile, RowKind, SampleType, Unit};

use crate::{
    bpf::{Programs, Sizes},
    btf::{self, Btf},
    cli::RecordArgs,
    decode::{self, Record},
    events::Event,
    perf::{PerCpuEvent, Rate, online_cpus},
    resolve::Collected,
};

/// How often the ring is emptied.
const RING_INTERVAL: Duration = Duration::from_millis(50);
/// How often the maps of counts are emptied.
const COUNTS_INTERVAL: Duration = Duration::from_secs(1);

/// Records as asked and gives the profile, with its ledger.
///
/// # Errors
/// Where the kernel refuses what it needs.
pub async fn record(args: &RecordArgs) -> Result<Profile> {
    let rate = Rate::Hz(args.rate.unwrap_or(99));
    let clock = Event::cpu_clock();
    let mut programs = load(args)?;
    let events = open(&mut programs, &clock, rate)?;
    let mut ring = programs.take_ring()?;
    let (started, began) = (SystemTime::now(), Instant::now());
    for event in &events {
        event.enable().context("failed to enable a perf event")?;
    }
    let mut collected = Collected::default();
    collect(args.duration, &mut programs, &mut ring, &mut collected).await?;
    for event in &events {
        event.disable().context("failed to disable a perf event")?;
    }
    let duration = began.elapsed();
    drain(&mut ring, &mut collected);
    take_counts(&mut programs, &mut collected)?;

    let hz = args.rate.unwrap_or(99);
    let counted: u64 = events.iter().map(|event| event.count().unwrap_or(0)).sum();
    let expected = counted / (1_000_000_000 / hz);
    let mut profile = profile(args, &clock, hz, started, duration);
    collected.add_to(&mut profile);
    let counters = programs.counters(0)?;
    add_lost(&mut profile, &counters, 1_000_000_000 / hz);
    let processes = programs.counters(u32::try_from(MAX_EVENTS)?)?;
    account(&mut profile, expected, &counters, &processes, &collected);
    Ok(profile)
}

fn load(args: &RecordArgs) -> Result<Programs> {
    let scope = if args.all {
        Scope::Machine
    } else {
        Scope::Tasks
    };
    let mut seed = [0; 16];
    // SAFETY: the call writes at most the length that is given.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    if got != 16 {
        bail!("failed to get random bytes from the kernel");
    }
    let (low, high) = seed.split_at(8);
    let config = Config {
        hash_seed: [
            u64::from_ne_bytes(low.try_into()?),
            u64::from_ne_bytes(high.try_into()?),
        ],
        cgroup_id: 0,
        cgroup_level: 0,
        scope: scope as u32,
        offsets: btf::offsets(&Btf::of_kernel()?)?,
    };
    let sizes = Sizes {
        ring_bytes: args.ring_bytes,
        count_entries: args.count_entries.unwrap_or(1 << 15),
    };
    let mut programs = Programs::load(&config, sizes)?;
    programs.follow_processes()?;
    let processes = args.pid.iter().map(|&pid| (pid, target::PROCESS));
    let threads = args.tid.iter().map(|&tid| (tid, target::THREAD));
    for (number, kind) in processes.chain(threads) {
        if !std::path::Path::new("/proc")
            .join(number.to_string())
            .exists()
        {
            bail!("failed to find a process or thread {number}; `ps -eLf` lists those that run");
        }
        let target = Target {
            kind,
            padding: 0,
            start_ns: 0,
        };
        programs.add_target(number, target)?;
    }
    Ok(programs)
}

fn open(programs: &mut Programs, event: &Event, rate: Rate) -> Result<Vec<PerCpuEvent>> {
    let mut opened = Vec::new();
    for cpu in online_cpus()? {
        let on_cpu = PerCpuEvent::open(event, rate, cpu)
            .with_context(|| format!("failed to open the event `{}` on CPU {cpu}", event.name))?;
        if let Some(on_cpu) = on_cpu {
            programs.sample_on(on_cpu.as_fd(), 0)?;
            opened.push(on_cpu);
        }
    }
    Ok(opened)
}

/// Empties ring and counts until the time is over or Ctrl-C.
async fn collect(
    duration: Option<Duration>,
    programs: &mut Programs,
    ring: &mut RingBuf<MapData>,
    collected: &mut Collected,
) -> Result<()> {
    let end = tokio::time::sleep(duration.unwrap_or(Duration::MAX));
    tokio::pin!(end);
    let mut ring_tick = tokio::time::interval(RING_INTERVAL);
    let mut counts_tick = tokio::time::interval(COUNTS_INTERVAL);
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            stop = tokio::signal::ctrl_c() => return stop.context("failed to wait for Ctrl-C"),
            _ = ring_tick.tick() => drain(ring, collected),
            _ = counts_tick.tick() => take_counts(programs, collected)?,
        }
    }
}

fn drain(ring: &mut RingBuf<MapData>, collected: &mut Collected) {
    while let Some(bytes) = ring.next() {
        match decode::record(&bytes) {
            Some(Record::UserStack(hash, stack)) => drop(collected.user.insert(hash, stack)),
            Some(Record::KernelStack(hash, stack)) => drop(collected.kernel.insert(hash, stack)),
            Some(Record::File(seen)) => collected.files.see(&seen),
            None => {}
        }
    }
}

fn take_counts(programs: &mut Programs, collected: &mut Collected) -> Result<()> {
    for (key, count) in programs.take_counts()? {
        let total = collected.counts.entry(key).or_default();
        total.samples += count.samples;
        total.weight += count.weight;
    }
    Ok(())
}

fn profile(
    args: &RecordArgs,
    event: &Event,
    hz: u64,
    started: SystemTime,
    duration: Duration,
) -> Profile {
    let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let command = if args.all {
        "the whole machine".to_owned()
    } else {
        format!("processes {:?}, threads {:?}", args.pid, args.tid)
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let meta = Meta {
        title: "timesink: on-CPU time".to_owned(),
        command,
        host: host.trim_end().to_owned(),
        time_nanos: nanoseconds(started.duration_since(UNIX_EPOCH).unwrap_or_default()),
        duration_nanos: nanoseconds(duration),
        event: format!("{} at {hz} Hz", event.name),
    };
    let cpu = || SampleType::new("cpu", Unit::Nanoseconds);
    let mut profile = Profile::new(meta, vec![SampleType::new("samples", Unit::Count), cpu()]);
    profile.period = Some(Period {
        of: cpu(),
        value: 1_000_000_000 / hz,
    });
    profile.by_thread = args.threads;
    profile
}

/// Shows the target's samples that the kernel could not count as frames, so that the totals add up.
fn add_lost(profile: &mut Profile, counters: &Counters, period_ns: u64) {
    for outcome in [Outcome::ScratchBusy, Outcome::CountMapFull] {
        let samples = counters.outcomes[outcome as usize];
        let nobody = profile.intern_string("[lost]");
        let labels = Labels {
            pid: 0,
            tid: 0,
            process: nobody,
            thread: nobody,
        };
        let frame = profile.synthetic(&format!("[lost: {}]", outcome.name()));
        if let Some(stack) = profile.intern_frames(&[frame]).filter(|_| samples > 0) {
            profile.add(stack, labels, &[samples, samples * period_ns]);
        }
    }
}

fn account(
    profile: &mut Profile,
    expected: u64,
    counters: &Counters,
    processes: &Counters,
    collected: &Collected,
) {
    let ledger = &mut profile.ledger;
    ledger.push(
        RowKind::Expected,
        "expected",
        expected,
        "ticks of the clock on all CPUs",
    );
    for &outcome in Outcome::ALL {
        let kind = match outcome {
            Outcome::Sampled => RowKind::Got,
            Outcome::Idle | Outcome::Elsewhere => RowKind::Elsewhere,
            Outcome::ScratchBusy | Outcome::CountMapFull => RowKind::Lost,
        };
        ledger.push(
            kind,
            outcome.name(),
            counters.outcomes[outcome as usize],
            outcome.meaning(),
        );
    }
    let seen: u64 = counters.outcomes.iter().sum();
    let missed = expected.saturating_sub(seen);
    ledger.push(
        RowKind::Lost,
        "not delivered",
        missed,
        "ticks for which the kernel ran no program",
    );
    let unsent = collected.unsent();
    ledger.push(
        RowKind::Note,
        "stack not sent",
        unsent,
        "sampled, but the ring had no room for the stack",
    );
    for &end in StackEnd::ALL {
        let meaning = format!("user stacks that ended so: {}", end.meaning());
        ledger.push(
            RowKind::Note,
            end.name(),
            counters.ends[end as usize],
            &meaning,
        );
    }
    for &miss in Miss::ALL {
        let count = counters.misses[miss as usize] + processes.misses[miss as usize];
        ledger.push(RowKind::Note, miss.name(), count, miss.meaning());
    }
}
