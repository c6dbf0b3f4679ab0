//! The files that stacks name: opened at first sight, while a process still maps them, or by the
//! path that the kernel told when they were mapped.

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

use crate::code_files::CodeFile;

/// How many files are held open at a time; those seen later are opened again by their path.
const MAX_OPEN: usize = 512;
/// How many paths of files that no stack has named yet are kept.
const MAX_PATHS: usize = 1 << 14;

/// One file of the machine.
#[derive(Debug)]
pub struct KnownFile {
    /// Where it was when it was seen; empty where that could not be found out.
    pub path: PathBuf,
    identity: FileIdentity,
    held: Option<File>,
}

impl KnownFile {
    fn code(&self) -> Option<CodeFile> {
        Some(CodeFile {
            identity: self.identity,
            path: self.path.clone(),
            file: self.open()?,
        })
    }

    /// The file itself, whatever has become of its path since; `None` where it is gone.
    #[must_use]
    pub fn open(&self) -> Option<File> {
        match &self.held {
            Some(file) => file.try_clone().ok(),
            None => open_same(&self.path, &self.identity),
        }
    }
}

/// Files by the number that the kernel programs gave them.
#[derive(Debug, Default)]
pub struct Files {
    by_number: HashMap<u32, FileIdentity>,
    by_identity: HashMap<FileIdentity, KnownFile>,
    /// The paths of mappings, for the files that stacks will name.
    paths: HashMap<FileIdentity, PathBuf>,
    held: usize,
    /// Paths that were told and found no room.
    pub paths_dropped: u64,
}

impl Files {
    /// Remembers where a file is that a process has just mapped. A stack may have named the file
    /// already: the two come by different ways.
    pub fn mapped(&mut self, identity: FileIdentity, path: PathBuf) {
        if let Some(known) = self.by_identity.get_mut(&identity)
            && known.path.as_os_str().is_empty()
        {
            known.path.clone_from(&path);
        }
        if self.paths.len() >= MAX_PATHS && !self.paths.contains_key(&identity) {
            self.paths_dropped += 1;
            return;
        }
        self.paths.insert(identity, path);
    }

    /// Takes in a file that was found in a stack, and gives it if it could be opened and was not
    /// known.
    pub fn see(&mut self, seen: &FileSeen) -> Option<CodeFile> {
        self.by_number.insert(seen.file, seen.identity);
        let known = self.by_identity.get(&seen.identity);
        if known.is_some_and(|known| known.held.is_some()) {
            return known.and_then(KnownFile::code);
        }
        let (path, file) = self.find(seen);
        let code = file.as_ref().and_then(|file| {
            Some(CodeFile {
                identity: seen.identity,
                path: path.clone(),
                file: file.try_clone().ok()?,
            })
        });
        let held = file.filter(|_| self.held < MAX_OPEN);
        self.held += usize::from(held.is_some());
        let known = KnownFile {
            path,
            identity: seen.identity,
            held,
        };
        self.by_identity.insert(seen.identity, known);
        code
    }

    /// By the link that the kernel has for the mapping, while there is one; else by its path.
    fn find(&self, seen: &FileSeen) -> (PathBuf, Option<File>) {
        let link = PathBuf::from(format!(
            "/proc/{}/map_files/{:x}-{:x}",
            seen.pid, seen.start, seen.end
        ));
        if let (Ok(path), Some(file)) = (fs::read_link(&link), open(&link, &seen.identity)) {
            return (path, Some(file));
        }
        let path = self.paths.get(&seen.identity).cloned().unwrap_or_default();
        let file = open_same(&path, &seen.identity);
        (path, file)
    }

    /// The file that frames call by this number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&KnownFile> {
        self.by_identity.get(self.by_number.get(&number)?)
    }
}

/// Opens what a link of `/proc` leads to, where it is a regular file and the one that was meant.
/// It is looked at before it is opened for reading, since to open a device or a FIFO has effects.
pub(crate) fn open(link: &Path, identity: &FileIdentity) -> Option<File> {
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

/// Opens a path where the same file is still there: the path may be one of another mount namespace.
pub(crate) fn open_same(path: &Path, identity: &FileIdentity) -> Option<File> {
    let file = open(path, identity)?;
    let device = file.metadata().ok()?.dev();
    let same = libc::major(device) == identity.major() && libc::minor(device) == identity.minor();
    same.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(path: &Path) -> FileIdentity {
        let data = fs::metadata(path).unwrap();
        FileIdentity {
            inode: data.ino(),
            device: (libc::major(data.dev()) << 20) | libc::minor(data.dev()),
            generation: 0,
        }
    }

    fn seen(file: u32, identity: FileIdentity) -> FileSeen {
        FileSeen {
            kind: abi::records::kind::FILE,
            file,
            identity,
            start: 0,
            end: 4096,
            pid: u32::MAX,
            padding: 0,
        }
    }

    /// The file of a process that is gone is found by the path that was told, if it is still it.
    #[test]
    fn a_told_path_stands_in_for_a_process_that_is_gone() {
        let path = std::env::current_exe().unwrap();
        let own = identity(&path);
        let other = FileIdentity { inode: 1, ..own };
        let mut files = Files::default();
        files.mapped(own, path.clone());
        files.mapped(other, path.clone());
        for (number, identity) in [(16, own), (17, other)] {
            files.see(&seen(number, identity));
        }
        let (known, replaced) = (files.get(16).unwrap(), files.get(17).unwrap());
        assert_eq!((&known.path, &replaced.path), (&path, &path));
        assert!(known.open().is_some() && replaced.open().is_none());
        assert!(files.get(18).is_none());
    }

    /// A path that is told only when a stack has named the file already is the file's.
    #[test]
    fn a_path_may_be_told_late() {
        let path = std::env::current_exe().unwrap();
        let own = identity(&path);
        let mut files = Files::default();
        assert!(files.see(&seen(16, own)).is_none());
        files.mapped(own, path.clone());
        files.mapped(own, PathBuf::from("/elsewhere"));
        assert_eq!(files.get(16).unwrap().path, path);
        assert!(files.get(16).unwrap().open().is_some());
    }

    /// Paths have a bound, and what is beyond it is counted.
    #[test]
    fn paths_are_bounded() {
        let mut files = Files::default();
        let identity = identity(Path::new("/"));
        for inode in 0..MAX_PATHS as u64 + 3 {
            files.mapped(FileIdentity { inode, ..identity }, PathBuf::new());
        }
        files.mapped(
            FileIdentity {
                inode: 0,
                ..identity
            },
            PathBuf::new(),
        );
        assert_eq!((files.paths.len(), files.paths_dropped), (MAX_PATHS, 3));
    }
}
