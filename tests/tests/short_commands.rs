//! Commands that are over in milliseconds, one after the other, as scripts and builds run them.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    env,
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use tempfile::TempDir;
use tests::{PprofFrame, PprofSample, Recorded, record, require_root, run_tool};

/// What a repository holds.
const COMMITS: usize = 400;
const FILES: usize = 40;

/// Git and dash with their symbol tables, which Debian's have not: optimised, without frame pointers.
fn built_commands() -> [String; 2] {
    static BUILT: Once = Once::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/build-commands");
    BUILT.call_once(|| {
        let built = Command::new(script).status().unwrap();
        assert!(built.success(), "failed to run `{script}`");
    });
    let own = env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    ["git", "sh"].map(|name| path(&target.join("commands").join(name)))
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A repository in which each commit changes a file of some size.
fn repository(git: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (commits, repository) = (
        folder.path().join("commits"),
        folder.path().join("repository"),
    );
    std::fs::write(&commits, stream()).unwrap();
    run_tool(
        git,
        &[
            "init",
            "--quiet",
            "--bare",
            "--template=",
            repository.to_str().unwrap(),
        ],
    );
    let imported = Command::new(git)
        .arg("-C")
        .arg(&repository)
        .args(["fast-import", "--quiet"])
        .stdin(File::open(&commits).unwrap())
        .status();
    assert!(imported.unwrap().success());
    (folder, repository)
}

/// The commits, as `git fast-import` reads them.
fn stream() -> String {
    let mut stream = String::new();
    for commit in 0..COMMITS {
        let text: String = (0..100)
            .map(|line| format!("line {line} of {}\n", commit * (line % 7)))
            .collect();
        let file = commit % FILES;
        write!(
            stream,
            "commit refs/heads/main\ncommitter A <a@example.org> {} +0000\ndata 9\ncommit {:02}\n\
             M 100644 inline folder{}/file{file}\ndata {}\n{text}\n",
            1_700_000_000 + commit,
            commit % 100,
            file % 5,
            text.len(),
        )
        .unwrap();
    }
    stream
}

/// Records 150 times `git log` and a small loop of the shell.
fn recorded(git: &str, shell: &str) -> Recorded {
    let (_folder, repository) = repository(git);
    let script = format!(
        "export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null; cd {}; i=0; \
         while [ $i -lt 150 ]; do i=$((i+1)); {git} log -p --stat -20 main >/dev/null; \
         {shell} -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'; done",
        repository.display()
    );
    record(&["-F", "1999"], &[shell, "-c", &script])
}

/// Of `git log` and `sh -c`, over and over, at least 98 % of the user samples have a function's name,
/// and both programs are among them.
#[test]
fn short_commands_have_names() {
    if !require_root() {
        return;
    }
    let [git, shell] = built_commands();
    let recorded = recorded(&git, &shell);
    let profile = recorded.pprof();
    let user = profile.user_count(|_| true);
    let named = profile.user_count(PprofFrame::is_named);
    assert!(user > 500, "{user}");
    assert!(
        named * 100 >= user * 98,
        "{named} of {user}: {}",
        recorded.run.stderr
    );
    for program in [&git, &shell] {
        let own = profile.user_count(|leaf| leaf.module == *program && leaf.is_named());
        assert!(own > 100, "{own} in {program}: {}", recorded.run.stderr);
    }
}

/// Of the same commands, stripped as Debian's are, every user sample is in a file by its path. What runs
/// in them is shown by its place, and each frame of that kind is counted as unnamed, with the reason.
/// The functions of libc have their names.
#[test]
fn stripped_commands_are_shown_by_place() {
    if !require_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [git, shell] = built_commands().map(|command| stripped(&command, folder.path()));
    let recorded = recorded(&git, &shell);
    let profile = recorded.pprof();
    let in_files = |leaf: &PprofFrame| leaf.module.starts_with('/') || leaf.module == "[vdso]";
    let user = profile.user_count(|_| true);
    assert!(user > 500, "{user}");
    assert_eq!(
        profile.user_count(in_files),
        user,
        "{}",
        recorded.run.stderr
    );
    for program in [&git, &shell] {
        let name = program.rsplit('/').next().unwrap();
        let place = format!("{name}+0x");
        let own = profile.user_count(|leaf| leaf.function.starts_with(&place));
        assert!(own > 100, "{own} in {program}: {}", recorded.run.stderr);
    }
    let of_place = |sample: &PprofSample| {
        let frames = sample
            .frames
            .iter()
            .filter(|frame| frame.function.contains("+0x"));
        sample.samples * frames.count() as u64
    };
    let shown: u64 = profile.samples.iter().map(of_place).sum();
    assert_eq!(recorded.ledger().count("unnamed: not-covered"), shown);
    // The system's C library and its loader, whose debug files `tests/install-tools` brings.
    let has_symbols = |leaf: &PprofFrame| {
        let name = leaf.module.rsplit('/').next();
        name.is_some_and(|name| name.starts_with("libc.so") || name.starts_with("ld-linux"))
    };
    let expected = profile.user_count(has_symbols);
    let named = profile.user_count(|leaf| has_symbols(leaf) && leaf.is_named());
    assert!(expected > 100, "{expected}");
    assert!(named * 100 >= expected * 98, "{named} of {expected}");
}

/// A copy of a command without its symbols, in a folder.
fn stripped(command: &str, folder: &Path) -> String {
    let copy = path(&folder.join(Path::new(command).file_name().unwrap()));
    run_tool("strip", &["-o", &copy, command]);
    copy
}
