//! Reading a hostile file with [`object`]: at positions, and within a byte budget.

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::{ReadCache, ReadCacheOps, ReadRef};

/// What may be read of a file's headers: 65,535 section headers are 4 MiB.
pub(crate) const HEADERS_BYTES: u64 = 16 << 20;

/// A file of which no more than a budget may be read. A sparse file can claim tables of any size at
/// no cost to who made it, and [`ReadCache`] alone would allocate them.
#[derive(Debug)]
pub struct BoundedFile<'f> {
    cache: ReadCache<PositionedFile<'f>>,
    remaining: Cell<u64>,
}

impl<'f> BoundedFile<'f> {
    /// Reads `file` within a budget in bytes.
    #[must_use]
    pub fn new(file: &'f File, budget_bytes: u64) -> Self {
        BoundedFile {
            cache: ReadCache::new(PositionedFile { file, position: 0 }),
            remaining: Cell::new(budget_bytes),
        }
    }

    fn spend(&self, size: u64) -> Result<(), ()> {
        let remaining = self.remaining.get().checked_sub(size).ok_or(())?;
        self.remaining.set(remaining);
        Ok(())
    }
}

impl<'a> ReadRef<'a> for &'a BoundedFile<'_> {
    fn len(self) -> Result<u64, ()> {
        ReadRef::len(&self.cache)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.spend(size)?;
        (&self.cache).read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        // The cache reads 4 KiB at most, however long the range is.
        let bytes = (&self.cache).read_bytes_at_until(range, delimiter)?;
        self.spend(bytes.len() as u64)?;
        Ok(bytes)
    }
}

/// A file that is read at positions, so that its cursor, which others may share, stays.
#[derive(Debug)]
struct PositionedFile<'f> {
    file: &'f File,
    position: u64,
}

impl ReadCacheOps for PositionedFile<'_> {
    fn len(&mut self) -> Result<u64, ()> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(drop)
    }

    fn seek(&mut self, position: u64) -> Result<u64, ()> {
        self.position = position;
        Ok(position)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ()> {
        let count = self.file.read_at(buffer, self.position).map_err(drop)?;
        self.position += count as u64;
        Ok(count)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ()> {
        self.file.read_exact_at(buffer, self.position).map_err(drop)
    }
}
