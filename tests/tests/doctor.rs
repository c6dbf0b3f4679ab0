//! `timesink doctor` and the refusal of `timesink record`, as users with and without rights meet
//! them.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    ffi::CStr,
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;
use tests::binary;

const NOBODY: u32 = 65534;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The binary, copied to where every user reaches it.
struct Timesink {
    folder: TempDir,
}

impl Timesink {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Everybody may write there too, so that a file that is not made was not even begun.
        let everybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(folder.path(), everybody).unwrap();
        // Copied by another process: what this one has open for writing, a test beside it may hand
        // to a child at that moment, and the kernel runs no file that is open for writing.
        let mut copy = Command::new("cp");
        let copied = copy.arg(binary()).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.path().join("timesink"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    fn as_nobody(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.uid(NOBODY).gid(NOBODY).output().unwrap()
    }

    /// Runs as root with what is left of its capabilities where only some are `kept`.
    fn as_root_with(&self, kept: &'static [u32], arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        // SAFETY: between fork and exec, the closure makes system calls only.
        unsafe { command.pre_exec(|| drop_all_but(kept)) };
        command.output().unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// What is not in the bounding set is not in the set of a program that root executes.
fn drop_all_but(kept: &[u32]) -> io::Result<()> {
    for capability in (0..64).filter(|capability| !kept.contains(capability)) {
        // SAFETY: the call takes no pointers.
        let answer = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        let error = io::Error::last_os_error();
        // The kernel knows fewer than 64.
        if answer != 0 && error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
    }
    Ok(())
}

fn texts(output: Output) -> (String, String) {
    (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn state<'a>(report: &'a Value, name: &str) -> &'a str {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings
        .iter()
        .find(|finding| finding["name"] == name)
        .unwrap();
    finding["state"].as_str().unwrap()
}

fn kernel_release() -> String {
    // SAFETY: all bytes zero is a value of these arrays of characters.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills the struct, and ends each name with a zero byte.
    unsafe {
        assert_eq!(libc::uname(&raw mut names), 0);
        CStr::from_ptr(names.release.as_ptr())
            .to_str()
            .unwrap()
            .to_owned()
    }
}

/// As root the doctor says that recording works, as text and as JSON with this machine's facts.
#[test]
fn root_can_record() {
    let timesink = Timesink::new();
    let output = timesink.command(&["doctor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let (text, error) = texts(output);
    assert_eq!(error, "");
    let verdict = text.lines().last().unwrap();
    assert!(
        verdict.starts_with("timesink can record on this machine"),
        "{text}"
    );

    let output = timesink.command(&["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report = report(&output);
    assert_eq!(report["can_record"], true);
    assert_eq!(report["verdict"], verdict);
    assert_eq!(
        report["machine"]["kernel_release"].as_str(),
        Some(kernel_release().as_str())
    );
    let cpus = profiler::perf::online_cpus().unwrap();
    assert_eq!(
        report["machine"]["online_cpus"],
        serde_json::to_value(cpus).unwrap()
    );
    for name in ["kernel", "type information", "CAP_BPF", "kernel programs"] {
        assert_eq!(state(&report, name), "ok", "{report:#}");
    }
}

/// Without rights a recording ends at once with the names of what is lacking and what to do, and
/// without a file.
#[test]
fn nobody_is_refused_in_words_and_no_file_is_made() {
    let timesink = Timesink::new();
    let before = timesink.files();
    let output = timesink.as_nobody(&["record", "-a", "-d", "1s", "-o", "x.svg"]);
    assert_eq!(output.status.code(), Some(1));
    let (text, error) = texts(output);
    assert_eq!(text, "");
    assert!(
        error.starts_with("timesink: failed to record: this process lacks CAP_BPF and CAP_PERFMON"),
        "{error}"
    );
    assert!(
        error.contains("sudo setcap") && error.contains("sudo timesink"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        !error.contains("panicked") && !error.contains("backtrace"),
        "{error}"
    );
    assert_eq!(timesink.files(), before);
}

/// Without rights the doctor still reports, with a status of 1 and the line that mends it.
#[test]
fn nobody_is_told_what_to_do() {
    let timesink = Timesink::new();
    let output = timesink.as_nobody(&["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    let (text, error) = texts(output);
    assert_eq!(error, "");
    let binary = timesink.folder.path().join("timesink");
    let mend = text
        .lines()
        .find(|line| line.contains("sudo setcap"))
        .unwrap();
    assert!(mend.ends_with(binary.to_str().unwrap()), "{text}");
    let verdict = "timesink cannot record here: this process lacks CAP_BPF and CAP_PERFMON\n";
    assert!(text.ends_with(verdict), "{text}");

    let report = report(&timesink.as_nobody(&["doctor", "--json"]));
    assert_eq!(report["can_record"], false);
    assert_eq!(report["machine"]["capabilities"], Value::Array(Vec::new()));
}

/// The kernel agrees with the table of required capabilities: with these two, or with
/// CAP_SYS_ADMIN in their place, the programs load and a recording ends well; with one of them
/// the kernel refuses, and the one that is lacking is named.
#[test]
fn the_required_capabilities_are_those_that_the_kernel_asks_for() {
    let timesink = Timesink::new();
    let record = ["record", "-a", "-d", "100ms", "-o", "-"];
    for kept in [&[CAP_BPF, CAP_PERFMON][..], &[CAP_SYS_ADMIN]] {
        let output = timesink.as_root_with(kept, &["doctor", "--json"]);
        let report = report(&output);
        assert_eq!(output.status.code(), Some(0), "{kept:?}: {report:#}");
        assert_eq!(report["machine"]["kernel_programs"], "works");
        assert_eq!(state(&report, "CAP_SYS_PTRACE"), "degraded");
        let output = timesink.as_root_with(kept, &record);
        assert_eq!(output.status.code(), Some(0), "{kept:?}: {output:?}");
    }
    for (kept, lacking) in [
        (&[CAP_BPF][..], "lacks CAP_PERFMON;"),
        (&[CAP_PERFMON], "lacks CAP_BPF;"),
    ] {
        let report = report(&timesink.as_root_with(kept, &["doctor", "--json"]));
        assert!(report["machine"]["kernel_programs"]["fails"].is_string());
        assert_eq!(state(&report, "kernel programs"), "missing");
        let output = timesink.as_root_with(kept, &record);
        assert_eq!(output.status.code(), Some(1));
        let (_, error) = texts(output);
        assert!(error.contains(lacking), "{error}");
    }
}

/// In a user namespace of its own a process has all capabilities and may record nothing, and that
/// is what it is told.
#[test]
fn a_user_namespace_is_named() {
    let timesink = Timesink::new();
    let mut command = timesink.command(&["record", "-a", "-d", "1s", "-o", "x.svg"]);
    let unshare = || {
        // SAFETY: the call takes no pointers.
        match unsafe { libc::unshare(libc::CLONE_NEWUSER) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec, the closure makes one system call.
    unsafe { command.uid(NOBODY).gid(NOBODY).pre_exec(unshare) };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (_, error) = texts(output);
    assert!(error.contains("in a user namespace"), "{error}");
}

/// The files of a process are told with how each is unwound and named: this test's own program by its
/// table and its symbol table.
#[test]
fn the_files_of_a_process_are_told() {
    let pid = std::process::id().to_string();
    let told = Command::new(binary())
        .args(["doctor", "--json", "--pid", &pid])
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let reports: Value = serde_json::from_slice(&told.stdout).unwrap();
    let own = std::env::current_exe().unwrap();
    let own = reports
        .as_array()
        .unwrap()
        .iter()
        .find(|report| report["path"] == own.to_str().unwrap())
        .unwrap();
    let unwound = own["unwound"].as_str().unwrap();
    assert!(unwound.starts_with("by its table"), "{own:?}");
    assert_eq!(own["named"], "by its symbol table");
    assert_eq!(own["mend"], Value::Null);
}
