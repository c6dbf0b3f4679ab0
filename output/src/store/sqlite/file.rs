//! A day's file: how it is opened, its tables, and which of SQLite's errors mean damage.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::folder::{Folder, Name};
use crate::store::StoreError;

/// The version of the tables below.
const VERSION: i64 = 1;
/// `tSnk`, by which `file` and others may know the format.
const APPLICATION_ID: i64 = 0x7453_6e6b;
/// How long one waits for another who holds the file for a moment.
const BUSY: Duration = Duration::from_secs(10);
/// Rows of the usual length waste less of such a page than of one of 4096 bytes, and a commit writes
/// whole pages.
const PAGE_BYTES: i64 = 8192;
/// The log is copied into the file when it has so many pages: 2 MiB.
const LOG_PAGES: i64 = 256;

/// A disk with less room than the file through which SQLite's processes see each other takes is full.
const LEAST_BYTES: u64 = 65_536;
/// How a file is opened that has a log and lies where nobody can write.
const WITHOUT_LOCKS: &str = "mode=ro&vfs=unix-none";

const TABLES: &str = "
CREATE TABLE strings (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, text TEXT NOT NULL,
    crc INTEGER NOT NULL);
CREATE INDEX strings_by_hash ON strings (hash);
CREATE TABLE mappings (id INTEGER PRIMARY KEY, name INTEGER NOT NULL, build_id BLOB NOT NULL,
    kind INTEGER NOT NULL, size_bytes INTEGER NOT NULL, crc INTEGER NOT NULL,
    UNIQUE (name, build_id, kind, size_bytes));
CREATE TABLE functions (id INTEGER PRIMARY KEY, name INTEGER NOT NULL, system_name INTEGER NOT NULL,
    file INTEGER NOT NULL, start_line INTEGER NOT NULL, crc INTEGER NOT NULL,
    UNIQUE (name, system_name, file, start_line));
CREATE TABLE frames (id INTEGER PRIMARY KEY, mapping INTEGER NOT NULL, address INTEGER NOT NULL,
    kind INTEGER NOT NULL, lines BLOB NOT NULL, crc INTEGER NOT NULL,
    UNIQUE (mapping, address, kind, lines));
CREATE TABLE stacks (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, frames BLOB NOT NULL,
    crc INTEGER NOT NULL);
CREATE INDEX stacks_by_hash ON stacks (hash);
CREATE TABLE series (id INTEGER PRIMARY KEY, host INTEGER NOT NULL, process INTEGER NOT NULL,
    cgroup INTEGER NOT NULL, crc INTEGER NOT NULL, UNIQUE (host, process, cgroup));
CREATE TABLE types (id INTEGER PRIMARY KEY, name INTEGER NOT NULL, unit INTEGER NOT NULL,
    crc INTEGER NOT NULL, UNIQUE (name, unit));
CREATE TABLE recordings (id INTEGER PRIMARY KEY, body BLOB NOT NULL UNIQUE, crc INTEGER NOT NULL);
CREATE TABLE windows (id INTEGER PRIMARY KEY, from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL,
    recording INTEGER NOT NULL, notes BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX windows_by_time ON windows (from_ns, to_ns);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, level INTEGER NOT NULL, from_ns INTEGER NOT NULL,
    to_ns INTEGER NOT NULL, slice_ns INTEGER NOT NULL, totals BLOB NOT NULL, samples BLOB NOT NULL,
    crc INTEGER NOT NULL);
CREATE INDEX blocks_by_time ON blocks (level, from_ns, to_ns, slice_ns);
";

/// Opens a day's file to write to it, and makes it where there is none.
pub(super) fn open_to_write(folder: &Folder, name: Name) -> Result<Connection, Opening> {
    let path = folder.file(name);
    if !path.exists() {
        folder.remove(name)?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&path, flags)?;
    db.busy_timeout(BUSY)?;
    if version(&db, &path)? == 0 {
        create(&db)?;
    }
    // A commit returns when the log is on the disk.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    db.pragma_update(None, "journal_size_limit", LOG_PAGES * PAGE_BYTES)?;
    // What one statement changes is kept until it ends, which else would be written to a file.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}

/// All tables or none, whatever comes between.
fn create(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

/// Opens a day's file to read it; `None` where it has no tables yet, or is gone.
pub(super) fn open_to_read(folder: &Folder, name: Name) -> Result<Option<Reading>, Opening> {
    let path = folder.file(name);
    if !path.exists() {
        return Ok(None);
    }
    match read(&path, "mode=ro") {
        Ok(reading) => Ok(reading),
        Err(Opening::Sqlite(error)) if lacks_memory_file(&error) => alone(folder, &path, error),
        Err(error) => Err(error),
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) db: Connection,
    /// Keeps writers away where readers cannot be seen by them.
    _lock: Option<std::fs::File>,
}

impl Reading {
    /// By the one who writes.
    pub(super) fn of_writer(db: Connection) -> Self {
        Self { db, _lock: None }
    }
}

/// Without the file of shared memory through which SQLite's processes see each other, which cannot be
/// made on a read-only or full disk. The store's own lock keeps writers away instead, where there could
/// be any.
fn alone(folder: &Folder, path: &Path, error: rusqlite::Error) -> Result<Option<Reading>, Opening> {
    let lock = match folder.lock_to_read() {
        Ok(None) => return Err(error.into()),
        Ok(lock) => lock,
        // There was never a writer, or a copy was made without the lock; nobody can write to it here.
        Err(_) => None,
    };
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
    let how = match has_log {
        true => WITHOUT_LOCKS,
        false => "immutable=1",
    };
    let reading = read(path, how)?;
    Ok(reading.map(|reading| Reading {
        _lock: lock,
        ..reading
    }))
}

fn read(path: &Path, how: &str) -> Result<Option<Reading>, Opening> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(uri(path, how), flags)?;
    db.busy_timeout(BUSY)?;
    if how == WITHOUT_LOCKS {
        // The index of the log is then kept in this process's memory.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    let reading = Reading { db, _lock: None };
    let has_tables = version(&reading.db, path)? > 0;
    // What is read from here on is of one moment, whatever is written meanwhile.
    reading.db.execute_batch("BEGIN")?;
    Ok(has_tables.then_some(reading))
}

/// The address of a file, in which SQLite wants some characters escaped.
fn uri(path: &Path, how: &str) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => uri.push(byte.into()),
            _ => write!(uri, "%{byte:02X}").expect("a string takes all that is written to it"),
        }
    }
    uri + "?" + how
}

/// The version of the tables; 0 where there are none yet. A later one than this program's is refused.
fn version(db: &Connection, path: &Path) -> Result<i64, Opening> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        return Err(Opening::Store(StoreError::Refused(format!(
            "`{}` was written by a later timesink: it has version {version} of the tables, and this \
             timesink knows {VERSION}; use one as new as that",
            path.display()
        ))));
    }
    Ok(version)
}

/// Why a file was not opened.
#[derive(Debug)]
pub(super) enum Opening {
    /// SQLite said so.
    Sqlite(rusqlite::Error),
    /// Something else.
    Store(StoreError),
}

impl From<StoreError> for Opening {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Opening {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Opening {
    /// Whether the file is damaged.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(error) => is_damage(error),
            Self::Store(_) => false,
        }
    }

    /// With what was being done.
    pub(super) fn when(self, what: &str, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(error) => {
                let full = match is_full(path) {
                    true => ", whose disk is full",
                    false => "",
                };
                StoreError::engine(format!("{what} `{}`{full}", path.display()), error)
            }
            Self::Store(error) => error,
        }
    }
}

/// Whether the disk has no room for the least that is written. SQLite has several errors for it.
fn is_full(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    let room = rustix::fs::statvfs(folder);
    room.is_ok_and(|of| of.f_bavail.saturating_mul(of.f_frsize) < LEAST_BYTES)
}

fn lacks_memory_file(error: &rusqlite::Error) -> bool {
    let Some(error) = error.sqlite_error() else {
        return false;
    };
    let of_memory = [
        ffi::SQLITE_IOERR_SHMOPEN,
        ffi::SQLITE_IOERR_SHMSIZE,
        ffi::SQLITE_IOERR_SHMMAP,
        ffi::SQLITE_IOERR_SHMLOCK,
    ];
    let cannot = [
        ErrorCode::CannotOpen,
        ErrorCode::ReadOnly,
        ErrorCode::DiskFull,
    ];
    cannot.contains(&error.code) || of_memory.contains(&error.extended_code)
}

/// Whether an error says that a part of the file is damaged: the rest may still be read.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    match error {
        Error::SqliteFailure(error, _) => match error.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => true,
            ErrorCode::SystemIoFailure => {
                let cannot_be_read = [
                    ffi::SQLITE_IOERR_READ,
                    ffi::SQLITE_IOERR_SHORT_READ,
                    ffi::SQLITE_IOERR_CORRUPTFS,
                    ffi::SQLITE_IOERR_DATA,
                ];
                cannot_be_read.contains(&error.extended_code)
            }
            // A table or column that is not there, in a file whose version says that it is.
            ErrorCode::Unknown => true,
            _ => false,
        },
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..)
        | Error::SqlInputError { .. }
        | Error::QueryReturnedNoRows => true,
        _ => false,
    }
}
