//! Programs on file systems that a user's process serves: they have names, and where the server does
//! not answer, they are given up and nothing else is.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use output::{Query, Range, open};
use profiler::worker::{Limits, Workers};
use tests::{Agent, Mounts, Pprof, Run, Workload, alone, record, require_root, timesink};

/// A user whose file systems root may not read.
const NOBODY: u32 = 65534;
/// Who may, and would wait for one that does not answer.
const ROOT: u32 = 0;
/// More than any recording takes; it is ended with its test.
const LIVE_MS: &str = "300000";
/// No program takes so long to begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that ends with the value.
struct Live(Child);

impl Live {
    fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.0.id()).unwrap();
        // SAFETY: the call takes no pointers; the child was not waited for, so the pid is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// A program that runs from a file system of its user's. In the order in which they end: who waits for
/// the server ends with it.
struct Served {
    server: Live,
    program: Live,
    path: PathBuf,
    mounts: Mounts,
}

fn spin(name: &str) -> Workload {
    let work = format!("-DWORK={name}_work");
    Workload::compile_as("spin", name, &[&work, "-DBEFORE=64"])
}

/// A program of a user, on a file system of the same user.
fn served(user: u32) -> Served {
    served_at_least(0, user)
}

/// As [`served`], in a file of so many bytes at least.
fn served_at_least(bytes: u64, user: u32) -> Served {
    // Built before the program begins.
    let _binary = tests::binary();
    let mounts = Mounts::new();
    fs::set_permissions(mounts.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let folder = mounts.folder("served");
    let (alpha, fuse) = (
        spin("alpha"),
        Workload::without_frame_pointers("fuse.c", "fuse", &[]),
    );
    let file = OpenOptions::new().write(true).open(alpha.path()).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length.max(bytes)).unwrap();
    drop(file);
    let mut server = Command::new(fuse.path())
        .arg(&folder)
        .args([alpha.path(), &user.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    output.read_line(&mut said).unwrap();
    assert_eq!(said, "mounted\n");
    let server = Live(server);
    let path = folder.join("program");
    let program = Command::new(&path)
        .arg(LIVE_MS)
        .uid(user)
        .gid(user)
        .spawn()
        .unwrap();
    let program = Live(program);
    wait_for_work(&program);
    Served {
        server,
        program,
        path,
        mounts,
    }
}

/// Waits until a program has its libraries and is at work, which takes CPU time.
fn wait_for_work(program: &Live) {
    let begin = Instant::now();
    let stat = format!("/proc/{}/stat", program.pid());
    loop {
        let stat = fs::read_to_string(&stat).unwrap();
        let ticks: u64 = stat
            .rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .nth(11)
            .unwrap()
            .parse()
            .unwrap();
        if ticks > 5 {
            return;
        }
        assert!(begin.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
}

fn recorded(pids: &[String]) -> (Run, Pprof) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("recorded.pb.gz");
    let mut arguments = vec![
        "record",
        "-F",
        "499",
        "-d",
        "2s",
        "-o",
        output.to_str().unwrap(),
    ];
    for pid in pids {
        arguments.extend(["-p", pid]);
    }
    let run = timesink(&arguments);
    assert!(run.status.success(), "{}", run.stderr);
    (run, Pprof::read(&output))
}

/// Samples of a process whose leaf is that function, and all of it that are user code.
fn at_work(profile: &Pprof, process: &str, function: &str) -> (u64, u64) {
    let samples = profile
        .samples
        .iter()
        .filter(|sample| sample.process == process && !sample.frames[0].is_kernel());
    let mut counted = (0, 0);
    for sample in samples {
        counted.0 += sample.samples * u64::from(sample.frames[0].function == function);
        counted.1 += sample.samples;
    }
    counted
}

/// A program of a file system that only its user may read has names, and its own path.
#[test]
fn a_program_that_is_served_has_names() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let served = served(NOBODY);
    let (run, profile) = recorded(&[served.program.pid()]);
    let (work, user) = at_work(&profile, "program", "alpha_work");
    assert!(
        user > 100 && work * 100 >= user * 98,
        "{work} of {user}: {}",
        run.stderr
    );
    let mut frames = profile.samples.iter().flat_map(|sample| &sample.frames);
    let at_work = frames.find(|frame| frame.function == "alpha_work").unwrap();
    assert_eq!(at_work.module, served.path.to_str().unwrap());
    assert!(!run.stderr.contains("given up"), "{}", run.stderr);
}

/// A file that has no room in an agent's memory costs its names; the window in which that was seen says so,
/// and those behind it do not.
#[test]
fn a_file_beyond_the_budget_is_given_up() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let served = served_at_least(17 << 20, NOBODY);
    let (run, profile) = recorded(&[served.program.pid()]);
    let (work, user) = at_work(&profile, "program", "alpha_work");
    assert!(work * 100 >= user * 98, "{work} of {user}: {}", run.stderr);

    // An eighth of it is less than the file has.
    let agent = Agent::start(&["--rate", "199", "--budget", "memory=128M"]);
    agent.wait_for_windows(3.0);
    let (run, folder) = agent.end();
    assert!(run.status.success(), "{}", run.stderr);
    let store = open(folder.path().to_str().unwrap()).unwrap();
    let kept = store.kept().unwrap();
    let (from_ns, to_ns) = (kept.oldest_ns.unwrap(), kept.newest_ns.unwrap());
    let comments = |from_ns| {
        let query = Query {
            range: Range { from_ns, to_ns },
            matchers: Vec::new(),
        };
        let profile = store.query(&query).unwrap().unwrap();
        profile.comments().to_vec()
    };
    let words = format!("`{}` was given up: ", served.path.display());
    let says = |comments: &[String]| comments.iter().any(|of| of.starts_with(&words));
    let (all, last) = (comments(from_ns), comments(to_ns - Agent::WINDOW_NS / 4));
    assert!(says(&all) && !says(&last), "{all:?} {last:?}");
}

/// Who copies a file has no rights but those of its user: anybody may ask it, for any file, where the
/// profiler's own file has capabilities.
#[test]
fn nobody_is_given_a_file_of_others() {
    if !require_root() {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "content").unwrap();
    let copied = || {
        let inode = file.path().metadata().unwrap().ino().to_string();
        let place = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(file.path())
            .unwrap();
        let copying = Command::new(tests::binary())
            .args(["copy-file", &inode])
            .stdin(place)
            .output()
            .unwrap();
        (copying.status.success(), copying.stdout)
    };
    assert_eq!(copied(), (true, b"content".to_vec()));
    // Root may read it by its capabilities alone.
    chown(file.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    assert_eq!(copied(), (false, Vec::new()));
}

/// Where the server falls silent, the recording ends all the same, with the names of everything else,
/// says which file it gave up, and leaves nothing behind that waits.
#[test]
fn a_server_that_does_not_answer_costs_its_file() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let served = served(ROOT);
    let beta = spin("beta");
    let other = Live(Command::new(beta.path()).arg(LIVE_MS).spawn().unwrap());
    served.server.signal(libc::SIGUSR1);
    // That signal is taken before any request that comes later.
    let (run, profile) = recorded(&[served.program.pid(), other.pid()]);
    let path = served.path.to_str().unwrap();
    let words = format!("timesink: `{path}` was given up: its file system (FUSE)");
    assert_eq!(run.stderr.matches(&words).count(), 1, "{}", run.stderr);
    let (named, user) = at_work(&profile, "program", "alpha_work");
    assert!(named == 0 && user > 100, "{named} of {user}: {profile:?}");
    let (work, user) = at_work(&profile, "beta", "beta_work");
    assert!(
        user > 100 && work * 100 >= user * 98,
        "{work} of {user}: {profile:?}"
    );
}

/// A program that an overlay shows, which a user has put on their own file system, has names.
#[test]
fn a_program_of_a_users_overlay_has_names() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let served = served(ROOT);
    let program = in_overlay(&served);
    let (run, profile) = recorded(&[program.pid()]);
    let (work, user) = at_work(&profile, "program", "alpha_work");
    assert!(
        user > 100 && work * 100 >= user * 98,
        "{work} of {user}: {}",
        run.stderr
    );
    assert!(!run.stderr.contains("given up"), "{}", run.stderr);
}

/// Where the server below such an overlay falls silent, the recording ends all the same, with the names
/// of everything else, and says which file it gave up.
#[test]
fn a_server_below_an_overlay_costs_its_file() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let served = served(ROOT);
    let program = in_overlay(&served);
    let beta = spin("beta");
    let other = Live(Command::new(beta.path()).arg(LIVE_MS).spawn().unwrap());
    served.server.signal(libc::SIGUSR1);
    let (run, profile) = recorded(&[program.pid(), other.pid()]);
    let words = "/program` was given up: its file system (FUSE)";
    assert_eq!(run.stderr.matches(words).count(), 1, "{}", run.stderr);
    let (named, user) = at_work(&profile, "program", "alpha_work");
    assert!(named == 0 && user > 100, "{named} of {user}: {profile:?}");
    let (work, user) = at_work(&profile, "beta", "beta_work");
    assert!(
        user > 100 && work * 100 >= user * 98,
        "{work} of {user}: {profile:?}"
    );
}

/// The served program once more, from an overlay that was mounted in a user namespace of its own.
fn in_overlay(served: &Served) -> Live {
    let lower = served.path.parent().unwrap();
    let (empty, merged) = (
        served.mounts.folder("empty"),
        served.mounts.folder("merged"),
    );
    let script = format!(
        "mount -t overlay overlay -o lowerdir={}:{} {merged} && exec {merged}/program {LIVE_MS}",
        lower.display(),
        empty.display(),
        merged = merged.display(),
    );
    let program = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .spawn()
        .unwrap();
    let program = Live(program);
    wait_for_work(&program);
    // The CPUs are for those that are recorded.
    served.program.signal(libc::SIGSTOP);
    program
}

/// A reader that waits for a server cannot be ended, and is not waited for.
#[test]
fn a_reader_that_cannot_be_ended_is_left_behind() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let served = served(ROOT);
    let file = File::open(&served.path).unwrap();
    served.server.signal(libc::SIGUSR1);
    let limits = Limits {
        readers: 1,
        memory_bytes: 256 << 20,
        time: Duration::from_secs(1),
    };
    let workers = Workers::of_program(tests::binary(), limits);
    assert!(workers.describe(&file).is_err());
    assert_eq!(workers.what_was_lost().readers, 1);
    drop(workers);
    // Whoever closes the file waits for the server too.
    drop(served);
}

/// A program of such a file system is named too where it ends before its names are looked up.
#[test]
fn a_command_that_is_served_is_recorded() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let served = served(NOBODY);
    let output = served.mounts.path().join("recorded.folded");
    let path = served.path.to_str().unwrap();
    let nobody = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {path} 500");
    let run = timesink(&[
        "record",
        "-F",
        "499",
        "-o",
        output.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        &nobody,
    ]);
    assert!(run.status.success(), "{}", run.stderr);
    let folded = tests::Folded::parse(&fs::read_to_string(&output).unwrap());
    let work = folded.filter(|stack| stack.has("alpha_work")).total();
    assert!(work > 100, "{work}: {}", run.stderr);
}

/// A JIT's perf map would lie on a file system whose server does not answer: the map is refused, and
/// nothing waits for it.
#[test]
fn a_map_that_is_served_is_refused() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let served = served(ROOT);
    let jit = Workload::compile("jit");
    // The program is opened before its folder is out of sight, and is itself to find nothing there.
    let script = format!(
        "unset LD_LIBRARY_PATH; exec 9<{}; mount --bind {} /tmp && kill -USR1 {} && cd / && exec /proc/self/fd/9 none 500",
        jit.path(),
        served.path.parent().unwrap().display(),
        served.server.pid()
    );
    let recorded = record(&["-F", "499"], &["unshare", "-m", "sh", "-c", &script]);
    let stderr = &recorded.run.stderr;
    let reason = "is not used: it lies on a file system of a user's program (FUSE)";
    assert!(stderr.contains(reason), "{stderr}");
    let run = recorded.folded().filter(|stack| stack.has("run"));
    assert!(run.total() > 100, "{stderr}");
}
