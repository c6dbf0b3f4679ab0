//! A cache of names for timesink that is empty when it is to be, while the user's own stays as it is.

use std::{
    ffi::CString,
    fs::{self, DirBuilder},
    io,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    ptr,
};

use anyhow::{Context, Result};

/// Where timesink keeps the names that it has looked up, for root.
const PLACE: &str = "/var/cache/timesink/names";

/// A folder that stands in for it.
#[derive(Debug)]
pub(super) struct NamesCache {
    folder: PathBuf,
}

impl NamesCache {
    /// A cache in a folder that is not there yet.
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Forgets all names.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub(super) fn empty(&self) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("failed to empty a cache of names")
            }
            _ => create(&self.folder),
        }
    }

    /// Has a command find this cache in place of the user's: in a mount namespace of its own the
    /// folder lies over it. The unwind tables beside it stay.
    ///
    /// # Errors
    /// Where there is no place for it.
    pub(super) fn give(&self, command: &mut Command) -> Result<()> {
        create(Path::new(PLACE))?;
        let source = CString::new(self.folder.as_os_str().as_bytes())?;
        let place = CString::new(PLACE)?;
        let lay_over = move || {
            // SAFETY: the call takes a number only.
            answer(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
            let private = libc::MS_REC | libc::MS_PRIVATE;
            // SAFETY: the target is a string that ends with a zero; nothing else is read.
            answer(unsafe {
                libc::mount(
                    ptr::null(),
                    c"/".as_ptr(),
                    ptr::null(),
                    private,
                    ptr::null(),
                )
            })?;
            // SAFETY: both paths are strings that end with a zero; nothing else is read.
            answer(unsafe {
                libc::mount(
                    source.as_ptr(),
                    place.as_ptr(),
                    ptr::null(),
                    libc::MS_BIND,
                    ptr::null(),
                )
            })
        };
        // SAFETY: the closure makes system calls and allocates nothing.
        unsafe { command.pre_exec(lay_over) };
        Ok(())
    }
}

/// A folder that timesink takes for its own: nobody else may write to it.
fn create(folder: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("failed to create `{}`", folder.display()))
}

fn answer(returned: libc::c_int) -> io::Result<()> {
    match returned {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether mounts can be made here. Where they must be, which `CI` says, it is a failure if not.
    fn is_root() -> bool {
        // SAFETY: the call takes nothing and cannot fail.
        let is_root = unsafe { libc::geteuid() } == 0;
        let may_skip = std::env::var_os("CI").is_none();
        assert!(is_root || may_skip, "the benchmark needs root");
        is_root
    }

    /// What a command writes to the place is in the folder, and is gone when that is emptied; here the
    /// place is as it was.
    #[test]
    fn a_command_finds_the_folder_at_the_place() {
        if !is_root() {
            eprintln!("skipped: a mount needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let cache = NamesCache::new(folder.path().join("names"));
        cache.empty().unwrap();
        let (written, place) = (cache.folder.join("bench-was-here"), Path::new(PLACE));
        let mut command = Command::new("touch");
        command.arg(place.join("bench-was-here"));
        cache.give(&mut command).unwrap();
        assert!(command.status().unwrap().success());
        assert!(written.exists() && !place.join("bench-was-here").exists());
        cache.empty().unwrap();
        assert!(cache.folder.exists() && !written.exists());
    }
}
