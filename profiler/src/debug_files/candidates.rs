//! Where debug files may be. A pure function of names: nothing is opened.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use symbolizer::AltLink;

use super::Refusal;

/// Where distributions install debug files.
const FOLDERS: [&str; 2] = ["/usr/lib/debug", "/lib/debug"];

/// A place where a debug file may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Whether it is where distributions install debug files, and not where the program's owner puts
    /// what they like.
    pub(super) is_installed: bool,
}

impl Place {
    fn installed(path: PathBuf) -> Self {
        Self {
            path,
            is_installed: true,
        }
    }

    fn beside(path: PathBuf) -> Self {
        Self {
            path,
            is_installed: false,
        }
    }
}

/// `FOLDER/.build-id/ab/cdef.debug`.
pub(super) fn by_build_id(id: &[u8]) -> Vec<Place> {
    let Some((first, rest)) = id.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Vec::new();
    };
    let mut name = format!("{first:02x}/");
    for byte in rest {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    let folders = FOLDERS.iter();
    let paths = folders.map(|folder| PathBuf::from(format!("{folder}/.build-id/{name}.debug")));
    paths.map(Place::installed).collect()
}

/// `DIR/NAME`, `DIR/.debug/NAME` and `/usr/lib/debug/DIR/NAME`, as `gdb` has it.
pub(super) fn by_link(name: &[u8], program: &Path) -> Result<Vec<Place>, Refusal> {
    let name = OsStr::from_bytes(name);
    if !is_plain(name) {
        return Err(Refusal::BadName);
    }
    let Some(folder) = folder_of(program) else {
        return Ok(Vec::new());
    };
    let below = folder.strip_prefix("/").unwrap_or(folder);
    Ok(vec![
        Place::beside(folder.join(name)),
        Place::beside(folder.join(".debug").join(name)),
        Place::installed(Path::new(FOLDERS[0]).join(below).join(name)),
    ])
}

/// What debug files have in common: by build id, or at its path, which is one of the folders where
/// debug files are installed, or none.
pub(super) fn common(link: &AltLink, program: &Path) -> Vec<Place> {
    let mut places = by_build_id(&link.build_id);
    let path = Path::new(OsStr::from_bytes(&link.path));
    // A debug file lies where the program does, below the folder of debug files.
    let folder = folder_of(program).unwrap_or(Path::new("/"));
    let folder = folder.strip_prefix("/").unwrap_or(folder);
    let path = cleaned(&Path::new(FOLDERS[0]).join(folder).join(path));
    if FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        places.push(Place::installed(path));
    }
    places
}

/// `FILE.dwp`.
pub(super) fn package(program: &Path) -> Vec<Place> {
    let Some(folder) = folder_of(program) else {
        return Vec::new();
    };
    let mut name = OsString::from(program.file_name().unwrap_or_default());
    name.push(".dwp");
    vec![Place::beside(folder.join(name))]
}

/// A `.dwo` file by its name in the folder that its source was compiled in, or beside the program.
pub(super) fn split_unit(
    folder: &[u8],
    name: &[u8],
    program: &Path,
) -> Result<Vec<Place>, Refusal> {
    let path = Path::new(OsStr::from_bytes(folder)).join(OsStr::from_bytes(name));
    if path.extension() != Some(OsStr::new("dwo")) || name.contains(&0) {
        return Err(Refusal::BadName);
    }
    let path = cleaned(&path);
    let beside = folder_of(program).zip(path.file_name());
    let beside = beside.map(|(folder, name)| folder.join(name));
    let compiled = path.is_absolute().then_some(path);
    Ok(compiled
        .into_iter()
        .chain(beside)
        .map(Place::beside)
        .collect())
}

/// The folder of a program that has a path.
fn folder_of(program: &Path) -> Option<&Path> {
    program.parent().filter(|_| program.is_absolute())
}

/// Whether a name stays in its folder.
fn is_plain(name: &OsStr) -> bool {
    let mut components = Path::new(name).components();
    let is_one = matches!(components.next(), Some(Component::Normal(part)) if part == name);
    is_one && components.next().is_none() && !name.as_bytes().contains(&0)
}

/// Without `.` and `..`, which take off what is before them.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(places: &[Place]) -> Vec<&str> {
        places
            .iter()
            .map(|place| place.path.to_str().unwrap())
            .collect()
    }

    /// Names lead to the places that gdb looks at, and a name with a folder to none.
    #[test]
    fn links_have_places() {
        let places = by_link(b"x.debug", Path::new("/opt/bin/x")).unwrap();
        assert_eq!(
            paths(&places),
            [
                "/opt/bin/x.debug",
                "/opt/bin/.debug/x.debug",
                "/usr/lib/debug/opt/bin/x.debug"
            ]
        );
        for name in [&b"../x"[..], b"/etc/x", b"a/b", b"", b".", b"..", b"x/"] {
            assert_eq!(by_link(name, Path::new("/opt/x")), Err(Refusal::BadName));
        }
        assert_eq!(by_link(b"x", Path::new("")), Ok(Vec::new()));
        assert_eq!(
            paths(&by_build_id(&[0xab, 0xcd, 0x01])),
            [
                "/usr/lib/debug/.build-id/ab/cd01.debug",
                "/lib/debug/.build-id/ab/cd01.debug"
            ]
        );
        assert_eq!(by_build_id(&[1]), []);
    }

    /// What debug files have in common is where debug files are installed, however it is named.
    #[test]
    fn common_parts_stay_with_debug_files() {
        let at = |path: &[u8]| {
            let link = AltLink {
                path: path.to_vec(),
                build_id: Vec::new(),
            };
            let places = common(&link, Path::new("/usr/bin/x"));
            paths(&places).first().map(|&path| path.to_owned())
        };
        let dwz = Some("/usr/lib/debug/.dwz/x".to_owned());
        assert_eq!(at(b"../../.dwz/x"), dwz);
        assert_eq!(at(b"/usr/lib/debug/.dwz/x"), dwz);
        for elsewhere in [&b"/etc/shadow"[..], b"../../../../../etc/shadow"] {
            assert_eq!(at(elsewhere), None);
        }
    }

    /// A part of split DWARF is one by its name.
    #[test]
    fn parts_have_places() {
        let places = split_unit(b"/src/out", b"../a.dwo", Path::new("/bin/x")).unwrap();
        assert_eq!(paths(&places), ["/src/a.dwo", "/bin/a.dwo"]);
        let named = split_unit(b"/src", b"/etc/shadow", Path::new("/bin/x"));
        assert_eq!(named, Err(Refusal::BadName));
        assert_eq!(paths(&package(Path::new("/bin/x"))), ["/bin/x.dwp"]);
    }
}
