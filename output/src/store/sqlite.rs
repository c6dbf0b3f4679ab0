//! The store that needs nothing: a folder with a file of SQLite for each day.
//!
//! The tables, the bytes in them, and what happens when something fails are in `docs/design/store.md`.
//! Several processes may read while one writes.

mod append;
mod block;
mod choose;
mod damage;
mod file;
mod folder;
mod names;
mod plan;
mod read;
mod rows;
mod scan;
mod tidy;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use self::append::{AppendError, Memory};
use self::damage::{Damage, Part, Parts};
use self::file::{Opening, Reading};
use self::folder::{DAY_NS, Folder, Name};
use self::read::ReadError;
use self::scan::DayFile;
use self::tidy::Due;
use super::merge::{MAX_SAMPLES, Merger};
use super::summary::Summary;
use super::sums::Sums;
use super::{Kept, Label, Query, Range, Retention, Store, StoreError, Timeline, TimelineOf};
use crate::ledger::RowKind;
use crate::profile::{Profile, SampleType};

/// Files that are open for writing at once: around midnight, and where a clock jumps, windows of two days
/// come by turns.
const MAX_OPEN: usize = 2;

/// Files that one answer has open at once: each takes three descriptors.
const MAX_READ: usize = 8;

/// A store in a folder.
#[derive(Debug)]
pub(super) struct Sqlite {
    folder: Folder,
    /// Becomes the writer with the first window.
    writer: Mutex<Option<Writer>>,
    damaged: Mutex<Parts>,
    max_samples: usize,
}

#[derive(Debug)]
struct Writer {
    _lock: File,
    /// The file used last is the last.
    open: Vec<Written>,
    /// The files of days that are over, in which all is rolled up.
    settled: BTreeSet<Name>,
    /// Roll-ups that are not made.
    left: BTreeSet<Due>,
}

#[derive(Debug)]
struct Written {
    name: Name,
    db: Connection,
    memory: Memory,
}

impl Sqlite {
    /// The store in a folder, which need not be there yet: the first window makes it.
    ///
    /// # Errors
    /// When there is something else of that name.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        if path.exists() && !path.is_dir() {
            let text = format!("`{}` is not a folder, as a store is", path.display());
            return Err(StoreError::Refused(text));
        }
        Ok(Self {
            folder: Folder::new(path),
            writer: Mutex::new(None),
            damaged: Mutex::default(),
            max_samples: MAX_SAMPLES,
        })
    }

    /// The files that may have windows in a range, oldest first.
    fn files(&self, range: Range) -> Result<Files<'_>, StoreError> {
        let names = match range.is_empty() {
            true => Vec::new(),
            false => self.folder.names()?,
        };
        let may_have = |name: &Name| {
            // A window is no longer than a day, so that the one before midnight may reach into the next.
            let has = name.range();
            has.from_ns < range.to_ns && has.to_ns.saturating_add(DAY_NS) > range.from_ns
        };
        Ok(Files {
            store: self,
            names: names.into_iter().filter(may_have).collect(),
            open: RefCell::default(),
            damage: Damage::default(),
        })
    }

    /// Does something as the one who writes.
    fn as_writer<T>(
        &self,
        act: impl FnOnce(&mut Writer) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut held = locked(&self.writer);
        let writer = match &mut *held {
            Some(writer) => writer,
            none => none.insert(Writer {
                _lock: self.folder.lock_to_write()?,
                open: Vec::new(),
                settled: BTreeSet::new(),
                left: BTreeSet::new(),
            }),
        };
        let done = act(writer);
        if done.is_err() && writer.open.is_empty() {
            // So that readers can do without shared memory where the disk has no room for it.
            *held = None;
        }
        done
    }
}

/// Files of one answer, and the damage that it meets, which the store remembers.
#[derive(Debug)]
struct Files<'a> {
    store: &'a Sqlite,
    names: Vec<Name>,
    /// The newest, which may be written to, stay open as they are at their first reading.
    open: RefCell<HashMap<Name, Reading>>,
    damage: Damage,
}

impl Files<'_> {
    fn each<E: Into<ReadError>>(
        &self,
        mut read: impl FnMut(&DayFile<'_>) -> Result<(), E>,
    ) -> Result<(), StoreError> {
        let older = self.names.len().saturating_sub(MAX_READ);
        for (index, &name) in self.names.iter().enumerate() {
            let open = self.open.borrow_mut().remove(&name);
            let Some(reading) = open.map_or_else(|| self.open(name), |open| Ok(Some(open)))? else {
                continue;
            };
            let file = DayFile {
                name,
                reading: &reading,
                damage: &self.damage,
            };
            read(&file).map_err(|error| match error.into() {
                ReadError::Sqlite(error) => {
                    Opening::Sqlite(error).when("read", &self.store.folder.file(name))
                }
                ReadError::Store(error) => error,
            })?;
            if index >= older {
                self.open.borrow_mut().insert(name, reading);
            }
        }
        Ok(())
    }

    /// `None` where it is damaged, which is told, or gone.
    fn open(&self, name: Name) -> Result<Option<Reading>, StoreError> {
        let folder = &self.store.folder;
        match file::open_to_read(folder, name) {
            Ok(reading) => Ok(reading),
            Err(error) if error.is_damage() => {
                self.damage.note(name, Part::File);
                Ok(None)
            }
            Err(error) => Err(error.when("read", &folder.file(name))),
        }
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        self.damage.add_to(&mut locked(&self.store.damaged));
    }
}

/// The state is right between any two statements, so that a thread that ended within is no reason to end.
fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Keeps a window in the newest file of its day; in a new one where that is damaged.
    fn append(&mut self, folder: &Folder, name: Name, window: &Profile) -> Result<(), StoreError> {
        let names = folder.names()?;
        // What was removed by hand is not written to any more.
        self.open.retain(|written| names.contains(&written.name));
        let of_day = names.into_iter().filter(|of| of.day == name.day);
        let newest = of_day.max();
        let mut name = newest.unwrap_or(name);
        loop {
            let path = folder.file(name);
            let error = match self.append_to(folder, name, window) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !error.is_damage() || newest != Some(name) {
                return Err(error.when("keep a window in", &path));
            }
            name = name.next();
        }
    }

    fn append_to(&mut self, folder: &Folder, name: Name, window: &Profile) -> Result<(), Opening> {
        let open = self.open.iter().position(|written| written.name == name);
        let mut written = match open {
            Some(index) => self.open.remove(index),
            None => Written {
                name,
                db: file::open_to_write(folder, name)?,
                memory: Memory::default(),
            },
        };
        self.settled.remove(&name);
        let appended = append::append(&mut written.db, &mut written.memory, window);
        let error = match appended {
            Ok(()) => None,
            Err(AppendError::Sqlite(error)) => Some(Opening::Sqlite(error)),
            Err(AppendError::Encode(error)) => Some(Opening::Store(StoreError::engine(
                format!("keep a window in `{}`", folder.file(name).display()),
                error,
            ))),
        };
        if error.is_some() {
            // What was remembered may not be there. The file stays open, since on a full disk it could
            // not be opened again, and readers would not find its shared memory.
            written.memory = Memory::default();
        }
        if !error.as_ref().is_some_and(Opening::is_damage) {
            self.open.push(written);
        }
        if self.open.len() > MAX_OPEN {
            self.open.remove(0);
        }
        error.map_or(Ok(()), Err)
    }
}

impl Store for Sqlite {
    fn append(&self, window: &Profile) -> Result<(), StoreError> {
        let meta = window.meta();
        let is_short = (0..=DAY_NS).contains(&meta.duration_nanos);
        let Some(name) = Name::of(meta.time_nanos).filter(|_| is_short) else {
            let text = "a window begins between 1970 and 9999 and is no longer than a day";
            return Err(StoreError::Refused(text.to_owned()));
        };
        self.as_writer(|writer| writer.append(&self.folder, name, window))
    }

    fn query(&self, query: &Query) -> Result<Option<Profile>, StoreError> {
        let files = self.files(query.range)?;
        let mut summary = Summary::default();
        files.each(|file| read::summary(file, query, &mut summary))?;
        let Some(profile) = summary.profile(query.range) else {
            return Ok(None);
        };
        let mut merger = Merger::new(profile, self.max_samples);
        files.each(|file| read::query(file, query, &mut merger))?;
        let mut profile = merger.finish();
        let damaged = files.damage.count();
        if damaged > 0 {
            let (name, meaning) = (
                "damaged parts",
                "of the store could not be read and are left out",
            );
            profile.ledger.push(RowKind::Note, name, damaged, meaning);
            profile.comment(&format!("{damaged} {name} {meaning}"));
        }
        Ok(Some(profile))
    }

    fn timeline(&self, query: &Query, of: &TimelineOf<'_>) -> Result<Timeline, StoreError> {
        let files = self.files(query.range)?;
        let mut sums = Sums::new(query, of)?;
        files.each(|file| {
            read::windows(file, query, |head| {
                let from_ns = head.meta.time_nanos;
                sums.cover(from_ns, from_ns.saturating_add(head.meta.duration_nanos));
            })?;
            read::timeline(file, query, of, &mut sums)
        })?;
        Ok(sums.finish())
    }

    fn values(&self, query: &Query, label: Label) -> Result<Vec<String>, StoreError> {
        let mut values = BTreeSet::new();
        let files = self.files(query.range)?;
        files.each(|file| read::values(file, query, label, &mut values))?;
        Ok(values.into_iter().collect())
    }

    fn sample_types(&self, range: Range) -> Result<Vec<SampleType>, StoreError> {
        let mut summary = Summary::default();
        let query = Query {
            range,
            matchers: Vec::new(),
        };
        let files = self.files(range)?;
        files.each(|file| read::summary(file, &query, &mut summary))?;
        Ok(summary.sample_types())
    }

    fn kept(&self) -> Result<Kept, StoreError> {
        let mut kept = Kept {
            bytes: self.folder.bytes()?,
            ..Kept::default()
        };
        let files = self.files(Range {
            from_ns: i64::MIN,
            to_ns: i64::MAX,
        })?;
        files.each(|file| {
            let of_file = file.kept()?;
            kept.windows += of_file.windows;
            let oldest = [kept.oldest_ns, of_file.oldest_ns];
            kept.oldest_ns = oldest.into_iter().flatten().min();
            kept.newest_ns = kept.newest_ns.max(of_file.newest_ns);
            Ok::<_, rusqlite::Error>(())
        })?;
        drop(files);
        kept.damaged = locked(&self.damaged).len() as u64;
        Ok(kept)
    }

    fn tidy(&self, now_ns: i64, retention: Retention) -> Result<(), StoreError> {
        self.roll_up(now_ns)?;
        self.retain(now_ns, retention)
    }
}
