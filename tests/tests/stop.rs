//! Whatever ends a recording, a file is whole or not there, and the kernel is left as it was.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use aya::{maps::loaded_maps, programs::loaded_programs};
use tempfile::TempDir;
use tests::{Pprof, Run, Running, Workload, binary, require_root, tool};

/// How often each phase is hit.
const TIMES: u32 = 20;

/// A process with deep stacks that runs while it lives, and a folder to record it into.
struct Scene {
    folder: TempDir,
    busy: Child,
    _workload: Workload,
}

impl Scene {
    fn set() -> Self {
        let workload = Workload::compile("recurse");
        let busy = Command::new(workload.path()).args(["300", "600"]).spawn();
        Self {
            folder: tempfile::tempdir().unwrap(),
            busy: busy.unwrap(),
            _workload: workload,
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Records until `phase` begins, and a moment longer.
    fn record_until(&self, phase: &str, options: &[&str], moment: Duration) -> Running {
        let (pid, svg, pprof) = (
            self.busy.id().to_string(),
            self.file("out.svg"),
            self.file("out.pb.gz"),
        );
        let record = [
            "record", "-v", "-F", "999", "-p", &pid, "-o", &svg, "-o", &pprof,
        ];
        let mut running = Running::start(&[&record[..], options].concat());
        running.wait_for(phase);
        thread::sleep(moment);
        running
    }

    /// Checks that each file is whole, or absent, and that there is nothing else; removes them and
    /// tells how many there were.
    fn take_whole_files(&self) -> usize {
        let mut files = 0;
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                "out.svg" => assert_whole_svg(&path),
                "out.pb.gz" => drop(Pprof::read(&path)),
                other => panic!("`{other}` was left behind"),
            }
            fs::remove_file(path).unwrap();
            files += 1;
        }
        files
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.busy.kill().unwrap();
        self.busy.wait().unwrap();
    }
}

fn assert_whole_svg(path: &Path) {
    let svg = fs::read_to_string(path).unwrap();
    assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"));
}

/// Hits a phase by one Ctrl-C, after which the profile is written, and by two in turn, which give
/// it up.
fn interrupt(phase: &str, options: &[&str]) {
    if !require_root() {
        return;
    }
    let scene = Scene::set();
    for time in 0..TIMES {
        // The moments are spread over a phase, of which some take a few milliseconds.
        let moment = Duration::from_micros(400) * time;
        let running = scene.record_until(phase, options, moment);
        running.signal(libc::SIGINT);
        let is_once = time % 2 == 0;
        if !is_once {
            thread::sleep(moment);
            running.signal(libc::SIGINT);
        }
        let Run { status, stderr, .. } = running.finish();
        let gave_up = !is_once && status.code() == Some(130);
        assert!(gave_up || status.code() == Some(0), "{status}: {stderr}");
        assert!(scene.take_whole_files() == 2 || gave_up, "{stderr}");
    }
}

/// Ctrl-C while samples are taken.
#[test]
fn interrupted_while_recording() {
    interrupt("recording", &[]);
}

/// Ctrl-C while names are looked up.
#[test]
fn interrupted_while_symbolizing() {
    interrupt("symbolizing", &["-d", "100ms"]);
}

/// Ctrl-C while files are written.
#[test]
fn interrupted_while_writing() {
    interrupt("writing", &["-d", "100ms"]);
}

/// Killed while it writes, it leaves whole files or none.
#[test]
fn killed_while_writing() {
    if !require_root() {
        return;
    }
    let scene = Scene::set();
    for time in 0..TIMES {
        let moment = Duration::from_micros(400) * time;
        let running = scene.record_until("writing", &["-d", "100ms"], moment);
        running.signal(libc::SIGKILL);
        let _killed_or_done = running.finish();
        scene.take_whole_files();
    }
}

/// The numbers in the lines `KEY: NUMBER` of a process's open files.
fn open_ids(pid: u32, key: &str) -> BTreeSet<u32> {
    let folder = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = folder.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    let texts: Vec<String> = texts.collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let numbers = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    numbers
        .map(|number| number.trim().parse().unwrap())
        .collect()
}

fn assert_kernel_frees(programs: &BTreeSet<u32>, maps: &BTreeSet<u32>) {
    let begin = Instant::now();
    // The kernel frees what was closed a moment later; what it frees meanwhile cannot be read.
    loop {
        let program_ids = loaded_programs().flatten().map(|program| program.id());
        let map_ids = loaded_maps().flatten().map(|map| map.id());
        let left_programs = program_ids.filter(|id| programs.contains(id)).count();
        let left_maps = map_ids.filter(|id| maps.contains(id)).count();
        if left_programs + left_maps == 0 {
            return;
        }
        let left = format!("{left_programs} programs and {left_maps} maps are left");
        assert!(begin.elapsed() < Duration::from_secs(10), "{left}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// After Ctrl-C and after SIGKILL the kernel holds none of the programs and maps of the recording,
/// those at the scheduler included.
#[test]
fn the_kernel_is_left_clean() {
    if !require_root() {
        return;
    }
    let scene = Scene::set();
    let all_waits = ["--wall", "--wakers", "--wait-period", "1ms"];
    for (signal, options, files) in [
        (libc::SIGINT, &[][..], 2),
        (libc::SIGKILL, &[][..], 0),
        (libc::SIGINT, &all_waits[..], 2),
        (libc::SIGKILL, &all_waits[..], 0),
    ] {
        let moment = Duration::from_millis(100);
        let running = scene.record_until("recording", options, moment);
        let programs = open_ids(running.pid(), "prog_id");
        let maps = open_ids(running.pid(), "map_id");
        let least = if options.is_empty() { 3 } else { 8 };
        assert!(
            programs.len() >= least && maps.len() >= 5,
            "{programs:?} {maps:?}"
        );
        running.signal(signal);
        let _ended = running.finish();
        assert_eq!(scene.take_whole_files(), files);
        assert_kernel_frees(&programs, &maps);
    }
}

/// On a disk of 64 KiB, which the flame graph of a deep stack does not fit, the status is 1, the
/// error says why, and nothing is left.
#[test]
fn a_full_disk_is_an_error_and_leaves_no_file() {
    if !require_root() {
        return;
    }
    let (workload, folder) = (Workload::compile("recurse"), tempfile::tempdir().unwrap());
    let script = r#"mount -t tmpfs -o size=64k none "$1" || exit 99
        "$2" record -F 999 -o "$1/out.svg" -- "$3" 300 1
        echo "status $?"
        ls -A "$1""#;
    let mut command = Command::new(tool("unshare"));
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(binary())
        .arg(workload.path());
    let run = Running::spawn(command).finish();
    assert_eq!(run.stdout, "status 1\n", "{}", run.stderr);
    let says = |words: &str| run.stderr.contains(words);
    assert!(
        says("failed to write") && says("No space left"),
        "{}",
        run.stderr
    );
}
