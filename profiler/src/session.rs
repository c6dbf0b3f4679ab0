//! The attached programs and all that comes out of them, from one cut to the next: a recording is cut
//! once, at its end, and what runs all the time is cut into windows.

mod account;
mod marks;
mod setup;
mod threads;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use abi::{
    WAITS,
    config::{Scope, Target},
    reasons::Outcome,
    records::FileIdentity,
    waits::ThreadTimes,
};
use anyhow::{Context, Result};
use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;

use crate::{
    bpf::{Identifier, Programs, Runs, WhoCounts},
    btf::{self, Btf},
    cli::RecordArgs,
    clock::monotonic_ns,
    code_files::CodeFile,
    collected::{Bounds, Collected, Slices},
    files::Files,
    jit::JitMaps,
    moments::Moments,
    record::Recorded,
    report::Report,
    sampling::{Opened, Sampling},
    sideband::{Sideband, Told},
    tables::{Budget, Builder, Ready, Tables, build_all},
    targets::Targets,
    watch::watch,
    watching::{Waits, Watching},
    worker::{Limits, Workers},
};
use account::Account;
use marks::Marks;
use setup::{code_files, config, open_events, sizes};
use threads::ThreadWindows;

/// How often the counts are taken.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the rings are emptied, if nothing asks for it earlier: programs that are started by the
/// thousand fill that of their mappings in a fifth of a second.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);
/// How long a slice of a window is.
const SLICE_NS: u64 = 100_000_000;

/// What is told of samples beside what every recording tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Detail {
    /// The control group.
    pub(crate) cgroups: bool,
    /// The time, in slices.
    pub(crate) times: bool,
}

/// The attached programs and all that comes out of them.
pub(crate) struct Session {
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
    threads: ThreadWindows,
    collected: Collected,
    detail: Detail,
    /// Entries of the kernel's map of counts.
    count_entries: u32,
    marks: Marks,
}

impl Session {
    /// Loads and attaches all that a recording takes; nothing is counted yet.
    ///
    /// # Errors
    /// Where an event cannot be counted, or the kernel refuses what it needs.
    pub(crate) fn attach(
        args: &RecordArgs,
        targets: &Targets,
        samplings: Vec<Sampling>,
        (detail, bounds): (Detail, Bounds),
        report: &Report,
    ) -> Result<Self> {
        let offsets = btf::offsets(&Btf::of_kernel()?)?;
        let identifier = Arc::new(Identifier::load(&offsets)?);
        let workers = Arc::new(Workers::new(Limits::of_each(args.symbol_memory)));
        let budget = Budget::new(args.unwind_memory);
        let mut ready = Ready::new(budget.clone());
        let mut collected = Collected::within(bounds, identifier);
        let files = code_files(args, targets, &mut collected.files, &workers)?;
        build_all(files, &budget, &workers, |found| {
            report.table(&found);
            ready.add(found);
        });
        let builder = Builder::start(budget, Arc::clone(&workers));
        let sizes = sizes(args, &ready);
        let mut programs = Programs::load(&config(targets, detail, offsets)?, sizes)?;
        collected.moments = Moments::since(monotonic_ns());
        programs.set_moment_mask(collected.moments.mask())?;
        collected.jit = JitMaps::since(SystemTime::now());
        let tables = Tables::publish(ready, &mut programs)?;
        programs.follow_processes()?;
        targets.announce(&mut programs)?;
        let events = open_events(&mut programs, samplings)?;
        let watching = args.waits().then(|| Watching::planned(args));
        if let Some(watching) = &watching {
            watching.prepare(&mut programs)?;
        }
        let ring = watch(programs.take_ring()?).context("failed to wait for the ring")?;
        let sideband = Sideband::open().context("failed to open the events that tell mappings")?;
        let marks = Marks::now(&programs, &events)?;
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
            threads: ThreadWindows::default(),
            collected,
            detail,
            count_entries: sizes.count_entries,
            marks,
        })
    }

    /// Begins to count.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.collected.kernel_code.begin();
        self.marks = Marks::now(&self.programs, &self.events)?;
        self.switch(true)?;
        match &mut self.watching {
            Some(watching) => watching.begin(&mut self.programs),
            None => Ok(()),
        }
    }

    /// Adds a process or a thread to the targets.
    ///
    /// # Errors
    /// Where there is no room for it.
    pub(crate) fn add_target(&mut self, number: u32, target: Target) -> Result<()> {
        self.programs.add_target(number, target)
    }

    /// Such as `cpu-clock at 99 Hz; waits`.
    pub(crate) fn describe(&self) -> String {
        let events = self.events.iter().map(|(sampling, _)| sampling.describe());
        let waits = self.watching.iter().map(|_| "waits".to_owned());
        events.chain(waits).collect::<Vec<_>>().join("; ")
    }

    /// What the kernel programs have cost so far, where its statistics are on.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub(crate) fn cost(&self) -> Result<Runs> {
        let mut total = Runs::default();
        for runs in self.programs.runs()?.values() {
            total.count += runs.count;
            total.time += runs.time;
        }
        Ok(total)
    }

    /// How full the fullest of what is bounded is, from 0 to 1: an agent goes over to a new session
    /// before something finds no room.
    pub(crate) fn fullness(&self) -> f64 {
        self.collected.fullness()
    }

    /// What was counted since the last cut. Counting goes on.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub(crate) fn cut(&mut self) -> Result<Recorded> {
        let living = self.living(Programs::turn_waits)?;
        let now = Marks::now(&self.programs, &self.events)?;
        self.take_all(WhoCounts::Programs)?;
        // The stacks of what was counted while the maps changed.
        self.drain();
        self.take_threads(living);
        self.collected.files.find_late();
        let before = std::mem::replace(&mut self.marks, now);
        let account = self.account(&before)?;
        let mut collected = self.collected.window();
        collected.slices = self.slices(&before);
        Ok(account.with(collected))
    }

    /// Samples on these events from now on. To be called after a cut, since what they have counted
    /// begins anew.
    ///
    /// # Errors
    /// Where the kernel refuses one.
    pub(crate) fn resample(&mut self, samplings: Vec<Sampling>) -> Result<()> {
        self.programs.stop_sampling();
        self.events = open_events(&mut self.programs, samplings)?;
        self.switch(true)?;
        self.marks.look_again(&self.programs, &self.events)
    }

    /// Takes the stacks of a part of the waits from now on.
    pub(crate) fn sample_waits(&mut self) {
        if let Some(watching) = &mut self.watching {
            watching.sample(&mut self.programs);
        }
    }

    /// Stops counting.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub(crate) fn stop(&mut self) -> Result<Stopped> {
        self.switch(false)?;
        let at = Instant::now();
        let living = self.living(Programs::stop_waits)?;
        let mut marks = Marks::now(&self.programs, &self.events)?;
        marks.at = at;
        Ok(Stopped { marks, living })
    }

    /// All that was counted since the last cut. Programs and events are taken away from the kernel: it
    /// waits for all CPUs each time, so that is done beside the naming.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub(crate) fn end(mut self, stopped: Stopped) -> Result<Recorded> {
        // They start while the kernel is waited for.
        let readers = Arc::clone(&self.workers);
        std::thread::spawn(move || readers.prepare(readers.readers()));
        self.take_all(match self.watching {
            Some(_) => WhoCounts::Programs,
            None => WhoCounts::Nobody,
        })?;
        self.take_threads(stopped.living);
        // No table is of use any more, and names are.
        self.collected.files.take_last_copies();
        self.collected.files.find_late();
        if !self.collected.kernel.is_empty() {
            // While the programs are loaded: they have frames in the stacks.
            self.collected.kernel_code.end();
        }
        self.collected.jit.finish(monotonic_ns());
        let before = std::mem::replace(&mut self.marks, stopped.marks);
        let account = self.account(&before)?;
        self.collected.slices = self.slices(&before);
        let attached = (self.programs, self.events, self.ring);
        std::thread::spawn(move || drop(attached));
        Ok(account.with(self.collected))
    }

    fn account(&self, before: &Marks) -> Result<Account> {
        let waits = self.watching.as_ref().map(|watching| Waits {
            counters: self.marks.waits.since(&before.waits),
            periods: watching.periods(),
        });
        Ok(Account {
            events: self.marks.accounts(before, &self.events),
            processes: self.marks.processes.since(&before.processes),
            tables: self.tables.counts,
            waits,
            started: before.time,
            duration: self.marks.at.duration_since(before.at),
            workers: Arc::clone(&self.workers),
        })
    }

    /// How times become slices, for what was counted from a moment on.
    fn slices(&self, from: &Marks) -> Option<Slices> {
        self.detail.times.then_some(Slices {
            began_ns: from.monotonic_ns,
            slice_ns: SLICE_NS,
        })
    }

    /// The times of the threads that live, where waits are watched.
    fn living(
        &mut self,
        tell: impl FnOnce(&mut Programs) -> Result<Vec<ThreadTimes>>,
    ) -> Result<Vec<ThreadTimes>> {
        match self.watching {
            Some(_) => tell(&mut self.programs),
            None => Ok(Vec::new()),
        }
    }

    /// Takes in the times of threads that live on, and makes of those of threads that have ended, which the
    /// ring has told of, what came since the last time.
    fn take_threads(&mut self, living: Vec<ThreadTimes>) {
        let ended = std::mem::take(&mut self.collected.threads);
        let threads = self.threads.since_last(ended, living);
        self.collected.take_threads(threads);
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
    ///
    /// # Errors
    /// Where the kernel does not tell, and what `stopped` gives.
    pub(crate) async fn collect<T>(
        &mut self,
        stopped: impl Future<Output = Result<T>>,
        report: &Report,
    ) -> Result<T> {
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
                    self.take_all(WhoCounts::Programs)?;
                    self.keep_waits_cheap()?;
                    self.tables.retry(&mut self.programs)?;
                    if report.is_live() {
                        report.progress(&self.progress()?);
                    }
                }
            }
        }
    }

    /// Takes the stacks of a part of the waits where that of each would cost too much.
    fn keep_waits_cheap(&mut self) -> Result<()> {
        match &mut self.watching {
            Some(watching) => watching.adapt(&mut self.programs),
            None => Ok(()),
        }
    }

    fn take_all(&mut self, who_counts: WhoCounts) -> Result<()> {
        self.drain();
        let taken = self.programs.take_counts(who_counts)?;
        let now_ns = monotonic_ns();
        // With times of their own, the samples of JITs may fill the map before it is emptied.
        if taken.counts.len() > self.count_entries as usize / 2
            && taken.counts.iter().any(|(key, _)| key.moment != 0)
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
}

/// After counting has stopped.
pub(crate) struct Stopped {
    marks: Marks,
    /// The times of the threads that lived then.
    living: Vec<ThreadTimes>,
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
