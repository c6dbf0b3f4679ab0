//! Whose samples are taken: a process with all that belongs to it, a thread, a cgroup; and of what.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tests::{Cgroup, Folded, Workload, alone, record, require_root, timesink};

/// A running `family`, which ends with the value.
struct Family {
    main: Child,
    thread: String,
    _workload: Workload,
}

impl Family {
    fn start() -> Self {
        let workload = Workload::compile("family");
        let mut command = Command::new(workload.path());
        let mut main = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut thread = String::new();
        let mut said = BufReader::new(main.stdout.as_mut().unwrap());
        said.read_line(&mut thread).unwrap();
        Self {
            thread: thread.trim().to_owned(),
            main,
            _workload: workload,
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.main.kill().unwrap();
        self.main.wait().unwrap();
    }
}

fn folded(target: [&str; 2]) -> Folded {
    let options = ["record", "-F", "999", "-d", "2s", "-o", "-"];
    let run = timesink(&[&options[..], &target].concat());
    assert!(run.status.success(), "{}", run.stderr);
    Folded::parse(&run.stdout)
}

/// How many samples are in each member of the family.
fn members(folded: &Folded) -> [u64; 4] {
    ["in_main", "in_thread", "in_child", "in_grandchild"]
        .map(|function| folded.filter(|stack| stack.has(function)).total())
}

/// A process is recorded with its threads and children that run already, and with those that are born
/// while these are looked for; nothing else is. A thread is recorded alone.
#[test]
fn a_process_has_its_family_and_a_thread_has_not() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let family = Family::start();
    let folded_family = folded(["-p", &family.main.id().to_string()]);
    let found = members(&folded_family);
    assert!(
        found.iter().all(|&samples| samples > 10),
        "{found:?} in {folded_family:?}"
    );
    let own = folded_family.filter(|stack| ["family", "[lost]"].contains(&stack.process.as_str()));
    assert_eq!(own.total(), folded_family.total());

    let [main, thread, child, grandchild] = members(&folded(["-t", &family.thread]));
    assert!(thread > 10, "{thread}");
    assert_eq!([main, child, grandchild], [0; 3]);
}

/// Of two programs that are always busy, the one below the cgroup is recorded with all its CPU time,
/// and of the other nothing.
#[test]
fn a_cgroup_is_recorded_alone_and_whole() {
    if !require_root() {
        return;
    }
    let [inside, outside] =
        ["inside", "outside"].map(|name| Workload::compile_as("busy", name, &[]));
    let cgroup = Cgroup::new("timesink-test");
    let _alone = alone();
    let mut other = Command::new(outside.path());
    let mut other = other
        .args(["1", "600"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let folder = cgroup.folder().to_str().unwrap();
    let script = r#"echo $$ >"$1/below/cgroup.procs"; exec "$2" 1 3"#;
    let recorded = record(
        &["-F", "999", "--cgroup", folder],
        &["sh", "-c", script, "sh", folder, inside.path()],
    );
    other.kill().unwrap();
    other.wait().unwrap();

    let folded = recorded.folded();
    let known = ["inside", "sh", "[lost]"];
    let strangers = folded.filter(|stack| !known.contains(&stack.process.as_str()));
    assert_eq!(strangers.total(), 0, "{strangers:?}");
    let total = folded.total() - folded.of_process("sh").total();
    let nanoseconds: u64 = recorded.run.stdout.trim().parse().unwrap();
    let truth = nanoseconds * 999 / 1_000_000_000;
    assert!(total.abs_diff(truth) * 50 <= truth, "{total} of {truth}");

    let file = cgroup.folder().join("cgroup.procs");
    let run = timesink(&["record", "--cgroup", file.to_str().unwrap(), "-o", "-"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(
        run.stderr.contains("failed to find the cgroup"),
        "{}",
        run.stderr
    );
}

/// With a period of one, each page fault is a sample: as many as the kernel counts for the process,
/// to 2 %, and nearly all in the function that touches the pages.
#[test]
fn each_page_fault_is_a_sample() {
    if !require_root() {
        return;
    }
    let faults = Workload::compile("faults");
    let recorded = record(&["-e", "page-faults", "-c", "1"], &[faults.path(), "30000"]);
    let folded = recorded.folded();
    let truth: u64 = recorded.run.stdout.trim().parse().unwrap();
    let total = folded.total();
    assert!(
        truth >= 30000 && total.abs_diff(truth) * 50 <= truth,
        "{total} of {truth}"
    );
    let touched = folded.filter(|stack| stack.has("touch")).total();
    assert!((30000..30100).contains(&touched), "{touched}");
}
