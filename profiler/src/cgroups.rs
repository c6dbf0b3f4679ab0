//! The paths of control groups by the ids that the kernel programs tell, looked up while they are there.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use crate::targets::cgroup_root;

/// How many are kept.
const MAX_KEPT: usize = 1 << 14;
/// `FILEID_KERNFS` of the kernel's `exportfs.h`: the handle is the id.
const BY_ID: i32 = 0xfe;
/// What the kernel adds to the path of a folder that is gone.
const GONE: &str = " (deleted)";

/// Paths by id.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    /// Where the hierarchy (version 2) is mounted, once it was looked for.
    root: Option<Arc<Root>>,
    paths: HashMap<u64, Option<Arc<str>>>,
}

#[derive(Debug)]
struct Root {
    folder: File,
    path: PathBuf,
}

impl Cgroups {
    /// Those of this machine; none are known where the hierarchy is not mounted.
    #[must_use]
    pub fn of_machine() -> Self {
        let root = || {
            let mounts = fs::read("/proc/self/mountinfo").ok()?;
            let path = cgroup_root(&String::from_utf8_lossy(&mounts))?;
            let folder = File::open(&path).ok()?;
            Some(Arc::new(Root { folder, path }))
        };
        Self {
            root: root(),
            paths: HashMap::new(),
        }
    }

    /// Takes in that a process of a group was seen, which may soon be gone.
    pub fn see(&mut self, id: u64) {
        let Some(root) = &self.root else { return };
        if id != 0 && !self.paths.contains_key(&id) && self.paths.len() < MAX_KEPT {
            let path = path(root, id).map(Arc::from);
            self.paths.insert(id, path);
        }
    }

    /// The path of a group below the root of the hierarchy, where it was found.
    #[must_use]
    pub fn path(&self, id: u64) -> Option<&str> {
        self.paths.get(&id)?.as_deref()
    }
}

fn path(root: &Root, id: u64) -> Option<String> {
    let folder = open_by_id(&root.folder, id).ok()?;
    let path = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
    let path = path.strip_prefix(&root.path).ok()?.to_string_lossy();
    let path = path.strip_suffix(GONE).unwrap_or(&path);
    Some(format!("/{path}"))
}

/// `open_by_handle_at(2)` with the handle that the file system of control groups has for an id.
fn open_by_id(mount: &File, id: u64) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: [u8; 8],
    }
    let mut handle = Handle {
        bytes: 8,
        kind: BY_ID,
        id: id.to_ne_bytes(),
    };
    // SAFETY: the handle has the layout of `struct file_handle` with 8 bytes.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut handle,
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// A group is found by its id, below the root of the hierarchy, and one that never was is not.
    #[test]
    fn a_group_is_found_by_its_id() {
        let mut groups = Cgroups::of_machine();
        let root = groups.root.clone().expect("the tests run where groups are");
        let folder = root.path.join("timesink-test-group");
        fs::create_dir(&folder).unwrap();
        let id = fs::metadata(&folder).unwrap().ino();
        groups.see(id);
        groups.see(u64::MAX);
        fs::remove_dir(&folder).unwrap();
        assert_eq!(groups.path(id), Some("/timesink-test-group"));
        assert_eq!(groups.path(u64::MAX), None);
        assert_eq!(groups.path(0), None);
    }
}
