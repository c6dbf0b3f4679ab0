//! The rim where a table's file is read: by positions and within a budget, never mapped, because a
//! mapped file that its owner cuts short kills who reads it.

use std::fs::File;

use abi::unwind::Machine;
use symbolizer::BoundedFile;

use super::rows::{self, Error, FileRows};

/// What may be read of one file: the most call frame information that is accepted, the most code
/// that is searched, and headers.
const BUDGET_BYTES: u64 = (256 + 32 + 16) << 20;

/// Reads the rows of a file of this machine.
///
/// # Errors
/// As [`rows::read`]; what cannot be read of the file counts as lying outside of it.
pub fn read(file: &File) -> Result<FileRows, Error> {
    rows::read(&Machine::NATIVE, &BoundedFile::new(file, BUDGET_BYTES))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Seek, SeekFrom, Write},
    };

    use super::*;

    /// A file gives the rows that its bytes give.
    #[test]
    fn a_file_is_its_bytes() {
        let file = File::open("/bin/true").unwrap();
        let bytes = fs::read("/bin/true").unwrap();
        assert_eq!(read(&file), rows::read(&Machine::NATIVE, bytes.as_slice()));
        assert!(matches!(read(&file), Ok(FileRows::Rows(..))));
    }

    /// A sparse file that claims a table of section headers of a terabyte is refused unread.
    #[test]
    fn a_sparse_file_is_cheap() {
        let mut bytes = fs::read("/bin/true").unwrap();
        let section_headers = u64::from_le_bytes(*bytes[40..].first_chunk().unwrap()) as usize;
        // With no number of sections in the header, the first section's size is their number.
        bytes[60..62].fill(0);
        bytes[section_headers + 32..][..8].copy_from_slice(&(1_u64 << 34).to_le_bytes());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.set_len(1 << 40).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        assert_eq!(read(&file), Err(Error::Headers));
    }
}
