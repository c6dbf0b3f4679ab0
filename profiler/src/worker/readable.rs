//! A reader opens its files once more, by the numbers of their descriptors, and may do so where
//! everybody may read them. Others are copied for it.

use std::{fs::File, io, os::unix::fs::PermissionsExt};

use rustix::fs::{MemfdFlags, memfd_create, sendfile};

/// `S_IROTH`
const READABLE_BY_ALL: u32 = 0o004;
/// The largest file that is copied: the copy takes memory.
const MAX_COPIED_BYTES: u64 = 256 << 20;

/// A copy that everybody may read, of a file that not everybody may.
///
/// # Errors
/// Where it is too large, or cannot be read or copied.
pub(super) fn copy_of_private(file: &File) -> io::Result<Option<File>> {
    let data = file.metadata()?;
    if data.permissions().mode() & READABLE_BY_ALL != 0 || !data.is_file() {
        return Ok(None);
    }
    if data.len() > MAX_COPIED_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let copy = memfd_create("copy", MemfdFlags::CLOEXEC)?;
    let mut position = 0;
    while position < data.len() {
        let left = (data.len() - position) as usize;
        // The file's own position stays, which others may share.
        if sendfile(&copy, file, Some(&mut position), left)? == 0 {
            break;
        }
    }
    Ok(Some(copy.into()))
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, io::Write, os::unix::fs::FileExt};

    use super::*;

    /// What its owner keeps to itself is copied, position and all, and nothing else is.
    #[test]
    fn private_files_are_copied() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        for (mode, is_copied) in [(0o700, true), (0o755, false), (0o711, true)] {
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
            let copy = copy_of_private(&file).unwrap();
            assert_eq!(copy.is_some(), is_copied);
            if let Some(copy) = copy {
                let mut bytes = [0; 7];
                copy.read_exact_at(&mut bytes, 0).unwrap();
                assert_eq!(&bytes, b"content");
            }
        }
        file.set_len(MAX_COPIED_BYTES + 1).unwrap();
        file.set_permissions(Permissions::from_mode(0o700)).unwrap();
        assert!(copy_of_private(&file).is_err());
    }
}
