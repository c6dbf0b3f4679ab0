//! A look at a process: where its JIT's maps are, as far as they can be trusted.
//!
//! It is taken on a thread of its own: a file system may take its time, and then only that look is lost.
//! One that may never answer is not asked, since who waits for it cannot be ended (`roots`).

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::open::{Lookup, Refusal, open};
use crate::{clock::monotonic_ns, proc::read, roots::Root};

/// The kernel's clock for the start of processes, in ticks a second: `USER_HZ`.
const TICKS_PER_SECOND: u64 = 100;
/// Who can write anywhere.
const ROOT: u32 = 0;
/// How much older than its process a map may seem: the two have other clocks.
const SLACK: Duration = Duration::from_secs(1);

/// What a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Text, without times.
    PerfMap,
    /// Binary, with times.
    Jitdump,
}

impl Kind {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerfMap => "perf map",
            Self::Jitdump => "jitdump",
        }
    }
}

/// A map that is open.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// When it began, on the monotonic clock.
    pub(super) began_ns: u64,
    /// When the process started, in ticks since boot; `None` where it was gone.
    pub(super) started: Option<u64>,
    /// Whose it is; empty where it was gone.
    pub(super) users: Vec<u32>,
    pub(super) maps: Vec<Map>,
    pub(super) refused: Vec<(Kind, Refusal)>,
}

/// What is known of a process before it is looked at.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) pid: u32,
    /// Where it was told to have mapped a jitdump.
    pub(super) dump: Option<PathBuf>,
    /// Whose it was at an earlier look.
    pub(super) users: Vec<u32>,
    /// When the recording began.
    pub(super) since: SystemTime,
}

/// Looks at a process.
pub(super) fn look(before: &Before) -> Looked {
    let pid = before.pid;
    let began_ns = monotonic_ns();
    let started = started(pid);
    let looked = match started.and_then(|ticks| Process::of(pid, ticks)) {
        Some(process) => process.look(before.dump.as_deref()),
        None => look_for_gone(before),
    };
    // Another process may have come to the number between two lines of this.
    if started != self::started(pid) {
        return Looked {
            began_ns,
            ..Looked::default()
        };
    }
    Looked {
        began_ns,
        started,
        ..looked
    }
}

impl Looked {
    fn take(&mut self, kind: Kind, path: &Path, opened: Result<Option<File>, Refusal>) -> bool {
        match opened {
            Ok(Some(file)) => {
                let path = path.to_owned();
                self.maps.push(Map { kind, path, file });
                true
            }
            Ok(None) => false,
            Err(refusal) => {
                self.refused.push((kind, refusal));
                false
            }
        }
    }
}

/// A process that lives.
struct Process {
    pid: u32,
    /// What it calls itself, in its own pid namespace.
    inner_pid: u32,
    users: Vec<u32>,
    root: Root,
    began: Option<SystemTime>,
}

impl Process {
    fn of(pid: u32, ticks: u64) -> Option<Self> {
        let status = read(&format!("/proc/{pid}/status"))?;
        let numbers = |field: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let words = line.unwrap_or_default().split_ascii_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        Some(Self {
            pid,
            inner_pid: numbers("NSpid:").last().copied().unwrap_or(pid),
            users: Some(numbers("Uid:")).filter(|users| !users.is_empty())?,
            root: Root::of(pid).ok()?,
            began: began(ticks),
        })
    }

    fn look(&self, dump: Option<&Path>) -> Looked {
        let mut looked = Looked {
            users: self.users.clone(),
            ..Looked::default()
        };
        self.find_perf_map(&mut looked);
        self.find_dump(&mut looked, dump);
        looked
    }

    /// In the process's own `/tmp` by the number that it has there, or in the machine's.
    fn find_perf_map(&self, looked: &mut Looked) {
        let inner = perf_map_path(self.inner_pid);
        // Not root's: in a mount namespace of its own a process may show any file of root's here.
        if looked.take(
            Kind::PerfMap,
            &inner,
            self.open(&self.root, &inner, &self.users),
        ) {
            return;
        }
        let refused = std::mem::take(&mut looked.refused);
        let outer = perf_map_path(self.pid);
        if let Ok(root) = Root::own() {
            let owners = [&self.users[..], &[ROOT]].concat();
            looked.take(Kind::PerfMap, &outer, self.open(&root, &outer, &owners));
        }
        if looked.maps.is_empty() && !refused.is_empty() {
            looked.refused = refused;
        }
    }

    fn open(&self, root: &Root, path: &Path, owners: &[u32]) -> Result<Option<File>, Refusal> {
        let opened = open(Lookup::Within(root), path, owners)?;
        match opened {
            Some(file) if is_older(&file, self.began) => Err(Refusal::Stale),
            opened => Ok(opened),
        }
    }

    /// A JIT maps its jitdump as code for no other purpose than to tell where it is.
    fn find_dump(&self, looked: &mut Looked, told: Option<&Path>) {
        let name = dump_name(self.inner_pid);
        let maps = read(&format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        for line in maps.lines() {
            if let Some((range, path)) = marker(line, &name) {
                let link = PathBuf::from(format!("/proc/{}/map_files/{range}", self.pid));
                let opened = open(Lookup::Link(self.pid), &link, &self.users);
                looked.take(Kind::Jitdump, Path::new(path), opened);
                return;
            }
        }
        // Some take the mapping away again.
        if let Some(path) = told.filter(|path| path.ends_with(&name)) {
            let opened = self.open(&self.root, path, &self.users);
            looked.take(Kind::Jitdump, path, opened);
        }
    }
}

/// Of a process that is gone, in the machine's own folders. Where it was not looked at before, nobody
/// knows whose its maps should be, so only those of root are taken, which nobody else can have written.
/// They were written during the recording, some of them at the very end of the process.
fn look_for_gone(before: &Before) -> Looked {
    let mut looked = Looked::default();
    let Ok(root) = Root::own() else {
        return looked;
    };
    let owners = [&before.users[..], &[ROOT]].concat();
    let mut find = |kind: Kind, path: &Path| {
        let opened = match open(Lookup::Within(&root), path, &owners) {
            Ok(Some(file)) if is_older(&file, Some(before.since)) => Err(Refusal::Stale),
            Err(Refusal::ForeignOwner) if before.users.is_empty() => Err(Refusal::Ownerless),
            opened => opened,
        };
        looked.take(kind, path, opened);
    };
    find(Kind::PerfMap, &perf_map_path(before.pid));
    if let Some(path) = &before.dump
        && path.ends_with(dump_name(before.pid))
    {
        find(Kind::Jitdump, path);
    }
    looked
}

fn perf_map_path(pid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/perf-{pid}.map"))
}

fn dump_name(pid: u32) -> String {
    format!("jit-{pid}.dump")
}

/// The range and the path of a line of `/proc/PID/maps`, where it is a file of that name as code.
fn marker<'a>(line: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let (range, rest) = line.split_once(' ')?;
    let path = &rest[rest.find('/')?..];
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let is_code = rest.as_bytes().get(2) == Some(&b'x');
    (is_code && Path::new(path).ends_with(name)).then_some((range, path))
}

/// When a process started, in ticks since boot.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name of the process may hold anything, parentheses too.
    let fields = stat.rsplit_once(')')?.1;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// When that was on the clock of files.
fn began(ticks: u64) -> Option<SystemTime> {
    let uptime = read("/proc/uptime")?;
    let now = SystemTime::now();
    let seconds: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let since = seconds - ticks as f64 / TICKS_PER_SECOND as f64;
    now.checked_sub(Duration::try_from_secs_f64(since.max(0.0)).ok()?)
}

/// Whether a file was written for the last time before a moment.
fn is_older(file: &File, moment: Option<SystemTime>) -> bool {
    let modified = file.metadata().and_then(|data| data.modified());
    match (modified, moment) {
        (Ok(modified), Some(moment)) => modified + SLACK < moment,
        _ => false,
    }
}

/// What tells one file from another.
pub(super) fn identity(file: &File) -> Option<(u64, u64)> {
    let data = file.metadata().ok()?;
    Some((data.dev(), data.ino()))
}
