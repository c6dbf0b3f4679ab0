//! Mounts that only a test sees.

use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    ptr,
};

use tempfile::TempDir;

use crate::tool;

/// Mounts of this thread and of what it starts, which end with them.
#[derive(Debug)]
pub struct Mounts {
    folder: TempDir,
}

impl Mounts {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let (root, private) = (c"/".as_ptr(), libc::MS_REC | libc::MS_PRIVATE);
        // SAFETY: the calls read a C string.
        let failed = unsafe {
            libc::unshare(libc::CLONE_NEWNS)
                | libc::mount(ptr::null(), root, ptr::null(), private, ptr::null())
        };
        assert_eq!(failed, 0);
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder, or one that there is.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Mounts at a new folder.
    #[must_use]
    pub fn mount(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let place = self.folder(name);
        run_tool("mount", &[arguments, &[place.to_str().unwrap()]].concat());
        place
    }

    /// A folder `lower`, of whichever file system it is, below one in memory.
    #[must_use]
    pub fn overlay(&self, lower: &Path, memory: &Path) -> PathBuf {
        let [upper, work] = ["upper", "work"].map(|name| memory.join(name));
        for folder in [&upper, &work] {
            fs::create_dir(folder).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        self.mount("overlay", &["-t", "overlay", "overlay", "-o", &options])
    }
}

/// Runs a tool to its good end.
pub fn run_tool(tool_name: &str, arguments: &[&str]) {
    let ran = Command::new(tool(tool_name)).args(arguments).status();
    assert!(ran.unwrap().success(), "{tool_name} {arguments:?}");
}

impl Default for Mounts {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Mounts {
    /// Takes them off, so that the folder can go.
    fn drop(&mut self) {
        for place in fs::read_dir(self.path()).unwrap() {
            let place = place.unwrap().path().into_os_string().into_encoded_bytes();
            let place = CString::new(place).unwrap();
            // SAFETY: the call reads a C string. What is no mount stays.
            unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
        }
    }
}
