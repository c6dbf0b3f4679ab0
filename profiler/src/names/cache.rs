//! Names on disk, a file for each file that has some: what one recording looked up, the next one, of
//! whatever process, need not.
//!
//! A name depends on the file, on the debug files that were there, and on the detail asked for; all
//! of it is stored beside it. A file that others than the host's root may write, or whose debug files
//! are theirs, can claim any build id, so its names are for that very file alone, which its place, its
//! number and its last change tell. In a container others than that are root.

mod stored;

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    ops::Range,
    os::unix::fs::MetadataExt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use symbolizer::{Detail, Miss, Names, Symbol};

use crate::cache::{Folder, folder_of, hex, seal, unseal};
use crate::identity::is_hosts;
use stored::Stored;

/// Rises with every change of the layout or of what names are.
const VERSION: u32 = 2;
/// Smaller files are read as fast.
const MIN_FILE_BYTES: u64 = 1 << 20;
/// What all names may take together; the oldest make room.
const MAX_FOLDER_BYTES: u64 = 256 << 20;
/// What those of one file may take: some 200,000.
const MAX_FILE_BYTES: u64 = 16 << 20;

type Answer = Result<Symbol, Miss>;
/// An answer, and the function in which its place lies.
pub(super) type Located = (Answer, Option<Range<u64>>);

/// The names of all files, and how much they helped.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Folder,
    counts: Counts,
    /// What was looked up and is not written yet.
    unwritten: Mutex<Vec<(Key, Places)>>,
}

#[derive(Debug, Default)]
struct Counts {
    found: AtomicU64,
    looked_up: AtomicU64,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self::within(Folder::new(
            folder_of("names"),
            MAX_FOLDER_BYTES,
            MAX_FILE_BYTES,
        ))
    }

    fn within(folder: Folder) -> Self {
        Self {
            folder,
            counts: Counts::default(),
            unwritten: Mutex::default(),
        }
    }

    /// How many places had their names here, and how many were looked up.
    pub(super) fn counts(&self) -> (u64, u64) {
        let Counts { found, looked_up } = &self.counts;
        (
            found.load(Ordering::Relaxed),
            looked_up.load(Ordering::Relaxed),
        )
    }

    /// Answers in the order of `offsets`, each with the detail that is wanted of it: those that are
    /// stored, and of the others what `look_up` finds, which tells in what detail it looked.
    pub(super) fn names(
        &self,
        key: Option<&Key>,
        offsets: &[u64],
        wanted: impl Fn(u64) -> Detail,
        look_up: impl FnOnce(&[u64]) -> (Names, Detail),
    ) -> Vec<Located> {
        let mut stored = key.and_then(|key| self.load(key)).unwrap_or_default();
        let is_unknown = |offset: &u64| stored.get(*offset, wanted(*offset)).is_none();
        let unknown: Vec<u64> = offsets.iter().copied().filter(is_unknown).collect();
        let found = offsets.len() - unknown.len();
        self.counts.found.fetch_add(found as u64, Ordering::Relaxed);
        if !unknown.is_empty() {
            let count = unknown.len() as u64;
            self.counts.looked_up.fetch_add(count, Ordering::Relaxed);
            let (names, detail) = look_up(&unknown);
            let found = names.answers.into_iter().zip(names.functions);
            for (&offset, (answer, function)) in unknown.iter().zip(found) {
                let detail = both(wanted(offset), detail);
                stored.add(
                    offset,
                    Known {
                        detail,
                        answer,
                        function,
                    },
                );
            }
        }
        let located = |&offset: &u64| {
            let wanted = wanted(offset);
            // Where the detail was not to be had, there is what there is.
            let known = stored
                .get(offset, wanted)
                .or_else(|| stored.places.get(&offset));
            known.map_or((Err(Miss::ReaderDied), None), |known| {
                let answer = known.answer.clone();
                (
                    answer.map(|symbol| reduced(symbol, wanted)),
                    known.function.clone(),
                )
            })
        };
        let located = offsets.iter().map(located).collect();
        if let Some(key) = key
            && !unknown.is_empty()
        {
            self.unwritten().push((key.clone(), stored));
        }
        located
    }

    /// Writes what was looked up beside all else: who waits for names does not wait for this.
    pub(super) fn store_beside(self) -> Storing {
        Storing(Some(thread::spawn(move || self.store())))
    }

    fn store(&self) {
        for (key, known) in std::mem::take(&mut *self.unwritten()) {
            self.store_one(&key, &known);
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, Vec<(Key, Places)>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, key: &Key) -> Option<Places> {
        let bytes = self.folder.load(&key.name)?;
        let stored: Stored = postcard::from_bytes(unseal(VERSION, &bytes)?).ok()?;
        (stored.rests_on == key.rests_on).then(|| stored.known())?
    }

    /// Without a cache, the next recording looks the names up again.
    fn store_one(&self, key: &Key, known: &Places) {
        let stored = Stored::of(key, known);
        if let Ok(bytes) = postcard::to_stdvec(&stored) {
            let _unstored = self.folder.store(&key.name, &seal(VERSION, bytes));
        }
    }
}

/// Names on their way to the disk; when it is dropped they are there.
#[derive(Debug)]
pub struct Storing(Option<JoinHandle<()>>);

impl Drop for Storing {
    fn drop(&mut self) {
        if let Some(writing) = self.0.take() {
            // Without a cache, the next recording looks the names up again.
            let _unstored = writing.join();
        }
    }
}

/// Which file's names they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    name: String,
    /// The sizes of the file and of its debug files; 0 for one that there is not.
    rests_on: Vec<u64>,
}

impl Key {
    /// The key of a file that is worth it.
    pub(super) fn of(
        file: &File,
        build_id: Option<&[u8]>,
        others: &[Option<&File>],
    ) -> Option<Self> {
        let data = file.metadata().ok()?;
        let size = |other: &Option<&File>| match other {
            Some(other) => other.metadata().map_or(0, |data| data.len()),
            None => 0,
        };
        let sizes = others.iter().map(size);
        let rests_on: Vec<u64> = [data.len()].into_iter().chain(sizes).collect();
        if rests_on.iter().all(|&size| size < MIN_FILE_BYTES) {
            return None;
        }
        let build_id = build_id.and_then(hex);
        let is_believed = is_hosts(file) && others.iter().flatten().all(|other| is_hosts(other));
        let name = match build_id {
            Some(id) if is_believed => id,
            id => format!(
                "{}-{:x}-{:x}-{:x}.{:x}",
                id.unwrap_or_default(),
                data.dev(),
                data.ino(),
                data.ctime(),
                data.ctime_nsec()
            ),
        };
        Some(Self {
            name: format!("{name}.names"),
            rests_on,
        })
    }
}

/// What is known of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// What was looked up beside the name.
    detail: Detail,
    answer: Answer,
    /// The function, all of which has this name.
    function: Option<Range<u64>>,
}

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    places: HashMap<u64, Known>,
    /// A place in each function, by where the function begins.
    functions: BTreeMap<u64, u64>,
}

impl Places {
    fn add(&mut self, offset: u64, known: Known) {
        if let Some(function) = &known.function {
            self.functions.insert(function.start, offset);
        }
        self.places.insert(offset, known);
    }

    /// What is known of a place, or of another one in its function where the name is all that is wanted.
    fn get(&self, offset: u64, wanted: Detail) -> Option<&Known> {
        let here = self.places.get(&offset);
        if here.is_some_and(|known| covers(known.detail, wanted)) {
            return here;
        }
        let (_, place) = self.functions.range(..=offset).next_back()?;
        let known = self.places.get(place)?;
        let is_in = known
            .function
            .as_ref()
            .is_some_and(|function| function.contains(&offset));
        (is_in && wanted == Detail::default()).then_some(known)
    }
}

const fn covers(known: Detail, wanted: Detail) -> bool {
    (known.lines || !wanted.lines) && (known.inlines || !wanted.inlines)
}

const fn both(one: Detail, other: Detail) -> Detail {
    Detail {
        lines: one.lines && other.lines,
        inlines: one.inlines && other.inlines,
    }
}

/// Without what is not wanted: a line then is that of the instruction, whatever it was inlined from.
fn reduced(mut symbol: Symbol, wanted: Detail) -> Symbol {
    if !wanted.inlines && symbol.functions.len() > 1 {
        let source = symbol.functions[0].source.take();
        symbol.functions.drain(..symbol.functions.len() - 1);
        symbol.functions[0].source = source;
    }
    if !wanted.lines {
        for function in &mut symbol.functions {
            function.source = None;
        }
    }
    symbol
}

#[cfg(test)]
mod tests;
