//! Closed windows of a machine's profile, kept and asked for again.
//!
//! A window is a [`Profile`] with its host, its beginning and its length in [`Meta`](crate::Meta), and with
//! its own ledger. [`Store`] says what a store does, whatever the engine behind it; a store neither records
//! nor names anything, and reads no clock.

mod clickhouse;
mod merge;
mod sqlite;
mod summary;
mod sums;

use std::fmt;
use std::path::Path;

use crate::profile::Profile;
use clickhouse::ClickHouse;
use sqlite::Sqlite;

/// What a sample can be chosen and grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// The name of the machine.
    Host,
    /// The name of the process.
    Process,
    /// The process id.
    Pid,
    /// The name of the thread.
    Thread,
    /// The thread id.
    Tid,
    /// The path of the control group.
    Cgroup,
    /// The short id of the container: [`container`](crate::container).
    Container,
    /// The unit of systemd: [`unit`](crate::unit).
    Unit,
}

impl Label {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 8] = [
        Self::Host,
        Self::Process,
        Self::Pid,
        Self::Thread,
        Self::Tid,
        Self::Cgroup,
        Self::Container,
        Self::Unit,
    ];

    /// The name that command lines, addresses and databases have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Process => "process",
            Self::Pid => "pid",
            Self::Thread => "thread",
            Self::Tid => "tid",
            Self::Cgroup => "cgroup",
            Self::Container => "container",
            Self::Unit => "unit",
        }
    }

    /// The label called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.name() == name)
    }
}

/// The name.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A label and the value that it must have; a sample without the label has the empty one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Matcher {
    /// Which.
    pub label: Label,
    /// The whole value.
    pub value: String,
}

/// A part of time, in nanoseconds from the Unix epoch: from `from_ns` on and before `to_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first moment.
    pub from_ns: i64,
    /// The first moment after.
    pub to_ns: i64,
}

impl Range {
    /// How long it is, in nanoseconds; 0 where it ends before it begins.
    pub const fn len_ns(self) -> i64 {
        let len = self.to_ns.saturating_sub(self.from_ns);
        if len > 0 { len } else { 0 }
    }

    /// Whether no moment lies in it.
    pub const fn is_empty(self) -> bool {
        self.len_ns() == 0
    }
}

/// Which samples are wanted.
///
/// A sample is in the range if its slice begins there. Where slices are not kept (any more), it is if its
/// window begins there, and where windows have been rolled up, the roll-up takes their place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// From when.
    pub range: Range,
    /// What must all be so.
    pub matchers: Vec<Matcher>,
}

/// How much a group of samples has in each step of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The value of the label by which samples were grouped; empty where they were not, and for those
    /// without it.
    pub value: String,
    /// One sum for each step.
    pub sums: Vec<u64>,
}

/// Sums over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// When the first step begins.
    pub from_ns: i64,
    /// How long a step is.
    pub step_ns: i64,
    /// The groups, that with the largest sum first.
    pub rows: Vec<Row>,
    /// The parts of the range of which there are windows, in order and apart from each other: where there
    /// is none, a sum of 0 means nothing.
    pub covered: Vec<Range>,
}

/// What a timeline shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineOf<'a> {
    /// Which of the sample types is summed, such as `cpu`.
    pub sample_type: &'a str,
    /// By what samples are grouped.
    pub by: Option<Label>,
    /// How long a step is.
    pub step_ns: i64,
}

/// What a store has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bytes on disk.
    pub bytes: u64,
    /// Windows, of every resolution.
    pub windows: u64,
    /// When the oldest begins.
    pub oldest_ns: Option<i64>,
    /// When the newest ends.
    pub newest_ns: Option<i64>,
    /// Parts that were found damaged and are left out of every answer.
    pub damaged: u64,
}

/// How much a store may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Nothing older than this.
    pub age_ns: i64,
    /// No more bytes than this.
    pub bytes: u64,
}

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk, or the server.
    #[error("failed to {what}")]
    Engine {
        /// What was being done, with the file or the address in backticks.
        what: String,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The question makes no sense, in a sentence.
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    /// Failed to do `what`, because of `source`.
    pub(crate) fn engine(
        what: String,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self::Engine { what, source }
    }
}

/// The store at `url`.
///
/// - The path of a folder, in which SQLite keeps it. It is made with the first window or when it is tidied, by
///   the process that is its only writer from then on; any may read.
/// - `clickhouse://[user[:password]@]host:port[,host:port…]/database[?cluster=NAME]`: a database in ClickHouse,
///   at the ports of its HTTP interface. Many may write. Nothing is asked of a server yet, and what is missing
///   of tables is made when it is first needed.
///
/// # Errors
/// When `url` is something else.
pub fn open(url: &str) -> Result<Box<dyn Store>, StoreError> {
    match url.split_once("://") {
        Some(("clickhouse", _)) => Ok(Box::new(ClickHouse::new(url)?)),
        Some((scheme, _)) => Err(StoreError::Refused(format!(
            "there is no store called `{scheme}://`: give the path of a folder or `clickhouse://…`"
        ))),
        None => Ok(Box::new(Sqlite::open(Path::new(url))?)),
    }
}

/// Windows, kept and asked for again. Calls wait for the disk or the network.
pub trait Store: fmt::Debug + Send + Sync {
    /// Keeps a closed window. When this returns, the window outlives the process and the machine's power.
    ///
    /// # Errors
    /// When it could not be kept; then nothing of it is.
    fn append(&self, window: &Profile) -> Result<(), StoreError>;

    /// All samples that are asked for, added up over the windows, in one profile whose ledger is the sum of
    /// theirs; `None` where no window lies in the range.
    ///
    /// The labels of a sample are kept but for its slice. Where there are more different ones than fit the
    /// bound on memory, their threads, and then their processes, are added up; the totals stay right.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn query(&self, query: &Query) -> Result<Option<Profile>, StoreError>;

    /// Sums over time.
    ///
    /// # Errors
    /// When the store cannot be read, or a step is not longer than 0 or there are too many of them.
    fn timeline(&self, query: &Query, of: &TimelineOf<'_>) -> Result<Timeline, StoreError>;

    /// The values that a label has in what is asked for, sorted, without the empty one.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn values(&self, query: &Query, label: Label) -> Result<Vec<String>, StoreError>;

    /// The sample types of the windows in a range, as `name` and unit, in the order of the newest window.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn sample_types(&self, range: Range) -> Result<Vec<crate::profile::SampleType>, StoreError>;

    /// What there is.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn kept(&self) -> Result<Kept, StoreError>;

    /// Rolls up what is due at a time, and removes what is beyond the retention, oldest first.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn tidy(&self, now_ns: i64, retention: Retention) -> Result<(), StoreError>;
}
