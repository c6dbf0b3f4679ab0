//! Stripped programs have the names of their separate debug files, wherever these are, and what only
//! looks like one is refused, with the reason.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use profiler::{
    debug_files::{DebugFiles, Finder, Refusal, Subject},
    worker::{Limits, Workers},
};
use symbolizer::{Description, Detail, SourceLine, Sources};
use tempfile::TempDir;
use tests::{Folded, Mounts, Running, Workload, binary, require_root, run_tool};

/// A program whose work is in a function that nothing but a symbol table names.
fn compiled(flags: &[&str]) -> Workload {
    let flags = [&["-DWORK=hidden_work", "-DBEFORE=64", "-g"], flags].concat();
    Workload::without_frame_pointers("spin.c", "spin", &flags)
}

fn objcopy(arguments: &[&str], paths: &[&Path]) {
    let paths = paths.iter().map(|path| path.to_str().unwrap());
    let arguments: Vec<&str> = arguments.iter().copied().chain(paths).collect();
    run_tool("objcopy", &arguments);
}

/// A stripped program and its debug file, in different folders.
struct Parts {
    folder: TempDir,
    program: PathBuf,
    debug: PathBuf,
}

impl Parts {
    fn of(flags: &[&str]) -> Self {
        let whole = compiled(flags);
        let folder = tempfile::tempdir().unwrap();
        let (bin, other) = (folder.path().join("bin"), folder.path().join("other"));
        for folder in [&bin, &other] {
            fs::create_dir(folder).unwrap();
        }
        let (program, debug) = (bin.join("spin"), other.join("spin.debug"));
        objcopy(&["--only-keep-debug"], &[whole.path().as_ref(), &debug]);
        objcopy(&["--strip-all"], &[whole.path().as_ref(), &program]);
        Self {
            folder,
            program,
            debug,
        }
    }

    /// Has the program name its debug file.
    fn link(&self) {
        let link = format!("--add-gnu-debuglink={}", self.debug.display());
        objcopy(&[&link], &[&self.program]);
    }

    /// Has the program name anything as its debug file.
    fn link_to(&self, name: &str) {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize((name.len() + 1).next_multiple_of(4) + 4, 0);
        let section = self.folder.path().join("section");
        fs::write(&section, bytes).unwrap();
        let add = format!(".gnu_debuglink={}", section.display());
        objcopy(
            &["--remove-section=.gnu_debuglink", "--add-section", &add],
            &[&self.program],
        );
    }

    /// The folder of the program.
    fn bin(&self) -> &Path {
        self.program.parent().unwrap()
    }

    /// The build id as folders of debug files name it: `ab/cdef`.
    fn id(&self) -> String {
        let id = workers().describe(&File::open(&self.debug).unwrap());
        let id = id.unwrap().build_id.unwrap();
        let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}/{}", &digits[..2], &digits[2..])
    }
}

fn workers() -> Workers {
    let limits = Limits {
        readers: 1,
        memory_bytes: 256 << 20,
        time: Duration::from_secs(10),
    };
    Workers::of_program(binary(), limits)
}

/// Records a command, and counts its samples of user code, and those of them that have the name.
fn recorded(
    command: &[&OsStr],
    options: &[&str],
    environment: &[(&str, &str)],
) -> (u64, u64, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("recorded.folded");
    let mut timesink = Command::new(binary());
    timesink
        .args(["record", "-F", "999", "-o"])
        .arg(&output)
        .args(options)
        .arg("--")
        .args(command)
        .envs(environment.iter().copied());
    let run = Running::spawn(timesink).finish();
    assert!(run.status.success(), "{}", run.stderr);
    let stacks = Folded::parse(&fs::read_to_string(&output).unwrap());
    let user = stacks.filter(|stack| stack.process == "spin" && stack.user_frames().count() > 0);
    let named = user.filter(|stack| stack.has("hidden_work")).total();
    (named, user.total(), run.stderr)
}

fn is_named(program: &Path) -> bool {
    let (named, user, stderr) = recorded(&[program.as_ref(), "400".as_ref()], &[], &[]);
    assert!(user > 100, "{stderr}");
    named * 100 >= user * 90
}

/// By build id, where distributions install debug files; without it the program has no names.
#[test]
fn a_debug_file_of_the_system() {
    if !require_root() {
        return;
    }
    let parts = Parts::of(&[]);
    let _mounts = Mounts::new();
    // For this test alone, which has mounts of its own.
    run_tool("mount", &["-t", "tmpfs", "tmpfs", "/usr/lib/debug"]);
    assert!(!is_named(&parts.program));
    let place = PathBuf::from(format!("/usr/lib/debug/.build-id/{}.debug", parts.id()));
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(&parts.debug, &place).unwrap();
    assert!(is_named(&parts.program));
}

/// By the name in the program: beside it, in `.debug`, and below `/usr/lib/debug`.
#[test]
fn a_debug_file_that_the_program_names() {
    if !require_root() {
        return;
    }
    for (flags, place) in [
        (&[][..], "spin.debug"),
        (&[], ".debug/spin.debug"),
        (&["-Wl,--build-id=none"], "spin.debug"),
    ] {
        let parts = Parts::of(flags);
        parts.link();
        let place = parts.bin().join(place);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        assert!(!is_named(&parts.program));
        fs::copy(&parts.debug, &place).unwrap();
        assert!(is_named(&parts.program), "{flags:?} {}", place.display());
    }
}

/// A debug file that only the root of the process has, by build id, also when the process is gone.
#[test]
fn a_debug_file_inside_a_chroot() {
    if !require_root() {
        return;
    }
    let parts = Parts::of(&["-static"]);
    let root = parts.folder.path();
    let (root, bin) = (root.as_os_str(), OsStr::new("/bin/spin"));
    let command: [&OsStr; 4] = ["chroot".as_ref(), root, bin, "400".as_ref()];
    let (named, user, stderr) = recorded(&command, &[], &[]);
    assert!(named == 0 && user > 100, "{named} of {user}: {stderr}");
    let place = format!("usr/lib/debug/.build-id/{}.debug", parts.id());
    let place = parts.folder.path().join(place);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(&parts.debug, &place).unwrap();
    let (named, user, stderr) = recorded(&command, &[], &[]);
    assert!(
        named * 100 >= user * 90 && user > 100,
        "{named} of {user}: {stderr}"
    );
}

/// A compressed symbol table within the program, as Fedora's programs have.
#[test]
fn a_symbol_table_within_the_program() {
    if !require_root() {
        return;
    }
    let parts = Parts::of(&[]);
    let mini = parts.folder.path().join("mini");
    objcopy(&["-S", "--keep-symbol=hidden_work"], &[&parts.debug, &mini]);
    run_tool("xz", &[mini.to_str().unwrap()]);
    let section = format!(".gnu_debugdata={}.xz", mini.display());
    assert!(!is_named(&parts.program));
    objcopy(&["--add-section", &section], &[&parts.program]);
    assert!(is_named(&parts.program));
}

fn described(program: &Path) -> (File, Description) {
    let file = File::open(program).unwrap();
    let description = workers().describe(&file).unwrap();
    (file, description)
}

fn found(parts: &Parts) -> DebugFiles {
    let (file, description) = described(&parts.program);
    let workers = workers();
    Finder::new(&workers, None).find(&Subject {
        file: &file,
        description: &description,
        path: &parts.program,
        root: None,
    })
}

/// Compressed debug information gives the same lines as other.
#[test]
fn compressed_sections() {
    let mut lines: Vec<SourceLine> = Vec::new();
    for compression in ["none", "zlib", "zstd"] {
        let parts = Parts::of(&[]);
        parts.link();
        let beside = parts.bin().join("spin.debug");
        let compress = format!("--compress-debug-sections={compression}");
        objcopy(&[&compress], &[&parts.debug, &beside]);
        let found = found(&parts);
        let (debug, description) = found.debug.unwrap();
        assert!(description.has_dwarf);
        let (file, _) = described(&parts.program);
        let sources = Sources {
            debug: Some(&debug),
            ..Sources::alone(&file)
        };
        let detail = Detail {
            lines: true,
            inlines: false,
        };
        let offset = offset_of(&beside, "hidden_work");
        let (names, _) = workers().names(sources, &[offset], detail, &[offset]);
        let function = &names.answers[0].as_ref().unwrap().functions[0];
        assert_eq!(function.name, "hidden_work");
        lines.push(function.source.clone().unwrap());
    }
    assert!(
        lines[0].line > 0 && lines[0].file.starts_with('/'),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| *line == lines[0]), "{lines:?}");
}

/// Where a function is in a program, by its debug file. The program is loaded as it is laid out.
fn offset_of(debug: &Path, function: &str) -> u64 {
    let listed = Command::new("nm").arg(debug).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let line = listed
        .lines()
        .find(|line| line.ends_with(function))
        .unwrap();
    u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
}

/// What lies where a debug file would and is none is not opened or not used, and the reason is told.
#[test]
fn what_is_no_debug_file_is_refused() {
    let refused = |parts: &Parts| {
        let found = found(parts);
        assert!(found.debug.is_none(), "{found:?}");
        assert_eq!(found.refused.len(), 1, "{found:?}");
        found.refused[0].why
    };
    let parts = Parts::of(&["-Wl,--build-id=none"]);
    parts.link();
    let beside = parts.bin().join("spin.debug");
    let again = || fs::remove_file(&beside).unwrap();

    run_tool("mkfifo", &[beside.to_str().unwrap()]);
    assert_eq!(refused(&parts), Refusal::NotRegular);
    again();
    symlink("spin.debug", &beside).unwrap();
    assert_eq!(refused(&parts), Refusal::Link);
    again();
    symlink(&parts.debug, &beside).unwrap();
    assert_eq!(refused(&parts), Refusal::Link);
    again();
    fs::create_dir(&beside).unwrap();
    assert_eq!(refused(&parts), Refusal::NotRegular);
    fs::remove_dir(&beside).unwrap();
    File::create(&beside).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(refused(&parts), Refusal::TooLarge);
    again();
    fs::copy(&parts.debug, &beside).unwrap();
    let mut longer = fs::OpenOptions::new().append(true).open(&beside).unwrap();
    longer.write_all(&[0]).unwrap();
    assert_eq!(refused(&parts), Refusal::OtherChecksum);
    for name in ["../other/spin.debug", "/etc/passwd", ".."] {
        parts.link_to(name);
        assert_eq!(refused(&parts), Refusal::BadName);
    }

    let (first, second) = (Parts::of(&[]), Parts::of(&["-DOTHER", "-O1"]));
    first.link();
    let beside = first.bin().join("spin.debug");
    fs::copy(&second.debug, &beside).unwrap();
    assert_eq!(refused(&first), Refusal::OtherBuildId);
    fs::write(&beside, "text").unwrap();
    assert_eq!(refused(&first), Refusal::NotElf);
    fs::copy(&first.program, &beside).unwrap();
    assert_eq!(refused(&first), Refusal::Empty);
    fs::copy(&first.debug, &beside).unwrap();
    assert!(found(&first).debug.is_some());
}

/// Another user's file beside a program is not used, though it has the program's build id.
#[test]
fn a_debug_file_of_another_user_is_refused() {
    if !require_root() {
        return;
    }
    let parts = Parts::of(&[]);
    parts.link();
    let beside = parts.bin().join("spin.debug");
    fs::copy(&parts.debug, &beside).unwrap();
    std::os::unix::fs::chown(&beside, Some(65534), None).unwrap();
    let found = found(&parts);
    assert!(found.debug.is_none());
    assert_eq!(found.refused[0].why, Refusal::Owner);
}

/// A debug file that is refused is told of in a recording, and does not keep it.
#[test]
fn a_recording_tells_what_it_refused() {
    if !require_root() {
        return;
    }
    let parts = Parts::of(&[]);
    parts.link();
    let beside = parts.bin().join("spin.debug");
    run_tool("mkfifo", &[beside.to_str().unwrap()]);
    let (named, user, stderr) = recorded(&[parts.program.as_ref(), "400".as_ref()], &[], &[]);
    assert!(named == 0 && user > 100, "{named} of {user}");
    let words = format!(
        "timesink: `{}` is not used: it is no regular file",
        beside.display()
    );
    assert_eq!(stderr.matches(&words).count(), 1, "{stderr}");
}

/// A package of split DWARF beside the program, and a single part of it where it was compiled.
#[test]
fn split_debug_information() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("spin");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/spin.c");
    let compiled = Command::new("clang")
        .args([
            "-O1",
            "-gdwarf-5",
            "-gsplit-dwarf",
            "-Wno-unknown-attributes",
            "-DWORK=hidden_work",
            "-DBEFORE=64",
        ])
        .args([source, "-c", "-o", "spin.o"])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(compiled.success());
    let object = folder.path().join("spin.o");
    run_tool(
        "clang",
        &[object.to_str().unwrap(), "-o", program.to_str().unwrap()],
    );
    let (file, description) = described(&program);
    assert!(description.may_be_split);
    let workers = workers();
    let finder = Finder::new(&workers, None);
    let subject = Subject {
        file: &file,
        description: &description,
        path: &program,
        root: None,
    };
    assert!(finder.find(&subject).package.is_none());
    let compiled_in = folder.path().as_os_str().as_encoded_bytes();
    assert!(
        finder
            .split_unit(&subject, compiled_in, b"spin.dwo")
            .is_ok()
    );
    assert!(
        finder
            .split_unit(&subject, b"/nowhere", b"spin.dwo")
            .is_ok()
    );
    assert!(
        finder
            .split_unit(&subject, compiled_in, b"absent.dwo")
            .is_err_and(|why| why.is_none())
    );
    let wrong = finder
        .split_unit(&subject, compiled_in, b"spin.o")
        .unwrap_err();
    assert_eq!(wrong.unwrap().why, Refusal::BadName);
    let package = folder.path().join("spin.dwp");
    let part = folder.path().join("spin.dwo");
    run_tool(
        "dwp",
        &[part.to_str().unwrap(), "-o", package.to_str().unwrap()],
    );
    assert!(finder.find(&subject).package.is_some());
}

/// Answers requests for one file by its build id, and counts nothing else.
fn serve(id: String, content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            for line in lines {
                if line.unwrap().is_empty() {
                    break;
                }
            }
            let wanted = format!("GET /buildid/{id}/debuginfo ");
            let (status, body) = match request.starts_with(&wanted) {
                true => ("200 OK", content.as_slice()),
                false => ("404 Not Found", &[][..]),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            connection.write_all(head.as_bytes()).unwrap();
            // Who asked may have enough.
            let _ = connection.write_all(body);
        }
    });
    address
}

/// A server has the debug file of a program that has no names, and is asked only where that is wanted.
#[test]
fn a_debug_file_of_a_server() {
    if !require_root() {
        return;
    }
    let parts = Parts::of(&[]);
    let address = serve(parts.id().replace('/', ""), fs::read(&parts.debug).unwrap());
    let cache = parts.folder.path().join("cache");
    let environment = [
        ("DEBUGINFOD_URLS", address.as_str()),
        ("DEBUGINFOD_CACHE_PATH", cache.to_str().unwrap()),
        ("no_proxy", "127.0.0.1"),
    ];
    let command: [&OsStr; 2] = [parts.program.as_ref(), "400".as_ref()];
    let (named, user, stderr) = recorded(&command, &[], &environment);
    assert!(named == 0 && user > 100, "{named} of {user}: {stderr}");
    assert!(!cache.exists());
    let (named, user, stderr) = recorded(&command, &["--debuginfod"], &environment);
    assert!(
        named * 100 >= user * 90 && user > 100,
        "{named} of {user}: {stderr}"
    );
}

/// What asking servers lacks is said before anything is recorded.
#[test]
fn what_debuginfod_lacks_is_said() {
    if !require_root() {
        return;
    }
    for (urls, path, wanted) in [
        ("", "/usr/bin:/bin", "`DEBUGINFOD_URLS` names no server"),
        (
            "http://127.0.0.1:9",
            "/nowhere",
            "install the package `debuginfod`",
        ),
    ] {
        let mut timesink = Command::new(binary());
        timesink.args(["record", "--debuginfod", "-o", "-", "--", "/bin/true"]);
        timesink.envs([("DEBUGINFOD_URLS", urls), ("PATH", path)]);
        let run = Running::spawn(timesink).finish();
        assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
        assert!(run.stderr.contains(wanted), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}
