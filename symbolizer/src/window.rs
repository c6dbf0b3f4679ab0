//! Reading a file that its owner may cut off, at positions that mostly ascend, within a budget.

use std::{fs::File, io, os::unix::fs::FileExt, time::Instant};

use crate::{Miss, jit::MAX_TIME};

/// How much is read at a time.
const PIECE_BYTES: u64 = 32 << 10;

/// The piece of a file that was read last.
pub(crate) struct Window<'f> {
    file: &'f File,
    start: u64,
    bytes: Vec<u8>,
    remaining: u64,
    began: Instant,
}

impl<'f> Window<'f> {
    /// Reads `file` within a budget in bytes, and within the time that there is.
    pub(crate) fn new(file: &'f File, budget_bytes: u64) -> Self {
        Self {
            file,
            start: 0,
            bytes: Vec::new(),
            remaining: budget_bytes,
            began: Instant::now(),
        }
    }

    /// So many bytes at a position, less where the file ends before. At most a piece is given.
    pub(crate) fn at(&mut self, position: u64, length: u64) -> Result<&[u8], Miss> {
        let length = length.min(PIECE_BYTES);
        let inside = position.checked_sub(self.start);
        let is_there = inside.is_some_and(|inside| inside + length <= self.bytes.len() as u64);
        if !is_there {
            self.read(position)?;
        }
        let first = (position - self.start) as usize;
        let last = (first + length as usize).min(self.bytes.len());
        Ok(&self.bytes[first..last])
    }

    fn read(&mut self, position: u64) -> Result<(), Miss> {
        if self.remaining < PIECE_BYTES || self.began.elapsed() > MAX_TIME {
            return Err(Miss::JitMapTooLong);
        }
        self.remaining -= PIECE_BYTES;
        self.start = position;
        self.bytes.resize(PIECE_BYTES as usize, 0);
        let mut got = 0;
        while got < self.bytes.len() {
            match self
                .file
                .read_at(&mut self.bytes[got..], position + got as u64)
            {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_error) => return Err(Miss::Unreadable),
            }
        }
        self.bytes.truncate(got);
        Ok(())
    }
}
