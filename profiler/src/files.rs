//! The files that stacks name: opened at first sight, while a process still maps them, or by the
//! path that the kernel told when they were mapped.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use abi::records::{FileIdentity, FileSeen};

use crate::{
    code_files::CodeFile,
    identity::{Identify, open_regular},
};

/// How many files are held open at a time; those seen later are opened again by their path.
const MAX_OPEN: usize = 512;
/// How many paths of files that no stack has named yet are kept.
const MAX_PATHS: usize = 1 << 14;

/// One file of the machine.
#[derive(Debug)]
pub struct KnownFile {
    /// Where it was when it was seen; empty where that could not be found out.
    pub path: PathBuf,
    held: Option<File>,
}

/// Files by the number that the kernel programs gave them.
#[derive(Debug)]
pub struct Files {
    identify: Arc<dyn Identify>,
    /// What stacks call the files that the kernel tells under another name.
    names: HashMap<FileIdentity, FileIdentity>,
    by_number: HashMap<u32, FileIdentity>,
    by_identity: HashMap<FileIdentity, KnownFile>,
    /// The paths of mappings, for the files that stacks will name.
    paths: HashMap<FileIdentity, PathBuf>,
    held: usize,
    /// Paths that were told and found no room.
    pub paths_dropped: u64,
}

impl Files {
    /// None yet.
    #[must_use]
    pub fn new(identify: Arc<dyn Identify>) -> Self {
        Self {
            identify,
            names: HashMap::new(),
            by_number: HashMap::new(),
            by_identity: HashMap::new(),
            paths: HashMap::new(),
            held: 0,
            paths_dropped: 0,
        }
    }

    /// What stacks call a file that a mapping was told of, as far as that is known.
    #[must_use]
    pub fn name_of(&self, told: FileIdentity) -> FileIdentity {
        self.names.get(&told).copied().unwrap_or(told)
    }

    /// Opens a file that a mapping was told of, where it is still at its path: the path may be one of
    /// another mount namespace.
    pub fn open_told(&mut self, told: FileIdentity, path: &Path) -> Option<CodeFile> {
        let file = open_regular(path)?;
        let found = self.identify.identities(&file)?;
        if told != found.mapped && told != found.opened {
            return None;
        }
        if told != found.mapped && self.names.len() < MAX_PATHS {
            self.names.insert(told, found.mapped);
        }
        Some(CodeFile {
            identity: found.mapped,
            path: path.to_owned(),
            file,
        })
    }

    /// Remembers where a file is that a process has just mapped. A stack may have named the file
    /// already: the two come by different ways.
    pub fn mapped(&mut self, told: FileIdentity, path: PathBuf) {
        let identity = self.name_of(told);
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
        if let Some(known) = self.by_identity.get(&seen.identity)
            && let Some(held) = &known.held
        {
            return Some(CodeFile {
                identity: seen.identity,
                path: known.path.clone(),
                file: held.try_clone().ok()?,
            });
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
        let known = KnownFile { path, held };
        self.by_identity.insert(seen.identity, known);
        code
    }

    /// By the link that the kernel has for the mapping, while there is one; else by its path.
    fn find(&self, seen: &FileSeen) -> (PathBuf, Option<File>) {
        let link = PathBuf::from(format!(
            "/proc/{}/map_files/{:x}-{:x}",
            seen.pid, seen.start, seen.end
        ));
        if let (Ok(path), Some(file)) =
            (fs::read_link(&link), self.open_same(&link, &seen.identity))
        {
            return (path, Some(file));
        }
        let path = self.paths.get(&seen.identity).cloned().unwrap_or_default();
        let file = self.open_same(&path, &seen.identity);
        (path, file)
    }

    /// The file that frames call by this number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&KnownFile> {
        self.by_identity.get(self.by_number.get(&number)?)
    }

    /// That file itself, whatever has become of its path since; `None` where it is gone.
    #[must_use]
    pub fn open(&self, number: u32) -> Option<File> {
        let identity = self.by_number.get(&number)?;
        let known = self.by_identity.get(identity)?;
        match &known.held {
            Some(file) => file.try_clone().ok(),
            None => self.open_same(&known.path, identity),
        }
    }

    /// Opens a path where it leads to this file.
    fn open_same(&self, path: &Path, identity: &FileIdentity) -> Option<File> {
        let file = open_regular(path)?;
        let found = self.identify.identities(&file)?;
        (found.mapped == *identity).then_some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ByStat;
    use abi::records::FileIdentities;

    fn identity(path: &Path) -> FileIdentity {
        let file = File::open(path).unwrap();
        ByStat.identities(&file).unwrap().mapped
    }

    fn files() -> Files {
        Files::new(Arc::new(ByStat))
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
        let mut files = files();
        files.mapped(own, path.clone());
        files.mapped(other, path.clone());
        for (number, identity) in [(16, own), (17, other)] {
            files.see(&seen(number, identity));
        }
        let (known, replaced) = (files.get(16).unwrap(), files.get(17).unwrap());
        assert_eq!((&known.path, &replaced.path), (&path, &path));
        assert!(files.open(16).is_some() && files.open(17).is_none());
        assert!(files.get(18).is_none());
    }

    /// A path that is told only when a stack has named the file already is the file's.
    #[test]
    fn a_path_may_be_told_late() {
        let path = std::env::current_exe().unwrap();
        let own = identity(&path);
        let mut files = files();
        assert!(files.see(&seen(16, own)).is_none());
        files.mapped(own, path.clone());
        files.mapped(own, PathBuf::from("/elsewhere"));
        assert_eq!(files.get(16).unwrap().path, path);
        assert!(files.open(16).is_some());
    }

    /// Stands before every file, as an overlay does.
    #[derive(Debug)]
    struct Overlay;

    impl Identify for Overlay {
        fn identities(&self, file: &File) -> Option<FileIdentities> {
            let found = ByStat.identities(file)?;
            let opened = FileIdentity {
                device: 77,
                ..found.opened
            };
            Some(FileIdentities { opened, ..found })
        }
    }

    /// A file that is told as that of an overlay is known as what stacks call it; another is not.
    #[test]
    fn a_file_is_told_under_another_name() {
        let path = std::env::current_exe().unwrap();
        let own = identity(&path);
        let told = FileIdentity { device: 77, ..own };
        let mut files = Files::new(Arc::new(Overlay));
        assert_eq!(files.open_told(told, &path).unwrap().identity, own);
        assert_eq!(files.name_of(told), own);
        files.mapped(told, path.clone());
        assert!(files.see(&seen(16, own)).is_some());
        assert_eq!(files.get(16).unwrap().path, path);
        let other = FileIdentity { inode: 1, ..told };
        assert!(files.open_told(other, &path).is_none());
    }

    /// Paths have a bound, and what is beyond it is counted.
    #[test]
    fn paths_are_bounded() {
        let mut files = files();
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
