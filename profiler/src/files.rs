//! The files that stacks name: opened at first sight, while a process still maps them, or by the
//! path that the kernel told when they were mapped, below the root of any process that was seen.
//!
//! A file counts only if the kernel programs call it by the same name. What lies on a file system that
//! may not answer is read elsewhere (`copies`), and is known once it arrives.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use abi::records::{FileIdentity, FileSeen};

use crate::{
    code_files::CodeFile,
    copies::{Copies, Reader, Wanted},
    handle::Handle,
    identity::Identify,
    mounts::{Found, Mounts},
    roots::{Root, Roots},
};

/// How many files are held open at a time; those seen later are opened again by their path.
const MAX_OPEN: usize = 512;
/// How many paths of files that no stack has named yet are kept.
const MAX_PATHS: usize = 1 << 14;
/// How many of them are kept to be tried.
const MAX_UNTRIED: usize = 1 << 12;

/// One file of the machine.
#[derive(Debug, Default)]
pub struct KnownFile {
    /// Where the process that maps it has it; empty where that could not be found out.
    pub path: PathBuf,
    held: Option<File>,
    /// The root below which the path leads to it.
    root: Weak<Root>,
    /// Whether a stack has named it.
    is_seen: bool,
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
    /// Files that were told and that stacks may call otherwise: which, nobody has looked at yet.
    untried: VecDeque<(FileIdentity, PathBuf)>,
    roots: Roots,
    copies: Copies,
    held: usize,
    /// Files that are held in case that a stack names them, the one that was told first in front.
    in_case: VecDeque<FileIdentity>,
    /// The process whose root was looked at last.
    last_process: Option<u32>,
    /// Paths that were told and found no room.
    pub paths_dropped: u64,
    /// Files that were given up since their file system did not give them, or not within the bound.
    pub given_up: Vec<PathBuf>,
}

impl Files {
    /// None yet; copies of those that are read into memory may take so much.
    #[must_use]
    pub fn new(identify: Arc<dyn Identify>, copy_bytes: u64) -> Self {
        Self {
            identify,
            names: HashMap::new(),
            by_number: HashMap::new(),
            by_identity: HashMap::new(),
            paths: HashMap::new(),
            untried: VecDeque::new(),
            roots: Roots::new(),
            copies: Copies::within(copy_bytes),
            held: 0,
            in_case: VecDeque::new(),
            last_process: None,
            paths_dropped: 0,
            given_up: Vec::new(),
        }
    }

    /// Who tells what the kernel programs call a file.
    #[must_use]
    pub fn identify(&self) -> Arc<dyn Identify> {
        Arc::clone(&self.identify)
    }

    /// What stacks call a file that a mapping was told of, as far as that is known.
    #[must_use]
    pub fn name_of(&self, told: FileIdentity) -> FileIdentity {
        self.names.get(&told).copied().unwrap_or(told)
    }

    /// Gets to know the root of a process that maps files, if it still lives. What one process mapped
    /// is mostly told in a row, and it is looked at once for that.
    pub fn meet(&mut self, pid: u32) {
        if self.last_process != Some(pid) {
            self.last_process = Some(pid);
            self.roots.of_process(pid);
        }
    }

    /// All that was told is taken in. The processes go on, and may have another root next time.
    pub fn part(&mut self) {
        self.last_process = None;
    }

    /// Opens a file that a mapping was told of, where it is still at its path below some root, and
    /// holds it in case that a stack names it when it is no longer there.
    pub fn open_told(&mut self, told: FileIdentity, path: &Path, pid: u32) -> Option<CodeFile> {
        let mut slow = None;
        let opened = self.roots.all().find_map(|root| match root.find(path)? {
            Found::Prompt(file) => {
                let found = self.identify.identities(&file)?;
                let is_it = told == found.mapped || told == found.opened;
                is_it.then(|| (file, found.mapped, Arc::downgrade(root)))
            }
            Found::Slow(place, device) => {
                if device == told.device {
                    slow.get_or_insert(place);
                }
                None
            }
            // What the kernel calls it cannot be told by what `stat` tells of an overlay.
            Found::Layered(_) => None,
        });
        if let (None, Some(place)) = (&opened, slow) {
            self.copy(told, path.to_owned(), place, Reader::User(pid));
        }
        let (file, identity, root) = opened?;
        if told != identity && self.names.len() < MAX_PATHS {
            self.names.insert(told, identity);
        }
        let path = path.to_owned();
        if let Ok(held) = file.try_clone() {
            self.hold_in_case(identity, &path, held, root);
        }
        Some(CodeFile {
            identity,
            path,
            file,
        })
    }

    /// Holds a file that a process maps already, in case that a stack names it.
    pub fn hold_mapped(&mut self, file: &CodeFile, pid: u32) {
        let root = self.roots.of_process(pid);
        let root = root.as_ref().map(Arc::downgrade).unwrap_or_default();
        if let Ok(held) = file.file.try_clone() {
            self.hold_in_case(file.identity, &file.path, held, root);
        }
        self.mapped(file.identity, file.path.clone());
    }

    /// Remembers where a file is that a process has just mapped. A stack may have named the file
    /// already: the two come by different ways. Where it was found without a path, or deleted since, its
    /// path is that of the mapping.
    pub fn mapped(&mut self, told: FileIdentity, path: PathBuf) {
        let identity = self.name_of(told);
        if let Some(known) = self.by_identity.get_mut(&identity)
            && (known.path.as_os_str().is_empty() || is_deleted(&known.path, &path))
        {
            known.path.clone_from(&path);
        }
        if self.paths.len() >= MAX_PATHS && !self.paths.contains_key(&identity) {
            self.paths_dropped += 1;
            return;
        }
        let is_known = self.by_identity.contains_key(&identity);
        let is_news = self.paths.insert(identity, path.clone()).is_none();
        // A file system that stands before others has no device of its own.
        let may_have_another_name = told == identity && told.device >> 20 == 0;
        if is_news && !is_known && may_have_another_name {
            if self.untried.len() >= MAX_UNTRIED {
                self.untried.pop_front();
            }
            self.untried.push_back((told, path));
        }
    }

    /// Finds out what stacks call the files that were told and at which nobody has looked: whether a
    /// process is a target is no longer known when it has ended, and to look at all takes time.
    fn try_all(&mut self) {
        for (told, path) in std::mem::take(&mut self.untried) {
            if self.open_told(told, &path, 0).is_some() {
                self.mapped(told, path);
            }
        }
    }

    /// Looks once more for the files that stacks name and that were not found: paths come by another
    /// way than stacks, and may come later.
    pub fn find_late(&mut self) {
        self.try_all();
        let missing = self
            .by_identity
            .iter()
            .filter(|(_, known)| known.held.is_none());
        let missing: Vec<_> = missing.map(|(identity, _)| *identity).collect();
        for identity in missing {
            let Some(path) = self.paths.get(&identity).cloned() else {
                continue;
            };
            let found = self.open_same(&path, &identity).filter(|_| self.has_room());
            if let (Some((file, root)), Some(known)) = (found, self.by_identity.get_mut(&identity))
            {
                self.held += 1;
                (known.path, known.held, known.root) = (path, Some(file), root);
            }
        }
    }

    /// Takes in a file that was found in a stack, and gives it if it could be opened and was not
    /// known.
    pub fn see(&mut self, seen: &FileSeen) -> Option<CodeFile> {
        self.by_number.insert(seen.file, seen.identity);
        if let Some(held) = self.held_as_seen(seen.identity) {
            return Some(held);
        }
        let root = self.roots.of_process(seen.pid);
        let (mut path, mut file, mut root) = self.find(seen, root.as_ref());
        if file.is_none() && !self.untried.is_empty() {
            self.try_all();
            if let Some(held) = self.held_as_seen(seen.identity) {
                return Some(held);
            }
            (path, file, root) = self.find(seen, None);
        }
        let code = file.as_ref().and_then(|file| {
            Some(CodeFile {
                identity: seen.identity,
                path: path.clone(),
                file: file.try_clone().ok()?,
            })
        });
        let held = file.filter(|_| self.has_room());
        self.held += usize::from(held.is_some());
        let known = KnownFile {
            path,
            held,
            root,
            is_seen: true,
        };
        self.by_identity.insert(seen.identity, known);
        code
    }

    /// A file that is held, now that a stack has named it.
    fn held_as_seen(&mut self, identity: FileIdentity) -> Option<CodeFile> {
        let known = self.by_identity.get_mut(&identity)?;
        let file = known.held.as_ref()?.try_clone().ok()?;
        known.is_seen = true;
        Some(CodeFile {
            identity,
            path: known.path.clone(),
            file,
        })
    }

    /// By the link that the kernel has for the mapping, while there is one; else by its path.
    fn find(
        &mut self,
        seen: &FileSeen,
        root: Option<&Arc<Root>>,
    ) -> (PathBuf, Option<File>, Weak<Root>) {
        let told = self.paths.get(&seen.identity).cloned();
        let of_process = root.map(Arc::downgrade).unwrap_or_default();
        if let Some((linked, found)) = by_link(seen) {
            let inside = || root.map_or_else(|| linked.clone(), |root| root.path_inside(&linked));
            let path = told.clone().unwrap_or_else(inside);
            match found {
                Found::Prompt(file) if self.is_same(&file, &seen.identity) => {
                    return (path, Some(file), of_process);
                }
                Found::Slow(place, device) if device == seen.identity.device => {
                    let reader = Reader::User(seen.pid);
                    self.copy(seen.identity, path.clone(), place, reader);
                    return (path, None, of_process);
                }
                Found::Layered(place) => {
                    self.copy(seen.identity, path.clone(), place, Reader::Recorder);
                    return (path, None, of_process);
                }
                Found::Prompt(_) | Found::Slow(..) => {}
            }
        }
        let path = told.unwrap_or_default();
        match self.open_same(&path, &seen.identity) {
            Some((file, root)) => (path, Some(file), root),
            None => (path, None, of_process),
        }
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
            None => Some(self.open_same(&known.path, identity)?.0),
        }
    }

    /// Some of the files, with descriptors of their own.
    #[must_use]
    pub fn copy_of(&self, numbers: &HashSet<u32>) -> Self {
        let mut copy = Self::new(Arc::clone(&self.identify), 0);
        for &number in numbers {
            let Some(&identity) = self.by_number.get(&number) else {
                continue;
            };
            let Some(known) = self.by_identity.get(&identity) else {
                continue;
            };
            copy.by_number.insert(number, identity);
            let known = KnownFile {
                path: known.path.clone(),
                held: self.open(number),
                root: known.root.clone(),
                is_seen: true,
            };
            copy.by_identity.insert(identity, known);
        }
        copy
    }

    /// How full the fuller of the two tables is whose entries stay, from 0 to 1.
    #[must_use]
    pub fn fullness(&self) -> f64 {
        let paths = self.paths.len() as f64 / MAX_PATHS as f64;
        let files = self.by_identity.values();
        let stay = files.filter(|known| known.is_seen && known.held.is_some());
        paths.max(stay.count() as f64 / MAX_OPEN as f64)
    }

    /// The root of a process that maps it, where other files that belong to it may be.
    #[must_use]
    pub fn root(&self, number: u32) -> Option<Arc<Root>> {
        self.get(number)?.root.upgrade()
    }

    /// The files of slow file systems that have arrived since the last time.
    pub fn take_copies(&mut self) -> Vec<CodeFile> {
        let arrived = self.copies.take();
        self.hold_copies(arrived)
    }

    /// As [`Self::take_copies`], and waits for those that are still being read, for a bounded time.
    pub fn take_last_copies(&mut self) -> Vec<CodeFile> {
        let arrived = self.copies.take_all();
        self.hold_copies(arrived)
    }

    /// That files have no names since there are no copies of them, and which.
    #[must_use]
    pub fn finding(&self) -> Option<String> {
        let (first, others) = self.given_up.split_first()?;
        let first = first.to_string_lossy();
        let first = output::clean(&first);
        Some(match others.len() {
            0 => format!(
                "`{first}` was given up: its file system (FUSE) did not give it in time, or it is too large"
            ),
            count => format!(
                "`{first}` and {count} more files were given up: their file systems (FUSE) did not give them \
                 in time, or they are too large"
            ),
        })
    }

    fn hold_copies(&mut self, arrived: Vec<CodeFile>) -> Vec<CodeFile> {
        self.given_up.append(&mut self.copies.take_given_up());
        for copy in &arrived {
            let known = self.by_identity.entry(copy.identity).or_default();
            if known.path.as_os_str().is_empty() {
                known.path.clone_from(&copy.path);
            }
            known.held = copy.file.try_clone().ok();
        }
        arrived
    }

    fn copy(&mut self, identity: FileIdentity, path: PathBuf, place: Handle, reader: Reader) {
        self.copies.ask(Wanted {
            identity,
            path,
            place: place.into_descriptor(),
            reader,
        });
    }

    /// Opens a path where it leads to this file, below any root.
    fn open_same(&self, path: &Path, identity: &FileIdentity) -> Option<(File, Weak<Root>)> {
        if path.as_os_str().is_empty() {
            return None;
        }
        self.roots.all().find_map(|root| {
            let file = root.open_regular(path)?;
            let is_same = self.is_same(&file, identity);
            is_same.then(|| (file, Arc::downgrade(root)))
        })
    }

    fn is_same(&self, file: &File, identity: &FileIdentity) -> bool {
        let found = self.identify.identities(file);
        found.is_some_and(|found| found.mapped == *identity)
    }

    fn hold_in_case(&mut self, identity: FileIdentity, path: &Path, held: File, root: Weak<Root>) {
        let is_held = |known: &KnownFile| known.held.is_some();
        if self.by_identity.get(&identity).is_some_and(is_held) || !self.has_room() {
            return;
        }
        self.held += 1;
        self.in_case.push_back(identity);
        let known = self.by_identity.entry(identity).or_default();
        known.path = path.to_owned();
        (known.held, known.root) = (Some(held), root);
    }

    /// Whether one more file may be held; one that no stack has named makes room.
    fn has_room(&mut self) -> bool {
        while self.held >= MAX_OPEN {
            let Some(identity) = self.in_case.pop_front() else {
                return false;
            };
            if self
                .by_identity
                .get(&identity)
                .is_some_and(|known| !known.is_seen)
            {
                self.by_identity.remove(&identity);
                self.held -= 1;
            }
        }
        true
    }
}

/// Whether the kernel says that what was at `path` is no longer there.
fn is_deleted(known: &Path, path: &Path) -> bool {
    let known = known.as_os_str().as_encoded_bytes();
    known.strip_prefix(path.as_os_str().as_encoded_bytes()) == Some(b" (deleted)")
}

/// What the kernel's link for a mapping leads to, and where that is.
fn by_link(seen: &FileSeen) -> Option<(PathBuf, Found)> {
    let (pid, start, end) = (seen.pid, seen.start, seen.end);
    let link = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
    let path = fs::read_link(&link).ok()?;
    let place = Handle::of(&link).ok()?;
    let found = Found::at(place, |mount| Mounts::of_process(pid).how(mount))?;
    Some((path, found))
}

#[cfg(test)]
mod tests;
