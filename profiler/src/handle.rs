//! A place of a file system, without opening what is there: to open a FIFO or a device has effects,
//! and to ask a file system that a user's process serves may never end.

use std::{
    ffi::{CStr, CString, OsString},
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::OpenOptionsExt,
        },
    },
    path::{Path, PathBuf},
};

/// `/proc/PID/map_files/…`, `.` and the like need no more; the kernel takes no longer paths.
const MAX_PATH_BYTES: usize = 4096;

/// A descriptor of a place, by which nothing can be read (`O_PATH`).
#[derive(Debug)]
pub(crate) struct Handle {
    descriptor: OwnedFd,
}

/// What the kernel knows of a place without asking its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) kind: Kind,
    /// As `stat` tells it; 0 where its file system does not tell us.
    pub(crate) inode: u64,
    /// As the kernel programs tell it: the major number above twenty bits of minor number.
    pub(crate) device: u32,
    /// The mount by which it was reached, as long as the handle is open.
    pub(crate) mount: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    Folder,
    Link,
    Other,
    /// Its file system does not tell us: it may be one of a user, who is told.
    Hidden,
}

impl Handle {
    /// Of a path of our own, or of a link in `/proc` that leads to a place without a search.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let how = how(0, 0);
        open(None, &c_path(path)?, &how)
    }

    /// Of a path in a folder, by rules of `openat2(2)`; the last link of it is not followed where
    /// that is asked for.
    pub(crate) fn below(
        folder: BorrowedFd<'_>,
        path: &Path,
        resolve: u64,
        follow: bool,
    ) -> io::Result<Self> {
        let flags = if follow { 0 } else { libc::O_NOFOLLOW };
        open(Some(folder), &c_path(path)?, &how(flags, resolve))
    }

    /// What is there, as far as the kernel knows.
    pub(crate) fn look(&self) -> io::Result<Look> {
        let mask = libc::STATX_TYPE | libc::STATX_INO | libc::STATX_MNT_ID;
        match self.statx(mask) {
            Ok(data) => Ok(Look {
                kind: match u32::from(data.stx_mode) & libc::S_IFMT {
                    libc::S_IFREG => Kind::Regular,
                    libc::S_IFDIR => Kind::Folder,
                    libc::S_IFLNK => Kind::Link,
                    _ => Kind::Other,
                },
                inode: data.stx_ino,
                ..Look::hidden(&data)
            }),
            // FUSE tells other users, root among them, which file system it is and no more, and that
            // only where no more is asked for.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Look::hidden(&self.statx(0)?))
            }
            Err(error) => Err(error),
        }
    }

    fn statx(&self, mask: libc::c_uint) -> io::Result<libc::statx> {
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
        let descriptor = self.descriptor.as_raw_fd();
        // SAFETY: the call reads an empty string and writes one structure, of which zeros are a value.
        unsafe {
            let mut data: libc::statx = std::mem::zeroed();
            match libc::statx(descriptor, c"".as_ptr(), flags, mask, &raw mut data) {
                0 => Ok(data),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Where a symbolic link points.
    pub(crate) fn target(&self) -> io::Result<PathBuf> {
        let mut target = vec![0; MAX_PATH_BYTES];
        // SAFETY: the call reads an empty string and writes no more than the length that is given.
        let bytes = unsafe {
            let descriptor = self.descriptor.as_raw_fd();
            let into = target.as_mut_ptr().cast();
            libc::readlinkat(descriptor, c"".as_ptr(), into, target.len())
        };
        let bytes = usize::try_from(bytes).map_err(|_error| io::Error::last_os_error())?;
        target.truncate(bytes);
        Ok(OsString::from_vec(target).into())
    }

    /// Opens for reading what is there, which is known to be a regular file of a file system that
    /// answers. Its owner may have a lease on it, for which to wait takes most of a minute: such a file
    /// is refused.
    pub(crate) fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()))
    }

    /// The descriptor, for another process.
    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

impl Look {
    /// Which file system it is, and no more.
    fn hidden(data: &libc::statx) -> Self {
        Self {
            kind: Kind::Hidden,
            inode: 0,
            device: (data.stx_dev_major << 20) | data.stx_dev_minor,
            mount: data.stx_mnt_id,
        }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn how(flags: libc::c_int, resolve: u64) -> libc::open_how {
    // SAFETY: the structure consists of numbers, of which zeros mean nothing.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((libc::O_PATH | libc::O_CLOEXEC | flags).cast_unsigned());
    how.resolve = resolve;
    how
}

fn open(folder: Option<BorrowedFd<'_>>, path: &CStr, how: &libc::open_how) -> io::Result<Handle> {
    let folder = folder.map_or(libc::AT_FDCWD, |folder| folder.as_raw_fd());
    // SAFETY: the call reads a C string and a structure of the size that is given.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            folder,
            path.as_ptr(),
            std::ptr::from_ref(how),
            size_of::<libc::open_how>(),
        )
    };
    match i32::try_from(descriptor) {
        Ok(descriptor) if descriptor >= 0 => Ok(Handle {
            // SAFETY: the kernel has just given this descriptor to us alone.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
        }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on which somebody has a lease is refused, and not waited for.
    #[test]
    fn leases_are_not_waited_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let holder = file.as_file().as_raw_fd();
        let lease = |how: libc::c_int| {
            // SAFETY: the calls take numbers; the signal that tells of an end of the lease is ignored.
            unsafe {
                libc::signal(libc::SIGIO, libc::SIG_IGN);
                libc::fcntl(holder, libc::F_SETLEASE, how)
            }
        };
        assert_eq!(lease(libc::F_WRLCK), 0);
        let place = Handle::of(file.path()).unwrap();
        let refused = place.open().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(lease(libc::F_UNLCK), 0);
        assert!(place.open().is_ok());
    }

    /// A FIFO, a link and a file are told apart without opening them, and a link says where it leads.
    #[test]
    fn places_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, link) = (folder.path().join("fifo"), folder.path().join("link"));
        let name = c_path(&fifo).unwrap();
        // SAFETY: the call reads a C string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        std::os::unix::fs::symlink("/nowhere", &link).unwrap();
        let kind = |path: &Path, follow| {
            let folder = Handle::of(folder.path()).unwrap();
            let place = Handle::below(folder.as_fd(), path, 0, follow)?;
            place.look().map(|look| look.kind)
        };
        assert_eq!(kind(Path::new("fifo"), true).unwrap(), Kind::Other);
        assert_eq!(kind(Path::new("link"), false).unwrap(), Kind::Link);
        assert!(kind(Path::new("link"), true).is_err());
        assert_eq!(kind(Path::new("."), true).unwrap(), Kind::Folder);
        let place = Handle::of(folder.path()).unwrap();
        let link = Handle::below(place.as_fd(), Path::new("link"), 0, false).unwrap();
        assert_eq!(link.target().unwrap(), Path::new("/nowhere"));
        let own = Handle::of(Path::new("/proc/self/exe")).unwrap();
        assert_eq!(own.look().unwrap().kind, Kind::Regular);
        assert!(own.open().unwrap().metadata().unwrap().len() > 0);
    }
}
