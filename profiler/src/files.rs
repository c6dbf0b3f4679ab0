//! The files that stacks name: opened at first sight, while a process still maps them.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use abi::records::{FileIdentity, FileSeen};

/// How many files are held open at a time; those seen later have no names.
const MAX_OPEN: usize = 512;

/// One file of the machine.
#[derive(Debug)]
pub struct KnownFile {
    /// Where it was when it was seen.
    pub path: PathBuf,
    /// The file itself, whatever has become of its path since.
    pub file: Option<File>,
}

/// Files by the number that the kernel programs gave them.
#[derive(Debug, Default)]
pub struct Files {
    by_number: HashMap<u32, FileIdentity>,
    by_identity: HashMap<FileIdentity, KnownFile>,
    open: usize,
}

impl Files {
    /// Takes in a file that was announced.
    pub fn see(&mut self, seen: &FileSeen) {
        self.by_number.insert(seen.file, seen.identity);
        if self
            .by_identity
            .get(&seen.identity)
            .is_some_and(|known| known.file.is_some())
        {
            return;
        }
        let link = PathBuf::from(format!(
            "/proc/{}/map_files/{:x}-{:x}",
            seen.pid, seen.start, seen.end
        ));
        let path = fs::read_link(&link).unwrap_or_default();
        let file = if self.open < MAX_OPEN {
            open(&link, &seen.identity)
        } else {
            None
        };
        self.open += usize::from(file.is_some());
        self.by_identity
            .insert(seen.identity, KnownFile { path, file });
    }

    /// The file that frames call by this number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&KnownFile> {
        self.by_identity.get(self.by_number.get(&number)?)
    }
}

/// Opens what a link of `/proc` leads to, where it is a regular file and the one that was meant.
/// It is looked at before it is opened for reading, since to open a device or a FIFO has effects.
fn open(link: &Path, identity: &FileIdentity) -> Option<File> {
    let handle = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(link)
        .ok()?;
    let found = handle.metadata().ok()?;
    if !found.is_file() || found.ino() != identity.inode {
        return None;
    }
    File::open(format!("/proc/self/fd/{}", handle.as_raw_fd())).ok()
}
