//! The folder of a store: a file per day, and the lock of the one who writes.
//!
//! Knows names and sizes of files, and nothing of what is in them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use time::Date;

use crate::store::{Range, StoreError};

/// The length of a day of Coordinated Universal Time, which has no leap seconds here.
pub(super) const DAY_NS: i64 = 86_400_000_000_000;
/// The Julian day of 1970-01-01.
const EPOCH: i32 = 2_440_588;
/// Whose lock says who writes.
const LOCK: &str = "lock";
/// How often, and after how long each time, a lock is asked for that a reader may hold for a moment.
const TRIES: u32 = 20;
const WAIT: Duration = Duration::from_millis(50);

/// Which file: the day, counted from 1970-01-01, and which of the day's, where damage made a second
/// necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub(super) day: i32,
    pub(super) number: u32,
}

impl Name {
    /// The first file of the day in which a moment lies; `None` before 1970 and after 9999.
    pub(super) fn of(at_ns: i64) -> Option<Self> {
        let day = i32::try_from(at_ns.div_euclid(DAY_NS)).ok()?;
        let name = Self { day, number: 0 };
        (day >= 0 && name.date().is_some()).then_some(name)
    }

    pub(super) fn next(self) -> Self {
        Self {
            number: self.number + 1,
            ..self
        }
    }

    /// In which windows of the file begin.
    pub(super) fn range(self) -> Range {
        let from_ns = i64::from(self.day).saturating_mul(DAY_NS);
        Range {
            from_ns,
            to_ns: from_ns.saturating_add(DAY_NS),
        }
    }

    fn date(self) -> Option<Date> {
        Date::from_julian_day(EPOCH.checked_add(self.day)?).ok()
    }

    /// Such as `2026-11-25.db`, and `2026-11-25.1.db` for the second of the day.
    pub(super) fn file(self) -> String {
        let date = self.date().unwrap_or(Date::MIN);
        let (year, month, day) = date.to_calendar_date();
        let month = u8::from(month);
        match self.number {
            0 => format!("{year:04}-{month:02}-{day:02}.db"),
            number => format!("{year:04}-{month:02}-{day:02}.{number}.db"),
        }
    }

    fn from_file(file: &str) -> Option<Self> {
        let stem = file.strip_suffix(".db")?;
        let (date, number) = match stem.split_once('.') {
            None => (stem, 0),
            Some((date, number)) => (date, number.parse().ok()?),
        };
        let mut parts = date.splitn(3, '-');
        let year = parts.next()?.parse().ok()?;
        let month: u8 = parts.next()?.parse().ok()?;
        let day = parts.next()?.parse().ok()?;
        let date = Date::from_calendar_date(year, month.try_into().ok()?, day).ok()?;
        let day = date.to_julian_day().checked_sub(EPOCH)?;
        let name = Self { day, number };
        (name.file() == file).then_some(name)
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    pub(super) fn file(&self, name: Name) -> PathBuf {
        self.path.join(name.file())
    }

    /// The files of days, oldest first.
    pub(super) fn names(&self) -> Result<Vec<Name>, StoreError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|error| self.error("read", error))? {
            let entry = entry.map_err(|error| self.error("read", error))?;
            names.extend(entry.file_name().to_str().and_then(Name::from_file));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The bytes of all files on disk.
    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.path).map_err(|error| self.error("read", error))? {
            let entry = entry.map_err(|error| self.error("read", error))?;
            // A file that was removed since has none.
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(bytes)
    }

    /// Removes a day's file. Its log goes first: beside a new file of the same name it would be taken
    /// for that one's.
    pub(super) fn remove(&self, name: Name) -> Result<(), StoreError> {
        let path = self.file(name);
        for suffix in ["-wal", "-shm", ""] {
            let mut file = path.clone().into_os_string();
            file.push(suffix);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::engine(
                        format!("remove `{}`", path.display()),
                        error,
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Becomes the one who writes, until the file is closed; makes the folder where there is none.
    pub(super) fn lock_to_write(&self) -> Result<File, StoreError> {
        let what = "open for writing";
        self.create().map_err(|error| self.error(what, error))?;
        let mut file = self
            .lock_file(true)
            .map_err(|error| self.error(what, error))?;
        for _ in 0..TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    self.sign(&mut file)
                        .map_err(|error| self.error(what, error))?;
                    return Ok(file);
                }
                Err(Errno::WOULDBLOCK) => thread::sleep(WAIT),
                Err(error) => return Err(self.error(what, error.into())),
            }
        }
        let mut holder = String::new();
        // Who it is helps the reader; that there is somebody is known without.
        let _ = file.read_to_string(&mut holder);
        let holder = crate::clean::clean(holder.trim()).into_owned();
        Err(StoreError::Refused(format!(
            "process {holder} writes to `{}` already, and a store has one writer: stop that one, or \
             choose another folder",
            self.path.display()
        )))
    }

    /// Keeps writers away until the file is closed; `None` where somebody writes.
    pub(super) fn lock_to_read(&self) -> io::Result<Option<File>> {
        let file = self.lock_file(false)?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn lock_file(&self, write: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(write).create(write).mode(0o600);
        options.open(self.path.join(LOCK))
    }

    /// On a full disk the lock holds all the same, without the number.
    fn sign(&self, file: &mut File) -> io::Result<()> {
        file.set_len(0)?;
        match writeln!(file, "{}", std::process::id()) {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
            _ => Ok(()),
        }
    }

    /// Only its owner looks in: stacks and names tell what a machine does.
    fn create(&self) -> io::Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)?;
        // So that the folder is there after a loss of power, as the files in it are.
        match self.path.canonicalize()?.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    fn error(&self, what: &str, error: io::Error) -> StoreError {
        StoreError::engine(format!("{what} the store `{}`", self.path.display()), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment's file is that of its day, and a file's name gives the day back.
    #[test]
    fn names_are_dates() {
        let name = Name::of(1_700_000_000_000_000_000).unwrap();
        assert_eq!(name.file(), "2023-11-14.db");
        assert_eq!(name.next().file(), "2023-11-14.1.db");
        for name in [name, name.next()] {
            assert_eq!(Name::from_file(&name.file()), Some(name));
        }
        assert_eq!(Name::of(DAY_NS - 1).unwrap().file(), "1970-01-01.db");
        assert_eq!(Name::of(DAY_NS).unwrap().file(), "1970-01-02.db");
        assert_eq!(Name::of(-1), None);
    }

    /// What is not exactly such a name is no file of the store.
    #[test]
    fn other_names_are_left_alone() {
        for file in [
            "lock",
            "2023-11-14.db-wal",
            "2023-1-14.db",
            "2023-02-30.db",
            "2023-11-14.01.db",
            "+2023-11-14.db",
            "2023-11-14.0.db",
        ] {
            assert_eq!(Name::from_file(file), None, "{file}");
        }
    }
}
