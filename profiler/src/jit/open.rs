//! Opening a file that a target names, as root: nothing is followed out of the target's world, nothing
//! is opened that blocks or has effects, and what comes back belongs to the target.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use crate::{
    handle::Handle,
    mounts::Mounts,
    roots::{Absent, Links, Root},
};

/// Why a file that is there is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// What it leads to is for its maker to choose.
    #[error("it is a symlink")]
    Symlink,
    /// To open it would block.
    #[error("it is a FIFO")]
    Fifo,
    /// To open it may have effects.
    #[error("it is a device")]
    Device,
    /// There is nothing to read.
    #[error("it is a directory or a socket")]
    NoFile,
    /// It may be a file that its maker cannot read.
    #[error("it is a hard link")]
    HardLink,
    /// Somebody else wrote it.
    #[error("it belongs to another user")]
    ForeignOwner,
    /// A program answers for it, or does not.
    #[error("it lies on a file system of a user's program (FUSE)")]
    UserFileSystem,
    /// An earlier process with the same number left it.
    #[error("it is older than the process")]
    Stale,
    /// Nobody can tell whose it should be.
    #[error("the process was gone before anyone could see whose it was")]
    Ownerless,
    /// The kernel refuses it, or it lies behind a link that leads elsewhere.
    #[error("it cannot be opened")]
    Unreadable,
    /// Descriptors have a bound.
    #[error("too many were found before it")]
    TooMany,
    /// By another program, to which the process turned.
    #[error("it was overwritten by another program of the process")]
    Overwritten,
    /// As where a file system does not answer.
    #[error("it could not be looked at within a second")]
    NoAnswer,
}

/// Where a path is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lookup<'a> {
    /// Below a root of a process, with links that stay in it.
    Within(&'a Root),
    /// By a link of `/proc` for a process, that leads to the very file.
    Link(u32),
}

/// Opens a file for reading; `None` where there is none. `owners` are the users to whom it may belong.
pub(super) fn open(
    lookup: Lookup<'_>,
    path: &Path,
    owners: &[u32],
) -> Result<Option<File>, Refusal> {
    let place = match lookup {
        Lookup::Within(root) => match root.place(path, Links::FollowButLast) {
            Ok(place) => place,
            Err(Absent::Nothing) => return Ok(None),
            Err(Absent::Link) => return Err(Refusal::Unreadable),
            Err(Absent::Silent) => return Err(Refusal::UserFileSystem),
        },
        Lookup::Link(_) => match Handle::of(path) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err(Refusal::Unreadable),
        },
    };
    // To ask a file system for more, it must be one that answers.
    let look = place.look().map_err(|_error| Refusal::Unreadable)?;
    let answers = match lookup {
        Lookup::Within(root) => root.answers(look.mount),
        Lookup::Link(pid) => Mounts::of_process(pid).answers(look.mount),
    };
    if !answers {
        return Err(Refusal::UserFileSystem);
    }
    let handle = File::from(place.into_descriptor());
    judge(&handle, owners)?;
    // The very file that was judged, whatever has become of its path.
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path);
    opened.map(Some).map_err(|_error| Refusal::Unreadable)
}

fn judge(handle: &File, owners: &[u32]) -> Result<(), Refusal> {
    let data = handle.metadata().map_err(|_error| Refusal::Unreadable)?;
    let kind = data.file_type();
    if kind.is_symlink() {
        Err(Refusal::Symlink)
    } else if kind.is_fifo() {
        Err(Refusal::Fifo)
    } else if kind.is_char_device() || kind.is_block_device() {
        Err(Refusal::Device)
    } else if !kind.is_file() {
        Err(Refusal::NoFile)
    } else if !owners.contains(&data.uid()) {
        Err(Refusal::ForeignOwner)
    } else if data.nlink() > 1 {
        Err(Refusal::HardLink)
    } else {
        Ok(())
    }
}
