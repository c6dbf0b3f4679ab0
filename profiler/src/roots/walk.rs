//! A path below a root, step by step: a folder is looked into only where its mount is known to answer,
//! and a link leads no further than the root.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    os::fd::{AsFd, BorrowedFd},
    path::{Component, Path},
};

use super::{Absent, Links};
use crate::handle::{Handle, Kind};

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;
/// Longer paths than any that the kernel takes.
const MAX_STEPS: usize = 4096;

/// Walks to where `path` leads. Folders are looked into where their mount answers, as `answers` tells
/// for a mount of which a place is open.
pub(super) fn walk(
    root: BorrowedFd<'_>,
    path: &Path,
    links: Links,
    mut answers: impl FnMut(u64) -> bool,
) -> Result<Handle, Absent> {
    let mut waiting: VecDeque<OsString> = steps(path).collect();
    // The folders from the root to the place; never empty.
    let mut way = vec![step_into(root, ".".as_ref())?.0];
    let mut mount = None;
    let (mut followed, mut taken) = (0, 0);
    while let Some(step) = waiting.pop_front() {
        taken += 1;
        if taken > MAX_STEPS {
            return Err(Absent::Link);
        }
        if step == ".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let folder = way.last().ok_or(Absent::Nothing)?;
        let look = folder.look().map_err(|_gone| Absent::Nothing)?;
        if mount != Some(look.mount) {
            if !answers(look.mount) {
                return Err(Absent::Silent);
            }
            mount = Some(look.mount);
        }
        // The mount of a link is that of its folder, which answers.
        let (place, kind) = step_into(folder.as_fd(), &step)?;
        let is_last = waiting.is_empty() && followed == 0;
        if kind != Kind::Link || (is_last && links == Links::FollowButLast) {
            way.push(place);
            continue;
        }
        followed += 1;
        if links == Links::Refuse || followed > MAX_LINKS {
            return Err(Absent::Link);
        }
        let target = place.target().map_err(|_gone| Absent::Nothing)?;
        if target.is_absolute() {
            way.truncate(1);
        }
        for step in steps(&target).rev() {
            waiting.push_front(step);
        }
    }
    way.pop().ok_or(Absent::Nothing)
}

fn step_into(folder: BorrowedFd<'_>, name: &OsStr) -> Result<(Handle, Kind), Absent> {
    let place = Handle::below(folder, Path::new(name), 0, false);
    let place = place.map_err(|_nothing| Absent::Nothing)?;
    let look = place.look().map_err(|_gone| Absent::Nothing)?;
    Ok((place, look.kind))
}

fn steps(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let steps = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    steps.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    /// Paths and links lead to what is below the root and no further; loops end; a folder of a mount
    /// that may not answer is not looked into, and is itself found.
    #[test]
    fn walks_stay_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "inside").unwrap();
        symlink("/a/b", folder.path().join("absolute")).unwrap();
        symlink("../../../../a/b/file", folder.path().join("a/up")).unwrap();
        symlink("loop", folder.path().join("loop")).unwrap();
        symlink("/etc/passwd", folder.path().join("outside")).unwrap();
        let root = Handle::of(folder.path()).unwrap();
        let inode = |path: &str, links, answers: bool| {
            let place = walk(root.as_fd(), Path::new(path), links, |_| answers)?;
            Ok(place.look().unwrap().inode)
        };
        let file = inode("/a/b/file", Links::Refuse, true);
        assert!(file.is_ok());
        for path in ["absolute/file", "/a/up", "a/./b/../../../a/b/file"] {
            assert_eq!(inode(path, Links::Follow, true), file, "{path}");
        }
        for path in ["outside", "/etc/passwd", "a/b/file/x", "nothing"] {
            assert_eq!(
                inode(path, Links::Follow, true),
                Err(Absent::Nothing),
                "{path}"
            );
        }
        assert_eq!(inode("loop", Links::Follow, true), Err(Absent::Link));
        assert_eq!(inode("a/up", Links::Refuse, true), Err(Absent::Link));
        let last = walk(
            root.as_fd(),
            Path::new("a/up"),
            Links::FollowButLast,
            |_| true,
        );
        assert_eq!(last.unwrap().look().unwrap().kind, Kind::Link);
        assert_eq!(inode("absolute/file", Links::FollowButLast, true), file);
        assert_eq!(inode("a", Links::Follow, false), Err(Absent::Silent));
        assert!(inode("/", Links::Follow, false).is_ok());
    }
}
