//! `timesink diff`: what it prints, draws, refuses and fails for.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{fs, path::Path, process::Command};

use quick_xml::{Reader, events::Event};
use serde_json::Value;
use tempfile::TempDir;
use tests::{Run, record, require_root, timesink, tool};

/// Time of eight functions, in samples.
const PARTS: [(&str, u64); 8] = [
    ("parse", 20_000),
    ("checksum", 16_000),
    ("hash", 12_000),
    ("shift", 10_000),
    ("mix", 9_000),
    ("follow", 8_000),
    ("grow", 6_000),
    ("average", 3_000),
];

/// A folder with `a.folded`, the parts, and `b.folded`, in which `parse` has so many percent more.
fn recordings(percent: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, percent) in [("a.folded", 0), ("b.folded", percent)] {
        let lines = PARTS.map(|(name, samples)| {
            let more = if name == "parse" {
                samples * percent / 100
            } else {
                0
            };
            format!("app;main;{name} {}\n", samples + more)
        });
        fs::write(folder.path().join(file), lines.concat()).unwrap();
    }
    folder
}

fn diff(folder: &Path, options: &[&str]) -> Run {
    let [a, b] = ["a.folded", "b.folded"].map(|file| folder.join(file));
    let files = [a.to_str().unwrap(), b.to_str().unwrap()];
    timesink(&[&["diff"][..], &files, options].concat())
}

fn functions(run: &Run) -> Vec<Value> {
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    json["functions"].as_array().unwrap().clone()
}

fn changed(run: &Run) -> Vec<String> {
    let functions = functions(run);
    let changed = functions
        .iter()
        .filter(|of| matches!(of["verdict"].as_str().unwrap(), "grew" | "shrank"));
    changed
        .map(|of| of["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The function that grew is the first row, is called so, and its caller's total grew with it.
#[test]
fn the_table_names_what_grew() {
    let folder = recordings(10);
    let run = diff(folder.path(), &[]);
    assert!(run.status.success(), "{}", run.stderr);
    assert!(
        run.stdout
            .contains("1 function changed by more than chance"),
        "{}",
        run.stdout
    );
    let mut rows = run
        .stdout
        .lines()
        .skip_while(|line| !line.ends_with("function"));
    let first = rows.nth(1).unwrap();
    assert!(
        first.trim_start().starts_with("+10.0 %") && first.contains(" grew "),
        "{first}"
    );
    assert!(first.ends_with("  parse"), "{first}");
    let main = rows.find(|row| row.ends_with("  main")).unwrap();
    assert!(main.contains("+2.4 %"), "{main}");
}

/// A recording beside itself has no changes, and the machine-readable form says so too.
#[test]
fn the_same_recording_has_no_changes() {
    let folder = recordings(0);
    let run = diff(folder.path(), &["--fail-if", "*>0%"]);
    assert!(run.status.success(), "{}", run.stderr);
    assert!(
        run.stdout
            .contains("no function changed by more than chance"),
        "{}",
        run.stdout
    );
    let run = diff(folder.path(), &["--json"]);
    assert_eq!(functions(&run).len(), PARTS.len() + 1);
    assert_eq!(changed(&run), [""; 0]);
}

/// `--fail-if` fails for growth beyond the limit by name, pattern or any, and says why; within it, or of
/// what does not exist, it does not.
#[test]
fn limits_decide_the_exit_status() {
    let folder = recordings(10);
    for (limit, fails) in [
        ("parse>5%", true),
        ("parse>15%", false),
        ("/^par/>5", true),
        ("/^hash$/>0%", false),
        ("*>5%", true),
        ("*>10.5%", false),
    ] {
        let run = diff(folder.path(), &["--fail-if", limit]);
        assert_eq!(
            run.status.code(),
            Some(i32::from(fails)),
            "{limit}: {}",
            run.stderr
        );
        let reason = format!("failed by `{limit}`: the total of `parse` grew by 10.0 % ±");
        assert_eq!(
            run.stderr.contains(&reason),
            fails,
            "{limit}: {}",
            run.stderr
        );
    }
    let run = diff(folder.path(), &["--fail-if", "pares>5%"]);
    assert!(run.status.success(), "{}", run.stderr);
    assert!(
        run.stderr.contains("`pares>5%` names no function"),
        "{}",
        run.stderr
    );
    let run = diff(folder.path(), &["--fail-if", "pares"]);
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
}

/// The picture is whole XML in which only the function that grew is red; the folded form has both values.
#[test]
fn pictures_are_written() {
    let folder = recordings(10);
    let [svg, folded] = ["d.svg", "d.folded"].map(|file| folder.path().join(file));
    let run = diff(
        folder.path(),
        &["-o", svg.to_str().unwrap(), "-o", folded.to_str().unwrap()],
    );
    assert!(run.status.success(), "{}", run.stderr);
    let svg = fs::read_to_string(svg).unwrap();
    let mut reader = Reader::from_str(&svg);
    while !matches!(reader.read_event().unwrap(), Event::Eof) {}
    assert_eq!(svg.matches("rgb(255,100,100)").count(), 1, "{svg}");
    let folded = fs::read_to_string(folded).unwrap();
    assert!(folded.contains("app;main;parse 20000 22000\n"), "{folded}");
}

/// What cannot be read, compared or written is an error of one line that names it.
#[test]
fn what_cannot_be_done_is_told() {
    let folder = recordings(10);
    let broken = folder.path().join("broken.pb.gz");
    fs::write(&broken, [0x1f, 0x8b, 8, 0, 0, 0]).unwrap();
    let good = folder.path().join("a.folded");
    let [broken, good] = [&broken, &good].map(|path| path.to_str().unwrap());
    for (arguments, words) in [
        (
            &[good, "/no/such/file"][..],
            "failed to read `/no/such/file`",
        ),
        (&[broken, good], "failed to decompress the profile"),
        (
            &[good, good, "--type", "cpu"],
            "no such sample type, but `samples`",
        ),
        (&[good, "@1h..now"], "add `--store URL`"),
        (&[good, good, "--process", "nginx"], "give a range of time"),
        (&[good, good, "-o", "x.pb.gz"], "use .svg or .folded"),
    ] {
        let run = timesink(&[&["diff"], arguments].concat());
        assert_eq!(run.status.code(), Some(1), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

/// Names that would command a terminal do not, in the table, in JSON and in messages.
#[test]
fn hostile_names_are_cleaned() {
    let folder = recordings(0);
    let lines = fs::read_to_string(folder.path().join("a.folded")).unwrap();
    fs::write(
        folder.path().join("b.folded"),
        lines + "app;\u{202e}evil\u{9b}2J 9000\n",
    )
    .unwrap();
    for options in [&["--fail-if", "*>5%"][..], &["--json"]] {
        let run = diff(folder.path(), options);
        let all = run.stdout + &run.stderr;
        assert!(all.contains("\u{fffd}evil\u{fffd}2J"), "{all}");
        assert!(!all.contains(['\u{202e}', '\u{9b}']), "{all}");
    }
}

/// Profiles of Go's own profiler are read and compared.
#[test]
fn profiles_of_go_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("main.go"),
        r#"package main

import (
	"os"
	"runtime/pprof"
	"time"
)

var sum uint64

//go:noinline
func spin(until time.Time) {
	for time.Now().Before(until) {
		for i := uint64(0); i < 100000; i++ {
			sum = sum*31 + i
		}
	}
}

func main() {
	file, _ := os.Create(os.Args[1])
	pprof.StartCPUProfile(file)
	spin(time.Now().Add(time.Second))
	pprof.StopCPUProfile()
	file.Close()
}
"#,
    )
    .unwrap();
    let built = Command::new(tool("go"))
        .args(["build", "-o", "spins", "main.go"])
        .env("GOCACHE", folder.path().join("cache"))
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(built.success());
    let files = ["a.pb.gz", "b.pb.gz"].map(|file| folder.path().join(file));
    for file in &files {
        let mut spins = Command::new(folder.path().join("spins"));
        assert!(spins.arg(file).status().unwrap().success());
    }
    let [a, b] = files.each_ref().map(|file| file.to_str().unwrap());
    let run = timesink(&["diff", a, b, "--json"]);
    assert!(run.status.success(), "{}", run.stderr);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["type"], "cpu");
    let functions = functions(&run);
    let spin = functions
        .iter()
        .find(|of| of["name"] == "main.spin")
        .unwrap();
    assert!(spin["total"]["before"].as_u64().unwrap() > 0, "{spin}");
}

/// Of real recordings, one function that takes half as long again is found, and nothing is in the same
/// program; recordings are their own in both formats.
#[test]
fn a_regression_is_found_in_real_recordings() {
    if !require_root() {
        return;
    }
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../bench/workloads/regression.c"
    );
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("regression");
    let built = Command::new(tool("cc"))
        .args(["-O1", "-fno-omit-frame-pointer", "-o"])
        .args([program.as_os_str(), source.as_ref()])
        .status()
        .unwrap();
    assert!(built.success());
    let run = |percent| {
        let program = program.to_str().unwrap();
        record(
            &["-e", "cpu-clock", "-F", "9999"],
            &[program, "60", percent],
        )
    };
    let (before, same, after) = (run("0"), run("0"), run("50"));
    let [a, b, c] = [&before, &after, &same].map(|run| run.pprof_path().display().to_string());
    let found = timesink(&["diff", &a, &b, "--json", "--fail-if", "parse>20%"]);
    assert_eq!(found.status.code(), Some(1), "{}", found.stderr);
    assert!(
        changed(&found).contains(&"parse".to_owned()),
        "{}",
        found.stdout
    );
    let none = timesink(&["diff", &a, &c, "--fail-if", "parse>20%"]);
    assert!(none.status.success(), "{}{}", none.stdout, none.stderr);
    let folded = folder.path().join("before.folded");
    fs::write(&folded, before.folded_text()).unwrap();
    let own = timesink(&[
        "diff",
        &a,
        folded.to_str().unwrap(),
        "--type",
        "samples",
        "--json",
    ]);
    assert!(own.status.success(), "{}", own.stderr);
    let functions = functions(&own);
    let parse = functions.iter().find(|of| of["name"] == "parse").unwrap();
    assert_eq!(parse["self"]["before"], parse["self"]["after"], "{parse}");
}
