//! Windows on disk until they are taken: a directory of numbered files, within a bound of bytes.
//!
//! ```text
//! 00000000000000000042.window    a window, see `file`
//! 00000000000000000043.new       one that is being written; removed at the next start
//! lock                           held by the process whose spool it is
//! ```
//!
//! A file is written under the other name, synced, renamed, and the directory synced: it is whole or not
//! there, whatever ends the process or the machine. Numbers grow, so that the order survives a restart.

mod file;

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

pub(super) use file::{pack, read};

const WINDOW: &str = "window";
const NEW: &str = "new";
const LOCK: &str = "lock";

/// A window in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) bytes: u64,
}

/// A directory of windows. One process has it, for as long as this lives.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    bound_bytes: u64,
    /// Oldest first.
    entries: VecDeque<Entry>,
    bytes: u64,
    next: u64,
    /// The window that is being sent, which stays whatever comes.
    in_flight: Option<u64>,
    _lock: File,
}

impl Spool {
    /// The spool in `folder`, which is made where it is not there, with the windows that wait in it.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process has it.
    pub(super) fn open(folder: &Path, bound_bytes: u64) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        let lock = File::create(folder.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match numbered(&entry.path()) {
                Some((number, WINDOW)) => entries.push(Entry {
                    number,
                    bytes: entry.metadata()?.len(),
                }),
                Some((_, NEW)) => fs::remove_file(entry.path())?,
                _ => {}
            }
        }
        entries.sort_by_key(|entry| entry.number);
        Ok(Self {
            folder: folder.to_owned(),
            bound_bytes,
            bytes: entries.iter().map(|entry| entry.bytes).sum(),
            next: entries.last().map_or(0, |last| last.number + 1),
            entries: entries.into(),
            in_flight: None,
            _lock: lock,
        })
    }

    /// Keeps a window as its packed bytes. Where they are beyond the bound the oldest windows go; says how
    /// many were dropped, this one included where it is too large by itself.
    ///
    /// # Errors
    /// When it could not be written, and then it is not there.
    pub(super) fn put(&mut self, packed: &[u8]) -> io::Result<u64> {
        let bytes = packed.len() as u64;
        let mut dropped = 0;
        if bytes > self.bound_bytes {
            return Ok(1);
        }
        while self.bytes + bytes > self.bound_bytes {
            let oldest = self
                .entries
                .iter()
                .find(|entry| Some(entry.number) != self.in_flight);
            let Some(number) = oldest.map(|entry| entry.number) else {
                return Ok(dropped + 1);
            };
            self.unlink(number)?;
            self.forget(number);
            dropped += 1;
        }
        let number = self.next;
        self.write(number, packed)?;
        self.next += 1;
        self.bytes += bytes;
        self.entries.push_back(Entry { number, bytes });
        Ok(dropped)
    }

    /// The oldest window, which now is in flight.
    pub(super) fn take(&mut self) -> Option<PathBuf> {
        let entry = self.entries.front()?;
        self.in_flight = Some(entry.number);
        Some(self.path(entry.number, WINDOW))
    }

    /// Ends the flight of the oldest window, which is done with and goes, or waits again.
    ///
    /// # Errors
    /// When its file cannot be removed. It is out of the spool until the next start.
    pub(super) fn land(&mut self, done: bool) -> io::Result<()> {
        match self.in_flight.take() {
            Some(number) if done => {
                self.forget(number);
                self.unlink(number)
            }
            _ => Ok(()),
        }
    }

    /// How many windows wait, and the bytes of their files.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.entries.len() as u64, self.bytes)
    }

    fn forget(&mut self, number: u64) {
        if let Some(at) = self.entries.iter().position(|entry| entry.number == number)
            && let Some(entry) = self.entries.remove(at)
        {
            self.bytes -= entry.bytes;
        }
    }

    fn unlink(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.path(number, WINDOW)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, number: u64, packed: &[u8]) -> io::Result<()> {
        let new = self.path(number, NEW);
        let written = self.write_as(&new, number, packed);
        if written.is_err() {
            // Nothing is to be said of this: what is left goes at the next start.
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn write_as(&self, new: &Path, number: u64, packed: &[u8]) -> io::Result<()> {
        let mut file = File::create(new)?;
        file.write_all(packed)?;
        file.sync_all()?;
        fs::rename(new, self.path(number, WINDOW))?;
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, number: u64, extension: &str) -> PathBuf {
        self.folder.join(format!("{number:020}.{extension}"))
    }
}

/// The number and the extension of a file of the spool's own.
fn numbered(path: &Path) -> Option<(u64, &str)> {
    let number = path.file_stem()?.to_str()?.parse().ok()?;
    Some((number, path.extension()?.to_str()?))
}

#[cfg(test)]
mod tests;
