//! A control group (version 2) of a test's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A group with one below it; both go with the value, when no process is in them.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// Makes it below the root of the hierarchy; this process's id comes before `name`, so that tests
    /// do not meet in it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut fields = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = fields.find(|fields| fields[2] == "cgroup2").unwrap()[1].to_owned();
        let folder = PathBuf::from(mount).join(format!("{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("below")).unwrap();
        Self { folder }
    }

    /// Its folder, in which one called `below` is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.folder.file_name().unwrap().to_str().unwrap()
    }

    /// Puts a process into it.
    pub fn add(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in [self.folder.join("below"), self.folder.clone()] {
            fs::remove_dir(folder).unwrap();
        }
    }
}
