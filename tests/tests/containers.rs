//! Programs that are elsewhere than their path says, or are no longer there: in a `chroot` with another
//! C library, in namespaces, on overlays, deleted, replaced, or in memory. Each is recorded while it
//! lives, and as children that are gone long before their names are looked up.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use abi::records::{FileSeen, file, kind};
use profiler::{
    files::Files,
    identity::{ByStat, Identify},
};
use tempfile::TempDir;
use tests::{
    Pprof, PprofFrame, Workload, alone, record, record_while, require_root, run_tool, timesink,
};

/// The other C library stands where the system has its own.
const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";
const OTHER_LIBC: &str = "/usr/lib/x86_64-linux-musl/libc.so";
/// More than any recording takes; it is ended with its test.
const LIVE_MS: &str = "300000";
/// No program takes so long to begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program whose work has a name and a place of its own.
fn spin(name: &str, before: u32) -> Workload {
    let (work, before) = (format!("-DWORK={name}_work"), format!("-DBEFORE={before}"));
    Workload::compile_as("spin", name, &[&work, &before])
}

/// A process that ends with the value.
struct Live {
    process: Child,
}

impl Live {
    /// Starts what becomes a process of that name.
    fn start(mut command: Command, name: &str) -> Self {
        let mut live = Self {
            process: command.spawn().unwrap(),
        };
        let begin = Instant::now();
        let comm = format!("/proc/{}/comm", live.process.id());
        while fs::read_to_string(&comm).unwrap_or_default().trim() != name {
            assert!(begin.elapsed() < PATIENCE, "no `{name}`");
            assert!(live.process.try_wait().unwrap().is_none(), "`{name}` ended");
            thread::sleep(Duration::from_millis(5));
        }
        live
    }

    fn recorded(&self) -> Pprof {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("live.pb.gz");
        let output = output.to_str().unwrap();
        let pid = self.process.id().to_string();
        let run = timesink(&["record", "-F", "499", "-d", "1s", "-p", &pid, "-o", output]);
        assert!(run.status.success(), "{}", run.stderr);
        Pprof::read(Path::new(output))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        self.process.wait().unwrap();
    }
}

/// Records a script's children, which end one after the other.
fn exited(script: &str) -> Pprof {
    record(&["-F", "999"], &["sh", "-c", script]).pprof()
}

/// Thirty times one after the other.
fn repeated(command: &str) -> String {
    format!("for i in $(seq 30); do {command} 30; done")
}

/// Nearly all of the process's time is in this function of this module, and none in one of the others.
fn assert_work(profile: &Pprof, process: &str, function: &str, module: &str, never: &[&str]) {
    let (mut user, mut right) = (0, 0);
    for sample in profile
        .samples
        .iter()
        .filter(|sample| sample.process == process)
    {
        let leaf = &sample.frames[0];
        let names = sample.frames.iter().map(|frame| frame.function.as_str());
        for name in names {
            assert!(!never.contains(&name), "{name}: {sample:?}");
        }
        if !leaf.is_kernel() && !leaf.function.starts_with("[lost") {
            user += sample.samples;
            right += sample.samples * u64::from(leaf.function == function && leaf.module == module);
        }
    }
    assert!(user > 40, "{user} in {process}: {profile:?}");
    assert!(right * 100 >= user * 90, "{right} of {user}: {profile:?}");
}

/// A folder with a program and another C library at the path of the system's.
fn other_root() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let libc = folder.path().join(LIBC.trim_start_matches('/'));
    fs::create_dir_all(libc.parent().unwrap()).unwrap();
    fs::copy(OTHER_LIBC, &libc).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/measure.c");
    let loader = format!("-Wl,--dynamic-linker={LIBC}");
    let program = folder.path().join("measure");
    let arguments = ["-O1", "-fno-builtin", &loader, source, "-o"];
    run_tool(
        "musl-gcc",
        &[&arguments[..], &[program.to_str().unwrap()]].concat(),
    );
    folder
}

/// In a `chroot` the names are those of the C library there, and not of the system's at the same path.
#[test]
fn a_chroot_with_another_libc() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let root = other_root();
    let place = root.path().to_str().unwrap();
    let mut command = Command::new("chroot");
    command.args([place, "/measure", LIVE_MS]);
    let live = Live::start(command, "measure").recorded();
    assert_work(&live, "measure", "strlen", LIBC, &[]);
    let gone = exited(&repeated(&format!("chroot {place} /measure")));
    assert_work(&gone, "measure", "strlen", LIBC, &[]);
    let programs = gone.samples.iter().flat_map(|sample| &sample.frames);
    let mut programs = programs.filter(|frame| frame.function == "main");
    assert!(programs.all(|frame| frame.module == "/measure"));
}

/// Waits for a file that another process makes.
fn wait_for(path: &Path) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(begin.elapsed() < PATIENCE, "no `{}`", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Programs of an overlay that only its processes see, each of which has ended before the recorder can
/// look at it, since that stands still meanwhile: nearly all their samples have names.
#[test]
fn programs_of_a_namespace_that_have_all_ended() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let alpha = spin("alpha", 64);
    let (folder, flags) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (place, program) = (folder.path().display(), alpha.path());
    let [ready, go, done] = ["ready", "go", "done"].map(|name| flags.path().join(name));
    let [ready_path, go_path, done_path] = [&ready, &go, &done].map(|path| path.display());
    let script = format!(
        "mount -t tmpfs tmpfs {place} && cd {place} && mkdir lower upper work merged && \
         for i in $(seq 200); do cp {program} lower/spin$i; done && \
         mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && \
         touch {ready_path} && while [ ! -e {go_path} ]; do sleep 0.01; done; \
         for i in $(seq 200); do merged/spin$i 2; done; touch {done_path}; sleep 2"
    );
    let command = ["unshare", "-m", "sh", "-c", &script];
    let recorded = record_while(&["-F", "1999"], &command, |recorder| {
        wait_for(&ready);
        recorder.signal(libc::SIGSTOP);
        File::create(&go).unwrap();
        wait_for(&done);
        recorder.signal(libc::SIGCONT);
    });
    let profile = recorded.pprof();
    let of_leaves = |wanted: &dyn Fn(&PprofFrame) -> bool| {
        profile.count(|sample| {
            sample.process.starts_with("spin") && sample.user_leaf().is_some_and(wanted)
        })
    };
    let in_program = |leaf: &PprofFrame| leaf.module.contains("merged/spin");
    let (user, named) = (of_leaves(&|_| true), of_leaves(&PprofFrame::is_named));
    assert!(
        named * 100 >= user * 98,
        "{named} of {user}: {}",
        recorded.run.stderr
    );
    // The others are the loader's: how long it takes to start a program is the machine's matter.
    let own = of_leaves(&in_program);
    let work = of_leaves(&|leaf| in_program(leaf) && leaf.function == "alpha_work");
    assert!(own > 300, "{own} of {user}");
    assert!(work * 100 >= own * 98, "{work} of {own}");
    // Rows that count names that are missing are there where they count something.
    let stderr = &recorded.run.stderr;
    assert!(!stderr.contains("unnamed: file-gone"), "{stderr}");
}

/// A path that was told of a process in a `chroot` leads to its file also when the process is gone and
/// no stack has named the file yet, as long as one process of that root was met while it lived.
#[test]
fn a_root_outlives_its_processes() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let root = other_root();
    let mut command = Command::new("chroot");
    command.args([root.path().to_str().unwrap(), "/measure", LIVE_MS]);
    let live = Live::start(command, "measure");
    let program = File::open(root.path().join("measure")).unwrap();
    let identity = ByStat.identities(&program).unwrap().mapped;
    let seen = FileSeen {
        kind: kind::FILE,
        file: file::FIRST,
        identity,
        start: 0,
        end: 4096,
        pid: live.process.id(),
        padding: 0,
    };
    for is_met in [true, false] {
        let mut files = Files::new(Arc::new(ByStat), 0);
        if is_met {
            files.meet(live.process.id());
        }
        files.mapped(identity, PathBuf::from("/measure"));
        // No process maps it at this place.
        let gone = FileSeen {
            pid: u32::MAX,
            ..seen
        };
        assert_eq!(files.see(&gone).is_some(), is_met);
        assert_eq!(files.open(file::FIRST).is_some(), is_met);
        assert_eq!(files.root(file::FIRST).is_some(), is_met);
    }
}

/// In namespaces of users, processes and mounts the names are those of the program that is mounted at
/// a path there, and not of that which the path leads to elsewhere.
#[test]
fn namespaces_with_another_program_at_the_path() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let (alpha, beta) = (spin("alpha", 64), spin("beta", 8192));
    let (shown, inside) = (alpha.path(), beta.path());
    let script = |rest: &str| format!("mount --bind {inside} {shown} && {rest}");
    let enter = ["-Urpmf", "--mount-proc", "sh", "-c"];
    let children = script(&repeated(shown));
    let mut command = vec!["unshare"];
    command.extend(enter);
    command.push(&children);
    let gone = record(&["-F", "999"], &command).pprof();
    assert_work(&gone, "alpha", "beta_work", shown, &["alpha_work"]);

    // Without `-f` and `-p` it is the process that was started.
    let mut command = Command::new("unshare");
    let living = script(&format!("exec {shown} {LIVE_MS}"));
    command.args(["-Urm", "sh", "-c", &living]);
    let live = Live::start(command, "alpha").recorded();
    assert_work(&live, "alpha", "beta_work", shown, &["alpha_work"]);
}

/// A program is named in namespaces of its own as outside.
#[test]
fn namespaces_with_the_same_files() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let alpha = spin("alpha", 64);
    let script = repeated(alpha.path());
    let enter = ["unshare", "-Upmf", "--mount-proc", "sh", "-c", &script];
    let gone = record(&["-F", "999"], &enter).pprof();
    assert_work(&gone, "alpha", "alpha_work", alpha.path(), &[]);
}

/// On an overlay that only its processes see, a program is that of the upper layer.
#[test]
fn an_overlay_of_a_namespace() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let (alpha, beta) = (spin("alpha", 64), spin("beta", 8192));
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let program = format!("{place}/merged/spin");
    fs::create_dir(folder.path().join("merged")).unwrap();
    // The layers are in memory, since some file systems are no upper layer.
    let script = |rest: &str| {
        format!(
            "mount -t tmpfs tmpfs {place} && cd {place} && mkdir lower upper work merged && \
             cp {} lower/spin && cp {} upper/spin && \
             mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && {rest}",
            alpha.path(),
            beta.path()
        )
    };
    let children = script(&repeated(&program));
    let gone = record(&["-F", "999"], &["unshare", "-m", "sh", "-c", &children]).pprof();
    assert_work(&gone, "spin", "beta_work", &program, &["alpha_work"]);

    let mut command = Command::new("unshare");
    let living = script(&format!("exec {program} {LIVE_MS}"));
    command.args(["-m", "sh", "-c", &living]);
    let live = Live::start(command, "spin").recorded();
    assert_work(&live, "spin", "beta_work", &program, &["alpha_work"]);
}

/// Waits until the last process that a shell started is the program.
const RUNS: &str = "while [ \"$(cat /proc/$!/comm)\" != spin ]; do :; done;";

/// A copy of a program in a folder of its own, which goes with the first value.
fn copied(program: &Workload) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("spin");
    fs::copy(program.path(), &copy).unwrap();
    (folder, copy)
}

fn started(program: &Path) -> Live {
    let mut command = Command::new(program);
    command.arg(LIVE_MS);
    Live::start(command, "spin")
}

/// A program that was deleted while it runs has its names.
#[test]
fn a_deleted_program() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let alpha = spin("alpha", 64);
    let (_folder, copy) = copied(&alpha);
    let shown = copy.to_str().unwrap();
    let live = started(&copy);
    fs::remove_file(&copy).unwrap();
    let deleted = format!("{shown} (deleted)");
    assert_work(&live.recorded(), "spin", "alpha_work", &deleted, &[]);
    let original = alpha.path();
    let script = format!("cp {original} {shown}; {shown} 500 & {RUNS} rm {shown}; wait");
    assert_work(&exited(&script), "spin", "alpha_work", shown, &[]);
}

/// A program that was replaced while it runs has its own names, and not those of its successor.
#[test]
fn a_replaced_program() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let (alpha, beta) = (spin("alpha", 64), spin("beta", 8192));
    let (folder, copy) = copied(&alpha);
    let shown = copy.to_str().unwrap();
    let live = started(&copy);
    let replace = || {
        let next = folder.path().join("next");
        fs::copy(beta.path(), &next).unwrap();
        fs::rename(&next, &copy).unwrap();
    };
    replace();
    let deleted = format!("{shown} (deleted)");
    let never = ["beta_work"];
    assert_work(&live.recorded(), "spin", "alpha_work", &deleted, &never);
    drop(live);
    let script = format!(
        "cp --remove-destination {} {shown}; {shown} 500 & {RUNS} cp {} {shown}.next; mv {shown}.next {shown}; wait",
        alpha.path(),
        beta.path()
    );
    assert_work(&exited(&script), "spin", "alpha_work", shown, &never);
}

/// A program that has no path has names, by what it was called.
#[test]
fn a_program_in_memory() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let (alpha, unnamed) = (
        spin("alpha", 64),
        Workload::without_frame_pointers("unnamed.c", "unnamed", &[]),
    );
    let shown = "/memfd:spin (deleted)";
    let gone = exited(&repeated(&format!("{} {}", unnamed.path(), alpha.path())));
    let process = process_of(&gone, "alpha_work");
    assert_work(&gone, &process, "alpha_work", shown, &[]);
    let mut command = Command::new(unnamed.path());
    command.args([alpha.path(), LIVE_MS]);
    let live = Live::start(command, &process).recorded();
    assert_work(&live, &process, "alpha_work", shown, &[]);
}

/// What the process is called that does the work: the kernel names it after a descriptor.
fn process_of(profile: &Pprof, function: &str) -> String {
    let mut samples = profile.samples.iter();
    let sample = samples.find(|sample| sample.frames[0].function == function);
    sample
        .unwrap_or_else(|| panic!("no {function}: {profile:?}"))
        .process
        .clone()
}
