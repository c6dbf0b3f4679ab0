//! The kernel programs in use: loading, attaching, and reading what they counted.

mod calls;
mod identifier;
mod images;
mod waits;

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use abi::{
    config::{Config, Target, target},
    reasons::{Counters, EventState},
    records::FileIdentity,
    samples::{SampleCount, SampleKey},
    tables::Control,
    waits::{WaitCount, WaitKey},
};
use anyhow::{Context, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
    programs::{PerfEvent, ProgramInfo, RawTracePoint},
};

pub use self::{identifier::Identifier, images::images};
use crate::tables::{Arrays, TableSizes};
use calls::{link_perf_event, remove_key, take_entries, wait_for_running_programs};

pub use waits::WaitSettings;

#[cfg(target_arch = "x86_64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../profiler-ebpf/object/x86_64.bpf.o");
#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../profiler-ebpf/object/aarch64.bpf.o");

/// A layout of the border, as aya wants it: aya's trait cannot be implemented for a foreign type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
struct Plain<T>(T);

// SAFETY: the layouts of `abi` are plain numbers with explicit padding.
unsafe impl<T: Copy + 'static> Pod for Plain<T> {}

/// What the maps are sized to.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of the ring buffer, a power of two.
    pub ring_bytes: u32,
    /// Entries of each of the two maps of counts.
    pub count_entries: u32,
    /// Entries of each of the two maps of waits; 1 where none are recorded.
    pub wait_entries: u32,
    /// Entries of the arrays for unwind tables.
    pub tables: TableSizes,
}

/// How often counts are taken in one epoch: the programs look up rules anew once in each.
const COUNTS_PER_EPOCH: u32 = 4;

/// The loaded programs. Dropping it detaches and removes all of it: nothing is pinned.
#[derive(Debug)]
pub struct Programs {
    ebpf: Ebpf,
    /// The links between perf events and the sampling program.
    links: Vec<OwnedFd>,
    control: Control,
    counts_taken: u32,
    /// Whether the program that takes a stack at the end of a wait is attached.
    takes_stacks_at_end: bool,
}

/// What was counted since the last time; a key may be there twice.
#[derive(Debug)]
pub struct Taken {
    /// Samples.
    pub counts: Vec<(SampleKey, SampleCount)>,
    /// Waits.
    pub waits: Vec<(WaitKey, WaitCount)>,
}

/// Who may be counting while counts are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoCounts {
    /// Programs, for whose end is waited; that takes the kernel some ten milliseconds.
    Programs,
    /// Nobody: there are no programs but those of perf events, which are off. To switch one off waits for
    /// the program that it has started.
    Nobody,
}

/// What the kernel counted of programs' runs while its BPF statistics were on: `aya::sys::enable_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How often they ran.
    pub count: u64,
    /// How long that took, on all CPUs together.
    pub time: Duration,
}

impl Programs {
    /// Loads the programs with the settings of a recording.
    ///
    /// # Errors
    /// Where the kernel refuses a map or a program.
    pub fn load(config: &Config, sizes: Sizes) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("CONFIG", &Plain(*config), true)
            .map_max_entries("RING", sizes.ring_bytes)
            .map_max_entries("COUNTS_0", sizes.count_entries)
            .map_max_entries("COUNTS_1", sizes.count_entries)
            .map_max_entries("WAITS_0", sizes.wait_entries)
            .map_max_entries("WAITS_1", sizes.wait_entries)
            // The kernel's storage for tasks, which is not read from here.
            .allow_unsupported_maps()
            .map_max_entries("PAGES", sizes.tables.pages)
            .map_max_entries("BLOCKS", sizes.tables.blocks)
            .load(OBJECT)
            .context("failed to load the kernel programs' maps")?;
        let sampler: &mut PerfEvent = program(&mut ebpf, "on_cpu")?.try_into()?;
        sampler
            .load()
            .context("failed to load the sampling program")?;
        Ok(Self {
            ebpf,
            links: Vec::new(),
            control: Control::default(),
            counts_taken: 0,
            takes_stacks_at_end: false,
        })
    }

    /// Attaches the programs that follow processes.
    ///
    /// # Errors
    /// Where the kernel refuses one of them.
    pub fn follow_processes(&mut self) -> Result<()> {
        for (name, tracepoint) in [
            ("process_fork", "sched_process_fork"),
            ("process_free", "sched_process_free"),
        ] {
            let follower: &mut RawTracePoint = program(&mut self.ebpf, name)?.try_into()?;
            follower
                .load()
                .and_then(|()| follower.attach(tracepoint))
                .with_context(|| format!("failed to attach to the tracepoint `{tracepoint}`"))?;
        }
        Ok(())
    }

    /// Runs the sampling program at each overflow of a perf event, as the `number`th event.
    ///
    /// # Errors
    /// Where the kernel refuses the link.
    pub fn sample_on(&mut self, event: BorrowedFd<'_>, number: u32) -> Result<()> {
        let sampler: &mut PerfEvent = program(&mut self.ebpf, "on_cpu")?.try_into()?;
        let link = link_perf_event(sampler.fd()?.as_fd(), event, u64::from(number))
            .context("failed to attach the sampling program to a perf event")?;
        self.links.push(link);
        Ok(())
    }

    /// Takes the sampling program off all perf events.
    pub fn stop_sampling(&mut self) {
        self.links.clear();
    }

    /// Adds a process or a thread to the targets.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn add_target(&mut self, number: u32, target: Target) -> Result<()> {
        let map = self.ebpf.map_mut("TARGETS").context("no map `TARGETS`")?;
        let mut targets = BpfHashMap::<_, u32, Plain<Target>>::try_from(map)?;
        targets
            .insert(number, Plain(target), 0)
            .with_context(|| format!("failed to make {number} a target"))
    }

    /// Whether a process is a target already, because it was added or because it was followed.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn is_target_process(&self, number: u32) -> Result<bool> {
        let map = self.ebpf.map("TARGETS").context("no map `TARGETS`")?;
        let targets = BpfHashMap::<_, u32, Plain<Target>>::try_from(map)?;
        match targets.get(&number, 0) {
            Ok(found) => Ok(found.0.kind & target::PROCESS != 0),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(error).context("failed to read the map of targets"),
        }
    }

    /// Whether a process is a target, named or followed.
    #[must_use]
    pub fn is_target(&self, pid: u32) -> bool {
        let targets = self.ebpf.map("TARGETS");
        let targets =
            targets.and_then(|map| BpfHashMap::<_, u32, Plain<Target>>::try_from(map).ok());
        targets.is_some_and(|targets| targets.get(&pid, 0).is_ok())
    }

    /// The ring buffer; it can be taken once.
    ///
    /// # Errors
    /// Where it was taken before.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>> {
        let map = self
            .ebpf
            .take_map("RING")
            .context("the ring was taken before")?;
        Ok(RingBuf::try_from(map)?)
    }

    /// An event's counters, summed over the CPUs; those of the process programs are at
    /// [`abi::MAX_EVENTS`].
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counters(&self, event: u32) -> Result<Counters> {
        let mut total = Counters::ZERO;
        for cpu in self.counters_by_cpu(event)? {
            total.add(&cpu);
        }
        Ok(total)
    }

    /// An event's counters on each CPU, by its number.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counters_by_cpu(&self, event: u32) -> Result<Vec<Counters>> {
        let map = self.ebpf.map("EVENTS").context("no map `EVENTS`")?;
        let counters = PerCpuArray::<_, Plain<EventState>>::try_from(map)?;
        let by_cpu = counters.get(&event, 0)?;
        Ok(by_cpu.iter().map(|cpu| cpu.0.counters).collect())
    }

    /// The arrays for unwind tables.
    ///
    /// # Errors
    /// Where the object has them not.
    pub fn arrays(&self) -> Result<Arrays<'_>> {
        let array = |name: &'static str| match self.ebpf.map(name) {
            Some(Map::Array(map)) => Ok((map.fd().as_fd(), map.info()?.max_entries())),
            _ => Err(anyhow!("no array `{name}`")),
        };
        Ok(Arrays {
            tables: array("TABLES")?,
            pages: array("PAGES")?,
            blocks: array("BLOCKS")?,
            rules: array("RULES")?,
        })
    }

    /// Gives a file its table.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn set_table(&mut self, identity: &FileIdentity, number: u32) -> Result<()> {
        let numbers = self
            .ebpf
            .map_mut("TABLE_NUMBERS")
            .context("no map `TABLE_NUMBERS`")?;
        let mut numbers = BpfHashMap::<_, Plain<FileIdentity>, u32>::try_from(numbers)?;
        Ok(numbers.insert(Plain(*identity), number, 0)?)
    }

    /// Takes a file's table from it, and has the file announced when it is next met.
    ///
    /// # Errors
    /// Where a map cannot be written.
    pub fn remove_table(&mut self, identity: &FileIdentity) -> Result<()> {
        for name in ["TABLE_NUMBERS", "FILES"] {
            let map = self
                .ebpf
                .map(name)
                .with_context(|| format!("no map `{name}`"))?;
            let (Map::HashMap(map) | Map::LruHashMap(map)) = map else {
                return Err(anyhow!("no hash map `{name}`"));
            };
            remove_key(map.fd().as_fd(), identity)?;
        }
        Ok(())
    }

    /// Makes the programs look at the numbers of tables anew.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn tables_changed(&mut self) -> Result<()> {
        self.control.tables_version = self.control.tables_version.wrapping_add(1);
        self.set_control()
    }

    /// Gives the vdso its table.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn set_vdso_table(&mut self, number: u32) -> Result<()> {
        self.control.vdso_table = number;
        self.tables_changed()
    }

    /// Says which bits of the moments of samples in JIT code are kept.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn set_moment_mask(&mut self, mask: u32) -> Result<()> {
        if self.control.moment_mask == mask {
            return Ok(());
        }
        self.control.moment_mask = mask;
        self.set_control()
    }

    /// The time by which the programs mark tables as used.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.control.epoch
    }

    /// Waits until no program refers to what was withdrawn.
    pub fn wait_for_running(&self) {
        wait_for_running_programs();
    }

    fn set_control(&mut self) -> Result<()> {
        let control = self.ebpf.map_mut("CONTROL").context("no map `CONTROL`")?;
        Ok(Array::<_, Plain<Control>>::try_from(control)?.set(0, Plain(self.control), 0)?)
    }

    /// The runs of each loaded program, by the program's name.
    ///
    /// # Errors
    /// Where the kernel does not tell of a program.
    pub fn runs(&self) -> Result<BTreeMap<String, Runs>> {
        let tell = |(name, info): (&str, ProgramInfo)| {
            let runs = Runs {
                count: info.run_count(),
                time: info.run_time(),
            };
            (name.to_owned(), runs)
        };
        Ok(infos(&self.ebpf)?.into_iter().map(tell).collect())
    }

    /// How many instructions the kernel's verifier went through for each loaded program, by the
    /// program's name. It gives up at a million, and loading takes the longer the more there are.
    ///
    /// # Errors
    /// Where the kernel does not tell of a program.
    pub fn verified_instructions(&self) -> Result<BTreeMap<String, u32>> {
        let verified = |(name, info): (&str, ProgramInfo)| {
            Some((name.to_owned(), info.verified_instruction_count()?))
        };
        Ok(infos(&self.ebpf)?
            .into_iter()
            .filter_map(verified)
            .collect())
    }

    /// Takes what was counted since the last call: the programs go on in the other maps, and these
    /// are read and emptied once no program can still be writing to them.
    ///
    /// # Errors
    /// Where a map cannot be read.
    pub fn take_counts(&mut self, who_counts: WhoCounts) -> Result<Taken> {
        let (counts, waits) = match self.control.active_counts {
            0 => ("COUNTS_0", "WAITS_0"),
            _ => ("COUNTS_1", "WAITS_1"),
        };
        self.control.active_counts = 1 - self.control.active_counts;
        self.counts_taken += 1;
        self.control.epoch = self.counts_taken / COUNTS_PER_EPOCH;
        self.set_control()?;
        if who_counts == WhoCounts::Programs {
            wait_for_running_programs();
        }
        Ok(Taken {
            counts: self.empty(counts)?,
            waits: self.empty(waits)?,
        })
    }

    /// Takes all that a map holds.
    fn empty<Key, Value>(&self, name: &str) -> Result<Vec<(Key, Value)>>
    where
        Key: Copy + 'static,
        Value: Copy + 'static,
    {
        let map = self
            .ebpf
            .map(name)
            .with_context(|| format!("no map `{name}`"))?;
        let _sizes_fit = BpfHashMap::<_, Plain<Key>, Plain<Value>>::try_from(map)?;
        let Map::HashMap(data) = map else {
            bail!("`{name}` is no hash map");
        };
        // SAFETY: the layouts of `abi` are plain numbers, and the sizes were compared.
        Ok(unsafe { take_entries(data.fd().as_fd())? })
    }
}

fn verified_instructions(ebpf: &Ebpf) -> Result<BTreeMap<String, u32>> {
    let verified = |(name, info): (&str, ProgramInfo)| {
        Some((name.to_owned(), info.verified_instruction_count()?))
    };
    Ok(infos(ebpf)?.into_iter().filter_map(verified).collect())
}

/// What the kernel tells of each loaded program.
fn infos(ebpf: &Ebpf) -> Result<Vec<(&str, ProgramInfo)>> {
    let loaded = ebpf.programs().filter(|(_, program)| program.fd().is_ok());
    loaded
        .map(|(name, program)| {
            let info = program.info();
            let info = info
                .with_context(|| format!("failed to ask the kernel about the program `{name}`"))?;
            Ok((name, info))
        })
        .collect()
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::programs::Program> {
    ebpf.program_mut(name)
        .ok_or_else(|| anyhow!("no program `{name}` in the object"))
}
