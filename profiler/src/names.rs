//! A name for each distinct place that stacks refer to: each is looked up once, whatever the
//! number of samples, and what has no name has a reason.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
};

use abi::{
    records::{UserFrame, file},
    samples::{SampleKey, StackHash},
};
use foldhash::fast::RandomState;
use output::{Frame, FrameId, FrameKind, Function, Line, Mapping, MappingId, MappingKind, Profile};
use symbolizer::{Detail, Symbol};

mod cache;
mod nameless;
mod read;
mod remembered;

use crate::{
    collected::Collected,
    debug_files::Finder,
    jit::{Addresses, JitPlaces},
    worker::{Lost, Workers},
};
use cache::Cache;
pub use cache::Storing;
pub use nameless::Nameless;
use read::Read;
pub use remembered::Remembered;

/// Functions in which the stack of a thread begins. What called them is no code of the program,
/// so a walk that ends there is whole, whether or not a frame pointer says so.
const ENTRIES: &[&str] = &[
    "_start",
    "_dl_start",
    "_dl_start_user",
    "__libc_start_call_main",
    "__libc_start_main",
    "__libc_start_main_impl",
    "start_thread",
    "thread_start",
    "clone",
    "clone3",
    "__clone",
    "__clone3",
    "__clone_internal",
];

/// How many findings on files are told.
const MAX_WORDS: usize = 16;

/// Whose a stack is, and when it was taken: what a JIT has at an address differs from process to
/// process and from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Whose {
    /// The process.
    pub pid: u32,
    /// On the monotonic clock, where that is known.
    pub time_ns: Option<u64>,
}

impl Whose {
    /// A process, at any time.
    #[must_use]
    pub const fn of_process(pid: u32) -> Self {
        Self { pid, time_ns: None }
    }

    /// Whose the stacks of a count are.
    #[must_use]
    pub const fn of_sample(collected: &Collected, key: &SampleKey) -> Self {
        Self {
            pid: key.pid,
            time_ns: collected.moments.end_ns(key.moment),
        }
    }
}

/// A place of the profile.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// What is shown.
    pub frame: FrameId,
    /// Whether stacks begin here.
    pub is_entry: bool,
    /// Why it is shown without a name, where it is.
    pub nameless: Option<Nameless>,
}

/// By what names are found, and how much is to be found.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// What to tell beside the names.
    pub detail: Detail,
    /// Who reads files.
    pub workers: &'a Workers,
    /// Who finds the debug files of a file.
    pub finder: &'a Finder<'a>,
    /// What earlier windows found.
    pub remembered: Option<&'a Remembered>,
}

/// How names were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Places whose names an earlier recording had looked up.
    pub cached: u64,
    /// Places that were looked up.
    pub looked_up: u64,
    /// What became of the processes that read files.
    pub lost: Lost,
}

/// Every place that the collected stacks refer to.
#[derive(Debug, Default)]
pub struct Names {
    user: HashMap<(u32, u64), Named, RandomState>,
    kernel: HashMap<u64, Named, RandomState>,
    /// How they were found.
    pub reading: Reading,
    /// Those that are being written into the cache.
    pub storing: Option<Storing>,
    /// What the user is told of files that were found on the way, a sentence each.
    pub words: Vec<String>,
    jit: JitPlaces<Named>,
}

impl Names {
    /// Looks up all of it.
    pub fn look_up(collected: &Collected, profile: &mut Profile, means: &Means<'_>) -> Self {
        let mut names = Self::default();
        let cache = Cache::new();
        for read in read::all(collected, means, &cache) {
            names.enter(collected, profile, &read);
            let found = read.found.into_iter();
            let refused = found.flat_map(|found| found.refused);
            names
                .words
                .extend(refused.map(|refused| refused.to_string()));
        }
        let (cached, looked_up) = cache.counts();
        names.reading = Reading {
            cached,
            looked_up,
            lost: means.workers.what_was_lost(),
        };
        names.storing = Some(cache.store_beside());
        names.words.extend(means.finder.complaints());
        names.words = told(std::mem::take(&mut names.words));
        names.look_up_kernel(collected, profile);
        names.look_up_jit(collected, profile, means.workers);
        names
    }

    /// The name of a frame of a user stack.
    #[must_use]
    pub fn user(&self, frame: &UserFrame, whose: Whose) -> Named {
        let address = frame.lookup_offset();
        let known = self.user[&(frame.file, address)];
        if frame.file != file::ANONYMOUS {
            return known;
        }
        match self.jit.get(whose.pid, address, whose.time_ns) {
            Ok(&named) => named,
            Err(unlisted) => Named {
                nameless: Some(unlisted.into()),
                ..known
            },
        }
    }

    /// The name of an address of a kernel stack.
    #[must_use]
    pub fn kernel(&self, address: u64) -> Named {
        self.kernel[&address]
    }

    /// Takes in what was read of a file.
    fn enter(&mut self, collected: &Collected, profile: &mut Profile, read: &Read) {
        let known = collected.files.get(read.number);
        let path = known.map(|known| known.path.to_string_lossy().into_owned());
        let mut place = Place {
            kind: FrameKind::User,
            mapping: mapping(profile, read, path.as_deref()),
            text: match read.number {
                file::ANONYMOUS => Some("[anonymous memory]".to_owned()),
                _ => path.filter(|path| !path.is_empty()),
            },
            last: None,
        };
        let without = match read.number {
            file::ANONYMOUS => Nameless::Anonymous,
            _ if read.number < file::VDSO => Nameless::NoFile,
            _ => Nameless::FileGone,
        };
        for (index, &offset) in read.offsets.iter().enumerate() {
            let (answer, function) = match &read.found {
                Some(found) => {
                    let (answer, function) = &found.names[index];
                    (
                        answer.as_ref().map_err(|&miss| Nameless::of(miss)),
                        function.as_ref(),
                    )
                }
                None => (Err(without), None),
            };
            let start = function.map_or(offset, |function| function.start);
            let named = place.name(profile, offset, start, answer);
            self.user.insert((read.number, offset), named);
        }
    }

    /// What JITs list.
    fn look_up_jit(&mut self, collected: &Collected, profile: &mut Profile, workers: &Workers) {
        let addresses = jit_addresses(collected);
        self.jit = JitPlaces::look_up(
            &collected.jit,
            &addresses,
            workers,
            |path, address, symbol| {
                let mapping = Mapping {
                    name: profile.intern_string(&path.to_string_lossy()),
                    build_id: None,
                    kind: MappingKind::Jit,
                    size_bytes: 0,
                };
                let mut place = Place {
                    kind: FrameKind::User,
                    mapping: Some(profile.intern_mapping(mapping)),
                    text: None,
                    last: None,
                };
                place.name(profile, address, address, Ok(symbol))
            },
        );
    }

    fn look_up_kernel(&mut self, collected: &Collected, profile: &mut Profile) {
        let stacks = collected.kernel.values();
        let addresses: BTreeSet<u64> = stacks
            .flat_map(|stack| call_addresses(&stack.frames))
            .collect();
        let addresses: Vec<u64> = addresses.into_iter().collect();
        let mapping = Mapping {
            name: profile.intern_string("[kernel.kallsyms]"),
            build_id: symbolizer::kernel_build_id(),
            kind: MappingKind::Kernel,
            size_bytes: 0,
        };
        let mut place = Place {
            kind: FrameKind::Kernel,
            mapping: Some(profile.intern_mapping(mapping)),
            text: None,
            last: None,
        };
        let answers = collected.kernel_code.resolve(&addresses);
        for (address, answer) in addresses.into_iter().zip(answers) {
            let answer = answer.as_ref().map_err(|&miss| Nameless::of(miss));
            let named = place.name(profile, address, address, answer);
            self.kernel.insert(address, named);
        }
    }
}

/// Each sentence once, and no more of them than anybody reads: a program names as many files as it
/// likes.
fn told(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words.dedup();
    let more = words.len().saturating_sub(MAX_WORDS);
    if more > 0 {
        words.truncate(MAX_WORDS);
        words.push(format!("{more} more findings of this kind"));
    }
    words
}

/// The name of a thread or a process, as the kernel keeps it.
#[must_use]
pub fn comm(bytes: &[u8]) -> String {
    let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The name of the function whose frame it is, into which others may be inlined.
#[must_use]
pub fn function_of(profile: &Profile, frame: FrameId) -> &str {
    let line = profile.frame(frame).lines.last();
    line.map_or("", |line| {
        profile.text(profile.function(line.function).name)
    })
}

/// A kernel stack's addresses to look up: all but the leaf's are return addresses.
pub(crate) fn call_addresses(frames: &[u64]) -> impl DoubleEndedIterator<Item = u64> + '_ {
    frames
        .iter()
        .enumerate()
        .map(|(index, address)| address.saturating_sub(u64::from(index != 0)))
}

/// The addresses in memory without a file, by the processes in whose stacks they are.
fn jit_addresses(collected: &Collected) -> Addresses {
    let stacks = collected.user.iter();
    let stacks = stacks.filter_map(|(hash, stack)| {
        let frames = stack.frames.iter();
        let frames = frames.filter(|frame| frame.file == file::ANONYMOUS);
        let addresses: Vec<u64> = frames.map(UserFrame::lookup_offset).collect();
        (!addresses.is_empty()).then_some((*hash, addresses))
    });
    let stacks: HashMap<StackHash, Vec<u64>> = stacks.collect();
    let samples = collected.counts.keys().map(|key| (key.pid, key.user));
    let waits = collected.waits.keys().map(|key| (key.pid, key.user));
    let wakers = collected.wakers.values();
    let wakers = wakers.map(|waker| (waker.pid, waker.user));
    let all: HashSet<_> = samples.chain(waits).chain(wakers).collect();
    let mut addresses = Addresses::new();
    for (pid, user) in all {
        if let Some(of_stack) = stacks.get(&user) {
            addresses.entry(pid).or_default().extend(of_stack);
        }
    }
    addresses
}

fn mapping(profile: &mut Profile, read: &Read, path: Option<&str>) -> Option<MappingId> {
    let (name, kind) = match read.number {
        file::VDSO => ("[vdso]", MappingKind::Vdso),
        number if number < file::FIRST => return None,
        _ => (
            path.filter(|path| !path.is_empty()).unwrap_or("[unknown]"),
            MappingKind::File,
        ),
    };
    let found = read.found.as_ref();
    let mapping = Mapping {
        name: profile.intern_string(name),
        build_id: found.and_then(|found| found.build_id.clone()),
        kind,
        size_bytes: found.map_or(0, |found| found.size_bytes),
    };
    Some(profile.intern_mapping(mapping))
}

/// Where offsets or addresses that are looked up together lie.
struct Place {
    kind: FrameKind,
    mapping: Option<MappingId>,
    /// What stands for a place without a name: a path, to which the offset is added.
    text: Option<String>,
    /// What was found last: places of one function stand together.
    last: Option<(Symbol, Vec<Line>)>,
}

impl Place {
    /// The name of a place; `start` is where its function begins, as far as that is known, so that all
    /// of a function without a name is shown as one.
    fn name(
        &mut self,
        profile: &mut Profile,
        address: u64,
        start: u64,
        answer: Result<&Symbol, Nameless>,
    ) -> Named {
        let lines = match answer {
            Ok(symbol) => match &self.last {
                Some((known, lines)) if known == symbol => lines.clone(),
                _ => {
                    let lines = lines(profile, symbol);
                    self.last = Some((symbol.clone(), lines.clone()));
                    lines
                }
            },
            Err(_) => vec![line_of(profile, &self.unnamed(start))],
        };
        let frame = profile.intern_frame(Frame {
            mapping: self.mapping,
            address,
            kind: self.kind,
            lines,
        });
        let is_entry = answer.is_ok_and(|symbol| {
            let outermost = symbol.functions.last();
            outermost.is_some_and(|function| ENTRIES.contains(&function.name.as_str()))
        });
        Named {
            frame,
            is_entry,
            nameless: answer.err(),
        }
    }

    fn unnamed(&self, address: u64) -> String {
        match &self.text {
            Some(text) if text.starts_with('[') => text.clone(),
            Some(path) => format!("{}+{address:#x}", path.rsplit('/').next().unwrap_or(path)),
            None => "[unknown]".to_owned(),
        }
    }
}

fn lines(profile: &mut Profile, symbol: &Symbol) -> Vec<Line> {
    let functions = symbol.functions.iter().enumerate();
    functions
        .map(|(place, function)| {
            let source = function.source.as_ref();
            let is_inlined = place + 1 < symbol.functions.len();
            let name = shown_name(function, is_inlined, profile.short_names);
            let interned = Function {
                name: profile.intern_string(&name),
                system_name: profile.intern_string(&function.system_name),
                file: source.map(|source| profile.intern_string(&source.file)),
                start_line: 0,
            };
            Line {
                function: profile.intern_function(interned),
                line: source.map_or(0, |source| source.line),
            }
        })
        .collect()
}

/// Names that are mangled, or of inlined functions, are those of C++ or Rust or like them, and can be
/// shortened; others, such as a JIT compiler's, mean other things by the same signs.
fn shown_name(function: &symbolizer::Function, is_inlined: bool, short: bool) -> Cow<'_, str> {
    let is_compiled = is_inlined || function.name != function.system_name;
    match short && is_compiled {
        true => symbolizer::short_name(&function.name).into(),
        false => function.name.as_str().into(),
    }
}

fn line_of(profile: &mut Profile, name: &str) -> Line {
    let name = profile.intern_string(name);
    let function = Function {
        name,
        system_name: name,
        file: None,
        start_line: 0,
    };
    let function = profile.intern_function(function);
    Line { function, line: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told twice is told once, and of a flood the beginning and its size.
    #[test]
    fn findings_are_bounded() {
        let words = |count: usize| (0..count).map(|number| format!("{number:04}")).collect();
        let twice: Vec<String> = [words(9), words(9)].concat();
        assert_eq!(told(twice).len(), 9);
        let many = told(words(1000));
        assert_eq!(many.len(), MAX_WORDS + 1);
        assert!(many[MAX_WORDS].starts_with("984 more"));
    }
}
