//! Whose samples are wanted, as asked for on the command line and as the kernel programs take it.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use abi::config::{Scope, Target, target};
use anyhow::{Context, Result, bail};

use crate::{
    bpf::Programs,
    cli::RecordArgs,
    code_files::{self, CodeFile},
    identity::Identify,
    report::shown,
    watch::watch,
};

/// The cgroup namespace that the kernel starts with, by the inode of its file in `/proc`.
const INITIAL_CGROUP_NAMESPACE: u64 = 0xeffffffb;

/// A cgroup as the kernel programs ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Its id, which is the inode of its folder.
    pub id: u64,
    /// Its depth below the root, whose own is 0.
    pub level: u32,
}

/// The targets of a recording, known to exist.
#[derive(Debug)]
pub struct Targets {
    /// Which of the three ways to choose.
    pub scope: Scope,
    /// The cgroup, where the scope is one.
    pub cgroup: Cgroup,
    tasks: Vec<(u32, u32)>,
    ends: Vec<OwnedFd>,
}

impl Targets {
    /// Finds what was asked for.
    ///
    /// # Errors
    /// Where a process, a thread or a cgroup is not there.
    pub fn find(args: &RecordArgs) -> Result<Self> {
        let processes = args.pid.iter().map(|&pid| (pid, target::PROCESS));
        let threads = args.tid.iter().map(|&tid| (tid, target::THREAD));
        let tasks: Vec<_> = processes.chain(threads).collect();
        let ends = tasks
            .iter()
            .map(|&(number, kind)| open_task(number, kind))
            .collect::<Result<_>>()?;
        let (scope, cgroup) = match &args.cgroup {
            Some(path) => (Scope::Cgroup, find_cgroup(path)?),
            None if args.all => (Scope::Machine, Cgroup::default()),
            None => (Scope::Tasks, Cgroup::default()),
        };
        Ok(Self {
            scope,
            cgroup,
            tasks,
            ends,
        })
    }

    /// Whether a single thread is among them.
    #[must_use]
    pub fn has_threads(&self) -> bool {
        self.tasks.iter().any(|&(_, kind)| kind == target::THREAD)
    }

    /// Tells the kernel programs of the processes and threads.
    ///
    /// # Errors
    /// Where there are more than the map of targets holds.
    pub fn announce(&self, programs: &mut Programs) -> Result<()> {
        let mut kinds = BTreeMap::<u32, u32>::new();
        for (number, kind) in &self.tasks {
            *kinds.entry(*number).or_default() |= kind;
        }
        for (&number, &kind) in &kinds {
            programs.add_target(number, target_of(kind))?;
        }
        // The children that a target has already. Those that a target bears from here on are followed
        // by the kernel programs, and those that a child bore before it became one are found the next
        // time round.
        while !kinds.is_empty() {
            let mut unknown = Vec::new();
            for number in children(&kinds, &parents()?) {
                if !programs.is_target_process(number)? {
                    unknown.push(number);
                }
            }
            if unknown.is_empty() {
                break;
            }
            for number in unknown {
                let kind = kinds.entry(number).or_default();
                *kind |= target::PROCESS;
                programs.add_target(number, target_of(*kind))?;
            }
        }
        Ok(())
    }

    /// The files of code that these targets run already, each with a process that maps it.
    ///
    /// # Errors
    /// Where the processes cannot be listed.
    pub fn code_files(&self, identify: &dyn Identify) -> Result<Vec<(CodeFile, u32)>> {
        let pids = match self.scope {
            Scope::Tasks => {
                let mut kinds: BTreeMap<u32, u32> = self.tasks.iter().copied().collect();
                // One look: those that are born from here on run what their parents run, and where
                // one always is, looks for the next would not end.
                let parents = match kinds.is_empty() {
                    true => BTreeMap::new(),
                    false => parents()?,
                };
                loop {
                    let born = children(&kinds, &parents);
                    if born.is_empty() {
                        break kinds.into_keys().collect();
                    }
                    kinds.extend(born.into_iter().map(|pid| (pid, target::PROCESS)));
                }
            }
            Scope::Machine | Scope::Cgroup => code_files::all_processes(),
        };
        Ok(code_files::of_processes(pids, identify))
    }

    /// Resolves when every process and thread that was named has ended; never where none was.
    ///
    /// # Errors
    /// Where they cannot be waited for.
    pub async fn ended(&self) -> Result<()> {
        if self.ends.is_empty() {
            std::future::pending::<()>().await;
        }
        for end in &self.ends {
            let end = end
                .try_clone()
                .and_then(watch)
                .context("failed to wait for a process")?;
            let _ready = end
                .readable()
                .await
                .context("failed to wait for a process")?;
        }
        Ok(())
    }
}

/// The processes whose parent is a target and that are none yet.
fn children(targets: &BTreeMap<u32, u32>, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let is_process = |number: &u32| {
        targets
            .get(number)
            .is_some_and(|kind| kind & target::PROCESS != 0)
    };
    let born = parents
        .iter()
        .filter(|&(number, parent)| is_process(parent) && !is_process(number));
    born.map(|(&number, _)| number).collect()
}

/// Each process that there is, and its parent.
fn parents() -> Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("failed to read `/proc`")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Empty where it has ended since.
        let stat = fs::read(format!("/proc/{number}/stat")).unwrap_or_default();
        if let Some(parent) = parent(&String::from_utf8_lossy(&stat)) {
            parents.insert(number, parent);
        }
    }
    Ok(parents)
}

/// The parent's number from the text of `/proc/PID/stat`: the second field behind the name, which
/// is in parentheses and may hold anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

/// A target that user space names.
#[must_use]
pub const fn target_of(kind: u32) -> Target {
    Target {
        kind,
        padding: 0,
        start_ns: 0,
    }
}

/// A descriptor that becomes readable when the process or the thread ends. Kernels before 6.9 know
/// none for a thread; there it stands for the thread's process.
fn open_task(number: u32, kind: u32) -> Result<OwnedFd> {
    let fd = if kind == target::PROCESS {
        open_pidfd(number, 0)
    } else {
        open_pidfd(number, libc::PIDFD_THREAD).or_else(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => open_pidfd(process_of(number)?, 0),
            _ => Err(error),
        })
    };
    let (what, list) = match kind {
        target::PROCESS => ("process", "ps -e"),
        _ => ("thread", "ps -eL"),
    };
    fd.map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH | libc::EINVAL) if is_thread(number) && kind == target::PROCESS => {
            anyhow::anyhow!("failed to find a process {number}: it is a thread; use `-t {number}`")
        }
        Some(libc::ESRCH | libc::EINVAL) => {
            anyhow::anyhow!("failed to find a {what} {number}; `{list}` lists those that run")
        }
        _ => anyhow::Error::new(error).context(format!("failed to open the {what} {number}")),
    })
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn open_pidfd(number: u32, flags: libc::c_uint) -> io::Result<OwnedFd> {
    let number = libc::pid_t::try_from(number)
        .map_err(|_too_large| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, flags) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_thread(number: u32) -> bool {
    process_of(number).is_ok_and(|process| process != number)
}

fn process_of(thread: u32) -> io::Result<u32> {
    let status = fs::read(format!("/proc/{thread}/status"))
        .map_err(|_gone| io::Error::from_raw_os_error(libc::ESRCH))?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// Finds a cgroup by the path of its folder, or by its path below the root of the hierarchy.
fn find_cgroup(path: &Path) -> Result<Cgroup> {
    if fs::metadata("/proc/self/ns/cgroup")?.ino() != INITIAL_CGROUP_NAMESPACE {
        bail!(
            "failed to use `--cgroup`: timesink runs in a cgroup namespace of its own, where the \
             depth of a cgroup is hidden; run it outside of the container"
        );
    }
    let mounts = fs::read("/proc/self/mountinfo")?;
    let root = cgroup_root(&String::from_utf8_lossy(&mounts)).context(
        "failed to find the cgroup hierarchy (version 2); `mount -t cgroup2 none /sys/fs/cgroup` mounts it",
    )?;
    let folder = [path.to_owned(), below(&root, path)]
        .iter()
        .filter_map(|place| place.canonicalize().ok())
        .find(|place| place.starts_with(&root) && place.is_dir())
        .with_context(|| {
            format!(
                "failed to find the cgroup `{}` below `{}`",
                shown(path),
                shown(&root)
            )
        })?;
    let depth = folder.strip_prefix(&root)?.components().count();
    Ok(Cgroup {
        id: fs::metadata(&folder)?.ino(),
        level: u32::try_from(depth)?,
    })
}

/// A path as one below the root of the hierarchy, with or without a slash before it.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Where the hierarchy is mounted, from the text of `/proc/PID/mountinfo`: fields by spaces, the
/// fourth the root of the mount and the fifth its place, the type after the field `-`.
pub(crate) fn cgroup_root(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hierarchy of version 2 is told from those of version 1 and from a part of it.
    #[test]
    fn the_cgroup_root_is_found() {
        let mounts = "25 1 0:22 / /proc rw - proc proc rw\n\
            30 25 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n\
            31 25 0:27 /part /mnt rw - cgroup2 cgroup2 rw\n\
            32 25 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            cgroup_root(mounts),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(cgroup_root("25 1 0:22 / /proc rw - proc proc rw\n"), None);
    }

    /// A hostile name does not hide the parent.
    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a"), None);
    }

    /// A process that is there is found, one that cannot be is not, with advice.
    #[test]
    fn processes_and_threads_are_found() {
        assert!(open_task(std::process::id(), target::PROCESS).is_ok());
        assert!(open_task(std::process::id(), target::THREAD).is_ok());
        for number in [0, 4_194_305, u32::MAX] {
            let error = open_task(number, target::PROCESS).unwrap_err().to_string();
            assert!(error.contains("`ps -e`"), "{error}");
        }
    }
}
