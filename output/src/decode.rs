//! Reads profiles back: pprof and folded stacks, those that timesink writes and those of others.
//!
//! The bytes are not trusted: what they may come to in memory is bounded, and what does not add up is an
//! error that tells the place. Names are not looked up and nothing is guessed at: a profile is what the
//! file says, less what [`Profile`] has no room for.

mod folded;
mod pprof;
mod walk;

use std::error::Error;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use crate::profile::Profile;

/// The most bytes that a profile has, compressed or not: a hundred times what a busy machine's has.
pub const MAX_PROFILE_BYTES: u64 = 256 << 20;
/// The most frames that the stacks of a profile have together, each of which becomes some 50 bytes.
const MAX_FRAMES: usize = 16 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why bytes are not a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They are not gzip, although they begin like it.
    #[error("failed to decompress the profile")]
    Gzip(#[source] io::Error),
    /// They are not the protobuf that pprof is.
    #[error("failed to read the profile: it is neither pprof nor folded stacks")]
    Protobuf(#[source] Box<dyn Error + Send + Sync>),
    /// They would take too much memory.
    #[error("failed to read the profile: it has more than {most} {what}")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// The most that is read.
        most: u64,
    },
    /// They contradict themselves, or say what a profile cannot.
    #[error("failed to read the profile: {0}")]
    Damaged(String),
}

/// The profile in `bytes`: pprof, gzipped or not, or folded stacks.
///
/// From pprof come the names, stacks, values, mappings and the labels that timesink writes. Other labels
/// are left out, and the ledger comes back as comments. Folded stacks have no units; their values are taken
/// for numbers of samples, and their first frame for the process.
///
/// # Errors
/// Where they are neither, or damaged, or more than [`MAX_PROFILE_BYTES`].
pub fn decode(bytes: &[u8]) -> Result<Profile, DecodeError> {
    check_size(bytes.len())?;
    if bytes.starts_with(&GZIP_MAGIC) {
        return pprof::decode(&decompress(bytes)?);
    }
    match text(bytes) {
        Some(text) => folded::decode(text),
        None => pprof::decode(bytes),
    }
}

fn check_size(bytes: usize) -> Result<(), DecodeError> {
    if bytes as u64 > MAX_PROFILE_BYTES {
        return Err(DecodeError::TooLarge {
            what: "bytes",
            most: MAX_PROFILE_BYTES,
        });
    }
    Ok(())
}

/// Gives up at the first byte beyond the most there may be, whatever is still to come.
fn decompress(gzip: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(gzip)
        .take(MAX_PROFILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(DecodeError::Gzip)?;
    check_size(bytes.len())?;
    Ok(bytes)
}

/// The bytes as text, which protobuf is not: the numbers of its fields are control characters.
fn text(bytes: &[u8]) -> Option<&str> {
    let is_text =
        |text: &&str| !text.contains(|c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r'));
    std::str::from_utf8(bytes).ok().filter(is_text)
}

/// What is left of the frames that a profile may have.
#[derive(Debug)]
struct FrameBudget(usize);

impl FrameBudget {
    const fn new() -> Self {
        Self(MAX_FRAMES)
    }

    fn take(&mut self, frames: usize) -> Result<(), DecodeError> {
        self.0 = self.0.checked_sub(frames).ok_or(DecodeError::TooLarge {
            what: "frames",
            most: MAX_FRAMES as u64,
        })?;
        Ok(())
    }
}
