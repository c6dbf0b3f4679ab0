//! Which mounts answer: a file system that a user's process serves (FUSE) may not, and who asks it
//! waits for ever and cannot even be killed. Nor may an overlay that a user put on such a one.
//!
//! Mounts are known by their numbers. A number is that of one mount only as long as a descriptor of a
//! place in it is open, so the place is opened first and the list read afterwards.

mod makers;

use std::{
    cell::LazyCell,
    collections::HashMap,
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::Path,
    sync::OnceLock,
};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::handle::{Handle, Kind};

/// A machine full of containers has some thousands of mounts, of some hundred bytes each.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Whether a mount answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    AtOnce,
    /// It is an overlay, and its layers may not.
    AsItsLayers,
    Perhaps,
}

/// The list of mounts that a process sees. It outlives the process.
#[derive(Debug)]
pub(crate) struct List {
    file: File,
    is_ours: bool,
}

/// The mounts that a process may come across and that are known to answer, or to do as their layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    known: HashMap<u64, Answers>,
}

impl List {
    /// That of a process. The list of one that lives in a `chroot` lacks the mount that it lives in.
    pub(crate) fn of_process(pid: u32) -> io::Result<Self> {
        Ok(Self {
            // Opened first: a process may go to a namespace with fewer rights meanwhile, and not back.
            file: File::open(format!("/proc/{pid}/mountinfo"))?,
            is_ours: makers::is_ours(pid),
        })
    }

    /// The mounts as they are now.
    pub(crate) fn read(&self) -> io::Result<Mounts> {
        let mut text = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            match self.file.read_at(&mut chunk, text.len() as u64)? {
                0 => break,
                count => text.extend_from_slice(&chunk[..count]),
            }
            if text.len() as u64 > MAX_LIST_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        let believed = || self.is_ours || !makers::may_have_servers();
        Ok(Mounts::parse(&text, believed))
    }
}

impl Mounts {
    /// Those of a process and our own; no more than our own where it is gone.
    pub(crate) fn of_process(pid: u32) -> Self {
        let mut mounts = Self::own();
        let of_process = List::of_process(pid).and_then(|list| list.read());
        mounts.known.extend(of_process.unwrap_or_default().known);
        mounts
    }

    /// Our own, and that of files in memory (`memfd`), which is in no list.
    pub(crate) fn own() -> Self {
        let list = List::of_process(std::process::id());
        let mut mounts = list.and_then(|list| list.read()).unwrap_or_default();
        let of_memory = of_memory().map(|number| (number, Answers::AtOnce));
        mounts.known.extend(of_memory);
        mounts
    }

    /// Lines as `proc_pid_mountinfo(5)` has them: the number is the first field, and the type the
    /// first one behind the field `-`. Whether overlays are believed to answer is asked where there
    /// are any.
    fn parse(text: &[u8], believed: impl FnOnce() -> bool) -> Self {
        let text = String::from_utf8_lossy(text);
        let of_overlays = LazyCell::new(|| match believed() {
            true => Answers::AtOnce,
            false => Answers::AsItsLayers,
        });
        let known = text.lines().filter_map(|line| {
            let (fields, kind) = line.split_once(" - ")?;
            let number = fields.split(' ').next()?.parse().ok()?;
            match kind.split(' ').next()? {
                kind if is_fuse(kind) => None,
                "overlay" => Some((number, *of_overlays)),
                _ => Some((number, Answers::AtOnce)),
            }
        });
        Self {
            known: known.collect(),
        }
    }

    /// Whether this mount answers. One that is not in the list, as one that was taken off while it
    /// was used, may be anything.
    pub(crate) fn how(&self, mount: u64) -> Answers {
        self.known.get(&mount).copied().unwrap_or(Answers::Perhaps)
    }

    /// Whether this mount answers at once.
    pub(crate) fn answers(&self, mount: u64) -> bool {
        self.how(mount) == Answers::AtOnce
    }
}

/// The kernel has one mount for all files in memory.
fn of_memory() -> Option<u64> {
    static MOUNT: OnceLock<Option<u64>> = OnceLock::new();
    *MOUNT.get_or_init(|| {
        let file = memfd_create("mount", MemfdFlags::CLOEXEC).ok()?;
        let place = format!("/proc/self/fd/{}", file.as_raw_fd());
        Some(Handle::of(Path::new(&place)).ok()?.look().ok()?.mount)
    })
}

/// A regular file that was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Open for reading.
    Prompt(File),
    /// Of an overlay whose layers may not answer, so that it is not even opened.
    Layered(Handle),
    /// Of a file system that may not answer; and on which device.
    Slow(Handle, u32),
}

impl Found {
    /// What lies at a place, as `how` tells for its mount; `None` where it is known to be no regular
    /// file.
    pub(crate) fn at(place: Handle, how: impl FnOnce(u64) -> Answers) -> Option<Self> {
        let look = place.look().ok()?;
        match look.kind {
            Kind::Regular => match how(look.mount) {
                Answers::AtOnce => place.open().ok().map(Self::Prompt),
                Answers::AsItsLayers => Some(Self::Layered(place)),
                Answers::Perhaps => Some(Self::Slow(place, look.device)),
            },
            Kind::Hidden => Some(Self::Slow(place, look.device)),
            Kind::Folder | Kind::Link | Kind::Other => None,
        }
    }

    /// The file, where it can be read at once.
    pub(crate) fn prompt(self) -> Option<File> {
        match self {
            Self::Prompt(file) => Some(file),
            Self::Layered(_) | Self::Slow(..) => None,
        }
    }
}

/// `fuse`, `fuse.sshfs`, `fuseblk`; virtiofs is served by the host of a virtual machine.
fn is_fuse(kind: &str) -> bool {
    kind == "fuse" || kind == "fuseblk" || kind.starts_with("fuse.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// File systems of users are told from others, overlays are as prompt as they are believed to be,
    /// and what is not listed may be anything.
    #[test]
    fn lists_are_read() {
        let list = b"25 1 0:22 / /proc rw - proc proc rw\n\
            30 25 0:26 / /home/u/a\\040b rw shared:9 - fuse.sshfs host: rw,user_id=1000\n\
            31 25 0:27 / /mnt rw - fuseblk /dev/sda1 rw\n\
            32 25 0:28 / /sys/fs/fuse/connections rw - fusectl none rw\n\
            34 25 0:29 / /merged rw - overlay overlay rw,lowerdir=/home/u/a\\040b:/usr\n\
            broken\n";
        let how = |believed: bool| {
            let mounts = Mounts::parse(list, || believed);
            [25, 30, 31, 32, 33, 34].map(|id| mounts.how(id))
        };
        let [now, perhaps] = [Answers::AtOnce, Answers::Perhaps];
        assert_eq!(how(true), [now, perhaps, perhaps, now, perhaps, now]);
        assert_eq!(how(false)[..5], how(true)[..5]);
        assert_eq!(how(false)[5], Answers::AsItsLayers);
        Mounts::parse(b"25 1 0:22 / /proc rw - proc proc rw\n", || unreachable!());
    }

    /// The mount of our own program is listed.
    #[test]
    fn own_mounts_are_known() {
        let own = Handle::of(Path::new("/proc/self/exe")).unwrap();
        assert!(Mounts::own().answers(own.look().unwrap().mount));
    }
}
