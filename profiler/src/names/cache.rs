//! Names on disk, a file for each file that has some: what one recording looked up, the next one, of
//! whatever process, need not.
//!
//! A name depends on the file, on the debug files that were there, and on the detail asked for; all
//! of it is stored beside it. A file that others than root may write can claim any build id, so its
//! names are for that very file alone, which its place, its number and its last change tell.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    ops::Range,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use symbolizer::{Detail, Function, Miss, Names, SourceLine, Symbol};

use crate::cache::{Folder, folder_of, hex, seal, unseal};

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
            if let Some(key) = key {
                self.store(key, &stored);
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
        offsets.iter().map(located).collect()
    }

    fn load(&self, key: &Key) -> Option<Places> {
        let bytes = self.folder.load(&key.name)?;
        let stored: Stored = postcard::from_bytes(unseal(VERSION, &bytes)?).ok()?;
        (stored.rests_on == key.rests_on).then(|| stored.known())?
    }

    /// Without a cache, the next recording looks the names up again.
    fn store(&self, key: &Key, known: &Places) {
        let stored = Stored::of(key, known);
        if let Ok(bytes) = postcard::to_stdvec(&stored) {
            let _unstored = self.folder.store(&key.name, &seal(VERSION, bytes));
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
        let sizes = others.iter().map(|other| {
            let data = other.and_then(|other| other.metadata().ok());
            data.map_or(0, |data| data.len())
        });
        let rests_on: Vec<u64> = [data.len()].into_iter().chain(sizes).collect();
        if rests_on.iter().all(|&size| size < MIN_FILE_BYTES) {
            return None;
        }
        let build_id = build_id.and_then(hex);
        let is_roots = data.uid() == 0 && data.mode() & 0o022 == 0;
        let name = match build_id {
            Some(id) if is_roots => id,
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

/// As it is written: each text and each symbol once.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    rests_on: Vec<u64>,
    texts: Vec<String>,
    symbols: Vec<Vec<StoredFunction>>,
    places: Vec<StoredPlace>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredPlace {
    offset: u64,
    detail: Detail,
    answer: Result<u32, Miss>,
    function: Option<Range<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct StoredFunction {
    name: u32,
    system_name: u32,
    source: Option<(u32, u32)>,
}

impl Stored {
    fn of(key: &Key, known: &Places) -> Self {
        let mut stored = Stored {
            rests_on: key.rests_on.clone(),
            ..Self::default()
        };
        let mut texts = HashMap::new();
        let mut symbols = HashMap::new();
        for (&offset, known) in &known.places {
            let answer = match &known.answer {
                Ok(symbol) => {
                    let functions = symbol.functions.iter();
                    let functions: Vec<_> = functions
                        .map(|function| stored.function(&mut texts, function))
                        .collect();
                    Ok(interned(&mut symbols, &mut stored.symbols, functions))
                }
                // The others may be otherwise the next time.
                Err(miss @ (Miss::NoSymbols | Miss::NotCovered | Miss::InvalidOffset)) => {
                    Err(*miss)
                }
                Err(_) => continue,
            };
            stored.places.push(StoredPlace {
                offset,
                detail: known.detail,
                answer,
                function: known.function.clone(),
            });
        }
        stored
    }

    fn function(
        &mut self,
        texts: &mut HashMap<String, u32>,
        function: &Function,
    ) -> StoredFunction {
        let mut text = |text: &String| interned(texts, &mut self.texts, text.clone());
        StoredFunction {
            name: text(&function.name),
            system_name: text(&function.system_name),
            source: function
                .source
                .as_ref()
                .map(|source| (text(&source.file), source.line)),
        }
    }

    /// `None` where a number names nothing.
    fn known(&self) -> Option<Places> {
        let text = |number: u32| self.texts.get(number as usize).cloned();
        let function = |stored: &StoredFunction| {
            let source = match stored.source {
                Some((file, line)) => Some(SourceLine {
                    file: text(file)?,
                    line,
                }),
                None => None,
            };
            Some(Function {
                name: text(stored.name)?,
                system_name: text(stored.system_name)?,
                source,
            })
        };
        let symbol = |number: u32| {
            let functions = self.symbols.get(number as usize)?.iter().map(function);
            let functions: Vec<_> = functions.collect::<Option<_>>()?;
            (!functions.is_empty()).then_some(Symbol { functions })
        };
        let mut known = Places::default();
        for place in &self.places {
            let answer = match place.answer {
                Ok(number) => Ok(symbol(number)?),
                Err(miss) => Err(miss),
            };
            let (detail, function) = (place.detail, place.function.clone());
            known.add(
                place.offset,
                Known {
                    detail,
                    answer,
                    function,
                },
            );
        }
        Some(known)
    }
}

fn interned<T: Clone + Eq + std::hash::Hash>(
    numbers: &mut HashMap<T, u32>,
    all: &mut Vec<T>,
    value: T,
) -> u32 {
    let next = all.len() as u32;
    *numbers.entry(value).or_insert_with_key(|value| {
        all.push(value.clone());
        next
    })
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
mod tests {
    use super::*;

    const ALL: Detail = Detail {
        lines: true,
        inlines: true,
    };
    const NAMES: Detail = Detail {
        lines: false,
        inlines: false,
    };

    fn function(name: &str, line: u32) -> Function {
        Function {
            name: name.to_owned(),
            system_name: name.to_owned(),
            source: Some(SourceLine {
                file: "a.c".to_owned(),
                line,
            }),
        }
    }

    fn symbol() -> Symbol {
        Symbol {
            functions: vec![function("inner", 3), function("outer", 9)],
        }
    }

    fn cache(folder: &tempfile::TempDir) -> Cache {
        Cache::within(Folder::new(folder.path().into(), 1 << 20, 1 << 20))
    }

    fn key(size: u64) -> Key {
        Key {
            name: "ab.names".to_owned(),
            rests_on: vec![size, 0],
        }
    }

    fn ask(cache: &Cache, key: &Key, wanted: Detail, answer: Answer) -> Answer {
        ask_at(5, cache, key, wanted, answer)
    }

    /// Asks for a place in the function from 4 to 8.
    fn ask_at(offset: u64, cache: &Cache, key: &Key, wanted: Detail, answer: Answer) -> Answer {
        let names = Names {
            answers: vec![answer],
            functions: vec![Some(4..8)],
            lacking: Vec::new(),
        };
        let mut found = cache.names(Some(key), &[offset], |_| wanted, |_| (names, ALL));
        let (answer, function) = found.remove(0);
        assert_eq!(function, Some(4..8));
        answer
    }

    /// What was looked up is found again, with no more detail than is wanted, and what rested on
    /// another file is not.
    #[test]
    fn names_are_looked_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = cache(&folder);
        assert_eq!(ask(&first, &key(7), ALL, Ok(symbol())), Ok(symbol()));
        assert_eq!(first.counts(), (0, 1));
        let second = cache(&folder);
        let other = Err(Miss::NoSymbols);
        assert_eq!(ask(&second, &key(7), ALL, other.clone()), Ok(symbol()));
        let bare = ask(&second, &key(7), NAMES, other.clone()).unwrap();
        let outer = Function {
            source: None,
            ..function("outer", 9)
        };
        assert_eq!(bare.functions, [outer]);
        let lines = Detail {
            lines: true,
            ..NAMES
        };
        let line = ask(&second, &key(7), lines, other.clone()).unwrap();
        assert_eq!(line.functions, [function("outer", 3)]);
        assert_eq!(second.counts(), (3, 0));
        assert_eq!(ask(&second, &key(8), ALL, other.clone()), other);
    }

    /// A name without detail is looked up again where detail is wanted, and a failure always.
    #[test]
    fn what_is_not_known_well_enough_is_looked_up() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder);
        assert!(ask(&cache, &key(7), NAMES, Ok(symbol())).is_ok());
        let gone = Err(Miss::TimedOut);
        assert_eq!(ask(&cache, &key(7), ALL, gone.clone()), gone);
        assert_eq!(ask(&cache, &key(7), ALL, Ok(symbol())), Ok(symbol()));
    }

    /// The name of one place is that of all of its function, and its inlined functions are not.
    #[test]
    fn a_function_has_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder);
        ask(&cache, &key(7), ALL, Ok(symbol())).unwrap();
        let other: Answer = Err(Miss::NotCovered);
        for offset in [4, 7] {
            let name = ask_at(offset, &cache, &key(7), NAMES, other.clone()).unwrap();
            assert_eq!(name.functions[0].name, "outer");
        }
        assert_eq!(ask_at(6, &cache, &key(7), ALL, other.clone()), other);
        let names = Names::default();
        let beyond = cache.names(Some(&key(7)), &[8], |_| NAMES, |_| (names, ALL));
        assert_eq!(beyond, [(Err(Miss::ReaderDied), None)]);
    }

    /// A file cut short or with a changed bit is as good as none, whatever its checksum says.
    #[test]
    fn damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder);
        ask(&cache, &key(7), ALL, Ok(symbol())).unwrap();
        let whole = std::fs::read(folder.path().join("ab.names")).unwrap();
        let body = unseal(VERSION, &whole).unwrap().to_vec();
        for at in 0..body.len() {
            for bytes in [body[..at].to_vec(), {
                let mut flipped = body.clone();
                flipped[at] ^= 0x80;
                flipped
            }] {
                std::fs::write(folder.path().join("ab.names"), seal(VERSION, bytes)).unwrap();
                let _any = cache.load(&key(7));
            }
        }
        std::fs::write(folder.path().join("ab.names"), &whole[..whole.len() - 1]).unwrap();
        assert!(cache.load(&key(7)).is_none());
    }

    /// Files that root does not own have their names for themselves, by their last change.
    #[test]
    fn a_claimed_build_id_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::tempfile().unwrap();
        file.set_len(MIN_FILE_BYTES).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o777))
            .unwrap();
        let of = || Key::of(&file, Some(&[0xab]), &[]).unwrap();
        let before = of();
        assert!(before.name.starts_with("ab-"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        file.set_len(MIN_FILE_BYTES).unwrap();
        assert_ne!(of().name, before.name);
        file.set_len(1).unwrap();
        assert_eq!(Key::of(&file, Some(&[0xab]), &[]), None);
    }
}
