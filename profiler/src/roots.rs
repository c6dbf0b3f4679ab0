//! The roots of the processes that map files. A path that the kernel tells of a mapping is one of the
//! mount namespace and root of the process, which may be gone before anyone looks: the root of each
//! namespace that was seen stays open, so that the path still leads where it led.
//!
//! An open root keeps the file systems below it from being given back until the recording ends.

mod walk;

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    handle::Handle,
    mounts::{Answers, Found, List, Mounts},
};

/// How many roots are held open; the one that was used longest ago makes room.
const MAX_ROOTS: usize = 64;

/// What tells roots apart: the mount namespace, and the place in it, for a `chroot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    namespace: u64,
    mount: u64,
    inode: u64,
}

/// What becomes of symbolic links on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed, and lead no further than the root.
    Follow,
    /// As [`Self::Follow`], but for one that the path itself ends in: that is what the path leads to.
    FollowButLast,
    /// There is nothing behind them.
    Refuse,
}

/// Why a path leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Nothing is there.
    Nothing,
    /// Links lead in a circle, or one is there that is not followed.
    Link,
    /// A file system on the way may not answer.
    Silent,
}

/// The root of a process, which outlives it.
#[derive(Debug)]
pub struct Root {
    key: Key,
    place: Handle,
    mounts: List,
    /// Where it is, as our own root has it, as far as can be told.
    shown: PathBuf,
}

impl Root {
    /// That of a process.
    ///
    /// # Errors
    /// Where the process is gone, or not ours to look at.
    pub fn of(pid: u32) -> io::Result<Self> {
        let link = PathBuf::from(format!("/proc/{pid}/root"));
        let place = Handle::of(&link)?;
        let look = place.look()?;
        Ok(Self {
            key: Key {
                namespace: fs::metadata(format!("/proc/{pid}/ns/mnt"))?.ino(),
                mount: look.mount,
                inode: look.inode,
            },
            place,
            mounts: List::of_process(pid)?,
            shown: fs::read_link(&link)?,
        })
    }

    /// Our own.
    ///
    /// # Errors
    /// Where `/proc` is not there.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether the other one is the same root.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// A path of ours as this root has it, where it is below it.
    #[must_use]
    pub fn path_inside(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.shown) {
            Ok(inside) => Path::new("/").join(inside),
            Err(_) => path.to_owned(),
        }
    }

    /// Opens the regular file that a path below this root leads to. Never waits for a file system
    /// that may not answer: what lies on one is not found.
    #[must_use]
    pub fn open_regular(&self, path: &Path) -> Option<File> {
        self.find(path)?.prompt()
    }

    /// The regular file that a path below this root leads to.
    pub(crate) fn find(&self, path: &Path) -> Option<Found> {
        let place = self.place(path, Links::Follow).ok()?;
        Found::at(place, |mount| self.how(mount))
    }

    /// What a path below this root leads to.
    pub(crate) fn place(&self, path: &Path, links: Links) -> Result<Handle, Absent> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let rules = libc::RESOLVE_IN_ROOT
            | match links {
                Links::Follow | Links::FollowButLast => libc::RESOLVE_NO_MAGICLINKS,
                Links::Refuse => libc::RESOLVE_NO_SYMLINKS,
            };
        // What the kernel knows already it tells without asking a file system. A path that a process
        // has just used is mostly of that kind.
        let cached = rules | libc::RESOLVE_CACHED;
        let follow = links != Links::FollowButLast;
        match Handle::below(self.place.as_fd(), inside, cached, follow) {
            Ok(place) => Ok(place),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => {
                    let answers = |mount| self.answers(mount);
                    walk::walk(self.place.as_fd(), inside, links, answers)
                }
                Some(libc::ELOOP) => Err(Absent::Link),
                _ => Err(Absent::Nothing),
            },
        }
    }

    /// Whether a mount answers at once of which a place is open.
    pub(crate) fn answers(&self, mount: u64) -> bool {
        self.how(mount) == Answers::AtOnce
    }

    fn how(&self, mount: u64) -> Answers {
        let listed = self.mounts.read().map(|mounts| mounts.how(mount));
        match listed {
            Ok(how @ (Answers::AtOnce | Answers::AsItsLayers)) => how,
            // The list of a root that is no mount itself lacks the mount that it lies in.
            Ok(Answers::Perhaps) | Err(_) => Mounts::own().how(mount),
        }
    }
}

/// The roots that were seen: our own, and others, the one that was used last in front.
#[derive(Debug)]
pub(crate) struct Roots {
    own: Option<Arc<Root>>,
    others: Vec<Arc<Root>>,
}

impl Roots {
    /// Our own.
    pub(crate) fn new() -> Self {
        Self {
            own: Root::own().ok().map(Arc::new),
            others: Vec::new(),
        }
    }

    /// Gets to know the root of a process, while it lives; one in `/proc` has no files that anybody maps.
    pub(crate) fn of_process(&mut self, pid: u32) -> Option<Arc<Root>> {
        let root = Root::of(pid).ok()?;
        // As that of our own readers, each of which has another.
        if root.shown.starts_with("/proc") {
            return None;
        }
        let is_own = |own: &&Arc<Root>| own.key == root.key;
        if let Some(own) = self.own.as_ref().filter(is_own) {
            return Some(Arc::clone(own));
        }
        match self.others.iter().position(|other| other.key == root.key) {
            Some(place) => self.others[..=place].rotate_right(1),
            None => {
                self.others.truncate(MAX_ROOTS - 1);
                self.others.insert(0, Arc::new(root));
            }
        }
        self.others.first().cloned()
    }

    /// All that are known.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Root>> {
        self.own.iter().chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our own root leads to our own files, a FIFO is not opened, and a root is known once.
    #[test]
    fn the_own_root_is_known_once() {
        let mut roots = Roots::new();
        let own = roots.of_process(std::process::id()).unwrap();
        assert_eq!(roots.all().count(), 1);
        let program = std::env::current_exe().unwrap();
        let opened = own.open_regular(&program).unwrap();
        let same = fs::metadata(&program).unwrap();
        assert_eq!(opened.metadata().unwrap().ino(), same.ino());
        assert_eq!(own.path_inside(&program), program);
        for path in ["/dev/null", "/proc", "/nothing", "/dev/fd/0"] {
            assert!(own.open_regular(Path::new(path)).is_none(), "{path}");
        }
        assert!(roots.of_process(u32::MAX).is_none());
    }
}
