//! Which mounts answer: a file system that a user's process serves (FUSE) may not, and who asks it
//! waits for ever and cannot even be killed.
//!
//! Mounts are known by their numbers. A number is that of one mount only as long as a descriptor of a
//! place in it is open, so the place is opened first and the list read afterwards.

use std::{
    collections::HashSet,
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

/// The mounts that a process may come across and that answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    prompt: HashSet<u64>,
}

impl Mounts {
    /// Those of a process and our own; no more than our own where it is gone. The list of a process
    /// that lives in a `chroot` lacks the mount that it lives in.
    pub(crate) fn of_process(pid: u32) -> Self {
        let mut mounts = Self::own();
        let list = File::open(format!("/proc/{pid}/mountinfo"));
        let of_process = list.and_then(|list| Self::read(&list));
        mounts.prompt.extend(of_process.unwrap_or_default().prompt);
        mounts
    }

    /// Our own, and that of files in memory (`memfd`), which is in no list.
    pub(crate) fn own() -> Self {
        let list = File::open("/proc/self/mountinfo");
        let mut mounts = list.and_then(|list| Self::read(&list)).unwrap_or_default();
        mounts.prompt.extend(of_memory());
        mounts
    }

    /// Those of a list that is open, as they are now. The list outlives its process.
    pub(crate) fn read(list: &File) -> io::Result<Self> {
        let mut text = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            match list.read_at(&mut chunk, text.len() as u64)? {
                0 => break,
                count => text.extend_from_slice(&chunk[..count]),
            }
            if text.len() as u64 > MAX_LIST_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(Self::parse(&text))
    }

    /// Lines as `proc_pid_mountinfo(5)` has them: the number is the first field, and the type the
    /// first one behind the field `-`.
    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let prompt = text.lines().filter_map(|line| {
            let (fields, kind) = line.split_once(" - ")?;
            let number = fields.split(' ').next()?.parse().ok()?;
            (!is_fuse(kind.split(' ').next()?)).then_some(number)
        });
        Self {
            prompt: prompt.collect(),
        }
    }

    /// Whether this mount answers. One that is not in the list, as one that was taken off while it
    /// was used, may be anything.
    pub(crate) fn answers(&self, mount: u64) -> bool {
        self.prompt.contains(&mount)
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
    /// Of a file system that may not answer, so that it is not even opened; and on which device.
    Slow(Handle, u32),
}

impl Found {
    /// What lies at a place, as `answers` tells for its mount; `None` where it is known to be no
    /// regular file.
    pub(crate) fn at(place: Handle, answers: impl FnOnce(u64) -> bool) -> Option<Self> {
        let look = place.look().ok()?;
        match look.kind {
            Kind::Regular if answers(look.mount) => place.open().ok().map(Self::Prompt),
            Kind::Regular | Kind::Hidden => Some(Self::Slow(place, look.device)),
            Kind::Folder | Kind::Link | Kind::Other => None,
        }
    }

    /// The file, where it can be read at once.
    pub(crate) fn prompt(self) -> Option<File> {
        match self {
            Self::Prompt(file) => Some(file),
            Self::Slow(..) => None,
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
    use std::path::Path;

    /// File systems of users are told from others, and what is not listed does not answer.
    #[test]
    fn lists_are_read() {
        let list = b"25 1 0:22 / /proc rw - proc proc rw\n\
            30 25 0:26 / /home/u/a\\040b rw shared:9 - fuse.sshfs host: rw,user_id=1000\n\
            31 25 0:27 / /mnt rw - fuseblk /dev/sda1 rw\n\
            32 25 0:28 / /sys/fs/fuse/connections rw - fusectl none rw\n\
            broken\n";
        let mounts = Mounts::parse(list);
        let answers: Vec<_> = [25, 30, 31, 32, 33].map(|id| mounts.answers(id)).into();
        assert_eq!(answers, [true, false, false, true, false]);
    }

    /// The mount of our own program is listed.
    #[test]
    fn own_mounts_are_known() {
        let own = Handle::of(Path::new("/proc/self/exe")).unwrap();
        assert!(Mounts::own().answers(own.look().unwrap().mount));
    }
}
