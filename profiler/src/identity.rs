//! What the kernel programs call a file. What `stat` tells is another thing where one file system
//! stands before another, as overlayfs does, and where one numbers its parts as devices of their own,
//! as btrfs does.

use std::{
    fmt::Debug,
    fs::{self, File, Metadata},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
};

use abi::records::{FileIdentities, FileIdentity};

use crate::{
    handle::Handle,
    mounts::{Found, Mounts},
    roots::Root,
};

/// Whether nobody but the host's root may have written to a file: only such a file's own claims, as
/// its build id, count for other files. Below another root than ours, as in a container, others are
/// root too, so it must be the file that our own root has at its path.
pub(crate) fn is_hosts(file: &File) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let Ok(data) = file.metadata() else {
        return false;
    };
    data.uid() == 0 && data.mode() & WRITABLE_BY_OTHERS == 0 && is_at_its_path(file, &data)
}

fn is_at_its_path(file: &File, data: &Metadata) -> bool {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let host = Root::own();
    let (Ok(path), Ok(host)) = (path, host) else {
        return false;
    };
    let found = host
        .open_regular(&path)
        .and_then(|file| file.metadata().ok());
    found.is_some_and(|found| (found.dev(), found.ino()) == (data.dev(), data.ino()))
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

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        io::{BufRead, BufReader},
        os::unix::fs::PermissionsExt,
        process::{Command, Stdio},
    };

    use super::*;

    /// A file of root's is the host's while it is at its path and nobody else may write to it.
    #[test]
    fn files_of_the_hosts_root_are_told() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = named.as_file();
        let is_root = file.metadata().unwrap().uid() == 0;
        assert_eq!(is_hosts(file), is_root);
        for (mode, expected) in [(0o757, false), (0o775, false), (0o755, is_root)] {
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_hosts(file), expected, "{mode:o}");
        }
        let file = named.reopen().unwrap();
        named.close().unwrap();
        assert!(!is_hosts(&file));
    }

    /// What root of another mount namespace has put over a path of ours is not the host's, and what
    /// lies there unchanged is.
    #[test]
    fn roots_of_containers_are_told_from_ours() {
        let folder = tempfile::tempdir().unwrap();
        // SAFETY: the call has no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        for name in ["kept", "replaced"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut container = Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg("echo >other && mount --bind other replaced && echo done && read -r _")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut output = BufReader::new(container.stdout.take().unwrap());
        output.read_line(&mut said).unwrap();
        assert_eq!(said, "done\n");
        for (name, expected) in [("kept", true), ("replaced", false)] {
            let path = folder.path().join(name);
            let inside = format!("/proc/{}/root{}", container.id(), path.display());
            assert_eq!(is_hosts(&File::open(inside).unwrap()), expected, "{name}");
            assert!(is_hosts(&File::open(path).unwrap()));
        }
        container.kill().unwrap();
        container.wait().unwrap();
    }
}
