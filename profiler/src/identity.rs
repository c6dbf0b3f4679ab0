//! What the kernel programs call a file. What `stat` tells is another thing where one file system
//! stands before another, as overlayfs does, and where one numbers its parts as devices of their own,
//! as btrfs does.

use std::{fmt::Debug, fs::File, os::unix::fs::MetadataExt, path::Path};

use abi::records::{FileIdentities, FileIdentity};

use crate::{
    handle::Handle,
    mounts::{Found, Mounts},
};

/// Whether nobody but root may have written to a file. In a container others are root too.
pub(crate) fn is_roots(data: &std::fs::Metadata) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    data.uid() == 0 && data.mode() & WRITABLE_BY_OTHERS == 0
}

/// Tells files apart.
pub trait Identify: Debug + Send + Sync {
    /// What a file is called; `None` where that cannot be told.
    fn identities(&self, file: &File) -> Option<FileIdentities>;
}

/// By what `stat` tells: enough to tell one file from another, and not always what stacks name.
#[derive(Debug)]
pub struct ByStat;

impl Identify for ByStat {
    fn identities(&self, file: &File) -> Option<FileIdentities> {
        let data = file.metadata().ok()?;
        let identity = FileIdentity {
            inode: data.ino(),
            device: (libc::major(data.dev()) << 20) | libc::minor(data.dev()),
            generation: 0,
        };
        Some(FileIdentities {
            mapped: identity,
            opened: identity,
        })
    }
}

/// Opens what a path of ours leads to, where it is a regular file of a file system that answers.
pub(crate) fn open_regular(path: &Path) -> Option<File> {
    let place = Handle::of(path).ok()?;
    Found::at(place, |mount| Mounts::own().how(mount))?.prompt()
}
