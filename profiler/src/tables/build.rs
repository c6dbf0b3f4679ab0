//! Building tables away from the sampling path: on all CPUs before a recording, on a thread of its
//! own during one.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use abi::records::FileIdentity;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::{
    code_files::CodeFile,
    unwind::{
        self,
        cache::{Cache, Key},
        rows::{FileRows, Rows},
    },
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
}

/// Builds the tables of files on all CPUs.
#[must_use]
pub fn build_all(files: Vec<CodeFile>) -> Vec<Found> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(files.into_iter());
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(file) = next() {
                    let built = build(file);
                    found
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(built);
                }
            });
        }
    });
    let built = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (found, unstored): (Vec<_>, Vec<_>) = built.into_iter().unzip();
    store_behind(unstored.into_iter().flatten().collect());
    found
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
    pub fn start() -> Self {
        let (files, mut waiting) = mpsc::unbounded_channel();
        let (built, found) = mpsc::unbounded_channel();
        thread::spawn(move || {
            while let Some(file) = waiting.blocking_recv() {
                let (found, unstored) = build(file);
                if built.send(found).is_err() {
                    return;
                }
                store_behind(unstored.into_iter().collect());
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

fn build(file: CodeFile) -> (Found, Option<Unstored>) {
    let began = Instant::now();
    let (built, unstored) = cached(&file.file);
    let found = Found {
        identity: file.identity,
        path: file.path,
        built,
        took: began.elapsed(),
    };
    (found, unstored)
}

/// A table that the cache has not.
struct Unstored {
    build_id: Vec<u8>,
    file_bytes: u64,
    rows: Arc<Rows>,
}

/// Stores tables on a thread of their own: a disk takes its time, and samples do not wait for it.
fn store_behind(tables: Vec<Unstored>) {
    if tables.is_empty() {
        return;
    }
    thread::spawn(move || {
        let cache = Cache::new(cache_folder());
        for table in tables {
            let key = Key {
                build_id: &table.build_id,
                file_bytes: table.file_bytes,
            };
            // Without a cache, the next recording builds the table again.
            let _ = cache.store(key, &table.rows);
        }
    });
}

/// Takes the table of a large file from the cache, or builds it for the cache. Files that others
/// than root can write are not cached: their build id may be forged, and would give another file
/// their table.
fn cached(file: &File) -> (Built, Option<Unstored>) {
    let trusted = file.metadata().ok().filter(|data| {
        data.uid() == 0 && data.mode() & 0o022 == 0 && data.len() >= MIN_CACHED_BYTES
    });
    let build_id = trusted.as_ref().and_then(|_| symbolizer::build_id(file));
    let (Some(data), Some(build_id)) = (trusted, build_id) else {
        return (built(file), None);
    };
    let file_bytes = data.len();
    let key = Key {
        build_id: &build_id,
        file_bytes,
    };
    if let Some(rows) = Cache::new(cache_folder()).load(key) {
        return (Built::Rows(Arc::new(rows)), None);
    }
    let built = built(file);
    let unstored = match &built {
        Built::Rows(rows) => Some(Unstored {
            build_id,
            file_bytes,
            rows: Arc::clone(rows),
        }),
        Built::ByFramePointer(_) => None,
    };
    (built, unstored)
}

/// Root has the system's folder, everybody else one of their own.
fn cache_folder() -> PathBuf {
    // SAFETY: the call has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        return PathBuf::from("/var/cache/timesink/unwind");
    }
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    home.unwrap_or_default().join("timesink/unwind")
}

fn built(file: &File) -> Built {
    match unwind::file::read(file) {
        Ok(FileRows::Rows(rows, _)) => Built::Rows(Arc::new(rows)),
        Ok(FileRows::NoCfi) => {
            Built::ByFramePointer("the file has no call frame information".to_owned())
        }
        Err(error) => Built::ByFramePointer(error.to_string()),
    }
}
