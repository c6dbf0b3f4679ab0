//! Stacks and files that cannot be walked, or not well: the walk ends with a mark, its reason is
//! counted, and no frame of anything else shows.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs::{self, File, Permissions},
    io::Write,
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
    process::{Child, Command},
    thread,
    time::Duration,
};

use tests::{Folded, Ledger, Recorded, Running, Whole, Workload, record, require_root, timesink};

/// How many frames a user stack has at most.
const LIMIT: usize = 512;
const START: &str = "_start __libc_start_main __libc_start_call_main main";

fn faults() -> Workload {
    Workload::without_frame_pointers("odd.c", "odd", &[])
}

/// Records a mode of the workload for half a second.
fn fault(mode: &str, more: &[&str]) -> Recorded {
    let faults = faults();
    record(
        &["-F", "999"],
        &[&[faults.path(), mode, "500"], more].concat(),
    )
}

/// The user stacks in `leaf`, with their marks, as texts and samples.
fn chains(folded: &Folded, leaf: &str) -> Vec<(String, u64)> {
    let chains = folded.0.iter().filter_map(|stack| {
        let user = stack.frames.iter().filter(|frame| !frame.ends_with("_[k]"));
        let user: Vec<&str> = user.map(String::as_str).collect();
        (user.last() == Some(&leaf)).then(|| (user.join(" "), stack.samples))
    });
    chains.collect()
}

/// All stacks in `leaf` are this one, there are many, and each is counted under `reason`.
fn assert_cut(recorded: &Recorded, leaf: &str, expected: &str, reason: &str) {
    let found = chains(&recorded.folded(), leaf);
    let samples: u64 = found.iter().map(|(_, samples)| samples).sum();
    assert!(samples > 300, "{found:?}");
    for (chain, _) in &found {
        assert_eq!(chain, expected);
    }
    let counted = recorded.ledger().count(reason);
    assert!(counted >= samples, "{counted} {reason}, {samples} samples");
}

/// A row that leads to no caller further up the stack ends the walk.
#[test]
fn a_frame_that_does_not_advance() {
    if require_root() {
        let recorded = fault("not_advancing", &[]);
        assert_cut(&recorded, "stuck", "[incomplete] stuck", "no progress");
    }
}

/// Frame pointers that lead in a circle end the walk at the second turn.
#[test]
fn frame_pointers_in_a_cycle() {
    if require_root() {
        let recorded = fault("in_a_cycle", &[]);
        let code = "[anonymous memory]";
        let expected = format!("[incomplete] {code} {code}");
        assert_cut(&recorded, code, &expected, "no frame pointer");
    }
}

/// A return address that leads to no memory ends the walk at the frame that has it.
#[test]
fn an_overwritten_return_address() {
    if require_root() {
        let recorded = fault("corrupted", &[]);
        let expected = "[incomplete] corrupted work";
        assert_cut(&recorded, "work", expected, "no frame pointer");
    }
}

/// A stack whose upper pages are not in the page table is walked up to them.
#[test]
fn pages_that_are_not_resident() {
    if require_root() {
        let recorded = fault("on_absent_pages", &[]);
        let expected = "[incomplete] with_large_frame without_pages work";
        assert_cut(&recorded, "work", expected, "stack unreadable");
    }
}

/// A coroutine shows its own frames and none of the stack that it was switched to from.
#[test]
fn a_coroutine() {
    if !require_root() {
        return;
    }
    let recorded = fault("coroutine", &[]);
    let found = chains(&recorded.folded(), "work");
    let samples: u64 = found.iter().map(|(_, samples)| samples).sum();
    assert!(samples > 300, "{found:?}");
    for (chain, _) in &found {
        // Between the two is where libc goes on when the coroutine returns.
        let chain = chain.strip_suffix(" coroutine work").unwrap();
        let outer: Vec<_> = chain.split(' ').collect();
        assert!(outer.len() <= 2, "{chain}");
        assert!(
            !["main", "switch_to"]
                .iter()
                .any(|name| outer.contains(name))
        );
    }
}

/// 5,000 frames without frame pointers are cut at the limit, marked and counted.
#[test]
fn five_thousand_frames() {
    if require_root() {
        let recorded = fault("deep", &["5000"]);
        let frames = vec!["deep"; LIMIT - 1].join(" ");
        let expected = format!("[truncated] {frames} work");
        assert_cut(&recorded, "work", &expected, "truncated");
    }
}

/// A library that is loaded during the recording is unwound and named as soon as its table is built;
/// what was sampled before is marked and counted.
#[test]
fn a_library_that_is_loaded_late() {
    if !require_root() {
        return;
    }
    let shared = ["-shared", "-fPIC"];
    let plugin = Workload::without_frame_pointers("plugin.c", "plugin.so", &shared);
    // Long enough for a table that is ready a tenth of a second late.
    let faults = faults();
    let command = [faults.path(), "by_library", "2000", plugin.path()];
    let recorded = record(&["-F", "999"], &command);
    let found = chains(&recorded.folded(), "plugin_inner");
    let whole = format!("{START} by_library plugin_outer plugin_inner");
    let (right, early): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(chain, _)| *chain == whole);
    let sum = |chains: &[(String, u64)]| chains.iter().map(|(_, samples)| samples).sum::<u64>();
    assert!(
        early
            .iter()
            .all(|(chain, _)| chain == "[incomplete] plugin_inner"),
        "{early:?}"
    );
    assert!(sum(&right) > 9 * sum(&early), "{right:?} {early:?}");
    assert!(recorded.ledger().count("table not loaded") >= sum(&early));
}

/// With no memory for tables, what cannot be walked is marked and counted, and the total stays.
#[test]
fn no_memory_for_tables() {
    if !require_root() {
        return;
    }
    let faults = faults();
    let options = ["-F", "999", "--unwind-memory", "1"];
    let recorded = record(&options, &[faults.path(), "deep", "500", "20"]);
    let (folded, ledger) = (recorded.folded(), recorded.ledger());
    assert_ne!(ledger.count("unwind tables too large"), 0, "{ledger:?}");
    let marked = folded.filter(|stack| stack.frames[0] == "[incomplete]");
    assert!(marked.total() > 300, "{ledger:?}");
    assert!(
        ledger.count("table not loaded") >= marked.total(),
        "{ledger:?}"
    );
    let lost = folded.filter(|stack| stack.process == "[lost]").total();
    assert_eq!(folded.total(), ledger.count("sampled") + lost, "{ledger:?}");
}

/// With memory for some of many tables, the rest are refused before sampling begins, and take the place
/// of others when they run; the total stays.
#[test]
fn memory_for_some_of_many_tables() {
    if !require_root() {
        return;
    }
    // Half of the memory is for tables, and these take more.
    let programs: Vec<_> = (20_000..20_028)
        .map(|functions| {
            let flag = format!("-DFUNCTIONS={functions}");
            Workload::without_frame_pointers("padded.c", "padded", &[&flag])
        })
        .collect();
    let waiting: Vec<_> = programs.iter().map(Stopped::start).collect();
    let pids: Vec<_> = waiting.iter().map(|stopped| stopped.0.id()).collect();
    let pids: Vec<_> = pids.iter().map(|pid| format!("-p{pid}")).collect();
    let options = ["record", "-v", "-F", "499", "--unwind-memory", "8M", "-o-"];
    let pids: Vec<_> = pids.iter().map(String::as_str).collect();
    let mut running = Running::start(&[&options, pids.as_slice()].concat());
    running.wait_for("recording");
    // Tables that were not used for some eight seconds make room.
    thread::sleep(Duration::from_secs(10));
    // Those that were refused, the last ones, run first: each ends before its table is built, and the
    // recording goes on until it is.
    for stopped in waiting.into_iter().rev() {
        stopped.run();
    }
    let run = running.finish();
    let (folded, ledger) = (Folded::parse(&run.stdout), Ledger::parse(&run.stderr));
    assert_ne!(ledger.count("unwind tables without room"), 0, "{ledger:?}");
    assert_ne!(ledger.count("unwind tables evicted"), 0, "{ledger:?}");
    let found = chains(&folded, "work");
    let whole = format!("{START} work");
    for (chain, _) in &found {
        // The C library's table makes room too; what calls `main` is known to be the beginning.
        let expected = [
            whole.as_str(),
            "__libc_start_call_main main work",
            "[incomplete] work",
        ];
        let expected = expected.contains(&chain.as_str());
        assert!(expected, "{chain}: {ledger:?}");
    }
    let sum = |wanted: bool| -> u64 {
        let chains = found
            .iter()
            .filter(|(chain, _)| (*chain == whole) == wanted);
        chains.map(|(_, samples)| samples).sum()
    };
    assert!(
        sum(true) > 1000 && sum(true) > sum(false),
        "{found:?} {ledger:?}"
    );
    let lost = folded.filter(|stack| stack.process == "[lost]").total();
    assert_eq!(folded.total(), ledger.count("sampled") + lost, "{ledger:?}");
}

/// A process of a workload for 150 ms that waits before it runs.
struct Stopped(Child);

impl Stopped {
    fn start(program: &Workload) -> Self {
        let stopped = Self(Command::new(program.path()).arg("150").spawn().unwrap());
        stopped.signal(libc::SIGSTOP);
        stopped
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.0.id()).unwrap();
        // SAFETY: the call takes no pointers; the child was not waited for, so the pid is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    fn run(mut self) {
        self.signal(libc::SIGCONT);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // What has ended already cannot be killed.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// A process of the workload with 20 frames, which ends with this.
struct Busy(Child);

impl Busy {
    fn start(program: &Path) -> Self {
        let child = Command::new(program).args(["deep", "60000", "20"]).spawn();
        thread::sleep(Duration::from_millis(300));
        Self(child.unwrap())
    }

    /// Records it for a second: all of its stacks are whole, and its own.
    fn assert_recorded(&self) -> Ledger {
        let pid = self.0.id().to_string();
        let run = timesink(&[
            "record", "-v", "-p", &pid, "-d", "1s", "-F", "999", "-o", "-",
        ]);
        assert!(run.status.success(), "{}", run.stderr);
        let found = chains(&Folded::parse(&run.stdout), "work");
        let samples: u64 = found.iter().map(|(_, samples)| samples).sum();
        assert!(samples > 100, "{}\n{}", run.stdout, run.stderr);
        let expected = format!("{START} {} work", vec!["deep"; 20].join(" "));
        for (chain, _) in found {
            assert_eq!(chain, expected, "{}", run.stderr);
        }
        Ledger::parse(&run.stderr)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A program whose file is gone is unwound and named by what the process still maps.
#[test]
fn a_deleted_program() {
    if require_root() {
        let faults = faults();
        let busy = Busy::start(Path::new(faults.path()));
        fs::remove_file(faults.path()).unwrap();
        assert_eq!(busy.assert_recorded().count("table not loaded"), 0);
    }
}

/// A program whose path has become another program is unwound and named by what it was.
#[test]
fn a_replaced_program() {
    if require_root() {
        let (faults, other) = (faults(), Workload::compile("busy"));
        let busy = Busy::start(Path::new(faults.path()));
        let beside = format!("{}.new", faults.path());
        fs::copy(other.path(), &beside).unwrap();
        fs::rename(&beside, faults.path()).unwrap();
        assert_eq!(busy.assert_recorded().count("table not loaded"), 0);
    }
}

/// A program that was never in a file system is unwound and named.
#[test]
fn a_program_in_memory() {
    if !require_root() {
        return;
    }
    let faults = faults();
    let (name, close) = (c"odd".as_ptr(), libc::MFD_CLOEXEC);
    // SAFETY: the name is a C string, and the descriptor that the kernel gives is nobody else's.
    let mut written = unsafe { File::from_raw_fd(libc::memfd_create(name, close)) };
    written
        .write_all(&fs::read(faults.path()).unwrap())
        .unwrap();
    written
        .set_permissions(Permissions::from_mode(0o700))
        .unwrap();
    // A file that is open for writing cannot be run.
    let file = File::open(format!("/proc/self/fd/{}", written.as_raw_fd())).unwrap();
    drop(written);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let busy = Busy::start(Path::new(&path));
    assert_eq!(busy.assert_recorded().count("table not loaded"), 0);
}

/// A handler that runs on a stack of its own is told from what it interrupted, to the bottom of both.
#[test]
fn a_stack_for_signals() {
    if !require_root() {
        return;
    }
    let frames = Workload::with_library("frames.c", "called.c", "frames", &[]);
    let recorded = record(&["-F", "999"], &[frames.path(), "100"]);
    let profile = recorded.pprof();
    let whole = Whole::of(&profile, |sample| {
        let handler = |frame: &tests::PprofFrame| frame.function == "on_second";
        sample.frames.iter().any(handler)
    });
    assert!(whole.user > 60, "{whole}");
    assert_eq!(whole.whole, whole.user, "{whole:?}");
}
