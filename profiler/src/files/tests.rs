//! Files that are found, held and lost.

use super::*;
use crate::identity::ByStat;
use abi::records::FileIdentities;

fn identity(path: &Path) -> FileIdentity {
    let file = File::open(path).unwrap();
    ByStat.identities(&file).unwrap().mapped
}

fn files() -> Files {
    Files::new(Arc::new(ByStat), 0)
}

fn seen(file: u32, identity: FileIdentity) -> FileSeen {
    FileSeen {
        kind: abi::records::kind::FILE,
        file,
        identity,
        start: 0,
        end: 4096,
        pid: u32::MAX,
        padding: 0,
    }
}

/// A program that was deleted after it was mapped has the path of the mapping, whichever is known first.
#[test]
fn a_path_is_that_of_the_mapping() {
    let of = FileIdentity {
        inode: 1,
        device: 2,
        generation: 0,
    };
    for (linked, mapped) in [("/bin/a (deleted)", "/bin/a"), ("/bin/b", "/bin/b")] {
        let mut files = files();
        let known = files.by_identity.entry(of).or_default();
        known.path = linked.into();
        files.mapped(of, "/bin/a".into());
        assert_eq!(files.by_identity[&of].path, Path::new(mapped));
    }
}

/// The file of a process that is gone is found by the path that was told, if it is still it.
#[test]
fn a_told_path_stands_in_for_a_process_that_is_gone() {
    let path = std::env::current_exe().unwrap();
    let own = identity(&path);
    let other = FileIdentity { inode: 1, ..own };
    let mut files = files();
    files.mapped(own, path.clone());
    files.mapped(other, path.clone());
    for (number, identity) in [(16, own), (17, other)] {
        files.see(&seen(number, identity));
    }
    let (known, replaced) = (files.get(16).unwrap(), files.get(17).unwrap());
    assert_eq!((&known.path, &replaced.path), (&path, &path));
    assert!(files.open(16).is_some() && files.open(17).is_none());
    assert!(files.get(18).is_none());
}

/// A path that is told only when a stack has named the file already is the file's.
#[test]
fn a_path_may_be_told_late() {
    let path = std::env::current_exe().unwrap();
    let own = identity(&path);
    let mut files = files();
    assert!(files.see(&seen(16, own)).is_none());
    files.mapped(own, path.clone());
    files.mapped(own, PathBuf::from("/elsewhere"));
    assert_eq!(files.get(16).unwrap().path, path);
    assert!(files.open(16).is_some());
}

/// Stands before every file, as an overlay does.
#[derive(Debug)]
struct Overlay;

impl Identify for Overlay {
    fn identities(&self, file: &File) -> Option<FileIdentities> {
        let found = ByStat.identities(file)?;
        let opened = FileIdentity {
            device: 77,
            ..found.opened
        };
        Some(FileIdentities { opened, ..found })
    }
}

/// A file that is told as that of an overlay is known as what stacks call it; another is not.
#[test]
fn a_file_is_told_under_another_name() {
    let path = std::env::current_exe().unwrap();
    let own = identity(&path);
    let told = FileIdentity { device: 77, ..own };
    let mut files = Files::new(Arc::new(Overlay), 0);
    assert_eq!(
        files.open_told(told, &path, u32::MAX).unwrap().identity,
        own
    );
    assert_eq!(files.name_of(told), own);
    files.mapped(told, path.clone());
    assert!(files.see(&seen(16, own)).is_some());
    assert_eq!(files.get(16).unwrap().path, path);
    let other = FileIdentity { inode: 1, ..told };
    assert!(files.open_told(other, &path, u32::MAX).is_none());
}

/// More files than may be held are known all the same, and those that only might be named make
/// room for those that are.
#[test]
fn held_files_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..MAX_OPEN + 40)
        .map(|number| folder.path().join(number.to_string()))
        .collect();
    for path in &paths {
        std::fs::write(path, "content").unwrap();
    }
    let mut files = files();
    for path in &paths {
        assert!(files.open_told(identity(path), path, u32::MAX).is_some());
        files.mapped(identity(path), path.clone());
    }
    assert_eq!(files.held, MAX_OPEN);
    assert!(files.fullness() < 0.1, "{}", files.fullness());
    for (count, (number, path)) in (1..).zip((16..).zip(&paths)) {
        assert!(files.see(&seen(number, identity(path))).is_some());
        let part = f64::from(count) / MAX_OPEN as f64;
        assert!(files.fullness() >= part.min(1.0), "{}", files.fullness());
    }
    assert_eq!(files.held, MAX_OPEN);
    let last = 16 + u32::try_from(paths.len()).unwrap();
    assert!((16..last).all(|number| files.open(number).is_some()));
    // Those that are held are there still, and the others are gone.
    let gone: Vec<_> = paths.iter().map(std::fs::remove_file).collect();
    assert!(gone.iter().all(Result::is_ok));
    let open = (16..last).filter(|&number| files.open(number).is_some());
    assert_eq!(open.count(), MAX_OPEN);
}

/// Paths have a bound, and what is beyond it is counted.
#[test]
fn paths_are_bounded() {
    let mut files = files();
    let identity = identity(Path::new("/"));
    for inode in 0..MAX_PATHS as u64 + 3 {
        files.mapped(FileIdentity { inode, ..identity }, PathBuf::new());
    }
    files.mapped(
        FileIdentity {
            inode: 0,
            ..identity
        },
        PathBuf::new(),
    );
    assert_eq!((files.paths.len(), files.paths_dropped), (MAX_PATHS, 3));
}
