//! Files that targets control are read by processes without rights: no capabilities, a user id of
//! their own, a handful of system calls, no file but those that are handed to them, and limits on
//! memory and time. A file that makes its reader crash, hang or grow costs its own names.
//!
//! A reader is this program, run again with [`ARGUMENT`]. What it answers is data and is trusted no
//! more than the file: it is decoded within bounds and cleaned like any name. Which file to read, and
//! what the answers are for, is not known here.

mod child;
mod job;
mod readable;
mod sandbox;
mod serve;
mod wire;

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use child::Child;
use symbolizer::{Description, Detail, JitNames, Loading, Miss, Names, Sources};

use job::TABLE_KEY;
pub use job::{Answer, Given, Job, MAX_UNITS, TableCost};

use crate::{
    identity::is_hosts,
    jit::Kind,
    unwind::{cache, rows::Rows},
};
pub use serve::serve;

/// The argument by which this program knows that it is to be a reader. It stands alone: nobody who
/// profiles types it.
pub const ARGUMENT: &str = "read-for-timesink";

/// How long a reader may take over one file.
const READ_TIME: Duration = Duration::from_secs(10);
/// What all the time that is lost with readers that hang may add up to; when it is used up, each
/// further file has [`SHORT`].
const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(1);

/// What a reader has at the least, where there is so much: with less it cannot build the unwind tables
/// of the largest libraries, and on a machine of many CPUs each would have next to nothing.
const LEAST_BYTES: usize = 128 << 20;

/// What readers may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many read at a time at the most.
    pub readers: usize,
    /// Bytes of memory of each reader's own; the pages of files do not count.
    pub memory_bytes: u64,
    /// How long it may take over one file.
    pub time: Duration,
}

impl Limits {
    /// So much memory for all readers, of which there are as many as CPUs, if that is enough for them.
    #[must_use]
    pub fn of_each(memory_bytes: usize) -> Self {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        Self::shared(memory_bytes, cpus)
    }

    fn shared(memory_bytes: usize, cpus: usize) -> Self {
        let readers = cpus.min(memory_bytes / LEAST_BYTES).max(1);
        Self {
            readers,
            memory_bytes: (memory_bytes / readers) as u64,
            time: READ_TIME,
        }
    }
}

/// Why a reader gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fate {
    /// It took longer than it may.
    #[error("reading the file took longer than it may")]
    TimedOut,
    /// It needed more memory than it may have.
    #[error("reading the file takes more memory than it may have")]
    OutOfMemory,
    /// The file was cut short under its hands.
    #[error("the file was cut short while it was read")]
    CutShort,
    /// It ended for another reason.
    #[error("the process that read the file died of it")]
    Died,
    /// There is none.
    #[error("failed to start a process that reads files")]
    NotStarted,
    /// The file could not be made one that a process without rights may read.
    #[error("the file is too large to be copied for a process without rights")]
    NotReadable,
}

impl From<Fate> for Miss {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::TimedOut => Miss::TimedOut,
            Fate::OutOfMemory => Miss::TooMuchMemory,
            Fate::CutShort => Miss::CutShort,
            Fate::Died | Fate::NotStarted => Miss::ReaderDied,
            Fate::NotReadable => Miss::Unreadable,
        }
    }
}

/// What became of readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Readers that were lost over a file.
    pub readers: u64,
    /// Files that were read a second time without lines and inlined functions, since the first time
    /// ended badly.
    pub details: u64,
}

/// Readers, started when they are needed. Each reads one file at a time; who asks from more threads
/// than there may be readers waits.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    limits: Limits,
    /// How many more may read at the moment.
    free: Mutex<usize>,
    freed: Condvar,
    idle: Mutex<Vec<Child>>,
    patience: Mutex<Duration>,
    lost: Mutex<Lost>,
}

impl Workers {
    /// None yet. They will be this program.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::of_program("/proc/self/exe".into(), limits)
    }

    /// None yet. They will be another timesink.
    #[must_use]
    pub fn of_program(program: PathBuf, limits: Limits) -> Self {
        Self {
            program,
            limits,
            free: Mutex::new(limits.readers),
            freed: Condvar::new(),
            idle: Mutex::default(),
            patience: Mutex::new(PATIENCE),
            lost: Mutex::default(),
        }
    }

    /// What an ELF file says of itself.
    ///
    /// # Errors
    /// Where it is none of this machine, or nothing that can be read.
    pub fn describe(&self, file: &File) -> Result<Description, Miss> {
        match self.ask(&Job::Describe, &[file])? {
            Answer::Description(description) => description,
            _ => Err(Miss::ReaderDied),
        }
    }

    /// What an ELF file asks the loader for; nothing where it is none that can be read.
    #[must_use]
    pub fn loading(&self, file: &File) -> Loading {
        match self.ask(&Job::Loading, &[file]) {
            Ok(Answer::Loading(loading)) => loading.unwrap_or_default(),
            _ => Loading::default(),
        }
    }

    /// The CRC-32 of a file, as `.gnu_debuglink` has it.
    #[must_use]
    pub fn checksum(&self, file: &File) -> Option<u32> {
        match self.ask(&Job::Checksum, &[file]) {
            Ok(Answer::Checksum(checksum)) => checksum,
            _ => None,
        }
    }

    /// Names for offsets of an ELF file, in their order, with lines and inlined functions at those
    /// that are `detailed`. Where it is the detail that cannot be read, the names are there without,
    /// and so it is told.
    #[must_use]
    pub fn names(
        &self,
        sources: Sources<'_>,
        offsets: &[u64],
        mut detail: Detail,
        detailed: &[u64],
    ) -> (Names, Detail) {
        let (given, files) = Given::of(sources);
        let mut job = Job::Names {
            offsets: offsets.to_vec(),
            detailed: detailed.to_vec(),
            detail,
            given,
        };
        let mut answer = self.ask(&job, &files);
        if answer.is_err() && detail != Detail::default() {
            self.lost().details += 1;
            detail = Detail::default();
            job = Job::Names {
                offsets: offsets.to_vec(),
                detailed: Vec::new(),
                detail,
                given,
            };
            answer = self.ask(&job, &files);
        }
        let names = match answer {
            Ok(Answer::Names(names)) if is_for(&names, offsets) => names,
            Ok(_) => no_names(Miss::ReaderDied, offsets),
            Err(fate) => no_names(fate.into(), offsets),
        };
        (names, detail)
    }

    /// What a JIT's map says of addresses, which are in ascending order.
    #[must_use]
    pub fn jit_names(&self, kind: Kind, map: &File, addresses: &[u64]) -> JitNames {
        let job = Job::JitNames {
            kind,
            addresses: addresses.to_vec(),
        };
        let miss = match self.ask(&job, &[map]) {
            Ok(Answer::JitNames(names)) if names.names.len() == addresses.len() => return names,
            Ok(_) => Miss::ReaderDied,
            Err(fate) => fate.into(),
        };
        JitNames {
            names: vec![Vec::new(); addresses.len()],
            cut: Some(miss),
        }
    }

    /// What it takes to build the unwind table of a file.
    ///
    /// # Errors
    /// Where the file made its reader end.
    pub fn table_cost(&self, file: &File) -> Result<TableCost, Fate> {
        match self.ask(&Job::TableCost, &[file])? {
            Answer::TableCost(cost) => Ok(cost),
            _ => Err(Fate::Died),
        }
    }

    /// The rows of a file's unwind table.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn table(&self, file: &File) -> Result<Rows, String> {
        let table = match self.ask(&Job::Table, &[file]) {
            Ok(Answer::Table(table)) => table?,
            Ok(_) => return Err(Fate::Died.to_string()),
            Err(fate) => return Err(fate.to_string()),
        };
        cache::decode(TABLE_KEY, &table).ok_or_else(|| Fate::Died.to_string())
    }

    /// How many read at a time at the most.
    #[must_use]
    pub const fn readers(&self) -> usize {
        self.limits.readers
    }

    /// Ends the readers that have nothing to read, but for one, so that the next file need not wait for
    /// a process to start.
    pub fn dismiss(&self) {
        self.idle().truncate(1);
    }

    /// Has so many readers ready, as far as there may be so many.
    pub fn prepare(&self, count: usize) {
        let mut idle = self.idle();
        for _ in idle.len()..count.min(self.limits.readers) {
            // Where none can be started, who asks is told.
            idle.extend(Child::start(&self.program, self.limits.memory_bytes).ok());
        }
    }

    /// What became of readers so far.
    #[must_use]
    pub fn what_was_lost(&self) -> Lost {
        *self.lost()
    }

    /// Has a reader do something with files.
    fn ask(&self, job: &Job, files: &[&File]) -> Result<Answer, Fate> {
        // Before files are copied, which takes memory.
        let _slot = self.slot();
        let copies = files.iter().map(|file| match job.opens_files() {
            true => readable::copy_of_private(file),
            false => Ok(None),
        });
        let copies: io::Result<Vec<Option<File>>> = copies.collect();
        let copies = copies.map_err(|_too_large| Fate::NotReadable)?;
        let readable = files.iter().zip(&copies);
        let readable: Vec<&File> = readable
            .map(|(file, copy)| copy.as_ref().unwrap_or(file))
            .collect();
        let began = Instant::now();
        let allowed = self.allowed();
        let mut child = self.child().map_err(|_refused| Fate::NotStarted)?;
        let answer = child.ask(job, &readable, allowed);
        match answer {
            Ok(answer) => {
                // One that read what others than the host's root wrote may be theirs: it answers for no
                // other file.
                if files.iter().copied().all(is_hosts) {
                    self.idle().push(child);
                }
                Ok(answer)
            }
            Err(fate) => {
                self.lost().readers += 1;
                if fate == Fate::TimedOut {
                    let mut patience = self.patience();
                    *patience = patience.saturating_sub(began.elapsed());
                }
                Err(fate)
            }
        }
    }

    /// Waits until one more may read.
    fn slot(&self) -> Slot<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let woken = self.freed.wait(free);
            free = woken.unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Slot { workers: self }
    }

    fn child(&self) -> io::Result<Child> {
        match self.idle().pop() {
            Some(child) => Ok(child),
            None => Child::start(&self.program, self.limits.memory_bytes),
        }
    }

    fn allowed(&self) -> Duration {
        let patience = *self.patience();
        if patience.is_zero() {
            self.limits.time.min(SHORT)
        } else {
            self.limits.time
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Child>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn patience(&self) -> MutexGuard<'_, Duration> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have a reader.
#[derive(Debug)]
struct Slot<'a> {
    workers: &'a Workers,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let free = &self.workers.free;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.workers.freed.notify_one();
    }
}

fn is_for(names: &Names, offsets: &[u64]) -> bool {
    names.answers.len() == offsets.len() && names.functions.len() == offsets.len()
}

fn no_names(miss: Miss, offsets: &[u64]) -> Names {
    Names {
        answers: vec![Err(miss); offsets.len()],
        functions: vec![None; offsets.len()],
        lacking: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All readers together keep within their memory, and on a machine of many CPUs each has enough.
    #[test]
    fn memory_is_shared() {
        const MIB: usize = 1 << 20;
        for (mib, cpus, readers) in [(512, 2, 2), (512, 64, 4), (64, 2, 1), (0, 8, 1)] {
            let limits = Limits::shared(mib * MIB, cpus);
            assert_eq!(limits.readers, readers, "{mib} MiB on {cpus} CPUs");
            assert_eq!(limits.memory_bytes, (mib * MIB / readers) as u64);
        }
    }
}
