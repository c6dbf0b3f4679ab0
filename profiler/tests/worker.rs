//! Readers: what they may, what they name, and what a file that harms them costs.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Read,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use object::{Object, ObjectSection, ObjectSymbol};
use profiler::worker::{Limits, Workers};
use symbolizer::{Detail, Miss, Sources, Symbol};
use tempfile::TempDir;

const ALL: Detail = Detail {
    lines: true,
    inlines: true,
};

/// One test at a time: they look at the readers of their process.
fn alone() -> MutexGuard<'static, ()> {
    static TESTS: Mutex<()> = Mutex::new(());
    TESTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn workers(memory_bytes: u64, seconds: u64) -> Workers {
    let limits = Limits {
        readers: 1,
        memory_bytes,
        time: Duration::from_secs(seconds),
    };
    Workers::of_program(env!("CARGO_BIN_EXE_timesink").into(), limits)
}

fn run(command: &str) {
    let status = Command::new("sh").args(["-ec", command]).status().unwrap();
    assert!(status.success(), "failed to run `{command}`");
}

/// A program with a function `leaf`, and where that is in the file.
fn program(folder: &TempDir, flags: &str) -> (PathBuf, u64) {
    let source = folder.path().join("program.c");
    fs::write(
        &source,
        "__attribute__((noinline)) int leaf(int x) { return x * 3; }\n\
         int main(int argc, char **argv) { (void)argv; return leaf(argc); }\n",
    )
    .unwrap();
    let path = folder.path().join("program");
    let (source, out) = (source.display(), path.display());
    run(&format!("cc -O1 {flags} -o {out} {source}"));
    let bytes = fs::read(&path).unwrap();
    let elf = object::File::parse(bytes.as_slice()).unwrap();
    let leaf = elf
        .symbols()
        .find(|symbol| symbol.name() == Ok("leaf"))
        .unwrap();
    let text = elf.section_by_name(".text").unwrap();
    let offset = leaf.address() - text.address() + text.file_range().unwrap().0;
    (path, offset)
}

fn name(workers: &Workers, path: &Path, offset: u64) -> Result<Symbol, Miss> {
    let file = File::open(path).unwrap();
    workers
        .names(Sources::alone(&file), &[offset], ALL, &[offset])
        .0
        .answers
        .remove(0)
}

fn is_leaf(answer: &Result<Symbol, Miss>) -> bool {
    answer
        .as_ref()
        .is_ok_and(|symbol| symbol.functions[0].name == "leaf")
}

/// The readers of this process, by what the kernel tells of them.
fn readers() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let children = fs::read_to_string(task.unwrap().path().join("children")).unwrap();
        for pid in children.split_ascii_whitespace() {
            let folder = PathBuf::from(format!("/proc/{pid}"));
            let words = fs::read(folder.join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).into_owned();
            if words.contains("read-for-timesink") {
                found.push(folder);
            }
        }
    }
    found
}

fn status(reader: &Path, field: &str) -> String {
    let status = fs::read_to_string(reader.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

/// A reader has names to tell, and no rights: no capability, a user of its own, no folder, no new
/// privileges, a filter of system calls, and no descriptor but those for its master.
#[test]
fn readers_have_no_rights() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let (path, offset) = program(&folder, "-g");
    let workers = workers(256 << 20, 10);
    assert!(is_leaf(&name(&workers, &path, offset)));
    let reader = &readers()[0];
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(reader, capabilities), "0000000000000000");
    }
    assert_eq!(status(reader, "NoNewPrivs"), "1");
    assert_eq!(status(reader, "Seccomp"), "2");
    let descriptors = fs::read_dir(reader.join("fd")).unwrap();
    let descriptors = descriptors.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
    let descriptors: Vec<_> = descriptors.collect();
    assert!(descriptors.len() <= 4, "{descriptors:?}");
    // SAFETY: the call has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        let users = status(reader, "Uid");
        let users: Vec<u32> = users
            .split_ascii_whitespace()
            .map(|id| id.parse().unwrap())
            .collect();
        assert!(users.iter().all(|&id| id >= 0x7000_0000), "{users:?}");
        assert_eq!(status(reader, "Groups"), "");
        let place = |link: &str| fs::read_link(reader.join(link)).unwrap();
        assert_eq!(place("root"), reader.join("fd"));
        assert_eq!(place("cwd"), place("root"));
    }
}

/// A file that only its owner may read is named all the same, and one that has no name any more.
#[test]
fn private_and_deleted_files_are_named() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let (path, offset) = program(&folder, "-g");
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    let workers = workers(256 << 20, 10);
    let file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let (names, _) = workers.names(Sources::alone(&file), &[offset], ALL, &[offset]);
    assert!(
        is_leaf(&names.answers[0])
            && names.answers[0].as_ref().unwrap().functions[0]
                .source
                .is_some()
    );
}

/// A reader is kept for the next file where nobody but the host's root can have written the last one, and
/// not where that was root of a container.
#[test]
fn a_reader_that_read_a_containers_file_is_not_kept() {
    let _alone = alone();
    // SAFETY: the call has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (path, _) = program(&folder, "");
    let own = format!(
        "cp {0} copy && mount --bind copy {0} && echo",
        path.display()
    );
    let mut container = Command::new("unshare")
        .args(["--mount", "sh", "-c", &format!("{own} && read -r _")])
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0];
    let output = container.stdout.as_mut().unwrap();
    output.read_exact(&mut said).unwrap();
    let inside = format!("/proc/{}/root{}", container.id(), path.display());
    for (path, kept) in [(path, 1), (inside.into(), 0)] {
        let workers = workers(256 << 20, 10);
        workers.describe(&File::open(&path).unwrap()).unwrap();
        assert_eq!(readers().len(), kept, "{}", path.display());
    }
    container.kill().unwrap();
    container.wait().unwrap();
}

/// A compressed symbol table that becomes a thousand times its size costs its file the names, and the
/// next file is named.
#[test]
fn a_bomb_costs_its_own_names() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let (path, offset) = program(&folder, "-g");
    let bomb = folder.path().join("bomb");
    let (good, bad) = (path.display(), bomb.display());
    run(&format!(
        "strip -o {bad} {good}; head -c 2G /dev/zero | xz -1 >{bad}.xz; \
         objcopy --add-section .gnu_debugdata={bad}.xz {bad}"
    ));
    let workers = workers(64 << 20, 30);
    let answer = name(&workers, &bomb, offset);
    assert!(answer.is_err(), "{answer:?}");
    assert!(is_leaf(&name(&workers, &path, offset)));
}

/// Debug information that takes more memory than there is costs lines and inlined functions, and the
/// name is that of the symbol table.
#[test]
fn detail_that_is_too_large_costs_the_detail() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let (path, offset) = program(&folder, "-g");
    let (zeros, out) = (folder.path().join("zeros"), path.display());
    let zeros = zeros.display();
    // Within the bound on what is decompressed, and too much with what the reader has already.
    run(&format!(
        "head -c 31M /dev/zero >{zeros}; \
         objcopy --add-section .debug_types={zeros} {out}; \
         objcopy --compress-debug-sections=zlib {out}"
    ));
    let generous = workers(256 << 20, 10);
    let whole = name(&generous, &path, offset);
    assert!(whole.unwrap().functions[0].source.is_some());
    let narrow = workers(24 << 20, 10);
    let name = name(&narrow, &path, offset);
    assert!(is_leaf(&name), "{name:?}");
    assert!(name.unwrap().functions[0].source.is_none());
}

/// A reader that hangs, and one that is killed by its file, cost the names of one file each.
#[test]
fn readers_that_end_badly_are_replaced() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let (path, offset) = program(&folder, "");
    let file = File::open(&path).unwrap();
    for (signal, miss) in [
        (libc::SIGSTOP, Miss::TimedOut),
        (libc::SIGBUS, Miss::CutShort),
        (libc::SIGABRT, Miss::TooMuchMemory),
        (libc::SIGSEGV, Miss::ReaderDied),
    ] {
        let workers = workers(256 << 20, 1);
        let ask = || {
            workers
                .names(Sources::alone(&file), &[offset], Detail::default(), &[])
                .0
                .answers
                .remove(0)
        };
        assert!(is_leaf(&ask()));
        let reader = readers().remove(0);
        let pid: i32 = reader
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        // Once more where Rust's own handler of faults has seen that the first was none.
        while !["T", "Z"]
            .iter()
            .any(|state| status(&reader, "State").starts_with(state))
        {
            // SAFETY: the process is a child of this one that has not been waited for.
            unsafe { libc::kill(pid, signal) };
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(ask(), Err(miss), "signal {signal}");
        assert!(is_leaf(&ask()));
        assert_eq!(workers.what_was_lost().readers, 1);
    }
}

/// A file that is cut short and written again, over and over, while it is read, harms nobody but
/// itself.
#[test]
fn a_file_that_is_truncated_while_it_is_read() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let (path, offset) = program(&folder, "-g");
    let other = folder.path().join("other");
    fs::copy(&path, &other).unwrap();
    let content = fs::read(&path).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let workers = workers(256 << 20, 10);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                file.set_len(0).unwrap();
                file.write_all_at(&content, 0).unwrap();
            }
        });
        let answers: Vec<_> = (0..100).map(|_| name(&workers, &path, offset)).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(answers.iter().any(Result::is_err));
    });
    assert!(is_leaf(&name(&workers, &other, offset)));
}
