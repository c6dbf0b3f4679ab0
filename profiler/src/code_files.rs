//! The files whose code is about to run: those that processes map already, and those of a command
//! before it is started.

use std::{
    collections::HashSet,
    env,
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use abi::records::FileIdentity;
use symbolizer::Loading;

use crate::{
    handle::Handle,
    identity::{Identify, open_regular},
    mounts::{Found, Mounts},
    proc,
    roots::Root,
};

/// Where the loader looks for libraries, as Debian, Fedora and others build it.
const LIBRARY_FOLDERS: [&str; 6] = [
    #[cfg(target_arch = "x86_64")]
    "/lib/x86_64-linux-gnu",
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu",
    #[cfg(target_arch = "aarch64")]
    "/lib/aarch64-linux-gnu",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];
/// More libraries than any program needs.
const MAX_LIBRARIES: usize = 1024;

/// A file of code, open.
#[derive(Debug)]
pub struct CodeFile {
    /// What the kernel programs call it.
    pub identity: FileIdentity,
    /// Where it was found.
    pub path: PathBuf,
    /// The file.
    pub file: File,
}

/// The files that processes map as code, each once, with one of those processes. Those of file systems
/// that may not answer are left for their first sample, since it takes a while to get them.
#[must_use]
pub fn of_processes(
    pids: impl IntoIterator<Item = u32>,
    identify: &dyn Identify,
) -> Vec<(CodeFile, u32)> {
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    for pid in pids {
        let maps = proc::read(&format!("/proc/{pid}/maps")).unwrap_or_default();
        let mut places = Vec::new();
        for mapped in maps.lines().filter_map(Mapped::parse) {
            let key = (mapped.device, mapped.inode);
            if !known.contains(&key)
                && let Some(place) = mapped.place(pid)
            {
                places.push((key, place));
            }
        }
        if places.is_empty() {
            continue;
        }
        // Read when the places are open, as `Mounts` wants it.
        let mounts = Mounts::of_process(pid);
        let root = Root::of(pid).ok();
        for (key, (path, place)) in places {
            if let Some(file) = Found::at(place, |mount| mounts.how(mount))
                && let Some(file) = file.prompt()
                && let Some(identity) = identify.identities(&file)
            {
                let path = root
                    .as_ref()
                    .map_or(path.clone(), |root| root.path_inside(&path));
                let identity = identity.mapped;
                let file = CodeFile {
                    identity,
                    path,
                    file,
                };
                if known.insert(key) {
                    found.push((file, pid));
                }
            }
        }
    }
    found
}

/// The processes that there are.
#[must_use]
pub fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A line of `/proc/PID/maps` that stands for code of a file.
#[derive(Debug, PartialEq, Eq)]
struct Mapped<'a> {
    range: &'a str,
    device: u32,
    inode: u64,
}

impl<'a> Mapped<'a> {
    /// `start-end perms offset major:minor inode path`, see `proc_pid_maps(5)`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (range, permissions) = (fields.next()?, fields.next()?);
        let (_offset, device, inode) = (fields.next()?, fields.next()?, fields.next()?);
        let (major, minor) = device.split_once(':')?;
        let number = |digits| u32::from_str_radix(digits, 16).ok();
        let mapped = Self {
            range,
            device: (number(major)? << 20) | number(minor)?,
            inode: inode.parse().ok()?,
        };
        (permissions.contains('x') && mapped.inode != 0).then_some(mapped)
    }

    /// Where it is, and a handle of it.
    fn place(&self, pid: u32) -> Option<(PathBuf, Handle)> {
        let link = PathBuf::from(format!("/proc/{pid}/map_files/{}", self.range));
        Some((fs::read_link(&link).ok()?, Handle::of(&link).ok()?))
    }
}

/// The files of a command: the program, its loader, and the libraries that it names, found as the
/// loader finds them. What it loads later is met when it runs.
#[must_use]
pub fn of_command(
    program: &OsStr,
    identify: &dyn Identify,
    loading: impl Fn(&File) -> Loading,
) -> Vec<CodeFile> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut waiting: Vec<PathBuf> = program_path(program).into_iter().collect();
    while let Some(path) = waiting.pop() {
        let Some(file) = at(&path, identify).filter(|file| seen.insert(file.identity)) else {
            continue;
        };
        if files.len() < MAX_LIBRARIES {
            waiting.extend(needed(&loading(&file.file), &path));
            files.push(file);
        }
    }
    files
}

fn at(path: &Path, identify: &dyn Identify) -> Option<CodeFile> {
    let file = open_regular(path)?;
    Some(CodeFile {
        identity: identify.identities(&file)?.mapped,
        path: path.to_owned(),
        file,
    })
}

/// Where a command is, by `PATH`; the interpreter of a script stands for the script.
fn program_path(program: &OsStr) -> Option<PathBuf> {
    let path = if program.as_bytes().contains(&b'/') {
        PathBuf::from(program)
    } else {
        let folders = env::var_os("PATH")?;
        env::split_paths(&folders)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())?
    };
    Some(interpreter(&path).unwrap_or(path))
}

/// The interpreter that the first line of a script names.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    let file = open_regular(path)?;
    file.take(256).read_to_end(&mut start).ok()?;
    let line = start
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let words = String::from_utf8_lossy(line).into_owned();
    let mut words = words.split_ascii_whitespace();
    match (words.next()?, words.next()) {
        (first, Some(name)) if first.ends_with("/env") => program_path(OsStr::new(name)),
        (first, _) => Some(PathBuf::from(first)),
    }
}

/// Where the loader and the libraries that a file asks for are, as the loader finds them.
fn needed(loading: &Loading, path: &Path) -> Vec<PathBuf> {
    let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let own_folder = path.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let lists = loading.folders.iter().map(|list| text(list));
    let mut folders: Vec<PathBuf> = lists
        .flat_map(|list| env::split_paths(&list).collect::<Vec<_>>())
        .map(|folder| PathBuf::from(folder.to_string_lossy().replace("$ORIGIN", &own_folder)))
        .collect();
    let of_environment = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    folders.extend(env::split_paths(&of_environment));
    folders.extend(LIBRARY_FOLDERS.iter().map(PathBuf::from));
    let libraries = loading.libraries.iter().filter_map(|name| {
        let mut places = folders.iter().map(|folder| folder.join(text(name)));
        places.find(|place| place.is_file())
    });
    let loader = loading.loader.iter().map(|path| PathBuf::from(text(path)));
    loader.chain(libraries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ByStat;

    fn read(file: &File) -> Loading {
        symbolizer::loading(file).unwrap_or_default()
    }

    /// Code of files is found in a process's list of mappings; data and other memory is passed over.
    #[test]
    fn lines_of_maps_are_read() {
        let line = "7f00-7f10 r-xp 00001000 fd:01 77                 /lib/a b.so";
        let mapped = Mapped::parse(line).unwrap();
        assert_eq!((mapped.range, mapped.inode), ("7f00-7f10", 77));
        assert_eq!(mapped.device, 0xfd << 20 | 1);
        for other in [
            "7f00-7f10 r--p 00001000 fd:01 77 /lib/a.so",
            "7f00-7f10 r-xp 00000000 00:00 0 [vdso]",
            "garbage",
        ] {
            assert_eq!(Mapped::parse(other), None, "{other}");
        }
    }

    /// A command has its program, loader and libraries, and a script those of its interpreter.
    #[test]
    fn a_command_has_its_libraries() {
        let files = of_command(OsStr::new("sh"), &ByStat, read);
        let names: Vec<_> = files
            .iter()
            .map(|file| file.path.to_string_lossy().into_owned())
            .collect();
        assert!(
            names.iter().any(|name| name.contains("libc.so.6")),
            "{names:?}"
        );
        assert!(
            names.iter().any(|name| name.contains("ld-linux")),
            "{names:?}"
        );
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/usr/bin/env sh\n").unwrap();
        let of_script = of_command(script.as_os_str(), &ByStat, read);
        assert_eq!(of_script.len(), files.len());
        assert!(of_command(OsStr::new("/no/such/program"), &ByStat, read).is_empty());
    }

    /// This process maps its own program.
    #[test]
    fn own_files_are_found() {
        let own = at(&env::current_exe().unwrap(), &ByStat).unwrap();
        let files = of_processes([std::process::id()], &ByStat);
        assert!(files.iter().any(|(file, _)| file.identity == own.identity));
        assert!(all_processes().contains(&std::process::id()));
    }
}
