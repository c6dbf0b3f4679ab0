//! Perf maps that a hostile process leaves for a profiler that runs as root: the recording ends, the
//! rest of the profile is right, nothing leaks, and the finding is told.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::TempDir;
use tests::{JitRun, Recorded, Workload, alone, record, record_by_release, require_root};

/// Whose processes are hostile.
const NOBODY: &str = "65534";
/// What runs a command as theirs.
const AS_NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid",
    NOBODY,
    "--regid",
    NOBODY,
    "--clear-groups",
];
/// What stands in the file that only root can read: a line that covers all code.
const SECRET: &str = "0 7fffffffffff leaked_secret\n";

/// What the tests work with.
struct Hostile {
    jit: Workload,
    folder: TempDir,
    recorder: fn(&[&str], &[&str]) -> Recorded,
}

impl Hostile {
    fn new() -> Self {
        let (jit, folder) = (Workload::compile("jit"), tempfile::tempdir().unwrap());
        let program_folder = Path::new(jit.path()).parent().unwrap();
        fs::set_permissions(program_folder, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            jit,
            folder,
            recorder: |options, command| record(options, command),
        }
    }

    /// A file that only root can read.
    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Records a JIT of nobody's that lists no code, after root has put something in the place of its
    /// map. All of its samples are there.
    fn record(&self, prepare: &str) -> JitRun {
        self.record_behind(&[], self.jit.path(), prepare)
    }

    /// As [`Self::record`], by a command that goes before.
    fn record_behind(&self, before: &[&str], jit: &str, prepare: &str) -> JitRun {
        let command = [before, &AS_NOBODY, &[jit, "none", "800"]].concat();
        let run = JitRun::record_by(self.recorder, &[], prepare, &command);
        let folded = run.recorded.folded().of_process("jit");
        // How long the process takes to begin and to end is another matter.
        let in_run = folded.filter(|stack| stack.has("run")).total() as f64;
        let expected = run.truth.values().sum::<f64>() * 1e-9 * 999.0;
        assert!(
            in_run > 500.0 && (in_run / expected - 1.0).abs() < 0.05,
            "{in_run} of {expected}: {folded:?}"
        );
        for shown in [
            run.recorded.folded_text(),
            run.recorded.run.stderr.clone(),
            fs::read_to_string(run.recorded.svg_path()).unwrap(),
        ] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        run
    }

    /// The map of a process is not used, for a reason.
    fn refused(run: &JitRun, reason: &str) {
        let pid = run.pid;
        let finding = format!("the perf map of process {pid} is not used: {reason}");
        assert!(
            run.warns(&finding),
            "{finding}: {}",
            run.recorded.run.stderr
        );
        let folded = run.recorded.folded().of_process("jit");
        assert!(JitRun::named(&folded) < 0.2, "{folded:?}");
        let nameless = run.recorded.ledger().count("unnamed: jit-map-refused");
        assert!(nameless > 400, "{nameless}");
    }

    /// What is put there is used: all code of the JIT has a name.
    fn used(&self, prepare: &str, name: &str) {
        let run = self.record(prepare);
        let folded = run.recorded.folded().of_process("jit");
        assert!(
            JitRun::named(&folded) >= 0.999,
            "{}",
            run.recorded.run.stderr
        );
        assert!(folded.share(name) > 0.5, "{name} {folded:?}");
    }
}

/// Nothing is followed, nothing that blocks is opened, and what is somebody else's is not read.
#[test]
fn files_that_are_not_the_targets_are_refused() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let hostile = Hostile::new();
    let secret = hostile.file("secret", SECRET.as_bytes());
    let own = format!("chown {NOBODY}:{NOBODY}");
    let cases = [
        (
            format!("ln -s {secret} $map; {own} -h $map"),
            "it is a symlink",
        ),
        (format!("mkfifo $map; {own} $map"), "it is a FIFO"),
        (
            format!("mkdir $map; {own} $map"),
            "it is a directory or a socket",
        ),
        (format!("mknod $map c 1 5; {own} $map"), "it is a device"),
        (format!("ln {secret} $map"), "it belongs to another user"),
        (
            format!("cp {secret} $map; chown 12345 $map"),
            "it belongs to another user",
        ),
        (
            format!("cp {secret} $map; {own} $map; ln $map other"),
            "it is a hard link",
        ),
        (
            format!("cp {secret} $map; {own} $map; touch -d yesterday $map"),
            "it is older than the process",
        ),
    ];
    for (prepare, reason) in &cases {
        Hostile::refused(&hostile.record(prepare), reason);
    }
}

/// In a mount namespace of its own a process of nobody's can show any file in the place of its map, one
/// of root's too. Such a file is not read.
#[test]
fn a_file_of_roots_in_the_targets_namespace_is_refused() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let hostile = Hostile::new();
    let secret = hostile.file("secret", SECRET.as_bytes());
    let mounts = format!(
        "mount -t tmpfs none /mnt && cp {} /mnt/jit && touch /mnt/perf-$$.map &&
         mount --bind {secret} /mnt/perf-$$.map && mount --rbind /mnt /tmp && exec \"$@\"",
        hostile.jit.path()
    );
    let before = ["unshare", "-m", "sh", "-c", &mounts, "sh"];
    let run = hostile.record_behind(&before, "/tmp/jit", "");
    Hostile::refused(&run, "it belongs to another user");
}

/// A `/tmp` that never answers costs its process its names, and no other one.
#[test]
fn a_file_system_without_answers_is_given_up() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let hostile = Hostile::new();
    let silent = Workload::without_frame_pointers("silent.c", "silent", &[]);
    let (jit, silent) = (hostile.jit.path(), silent.path());
    // The loader would look for libraries where cargo built them, which may be in `/tmp`.
    let script = format!(
        "unset LD_LIBRARY_PATH; mount -t tmpfs none /mnt && cp {jit} /mnt/silenced && cp {silent} /mnt/silent || exit 1
         {jit} list 800 & listed=$!
         until [ -e /tmp/perf-$listed.map ]; do :; done
         cd /; /mnt/silent /tmp 30 >/mnt/said & server=$!
         until grep -q mounted /mnt/said; do :; done
         /mnt/silenced none 2500; wait $listed; kill $server"
    );
    let command = ["unshare", "-m", "sh", "-c", &script];
    let run = JitRun::record(&[], "", &command);
    let folded = run.recorded.folded();
    let (silenced, listed) = (folded.of_process("silenced"), folded.of_process("jit"));
    assert!(silenced.total() > 500 && listed.total() > 500, "{folded:?}");
    assert!(JitRun::named(&silenced) < 0.2, "{silenced:?}");
    let stderr = &run.recorded.run.stderr;
    let finding = "is not used: it lies on a file system of a user's program (FUSE)";
    assert!(stderr.contains(finding), "{stderr}");
}

/// A map that its process writes at its very end, as Java does with `-XX:+DumpPerfMapAtExit`, is judged
/// by whose the process was while it lived.
#[test]
fn a_map_may_be_written_at_the_end() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let hostile = Hostile::new();
    let late = [&AS_NOBODY[..], &[hostile.jit.path(), "late", "1500"]].concat();
    let run = JitRun::record(&[], "", &late);
    let folded = run.recorded.folded().of_process("jit");
    assert!(folded.share("script:all") > 0.8, "{folded:?}");
    assert!(JitRun::named(&folded) >= 0.999, "{folded:?}");
}

/// Lines that other JITs write, or that make no sense, cost no good line.
#[test]
fn bad_lines_cost_themselves() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let hostile = Hostile::new();
    let lines = b"\0\0nonsense\r\n\xff\xfe\n0x10 0x20\n-1 5 f\nffffffffffffffff 2 wraps\n\
        1 ffffffffffffffff wraps\n0X0 0x7fffffffffff good\r\n0 7fffffffffff being writ";
    let map = hostile.file("odd", lines);
    hostile.used(&format!("cp {map} $map; chown {NOBODY} $map"), "good");
}

/// A map whose names would leave the terminal, the picture and the line is one line of text.
#[test]
fn hostile_names_are_cleaned() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let hostile = Hostile::new();
    let lines = b"0 7fffffffffff a\x1b[31m;<script>\x07\"&\xe2\x80\xae\x80z\n";
    let map = hostile.file("names", lines);
    let run = hostile.record(&format!("cp {map} $map; chown {NOBODY} $map"));
    let text = run.recorded.folded_text();
    assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text:?}");
    let svg = fs::read_to_string(run.recorded.svg_path()).unwrap();
    assert!(
        !svg.contains(['\x1b', '\x07']) && !svg.contains("<script>\\"),
        "{svg}"
    );
    let folded = run.recorded.folded().of_process("jit");
    assert!(JitRun::named(&folded) >= 0.999, "{folded:?}");
}

/// Of a map of 64 GiB so much is read as the bound allows, and that is said.
#[test]
fn a_sparse_map_is_cut() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let hostile = Hostile::new();
    let run = hostile.record(&format!("truncate -s 64G $map; chown {NOBODY} $map"));
    let nameless = run.recorded.ledger().count("unnamed: jit-map-too-long");
    assert!(nameless > 400, "{nameless}");
}

/// Of 20 million lines the last one counts, and a line of 100 MB does not hide the next.
#[test]
fn large_maps_are_read_to_their_end() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let mut hostile = Hostile::new();
    // In a debug build it takes longer than a map is read.
    hostile.recorder = |options, command| record_by_release(options, command);
    let many = hostile.folder.path().join("many");
    let mut out = BufWriter::new(File::create(&many).unwrap());
    for line in 0..20_000_000u32 {
        writeln!(out, "{line:08x} 10 f{line:08x}").unwrap();
    }
    writeln!(out, "0 7fffffffffff last").unwrap();
    drop(out);
    let long = hostile.folder.path().join("long");
    let mut bytes = b"0 7fffffffffff ".to_vec();
    bytes.resize(100 << 20, b'x');
    bytes.extend(b"\n0 7fffffffffff last\n");
    fs::write(&long, bytes).unwrap();
    for map in [many, long] {
        let map = map.display();
        hostile.used(
            &format!("mv {map} $map; touch $map; chown {NOBODY} $map"),
            "last",
        );
    }
}

/// A map that is written anew and cut off all the time has the names that are there, or none, and
/// never ends the recorder.
#[test]
fn a_map_may_change_while_it_is_read() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let hostile = Hostile::new();
    let line = hostile.file("line", "0 7fffffffffff there\n".repeat(100_000).as_bytes());
    let rewrite = format!(
        "touch $map; chown {NOBODY} $map
         (end=$(($(date +%s) + 4)); while [ $(date +%s) -lt $end ]; do
              cat {line} >$map; : >$map; head -c 1000000 {line} >>$map; done) >/dev/null 2>&1 &"
    );
    let run = hostile.record(&rewrite);
    assert!(
        !run.recorded.run.stderr.contains("is not used"),
        "{}",
        run.recorded.run.stderr
    );
}
