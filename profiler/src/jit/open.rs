//! Opening a file that a target names, as root: nothing is followed out of the target's world, nothing
//! is opened that blocks or has effects, and what comes back belongs to the target.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
        },
    },
    path::Path,
};

/// `FUSE_SUPER_MAGIC` of `linux/magic.h`.
const FUSE: u32 = 0x6573_5546;

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
    Within(&'a File),
    /// By a link of `/proc` that leads to the very file.
    Link,
}

/// Opens a file for reading; `None` where there is none. `owners` are the users to whom it may belong.
pub(super) fn open(
    lookup: Lookup<'_>,
    path: &Path,
    owners: &[u32],
) -> Result<Option<File>, Refusal> {
    let handle = match lookup {
        Lookup::Within(root) => open_within(root, path),
        Lookup::Link => OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
            .open(path),
    };
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) => {
            return match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => Ok(None),
                _ => Err(Refusal::Unreadable),
            };
        }
    };
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
    if file_system(handle) == Some(FUSE) {
        return Err(Refusal::UserFileSystem);
    }
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

/// The kind of file system that a file is on.
fn file_system(handle: &File) -> Option<u32> {
    // SAFETY: the call fills the struct that it is given.
    unsafe {
        let mut answer: libc::statfs = std::mem::zeroed();
        (libc::fstatfs(handle.as_raw_fd(), &raw mut answer) == 0).then_some(answer.f_type as u32)
    }
}

/// `openat2`: the last component is never followed, the others not out of `root`.
fn open_within(root: &File, path: &Path) -> io::Result<File> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the struct is plain numbers.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path is a C string and the struct has the size that is given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { File::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
