//! Programs with a JIT, and what they leave.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use crate::{Folded, Recorded, record};

/// A program with a JIT that was recorded to its end.
#[derive(Debug)]
pub struct JitRun {
    /// The recording.
    pub recorded: Recorded,
    /// The program's number.
    pub pid: u32,
    /// The time of each of its functions, as it says itself.
    pub truth: BTreeMap<String, f64>,
    _folder: TempDir,
}

impl JitRun {
    /// Records a command that prints a line `FUNCTION TIME` for each of its functions, in a folder of
    /// its own. `prepare` is a piece of shell that runs before it, as its process, where `$map` is the
    /// path of its perf map.
    #[must_use]
    pub fn record(options: &[&str], prepare: &str, command: &[&str]) -> Self {
        let recorder = |options: &[&str], command: &[&str]| record(options, command);
        Self::record_by(recorder, options, prepare, command)
    }

    /// As [`Self::record`], by a recorder of one's choice.
    #[must_use]
    pub fn record_by(
        recorder: fn(&[&str], &[&str]) -> Recorded,
        options: &[&str],
        prepare: &str,
        command: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let script = format!(
            "cd \"$0\"; echo pid $$; map=/tmp/perf-$$.map; rm -rf $map; {prepare}\nexec \"$@\""
        );
        let shell = [&["sh", "-c", &script, path], command].concat();
        let options = [&["-F", "999"], options].concat();
        let recorded = recorder(&options, &shell);
        let lines = recorded.run.stdout.lines();
        let mut truth: BTreeMap<_, f64> = lines
            .filter_map(|line| line.split_once(' '))
            .map(|(name, time)| (name.to_owned(), time.parse().unwrap()))
            .collect();
        let pid = truth.remove("pid").unwrap() as u32;
        remove(&Path::new("/tmp").join(format!("perf-{pid}.map")));
        Self {
            recorded,
            pid,
            truth,
            _folder: folder,
        }
    }

    /// Holds the share of each function among all to what the program says itself: within four
    /// standard deviations of as many independent samples, and a hundredth. `is` tells whether a frame
    /// is that of a function.
    pub fn check_shares(&self, folded: &Folded, is: impl Fn(&str, &str) -> bool) {
        let names: Vec<&str> = self.truth.keys().map(String::as_str).collect();
        let samples = |name: &str| {
            let inside = |frames: &[String]| frames.iter().any(|frame| is(frame, name));
            folded.filter(|stack| inside(&stack.frames)).total() as f64
        };
        let found: Vec<f64> = names.iter().map(|name| samples(name)).collect();
        let (all, time): (f64, f64) = (found.iter().sum(), self.truth.values().sum());
        assert!(all > 500.0, "{all} samples: {folded:?}");
        for (name, found) in names.iter().zip(&found) {
            let truth = self.truth[*name] / time;
            let deviation = (truth * (1.0 - truth) / all).sqrt();
            let share = found / all;
            assert!(
                (share - truth).abs() <= 4.0 * deviation + 0.01,
                "{name} has {share:.3} of {all} samples and {truth:.3} of the time"
            );
        }
    }

    /// The part of the samples in which all code of the JIT has a name.
    #[must_use]
    pub fn named(folded: &Folded) -> f64 {
        let nameless = folded.filter(|stack| stack.has("[anonymous memory]"));
        1.0 - nameless.total() as f64 / folded.total() as f64
    }

    /// Whether a warning was given.
    #[must_use]
    pub fn warns(&self, words: &str) -> bool {
        let warning = format!("timesink: warning: {words}");
        self.recorded.run.stderr.lines().any(|line| line == warning)
    }
}

fn remove(path: &Path) {
    let _is_no_file = fs::remove_file(path);
    let _is_no_folder = fs::remove_dir(path);
}
