//! One recording: attach, start the command, collect until something stops it, account.

use std::{
    future::pending,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::Path,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use abi::{
    MAX_EVENTS, WAITS,
    config::{Config, Offsets, Scope, target},
    reasons::{Counters, Outcome},
    records::FileIdentity,
};
use anyhow::{Context, Result, bail};
use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;

use crate::{
    account::{CpuAccount, EventAccount},
    addresses,
    bpf::{Identifier, Programs, Sizes},
    btf::{self, Btf},
    cli::RecordArgs,
    clock::monotonic_ns,
    code_files::CodeFile,
    collected::{Bounds, Collected},
    command::{Running, Waiting},
    files::Files,
    identity::Identify,
    idle::{Away, away},
    jit::JitMaps,
    limits::Descriptors,
    moments::Moments,
    report::{Report, Signals},
    sampling::{Opened, Sampling},
    schedstat::{self, Schedstats},
    sideband::{Sideband, Told},
    tables::{Budget, Builder, Ready, TableCounts, Tables, build_all},
    targets::{Targets, target_of},
    watch::watch,
    watching::{Waits, Watching},
    worker::{Limits, Workers},
};

/// How often the counts are taken.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the rings are emptied, if nothing asks for it earlier: programs that are started by the
/// thousand fill that of their mappings in a fifth of a second.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);
/// Entries of the map of counts.
const COUNT_ENTRIES: u32 = 1 << 15;
/// Entries of the map of waits, which is emptied as often as that of counts and whose entries take half
/// a kilobyte each.
const WAIT_ENTRIES: u32 = 1 << 14;
/// Within this time of a signal that went to the command too, it reaches the recorder.
const SAME_MOMENT: Duration = Duration::from_millis(50);

/// What a recording gave.
#[derive(Debug)]
pub struct Recorded {
    /// All that the kernel sent.
    pub collected: Collected,
    /// What became of the samples of each event.
    pub events: Vec<(Sampling, EventAccount)>,
    /// The counters of the programs that follow processes.
    pub processes: Counters,
    /// What became of unwind tables.
    pub tables: TableCounts,
    /// What the programs at the scheduler told, where waits were recorded.
    pub waits: Option<Waits>,
    /// What the scheduler says of threads, where that was to be compared.
    pub schedstats: Option<Schedstats>,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Why it ended.
    pub stop: Stop,
    /// Who reads the files that stacks name.
    pub workers: Arc<Workers>,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The time was over.
    Time,
    /// A signal asked for it.
    Asked,
    /// The command ended, with this status.
    CommandEnded(ExitStatus),
    /// The last of the processes and threads ended.
    TargetsEnded,
}

/// Records as asked.
///
/// # Errors
/// Where a target is not there, an event cannot be counted, or the kernel refuses what it needs.
pub async fn record(
    args: &RecordArgs,
    signals: &mut Signals,
    report: &mut Report,
) -> Result<Recorded> {
    let limit = Descriptors::raise();
    let targets = Targets::find(args)?;
    let samplings = Sampling::plan(args)?;
    report.preparing();
    let offsets = btf::offsets(&Btf::of_kernel()?)?;
    let identifier = Arc::new(Identifier::load(&offsets)?);
    let budget = Budget::new(args.unwind_memory);
    let mut ready = Ready::new(budget.clone());
    let workers = Arc::new(Workers::new(Limits::of_each(args.symbol_memory)));
    let files = targets.code_files(args, &*identifier, &workers)?;
    build_all(files, &budget, &workers, |found| {
        report.table(&found);
        ready.add(found);
    });
    let builder = Builder::start(budget, Arc::clone(&workers));
    let config = config(&targets, offsets)?;
    let mut session = Session::attach(
        args,
        &config,
        &targets,
        samplings,
        ready,
        (builder, Arc::clone(&workers)),
        identifier,
    )?;
    let waiting = match args.command.as_slice() {
        [] => None,
        words => Some(Waiting::start(words, limit)?),
    };
    let compares = args.waits() && args.verbose;
    let threads_before = compares.then(schedstat::of_all);
    let away_before = away()?;
    session.collected.kernel_code.begin();
    let (started, began) = (SystemTime::now(), Instant::now());
    session.switch(true)?;
    session.begin_waits()?;
    // Not before: until it begins, the command is a thread of this program that waits.
    if let Some(waiting) = &waiting {
        let command = target_of(target::PROCESS);
        session.programs.add_target(waiting.pid, command)?;
    }
    report.recording(&session.describe());
    let mut command = waiting.map(Waiting::go).transpose()?;
    let stop = {
        let stopped = stopped(args.duration, signals, &targets, command.as_mut());
        session.collect(stopped, report).await?
    };
    session.switch(false)?;
    let duration = began.elapsed();
    session.stop_waits()?;
    let schedstats = threads_before.map(|before| Schedstats {
        before,
        after: schedstat::of_all(),
    });
    let away_after = away()?;
    session.take_all()?;
    // No table is of use any more, and names are.
    session.collected.files.take_last_copies();
    session.collected.files.find_late();
    if !session.collected.kernel.is_empty() {
        // While the programs are loaded: they have frames in the stacks.
        session.collected.kernel_code.end();
    }
    session.collected.jit.finish(monotonic_ns());
    let away = |cpu: u32| {
        let (before, after) = (away_before.get(&cpu), away_after.get(&cpu));
        let times = after.zip(before);
        times.map_or_else(Away::default, |(after, before)| after.since(*before))
    };
    let events = session.accounts(away)?;
    let processes = session.programs.counters(u32::try_from(MAX_EVENTS)?)?;
    let waits = session.waits()?;
    Ok(Recorded {
        events,
        processes,
        tables: session.tables.counts,
        waits,
        schedstats,
        collected: session.detach(),
        started,
        duration,
        stop,
        workers,
    })
}

/// Resolves when the recording is to end.
async fn stopped(
    duration: Option<Duration>,
    signals: &mut Signals,
    targets: &Targets,
    command: Option<&mut Running>,
) -> Result<Stop> {
    let is_command = command.is_some();
    let command_ended = async {
        match command {
            Some(command) => command.ended().await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep(duration.unwrap_or(Duration::MAX)) => Ok(Stop::Time),
        () = signals.next() => Ok(Stop::Asked),
        status = command_ended => {
            let status = status.context("failed to wait for the command")?;
            Ok(match asked_too(status, signals).await {
                true => Stop::Asked,
                false => Stop::CommandEnded(status),
            })
        }
        ended = targets.ended(), if !is_command => ended.map(|()| Stop::TargetsEnded),
    }
}

/// Whether a command that died of a signal died of one that asks the recorder for the end: Ctrl-C on a
/// terminal goes to both, and the command may be gone before the recorder is told.
async fn asked_too(status: ExitStatus, signals: &mut Signals) -> bool {
    let asks = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].map(Some);
    asks.contains(&status.signal())
        && tokio::time::timeout(SAME_MOMENT, signals.next())
            .await
            .is_ok()
}

/// The attached programs and all that comes out of them.
struct Session {
    programs: Programs,
    events: Vec<(Sampling, Opened)>,
    ring: AsyncFd<RingBuf<MapData>>,
    sideband: Sideband,
    tables: Tables,
    builder: Builder,
    workers: Arc<Workers>,
    /// Whether files of other processes than targets are of no interest.
    only_targets: bool,
    watching: Option<Watching>,
    collected: Collected,
    /// Entries of the kernel's map of counts.
    count_entries: u32,
}

impl Session {
    fn attach(
        args: &RecordArgs,
        config: &Config,
        targets: &Targets,
        samplings: Vec<Sampling>,
        ready: Ready,
        (builder, workers): (Builder, Arc<Workers>),
        identify: Arc<dyn Identify>,
    ) -> Result<Self> {
        let sizes = Sizes {
            tables: ready.sizes(),
            ring_bytes: args.ring_bytes,
            count_entries: args.count_entries.unwrap_or(COUNT_ENTRIES),
            wait_entries: match args.waits() {
                true => args.count_entries.unwrap_or(WAIT_ENTRIES),
                false => 1,
            },
        };
        let mut programs = Programs::load(config, sizes)?;
        let moments = Moments::since(monotonic_ns());
        programs.set_moment_mask(moments.mask())?;
        let mut collected = Collected::within(Bounds::default(), identify);
        collected.moments = moments;
        collected.jit = JitMaps::since(SystemTime::now());
        let tables = Tables::publish(ready, &mut programs)?;
        programs.follow_processes()?;
        targets.announce(&mut programs)?;
        let mut events = Vec::new();
        for (number, sampling) in (0..).zip(samplings) {
            let opened = Opened::on_all_cpus(&sampling)?;
            for (_, event) in &opened.events {
                programs.sample_on(event.as_fd(), number)?;
            }
            events.push((sampling, opened));
        }
        let watching = args.waits().then(|| Watching::planned(args));
        if let Some(watching) = &watching {
            watching.prepare(&mut programs)?;
        }
        let ring = watch(programs.take_ring()?).context("failed to wait for the ring")?;
        let sideband = Sideband::open().context("failed to open the events that tell mappings")?;
        Ok(Self {
            programs,
            events,
            ring,
            sideband,
            tables,
            builder,
            workers,
            only_targets: targets.scope == Scope::Tasks,
            watching,
            collected,
            count_entries: sizes.count_entries,
        })
    }

    /// Takes programs and events away from the kernel, and gives what was collected. The kernel waits for
    /// all CPUs each time, so that is done beside the naming; at the end of the process it does the rest.
    fn detach(self) -> Collected {
        let attached = (self.programs, self.events, self.ring);
        std::thread::spawn(move || drop(attached));
        self.collected
    }

    fn describe(&self) -> String {
        let events = self.events.iter().map(|(sampling, _)| sampling.describe());
        let waits = self.watching.iter().map(|_| "waits".to_owned());
        events.chain(waits).collect::<Vec<_>>().join("; ")
    }

    /// Switches all events on or off.
    fn switch(&self, on: bool) -> Result<()> {
        for (_, event) in self.events.iter().flat_map(|(_, opened)| &opened.events) {
            if on {
                event.enable().context("failed to enable a perf event")?;
            } else {
                event.disable().context("failed to disable a perf event")?;
            }
        }
        Ok(())
    }

    /// Takes what comes until `stopped` resolves.
    async fn collect(
        &mut self,
        stopped: impl Future<Output = Result<Stop>>,
        report: &mut Report,
    ) -> Result<Stop> {
        tokio::pin!(stopped);
        let mut tick = tokio::time::interval(INTERVAL);
        let mut drain = tokio::time::interval(DRAIN_INTERVAL);
        loop {
            tokio::select! {
                stop = &mut stopped => return stop,
                ready = self.ring.readable_mut() => {
                    ready.context("failed to wait for the ring")?.clear_ready();
                    self.drain();
                }
                _ = drain.tick() => self.drain(),
                found = self.builder.found.recv() => {
                    let found = found.context("failed to build unwind tables")?;
                    report.table(&found);
                    self.tables.take(&mut self.programs, found)?;
                    if self.watching.is_some() {
                        self.programs.walk_waiting_again()?;
                    }
                }
                _ = tick.tick() => {
                    // All readers but one wait a second at the most for the next file.
                    self.workers.dismiss();
                    self.take_all()?;
                    self.keep_waits_cheap()?;
                    self.tables.retry(&mut self.programs)?;
                    if report.is_live() {
                        report.progress(&self.progress()?);
                    }
                }
            }
        }
    }

    /// Begins to watch waits, where they are wanted.
    fn begin_waits(&mut self) -> Result<()> {
        match &mut self.watching {
            Some(watching) => watching.begin(&mut self.programs),
            None => Ok(()),
        }
    }

    /// Takes the stacks of a part of the waits where that of each would cost too much.
    fn keep_waits_cheap(&mut self) -> Result<()> {
        match &mut self.watching {
            Some(watching) => watching.adapt(&mut self.programs),
            None => Ok(()),
        }
    }

    /// Ends all waits.
    fn stop_waits(&mut self) -> Result<()> {
        if self.watching.is_some() {
            let threads = self.programs.stop_waits()?;
            self.collected.take_threads(threads);
        }
        Ok(())
    }

    fn waits(&self) -> Result<Option<Waits>> {
        let watching = self.watching.as_ref();
        watching
            .map(|watching| watching.waits(&self.programs))
            .transpose()
    }

    fn take_all(&mut self) -> Result<()> {
        self.drain();
        let taken = self.programs.take_counts()?;
        let now_ns = monotonic_ns();
        // With times of their own, the samples of JITs may fill the map before it is emptied.
        if taken.counts.len() > self.count_entries as usize / 2
            && taken.counts.keys().any(|key| key.moment != 0)
        {
            self.collected.coarsen();
        }
        self.collected.take_counts(taken.counts, now_ns);
        self.collected.take_waits(taken.waits);
        self.collected.jit.tick(now_ns);
        let mask = self.collected.moments.mask();
        self.programs.set_moment_mask(mask)
    }

    /// Paths come before the files that they belong to.
    fn drain(&mut self) {
        self.sideband.drain(|told| {
            // Built ahead of the first sample that meets it.
            if let Told::Mapped {
                pid,
                identity,
                path,
            } = &told
                && (!self.only_targets || self.programs.is_target(*pid))
            {
                let files = &mut self.collected.files;
                files.meet(*pid);
                if let Some(file) = news(&mut self.tables, files, *identity, path, *pid) {
                    self.builder.build(file);
                }
            }
            self.collected.take_told(told);
        });
        self.collected.files.part();
        let now_ns = monotonic_ns();
        self.collected.jit.collect(now_ns);
        let ring = self.ring.get_mut();
        while let Some(bytes) = ring.next() {
            if let Some(file) = self.collected.take_record(&bytes, now_ns)
                && self.tables.ask(file.identity)
            {
                self.builder.build(file);
            }
        }
        for file in self.collected.files.take_copies() {
            if self.tables.ask(file.identity) {
                self.builder.build(file);
            }
        }
    }

    /// Such as `1188 samples, 34 threads, 0 lost`.
    fn progress(&self) -> Result<String> {
        let mut numbers: Vec<_> = (0..u32::try_from(self.events.len())?).collect();
        let what = if numbers.is_empty() {
            numbers.push(WAITS);
            "waits"
        } else {
            "samples"
        };
        let (mut got, mut lost) = (0, 0);
        for number in numbers {
            let outcomes = self.programs.counters(number)?.outcomes;
            got += outcomes[Outcome::Sampled as usize];
            lost +=
                outcomes[Outcome::CountMapFull as usize] + outcomes[Outcome::ScratchBusy as usize];
        }
        let tids = self.collected.counts.keys().map(|key| key.tid);
        let tids = tids.chain(self.collected.waits.keys().map(|key| key.tid));
        let threads = tids.collect::<std::collections::HashSet<_>>().len();
        Ok(format!("{got} {what}, {threads} threads, {lost} lost"))
    }

    fn accounts(&self, away: impl Fn(u32) -> Away) -> Result<Vec<(Sampling, EventAccount)>> {
        let mut accounts = Vec::new();
        for (number, (sampling, opened)) in (0..).zip(&self.events) {
            let counters = self.programs.counters_by_cpu(number)?;
            let cpus = opened.events.iter().map(|(cpu, event)| CpuAccount {
                counted: event.count().unwrap_or(0),
                away: away(*cpu),
                counters: counters
                    .get(*cpu as usize)
                    .copied()
                    .unwrap_or(Counters::ZERO),
            });
            let cpus: Vec<_> = cpus.collect();
            accounts.push((sampling.clone(), EventAccount::new(sampling, &cpus)));
        }
        Ok(accounts)
    }
}

/// A file that a mapping was told of, where it is to be built.
fn news(
    tables: &mut Tables,
    files: &mut Files,
    told: FileIdentity,
    path: &Path,
    pid: u32,
) -> Option<CodeFile> {
    let known_as = files.name_of(told);
    if !tables.ask(known_as) {
        return None;
    }
    let file = files.open_told(told, path, pid);
    if file.as_ref().is_some_and(|file| file.identity == known_as) {
        return file;
    }
    tables.forget(&known_as);
    file.filter(|file| tables.ask(file.identity))
}

fn config(targets: &Targets, offsets: Offsets) -> Result<Config> {
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
        with_cgroups: 0,
        moment_mask: 0,
        padding: 0,
        addresses: addresses::of_this_machine(),
        offsets,
    })
}
