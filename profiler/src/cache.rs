//! Folders of what can be made again, so that it is made once and not once per recording.
//!
//! What is in a file with anything wrong is as good as nothing. The checksum finds accidents, such as
//! a machine that stopped while a file was written; against other users the folder is closed.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"timesink";
/// Magic, version and checksum; the checksum is of all that follows.
const PREFIX_BYTES: usize = 16;

/// A folder of files, by name.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// What all files may take together; the oldest make room.
    most_bytes: u64,
    /// What a file may take.
    most_bytes_of_one: u64,
}

impl Folder {
    /// A folder that may not be there yet.
    #[must_use]
    pub fn new(path: PathBuf, most_bytes: u64, most_bytes_of_one: u64) -> Self {
        Self {
            path,
            most_bytes,
            most_bytes_of_one,
        }
    }

    /// The content of a file, where there is one.
    #[must_use]
    pub fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.is_own().ok()?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.place(name))
            .ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > self.most_bytes_of_one {
            return None;
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        let mut file = file.take(self.most_bytes_of_one);
        file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Stores a file, whole or not at all.
    ///
    /// # Errors
    /// The folder or the file in it cannot be written, or the file is larger than it may be.
    pub fn store(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.most_bytes_of_one {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if !fs::exists(&self.path)? {
            let mut folder = DirBuilder::new();
            folder.recursive(true).mode(0o700).create(&self.path)?;
        }
        self.is_own()?;
        self.make_room(bytes.len() as u64)?;
        // Nothing waits for the disk: a file that did not reach it whole has a wrong checksum.
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        file.write_all(bytes)?;
        file.persist(self.place(name))?;
        Ok(())
    }

    /// Where a file is.
    #[must_use]
    pub fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder that somebody else made, or may write to, is not used.
    fn is_own(&self) -> io::Result<()> {
        let found = fs::symlink_metadata(&self.path)?;
        // SAFETY: the call has no preconditions.
        let own = found.uid() == unsafe { libc::geteuid() };
        if found.is_dir() && own && found.mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(io::ErrorKind::PermissionDenied.into())
    }

    /// Removes the oldest files until so many bytes more keep within the bound.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let data = entry.metadata()?;
            files.push((data.modified()?, data.len(), entry.path()));
        }
        files.sort();
        let mut total = bytes + files.iter().map(|(_, length, _)| length).sum::<u64>();
        for (_, length, path) in files {
            if total <= self.most_bytes {
                break;
            }
            fs::remove_file(path)?;
            total -= length;
        }
        Ok(())
    }
}

/// The folder of one kind of files: below the system's for root, everybody else has one of their own.
#[must_use]
pub fn folder_of(kind: &str) -> PathBuf {
    // SAFETY: the call has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        return Path::new("/var/cache/timesink").join(kind);
    }
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    home.unwrap_or_default().join("timesink").join(kind)
}

/// Puts magic, version and checksum before a content.
#[must_use]
pub fn seal(version: u32, mut body: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + body.len());
    bytes.extend(MAGIC);
    bytes.extend(version.to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.append(&mut body);
    bytes
}

/// The content behind them; `None` where one of them is not right.
#[must_use]
pub fn unseal(version: u32, bytes: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (found, rest) = rest.split_first_chunk()?;
    let (checksum, body) = rest.split_first_chunk()?;
    let is_right = magic == MAGIC
        && u32::from_le_bytes(*found) == version
        && u32::from_le_bytes(*checksum) == crc32fast::hash(body);
    is_right.then_some(body)
}

/// The name by which a build id stands in a folder; `None` for one that no linker writes.
#[must_use]
pub fn hex(build_id: &[u8]) -> Option<String> {
    /// Linkers write 8 to 32 bytes.
    const MAX_BYTES: usize = 64;
    let is_usual = (1..=MAX_BYTES).contains(&build_id.len());
    is_usual.then(|| build_id.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The oldest files make room for a new one, and one that is too large is refused.
    #[test]
    fn the_oldest_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Folder::new(folder.path().join("new"), 25, 10);
        for name in ["a", "b", "c"] {
            cache.store(name, &[0; 10]).unwrap();
        }
        assert!(cache.load("a").is_none());
        assert_eq!(cache.load("c"), Some(vec![0; 10]));
        assert!(cache.store("d", &[0; 11]).is_err());
    }

    /// A folder that others may write to is not used.
    #[test]
    fn an_open_folder_is_none() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let cache = Folder::new(folder.path().into(), 100, 100);
        cache.store("a", b"content").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(cache.load("a").is_none() && cache.store("b", b"").is_err());
    }
}
