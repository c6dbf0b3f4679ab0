//! What readers find out about files: the names of the places that stacks refer to, with lines and
//! inlined functions where these carry weight.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

use abi::{records::file, samples::StackHash};
use foldhash::fast::RandomState;
use symbolizer::{Detail, Names, Sources, SplitUnit};

use super::{
    Means,
    cache::{Cache, Key, Located},
};
use crate::{
    collected::Collected,
    debug_files::{Refused, Subject},
    files::Files,
    worker::MAX_UNITS,
};

/// A place is looked up in debug information where it has at least this share of all samples, or of
/// the time of all waits: what is narrower than that has no room for words in any picture.
const SHARE_FOR_DETAIL: f64 = 1e-4;

/// Fewer offsets than this are not worth a reader of their own.
const OFFSETS_OF_A_PART: usize = 64;

/// What is to be read of one file.
#[derive(Debug)]
struct Asked {
    number: u32,
    /// In ascending order, as are those of them that carry weight.
    offsets: Vec<u64>,
    detailed: Vec<u64>,
}

/// What was read of one file.
#[derive(Debug)]
pub(super) struct Read {
    /// What stacks call it.
    pub(super) number: u32,
    /// The offsets that stacks refer to, in ascending order.
    pub(super) offsets: Vec<u64>,
    /// What was found, where it could be opened.
    pub(super) found: Option<Found>,
}

/// What was read of a file that could be opened.
#[derive(Debug)]
pub(super) struct Found {
    /// One for each offset.
    pub(super) names: Vec<Located>,
    pub(super) build_id: Option<Vec<u8>>,
    pub(super) size_bytes: u64,
    /// Debug files that were there and are not used.
    pub(super) refused: Vec<Refused>,
}

/// Reads all files that stacks name, several at a time.
pub(super) fn all(collected: &Collected, means: &Means<'_>, cache: &Cache) -> Vec<Read> {
    let files = &collected.files;
    let waiting = Mutex::new(asked_of(collected).into_iter());
    let next = || lock(&waiting).next();
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..means.workers.readers() {
            scope.spawn(|| {
                while let Some(asked) = next() {
                    let found = opened(files, asked.number)
                        .map(|file| remembered(&file, &asked, files, means, cache));
                    let read = Read {
                        number: asked.number,
                        offsets: asked.offsets,
                        found,
                    };
                    lock(&done).push(read);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|read| read.number);
    done
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn opened(files: &Files, number: u32) -> Option<File> {
    match number {
        file::VDSO => symbolizer::vdso_file(),
        _ => files.open(number),
    }
}

fn remembered(
    file: &File,
    asked: &Asked,
    files: &Files,
    means: &Means<'_>,
    cache: &Cache,
) -> Found {
    let Some(remembered) = means.remembered else {
        return read(file, asked, files, means, cache);
    };
    remembered.names(file, &asked.offsets, |unknown| {
        let asked = Asked {
            number: asked.number,
            offsets: unknown.to_vec(),
            detailed: asked.detailed.clone(),
        };
        read(file, &asked, files, means, cache)
    })
}

fn read(file: &File, asked: &Asked, files: &Files, means: &Means<'_>, cache: &Cache) -> Found {
    let mut refused = Vec::new();
    let (names, build_id) = match means.workers.describe(file) {
        Ok(description) => {
            let root = files.root(asked.number);
            let known = files.get(asked.number);
            let subject = Subject {
                file,
                description: &description,
                path: known.map_or(Path::new(""), |known| &known.path),
                root: root.as_deref(),
            };
            let names = names_of(&subject, asked, means, cache, &mut refused);
            (names, description.build_id)
        }
        Err(miss) => (vec![(Err(miss), None); asked.offsets.len()], None),
    };
    Found {
        names,
        build_id,
        size_bytes: file.metadata().map_or(0, |data| data.len()),
        refused,
    }
}

/// The names of a file's places, from the cache, or from the file and what belongs to it.
fn names_of(
    subject: &Subject<'_>,
    asked: &Asked,
    means: &Means<'_>,
    cache: &Cache,
    refused: &mut Vec<Refused>,
) -> Vec<Located> {
    let found = means.finder.find(subject);
    refused.extend(found.refused);
    let sources = Sources {
        debug: found.debug.as_ref().map(|(debug, _)| debug),
        supplementary: found.common.as_ref(),
        package: found.package.as_ref(),
        ..Sources::alone(subject.file)
    };
    let others = [sources.debug, sources.supplementary, sources.package];
    let build_id = subject.description.build_id.as_deref();
    let key = Key::of(subject.file, build_id, &others);
    let has_dwarf = subject.description.has_dwarf || found.debug.is_some();
    let wanted = |offset| match asked.detailed.binary_search(&offset) {
        Ok(_) if has_dwarf => means.detail,
        _ => Detail::default(),
    };
    cache.names(key.as_ref(), &asked.offsets, wanted, |unknown| {
        let parts = match has_dwarf {
            true => parts(unknown, means.workers.readers()),
            false => vec![unknown],
        };
        let look_up = |units| {
            let sources = Sources { units, ..sources };
            in_parts(&parts, means, sources, &asked.detailed)
        };
        let (mut names, mut detail) = look_up(&[]);
        let units = split_units(subject, means, &names.lacking, refused);
        if !units.is_empty() {
            (names, detail) = look_up(&units);
        }
        // The next time there may be what lacks.
        let is_whole = names.lacking.is_empty();
        let detail = if is_whole { detail } else { Detail::default() };
        (names, detail)
    })
}

/// Offsets by ranges, so that several readers share the debug information of one file: what takes
/// long there is to parse the units in which the offsets lie, and a range has units of its own.
fn parts(offsets: &[u64], readers: usize) -> Vec<&[u64]> {
    let count = readers.min(offsets.len() / OFFSETS_OF_A_PART).max(1);
    offsets.chunks(offsets.len().div_ceil(count)).collect()
}

/// The names of all parts, and the detail in which all of them were looked up.
fn in_parts(
    parts: &[&[u64]],
    means: &Means<'_>,
    sources: Sources<'_>,
    detailed: &[u64],
) -> (Names, Detail) {
    let names = |part| means.workers.names(sources, part, means.detail, detailed);
    let [first, others @ ..] = parts else {
        return (Names::default(), means.detail);
    };
    thread::scope(|scope| {
        let others = others.iter().map(|part| scope.spawn(|| names(part)));
        let others: Vec<_> = others.collect();
        let (mut all, mut detail) = names(first);
        for other in others {
            let (more, its_detail) = other.join().expect("a lookup does not panic");
            all.answers.extend(more.answers);
            all.functions.extend(more.functions);
            all.lacking.extend(more.lacking);
            if its_detail != means.detail {
                detail = its_detail;
            }
        }
        all.lacking.sort_unstable();
        all.lacking.dedup();
        (all, detail)
    })
}

/// The files of split DWARF that lack, as far as they can be found.
fn split_units(
    subject: &Subject<'_>,
    means: &Means<'_>,
    lacking: &[SplitUnit],
    refused: &mut Vec<Refused>,
) -> Vec<File> {
    let mut units = Vec::new();
    for unit in lacking.iter().take(MAX_UNITS) {
        match means.finder.split_unit(subject, &unit.folder, &unit.name) {
            Ok(file) => units.push(file),
            Err(why) => refused.extend(why),
        }
    }
    units
}

/// The distinct offsets of each file, those of the most first.
fn asked_of(collected: &Collected) -> Vec<Asked> {
    let shares = shares(collected);
    let mut places: HashMap<(u32, u64), f64, RandomState> = HashMap::default();
    for (hash, stack) in &collected.user {
        // What no sample and no wait has is the stack of a waker.
        let share = shares.get(hash).copied().unwrap_or(1.0);
        for frame in &stack.frames {
            let place = (frame.file, frame.lookup_offset());
            *places.entry(place).or_default() += share;
        }
    }
    let mut files: HashMap<u32, BTreeMap<u64, f64>> = HashMap::new();
    for ((file, offset), share) in places {
        files.entry(file).or_default().insert(offset, share);
    }
    let asked = files.into_iter().map(|(number, offsets)| Asked {
        number,
        detailed: offsets
            .iter()
            .filter(|&(_, &share)| share >= SHARE_FOR_DETAIL)
            .map(|(&offset, _)| offset)
            .collect(),
        offsets: offsets.into_keys().collect(),
    });
    let mut asked: Vec<Asked> = asked.collect();
    // The longest first, so that no thread is left with it at the end.
    asked.sort_unstable_by_key(|asked| (std::cmp::Reverse(asked.offsets.len()), asked.number));
    asked
}

/// What share each user stack has of the samples or of the time of waits, whichever is more.
fn shares(collected: &Collected) -> HashMap<StackHash, f64> {
    let samples = collected.counts.iter();
    let samples = samples.map(|(key, count)| (key.user, count.samples));
    let waits = collected.waits.iter();
    let waits = waits.map(|(key, count)| (key.user, count.asleep_ns + count.queued_ns));
    let mut shares = shares_of(samples);
    for (hash, share) in shares_of(waits) {
        let known = shares.entry(hash).or_default();
        *known = known.max(share);
    }
    shares
}

fn shares_of(amounts: impl Iterator<Item = (StackHash, u64)>) -> HashMap<StackHash, f64> {
    let mut sums: HashMap<StackHash, u64> = HashMap::new();
    for (hash, amount) in amounts {
        *sums.entry(hash).or_default() += amount;
    }
    let total: u64 = sums.values().sum();
    let share = |sum: u64| sum as f64 / total.max(1) as f64;
    sums.into_iter()
        .map(|(hash, sum)| (hash, share(sum)))
        .collect()
}
