//! Debug files from servers, by build id: asked for by the system's `debuginfod-find`, which knows the
//! servers (`DEBUGINFOD_URLS`), speaks TLS and keeps what it got.
//!
//! A server learns which programs run here, so it is asked only where the user wants it.

use std::{
    env,
    ffi::OsString,
    fmt::Write,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::identity::open_regular;

/// How long one file may take, and all of them.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(180);
/// How often it is looked whether one has come.
const PAUSE: Duration = Duration::from_millis(10);
/// Linkers write 8, 16, 20 or 32 bytes. Shorter ones were chosen by hand, and tell nothing apart.
const ID_BYTES: std::ops::RangeInclusive<usize> = 8..=32;
/// What the tool says where no server has a file.
const NOT_THERE: &str = "No such file or directory";
/// A path and a newline.
const MAX_ANSWER_BYTES: u64 = 4097;

/// Asks the servers.
#[derive(Debug)]
pub struct Debuginfod {
    tool: PathBuf,
    ends: Option<Instant>,
    complaints: Vec<String>,
}

impl Debuginfod {
    /// By the tool that is installed and the servers that are named.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn of_system() -> Result<Self, String> {
        if env::var_os("DEBUGINFOD_URLS").is_none_or(|urls| urls.is_empty()) {
            return Err(
                "failed to use debuginfod: `DEBUGINFOD_URLS` names no server; set it, such as to https://debuginfod.elfutils.org"
                    .to_owned(),
            );
        }
        let folders = env::var_os("PATH").unwrap_or_default();
        let tool = env::split_paths(&folders)
            .map(|folder| folder.join("debuginfod-find"))
            .find(|path| path.is_file());
        match tool {
            Some(tool) => Ok(Self {
                tool,
                ends: None,
                complaints: Vec::new(),
            }),
            None => Err(
                "failed to use debuginfod: there is no `debuginfod-find`; install the package `debuginfod` (Fedora: `elfutils-debuginfod-client`)"
                    .to_owned(),
            ),
        }
    }

    /// The debug file of a build id, where a server has it. Whether it is the right one is for its
    /// reader to see.
    pub fn find(&mut self, build_id: &[u8]) -> Option<File> {
        if !ID_BYTES.contains(&build_id.len()) {
            return None;
        }
        let now = Instant::now();
        let all_end = *self.ends.get_or_insert(now + PATIENCE_FOR_ALL);
        if now >= all_end {
            return None;
        }
        match ask(&self.tool, &hex(build_id), all_end.min(now + PATIENCE)) {
            Ok(answer) => open_regular(&answer?),
            Err(why) => {
                self.complaints.push(why);
                None
            }
        }
    }

    /// What went wrong, in words; that a server does not have a file is not among it.
    pub(super) fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Runs the tool, which prints where it put the file; `None` where no server has it.
fn ask(tool: &std::path::Path, id: &str, ends: Instant) -> Result<Option<PathBuf>, String> {
    let failed = |error| format!("failed to run `debuginfod-find`: {error}");
    let mut child = Command::new(tool)
        .args(["debuginfo", id])
        // What it says is understood, and is no more than a pipe holds.
        .env("LC_ALL", "C")
        .env_remove("DEBUGINFOD_PROGRESS")
        .env_remove("DEBUGINFOD_VERBOSE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let succeeded = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status.success(),
            None if Instant::now() < ends => thread::sleep(PAUSE),
            None => {
                stop(&mut child);
                return Err(format!(
                    "failed to get the debug file of build id {id}: the servers took too long"
                ));
            }
        }
    };
    if !succeeded {
        let said = child.stderr.take().map(said).transpose();
        return complaint(&said.map_err(failed)?.unwrap_or_default()).map_or(Ok(None), Err);
    }
    let answer = child.stdout.take().map(said).transpose();
    let answer = answer.map_err(failed)?.unwrap_or_default();
    let path = answer.strip_suffix(b"\n").filter(|path| !path.is_empty());
    Ok(path.map(|path| PathBuf::from(OsString::from_vec(path.to_vec()))))
}

fn said(output: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    output.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why servers could not be asked, by the last line of what the tool says; that they do not have the
/// file is no reason for a complaint.
fn complaint(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let why = said.lines().next_back()?;
    let is_missing = why.ends_with(NOT_THERE);
    (!is_missing).then(|| format!("failed to ask debuginfod servers: {}", output::clean(why)))
}

fn stop(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No server is asked for what is no build id, and a tool that hangs is ended in time.
    #[test]
    fn asking_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tool");
        std::fs::write(&tool, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let ends = Instant::now() + Duration::from_millis(50);
        let error = ask(&tool, "abcd", ends).unwrap_err();
        assert!(error.contains("took too long"), "{error}");
        let mut none = Debuginfod {
            tool: "/no/such/tool".into(),
            ends: None,
            complaints: Vec::new(),
        };
        assert!(none.find(&[1, 2, 3]).is_none());
        assert!(none.complaints().is_empty());
        assert!(none.find(&[7; 20]).is_none());
        assert_eq!(none.complaints().len(), 1);
        assert_eq!(hex(&[0xab, 0x01]), "ab01");
    }

    /// A server that cannot be reached is told, and one that does not have the file is not.
    #[test]
    fn servers_out_of_reach_are_told() {
        let words =
            |said: &str| complaint(format!("progress\nServer query failed: {said}\n").as_bytes());
        assert_eq!(words(NOT_THERE), None);
        assert!(
            words("Connection refused")
                .unwrap()
                .ends_with("Connection refused")
        );
        assert_eq!(complaint(b""), None);
    }
}
