//! A command, recorded into every format at once.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{Folded, Ledger, Pprof, Run, Running, binary, release_binary};

/// What the recording of a command left.
#[derive(Debug)]
pub struct Recorded {
    /// How it went; standard output is the command's.
    pub run: Run,
    folder: TempDir,
}

/// Records a command to its end, with the whole ledger.
#[must_use]
pub fn record<Word: AsRef<OsStr>>(options: &[&str], command: &[Word]) -> Recorded {
    record_by(&binary(), options, command, |_| {})
}

/// As [`record`], and does something to the recorder while it records.
#[must_use]
pub fn record_while<Word: AsRef<OsStr>>(
    options: &[&str],
    command: &[Word],
    during: impl FnOnce(&mut Running),
) -> Recorded {
    record_by(&binary(), options, command, during)
}

/// As [`record`], by the binary as users have it.
#[must_use]
pub fn record_by_release<Word: AsRef<OsStr>>(options: &[&str], command: &[Word]) -> Recorded {
    record_by(&release_binary(), options, command, |_| {})
}

fn record_by<Word: AsRef<OsStr>>(
    binary: &Path,
    options: &[&str],
    command: &[Word],
    during: impl FnOnce(&mut Running),
) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let outputs = ["folded", "svg", "pb.gz"].map(|end| file(folder.path(), end));
    let mut timesink = Command::new(binary);
    timesink.args(["record", "-v"]).args(options);
    for output in &outputs {
        timesink.arg("-o").arg(output);
    }
    timesink.arg("--").args(command);
    let mut running = Running::spawn(timesink);
    during(&mut running);
    let run = running.finish();
    assert!(run.status.success(), "{}", run.stderr);
    Recorded { run, folder }
}

fn file(folder: &Path, extension: &str) -> PathBuf {
    folder.join(format!("recorded.{extension}"))
}

impl Recorded {
    /// The text of the folded stacks.
    #[must_use]
    pub fn folded_text(&self) -> String {
        fs::read_to_string(file(self.folder.path(), "folded")).unwrap()
    }

    /// The folded stacks.
    #[must_use]
    pub fn folded(&self) -> Folded {
        Folded::parse(&self.folded_text())
    }

    /// Where the pprof file is.
    #[must_use]
    pub fn pprof_path(&self) -> PathBuf {
        file(self.folder.path(), "pb.gz")
    }

    /// The pprof file.
    #[must_use]
    pub fn pprof(&self) -> Pprof {
        Pprof::read(&self.pprof_path())
    }

    /// Where the flame graph is.
    #[must_use]
    pub fn svg_path(&self) -> PathBuf {
        file(self.folder.path(), "svg")
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::parse(&self.run.stderr)
    }
}
