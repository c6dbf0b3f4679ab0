//! Building tables away from the sampling path: on all CPUs before a recording, on a thread of its
//! own during one.

use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use abi::records::FileIdentity;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{
    budget::{Budget, Loan},
    cost,
};
use crate::{
    cache::folder_of,
    code_files::CodeFile,
    identity::is_hosts,
    unwind::{
        cache::{Cache, Key},
        rows::Rows,
    },
    worker::Workers,
};

/// Smaller files are read as fast as their cached table.
const MIN_CACHED_BYTES: u64 = 1 << 20;

/// What a file gave.
#[derive(Clone, Debug)]
pub enum Built {
    /// Rows.
    Rows(Arc<Rows>),
    /// None, for this reason; the file's code is walked by frame pointer.
    ByFramePointer(String),
    /// None, since building it takes this many bytes, more than is left of the budget.
    TooLarge(usize),
}

/// A file with what it gave.
#[derive(Debug)]
pub struct Found {
    /// What the kernel programs call it.
    pub identity: FileIdentity,
    /// Where it was found.
    pub path: PathBuf,
    /// The table, or why there is none.
    pub built: Built,
    /// What it took to build it.
    pub took: Duration,
    /// The memory of it.
    pub(super) loan: Option<Loan>,
}

/// Builds the tables of files on all CPUs, and gives them one by one.
pub fn build_all(
    files: Vec<CodeFile>,
    budget: &Budget,
    workers: &Workers,
    take: impl FnMut(Found) + Send,
) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(files.into_iter());
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let take = Mutex::new(take);
    let unstored = store_behind();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(file) = next() {
                    let found = build(file, budget, workers, &unstored);
                    take.lock().unwrap_or_else(PoisonError::into_inner)(found);
                }
            });
        }
    });
}

/// A thread that builds one file after the other.
#[derive(Debug)]
pub struct Builder {
    files: UnboundedSender<CodeFile>,
    /// The files that are built.
    pub found: UnboundedReceiver<Found>,
}

impl Builder {
    /// Starts the thread, which ends when this is dropped.
    #[must_use]
    pub fn start(budget: Budget, workers: Arc<Workers>) -> Self {
        let (files, mut waiting) = mpsc::unbounded_channel();
        let (built, found) = mpsc::unbounded_channel();
        let unstored = store_behind();
        thread::spawn(move || {
            while let Some(file) = waiting.blocking_recv() {
                let found = build(file, &budget, &workers, &unstored);
                workers.prepare(1);
                if built.send(found).is_err() {
                    return;
                }
            }
        });
        Self { files, found }
    }

    /// Asks for a file.
    pub fn build(&self, file: CodeFile) {
        // The thread ends only with this sender.
        let _ = self.files.send(file);
    }
}

/// Builds a table once there is memory for it.
fn build(file: CodeFile, budget: &Budget, workers: &Workers, unstored: &Sender<Unstored>) -> Found {
    let began = Instant::now();
    let (built, loan) = match workers.table_cost(&file.file) {
        Ok(cost) => match budget.lend(cost.bytes) {
            Some(loan) => (
                cached(&file.file, cost.build_id, budget, workers, unstored),
                Some(loan),
            ),
            None => (Built::TooLarge(cost.bytes), None),
        },
        Err(fate) => (Built::ByFramePointer(fate.to_string()), None),
    };
    Found {
        identity: file.identity,
        path: file.path,
        built,
        took: began.elapsed(),
        loan,
    }
}

/// A table that the cache has not.
struct Unstored {
    build_id: Vec<u8>,
    file_bytes: u64,
    rows: Arc<Rows>,
    _loan: Loan,
}

/// Stores tables on a thread of its own: a disk takes its time, and samples do not wait for it.
fn store_behind() -> Sender<Unstored> {
    let (unstored, tables) = channel::<Unstored>();
    thread::spawn(move || {
        let cache = Cache::new(folder_of("unwind"));
        for table in tables {
            let key = Key {
                build_id: &table.build_id,
                file_bytes: table.file_bytes,
            };
            // Without a cache, the next recording builds the table again.
            let _ = cache.store(key, &table.rows);
        }
    });
    unstored
}

/// Takes the table of a large file from the cache, or builds it for the cache. Files that others
/// than the host's root can write are not cached: their build id may be forged, and would give another
/// file their table.
fn cached(
    file: &File,
    build_id: Option<Vec<u8>>,
    budget: &Budget,
    workers: &Workers,
    unstored: &Sender<Unstored>,
) -> Built {
    let trusted = file
        .metadata()
        .ok()
        .filter(|data| data.len() >= MIN_CACHED_BYTES && is_hosts(file));
    let (Some(data), Some(build_id)) = (trusted, build_id) else {
        return built(file, workers);
    };
    let file_bytes = data.len();
    let key = Key {
        build_id: &build_id,
        file_bytes,
    };
    if let Some(rows) = Cache::new(folder_of("unwind")).load(key) {
        return Built::Rows(Arc::new(rows));
    }
    let built = built(file, workers);
    // What there is no memory to store is built again.
    if let Built::Rows(rows) = &built
        && let Some(loan) = budget.lend_now(cost::of_storing(rows.rows.len()))
    {
        // The thread ends only with this sender.
        let _ = unstored.send(Unstored {
            build_id,
            file_bytes,
            rows: Arc::clone(rows),
            _loan: loan,
        });
    }
    built
}

fn built(file: &File, workers: &Workers) -> Built {
    match workers.table(file) {
        Ok(rows) => Built::Rows(Arc::new(rows)),
        Err(why) => Built::ByFramePointer(why),
    }
}
