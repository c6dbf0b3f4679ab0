//! Who mounted an overlay. It is as prompt as its layers are, and those are known to the kernel alone:
//! the options that it shows are paths as whoever mounted it had them, which may lead elsewhere by then.
//!
//! Who has our rights, or more, is believed to have put it on what answers. A user may mount one in a
//! namespace of their own, on a file system that their own process serves (FUSE), where there is any.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
};

use rustix::fs::statfs;

/// `linux/magic.h`, which has it not: the file system that lists the servers of FUSE.
const FUSE_CONTROL_MAGIC: i64 = 0x6573_5543;
/// `linux/magic.h`
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// Whether it takes our rights to mount something where a process sees it: its mount namespace belongs
/// to our user namespace. Mounts spread from there to namespaces with fewer rights, and never back.
pub(super) fn is_ours(pid: u32) -> bool {
    let owner = owner(pid).and_then(|owner| owner.metadata());
    let own = fs::metadata("/proc/self/ns/user");
    let key = |namespace: &fs::Metadata| (namespace.dev(), namespace.ino());
    matches!((owner, own), (Ok(owner), Ok(own)) if key(&owner) == key(&own))
}

/// The user namespace to which the mount namespace of a process belongs.
fn owner(pid: u32) -> io::Result<File> {
    let namespace = File::open(format!("/proc/{pid}/ns/mnt"))?;
    // SAFETY: the call takes a descriptor that is open.
    match unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_USERNS) } {
        // SAFETY: the kernel has just given this descriptor to us alone.
        owner @ 0.. => Ok(File::from(unsafe { OwnedFd::from_raw_fd(owner) })),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether any process of this machine may serve a file system: not where the kernel's list of servers
/// is empty, and not where it has not loaded what they need.
pub(super) fn may_have_servers() -> bool {
    let is = |path: &str, magic| statfs(path).is_ok_and(|found| found.f_type == magic);
    let servers = "/sys/fs/fuse/connections";
    if is(servers, FUSE_CONTROL_MAGIC) {
        return fs::read_dir(servers).map_or(true, |mut servers| servers.next().is_some());
    }
    !is("/sys/fs", SYSFS_MAGIC) || Path::new("/sys/fs/fuse").exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Our own mounts are ours, and those in a user namespace of somebody's own are not.
    #[test]
    fn namespaces_have_owners() {
        assert!(is_ours(std::process::id()));
        assert!(!is_ours(u32::MAX));
        let mut other = Command::new("unshare")
            .args(["--user", "--mount", "sh", "-c", "echo; read -r _"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0];
        let output = other.stdout.as_mut().unwrap();
        std::io::Read::read_exact(output, &mut said).unwrap();
        assert!(!is_ours(other.id()));
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
