//! What has no name is told: where, why, and what to do about it.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::fs;

use tests::{Recorded, Workload, record, require_root, timesink, tool};

/// The rows of the table on standard error, as unresolved share, share of stacks, and words.
fn rows(stderr: &str) -> Vec<(f64, f64, String)> {
    let row = |line: &str| {
        let (innermost, rest) = line.trim_start().split_once("%  ")?;
        let (anywhere, words) = rest.trim_start().split_once("%  ")?;
        let numbers = (innermost.parse().ok()?, anywhere.parse().ok()?);
        words
            .contains("unnamed: ")
            .then(|| (numbers.0, numbers.1, words.to_owned()))
    };
    stderr.lines().filter_map(row).collect()
}

/// The row of a place, which must be there and in the comments of pprof as well, with what to do.
fn row(recorded: &Recorded, place: &str) -> (f64, f64, String) {
    let rows = rows(&recorded.run.stderr);
    let found = rows.iter().find(|row| row.2.starts_with(place));
    let (innermost, anywhere, words) = found.unwrap_or_else(|| panic!("{}", recorded.run.stderr));
    let comments = recorded.pprof().comments;
    assert!(
        comments.iter().any(|line| line.ends_with(words)),
        "{comments:?}"
    );
    let reason = words.rsplit_once(": unnamed: ").unwrap().1;
    let mend = format!("unnamed: {reason}: ");
    let told = comments.iter().find(|line| line.starts_with(&mend));
    (*innermost, *anywhere, format!("{words}\n{}", told.unwrap()))
}

/// The share of samples whose innermost user frame lies in a file, of all that have frames, from its
/// pprof.
fn share_of(recorded: &Recorded, file: &str) -> f64 {
    let mut samples = recorded.pprof().samples;
    samples.retain(|sample| sample.process != "[lost]");
    let user = |sample: &&tests::PprofSample| {
        let mut frames = sample.frames.iter();
        frames
            .find(|frame| !frame.is_kernel())
            .is_some_and(|frame| frame.module == file)
    };
    let all: u64 = samples.iter().map(|sample| sample.samples).sum();
    let inside: u64 = samples
        .iter()
        .filter(user)
        .map(|sample| sample.samples)
        .sum();
    inside as f64 * 100.0 / all as f64
}

/// The code of a stripped program is unresolved, with the right share, the reason and its mend.
#[test]
fn a_stripped_program_is_told() {
    if !require_root() {
        return;
    }
    let stripped = Workload::compile_as("shares", "stripped", &["-s"]);
    let recorded = record(&["-F", "999"], &[stripped.path(), "1"]);
    let (innermost, anywhere, words) = row(&recorded, stripped.path());
    let expected = share_of(&recorded, stripped.path());
    assert!(
        (innermost - expected).abs() < 1.0,
        "{innermost} of {expected}"
    );
    assert!(innermost > 90.0 && anywhere >= innermost);
    assert!(
        words.contains("not-covered") && words.contains("find-dbgsym-packages"),
        "{words}"
    );
    let warning = "% of what is shown ran or waited in functions without a name";
    assert!(
        recorded.run.stderr.contains(warning),
        "{}",
        recorded.run.stderr
    );
}

/// Code that a JIT compiler wrote, without a map of its names, is told with the compiler's flag.
#[test]
fn a_compiler_without_a_map_is_told() {
    if !require_root() {
        return;
    }
    let script = "let end = Date.now() + 1500, x = 1; \
                  while (Date.now() < end) for (let i = 0; i < 1e6; i++) x = (x * 31 + i) % 1000003; \
                  console.log(x)";
    let recorded = record(&["-F", "499"], &[tool("node"), "-e", script]);
    let (innermost, _, words) = row(&recorded, "memory of `");
    assert!(innermost > 50.0, "{innermost}: {words}");
    assert!(
        words.contains("anonymous-memory") && words.contains("--perf-basic-prof"),
        "{words}"
    );
}

/// A recording with more without a name than allowed fails, once its outputs are written; one with less
/// does not, nor does one in which all has a name.
#[test]
fn too_much_without_a_name_fails() {
    if !require_root() {
        return;
    }
    let stripped = Workload::compile_as("shares", "stripped", &["-s"]);
    let named = Workload::compile("shares");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.folded");
    for (path, most, status) in [
        (stripped.path(), "50", 1),
        (stripped.path(), "100%", 0),
        (named.path(), "5", 0),
    ] {
        let output = file.to_str().unwrap();
        let run = timesink(&[
            "record",
            "-F",
            "999",
            "-o",
            output,
            "--fail-unresolved",
            most,
            "--",
            path,
            "1",
        ]);
        assert_eq!(run.status.code(), Some(status), "{}", run.stderr);
        let last = run.stderr.lines().last().unwrap();
        let words = "more than the 50 % of --fail-unresolved";
        assert_eq!(last.contains(words), status == 1, "{last}");
        assert!(fs::read_to_string(&file).unwrap().lines().count() > 1);
        fs::remove_file(&file).unwrap();
    }
}
