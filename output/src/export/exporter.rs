//! All sinks of an agent: what is offered goes to the spool of each, and from there to its server.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::counters::lock;
use super::sender::{Lane, Retry};
use super::spool::{Spool, pack};
use super::{Cause, Counters, Sink};
use crate::profile::Profile;

/// How many windows wait in memory for the disk.
const QUEUE: usize = 8;

/// Why no exporter could be started.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder cannot be used.
    #[error("failed to use the spool `{}`", folder.display())]
    Spool {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the spool.
    #[error("failed to use the spool `{}`: another process uses it, give each a folder of its own", .0.display())]
    InUse(PathBuf),
    /// The same server was given twice.
    #[error("failed to send to `{0}` twice: give each destination once")]
    Twice(String),
    /// There is no more room for a thread.
    #[error("failed to start a thread for sending")]
    Thread(#[source] io::Error),
}

/// Where windows wait, and how.
#[derive(Clone, Debug)]
pub struct ExporterOptions {
    /// The folder of the spool, with one below it for each sink.
    pub folder: PathBuf,
    /// The most bytes of windows that wait for one sink.
    pub bound_bytes: u64,
    /// How long to wait after the first failure.
    pub first_retry: Duration,
    /// How long to wait at most, unless the server asks for more.
    pub longest_retry: Duration,
}

impl ExporterOptions {
    /// At most 256 MiB for each sink in `folder`, and from one second to one minute between tries.
    pub const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            bound_bytes: 256 << 20,
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
        }
    }
}

/// Sends windows to all sinks, in threads of its own.
///
/// When it is dropped the threads go on until what was offered is in the spool, and end.
#[derive(Debug)]
pub struct Exporter {
    queue: SyncSender<Arc<Profile>>,
    lanes: Vec<Arc<Lane>>,
    /// Disconnected when the last thread has ended.
    ended: Mutex<Receiver<()>>,
}

impl Exporter {
    /// Starts sending what waits in the spool since the last time.
    ///
    /// # Errors
    /// When a sink's part of the spool cannot be used, is in use, or would serve two sinks.
    pub fn start(
        sinks: Vec<Box<dyn Sink>>,
        options: &ExporterOptions,
    ) -> Result<Self, ExportError> {
        let mut names = HashSet::new();
        let mut lanes = Vec::new();
        for sink in sinks {
            let name = folder_name(sink.name());
            if !names.insert(name.clone()) {
                return Err(ExportError::Twice(sink.name().to_owned()));
            }
            let spool = open(&options.folder.join(name), options.bound_bytes)?;
            lanes.push(Arc::new(Lane::new(sink, spool)));
        }
        let retry = Retry {
            first: options.first_retry,
            longest: options.longest_retry,
        };
        let (queue, offered) = sync_channel(QUEUE);
        let (alive, ended) = channel();
        for lane in &lanes {
            let lane = Arc::clone(lane);
            spawn("timesink-send", &alive, move || lane.run(retry))?;
        }
        let to_spool = lanes.clone();
        spawn("timesink-spool", &alive, move || {
            keep_all(&offered, &to_spool)
        })?;
        Ok(Self {
            queue,
            lanes,
            ended: Mutex::new(ended),
        })
    }

    /// Hands over a window. Never waits: where the disk is so slow that too many windows wait for it, this
    /// one is dropped and counted.
    pub fn offer(&self, window: Arc<Profile>) {
        if self.queue.try_send(window).is_err() {
            self.lanes
                .iter()
                .for_each(|lane| lane.drop_one(Cause::QueueFull));
        }
    }

    /// The counts of each sink, in the order in which they were given.
    pub fn counters(&self) -> Vec<Counters> {
        self.lanes.iter().map(|lane| lane.counters()).collect()
    }

    /// Sends what there is, tries once more where a server is away, and waits for the end of that, but no
    /// longer than `limit`. What is left stays in the spool for the next start.
    pub fn flush(self, limit: Duration) -> Vec<Counters> {
        let Self {
            queue,
            lanes,
            ended,
        } = self;
        drop(queue);
        // Nothing is ever sent on this channel: it ends, or the time does.
        let _ = lock(&ended).recv_timeout(limit);
        lanes.iter().map(|lane| lane.counters()).collect()
    }
}

/// Puts what is offered into the spool of each sink, until no more can come.
fn keep_all(offered: &Receiver<Arc<Profile>>, lanes: &[Arc<Lane>]) {
    for window in offered {
        let packed = pack(&window);
        drop(window);
        lanes.iter().for_each(|lane| lane.keep(&packed));
    }
    lanes.iter().for_each(|lane| lane.close());
}

fn spawn(
    name: &str,
    alive: &Sender<()>,
    run: impl FnOnce() + Send + 'static,
) -> Result<(), ExportError> {
    let alive = alive.clone();
    let run = move || {
        run();
        drop(alive);
    };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(ExportError::Thread)
}

fn open(folder: &Path, bound_bytes: u64) -> Result<Spool, ExportError> {
    let folder = folder.to_owned();
    match Spool::open(&folder, bound_bytes) {
        Ok(spool) => Ok(spool),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ExportError::InUse(folder)),
        Err(source) => Err(ExportError::Spool { folder, source }),
    }
}

/// The name of a sink as that of a folder: readable, and another for another name.
fn folder_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let shown: String = name.chars().take(80).map(plain).collect();
    format!("{shown}-{:08x}", crc32fast::hash(name.as_bytes()))
}
