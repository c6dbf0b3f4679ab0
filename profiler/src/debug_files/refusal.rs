//! Which files are used, before anything is read of them, and why others are not.

use std::{fmt, fs::File, os::unix::fs::MetadataExt, path::PathBuf};

use super::candidates::Place;
use crate::{
    handle::Kind,
    roots::{Absent, Links, Root},
};

/// Larger files are no debug files.
const MAX_BYTES: u64 = 4 << 30;

/// A file that was there and is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is not used.
    pub why: Refusal,
}

/// Why a file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A FIFO would block, and a device do what it does.
    #[error("it is no regular file")]
    NotRegular,
    /// Anything may be behind one.
    #[error("it is behind a symbolic link")]
    Link,
    /// A file system of a user (FUSE).
    #[error("its file system may not answer")]
    Silent,
    /// Somebody else than the program's owner put it there.
    #[error("it belongs neither to root nor to the owner of the program")]
    Owner,
    /// Of more bytes than any debug file has.
    #[error("it is too large")]
    TooLarge,
    /// The kernel does not let it be read.
    #[error("it cannot be read")]
    Unreadable,
    /// No ELF file of this machine, or a damaged one.
    #[error("it is no sound ELF file of this machine")]
    NotElf,
    /// Of another build of the program.
    #[error("its build id is another one")]
    OtherBuildId,
    /// Not the file that the program was linked to.
    #[error("its checksum is not the one that the program names")]
    OtherChecksum,
    /// Nothing to name functions with.
    #[error("it has no symbols and no DWARF")]
    Empty,
    /// A name that would lead to another folder.
    #[error("its name leads elsewhere")]
    BadName,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        write!(f, "`{}` is not used: {}", output::clean(&path), self.why)
    }
}

/// Opens what lies at a place, where it is a file that may be used. Where distributions install debug
/// files, anybody's are used on the host (`is_host`): below another root that folder is whoever's made
/// the root, as that of a namespace of a user.
pub(super) fn open(
    root: &Root,
    is_host: bool,
    place: &Place,
    program: &File,
) -> Result<Option<File>, Option<Refusal>> {
    let links = match place.is_installed {
        true => Links::Follow,
        false => Links::Refuse,
    };
    let handle = match root.place(&place.path, links) {
        Ok(handle) => handle,
        // Whether anything is there cannot be told without asking.
        Err(Absent::Nothing | Absent::Silent) => return Err(None),
        Err(Absent::Link) => return Err(Some(Refusal::Link)),
    };
    let look = handle.look().map_err(|_gone| None)?;
    if look.kind != Kind::Regular {
        return Err(Some(Refusal::NotRegular));
    }
    if !root.answers(look.mount) {
        return Err(Some(Refusal::Silent));
    }
    let unreadable = |_refused| Some(Refusal::Unreadable);
    let file = handle.open().map_err(unreadable)?;
    let data = file.metadata().map_err(unreadable)?;
    if data.len() > MAX_BYTES {
        return Err(Some(Refusal::TooLarge));
    }
    let owner = program.metadata().map_or(0, |program| program.uid());
    let is_trusted = is_host && place.is_installed;
    if !is_trusted && data.uid() != 0 && data.uid() != owner {
        return Err(Some(Refusal::Owner));
    }
    Ok(Some(file))
}
