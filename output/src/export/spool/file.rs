//! A window as a file, and back.
//!
//! ```text
//! 0   8  "tsspool" and the version of what follows
//! 8   4  CRC-32 of the rest, little-endian
//! 12     the profile's bytes, deflated
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::profile::{Damaged, Profile, from_bytes, to_bytes};

/// Raised when the profile's bytes change, so that files of another build are refused and not misread.
const VERSION: u8 = 1;
const MAGIC: &[u8; 8] = &[b't', b's', b's', b'p', b'o', b'o', b'l', VERSION];
const HEAD_BYTES: usize = 12;
/// The most bytes of a profile, against a file that would inflate without an end.
const MAX_BYTES: u64 = 1 << 30;

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub(in crate::export) enum ReadError {
    #[error("failed to read the window's file")]
    Io(#[from] io::Error),
    #[error("failed to read the window: its file has another form or version")]
    Form,
    #[error("failed to read the window: its file was cut short or changed")]
    Checksum,
    #[error(transparent)]
    Content(#[from] Damaged),
}

/// The bytes of the file.
pub(in crate::export) fn pack(window: &Profile) -> Vec<u8> {
    let deflated = deflate(&to_bytes(window)).expect("memory takes what is written to it");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + deflated.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&crc32fast::hash(&deflated).to_le_bytes());
    bytes.extend_from_slice(&deflated);
    bytes
}

/// The window of a file.
///
/// # Errors
/// When the file cannot be read, or is not one that `pack` made.
pub(in crate::export) fn read(path: &Path) -> Result<Profile, ReadError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    unpack(&bytes)
}

fn unpack(bytes: &[u8]) -> Result<Profile, ReadError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(ReadError::Form)?;
    let (crc, deflated) = rest.split_first_chunk().ok_or(ReadError::Checksum)?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(deflated) {
        return Err(ReadError::Checksum);
    }
    let mut profile = Vec::new();
    let mut inflated = DeflateDecoder::new(deflated).take(MAX_BYTES);
    inflated
        .read_to_end(&mut profile)
        .or(Err(ReadError::Form))?;
    Ok(from_bytes(&profile)?)
}

fn deflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(bytes)?;
    deflate.finish()
}
