//! A child process that is asked to stop, waited for, and whose use of the machine is known then.

use std::{
    fs::File,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::workload::end_with_us;

/// A started process; dropping it kills it where it was not waited for.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    is_over: bool,
}

/// What a process and the children that it waited for had used when they ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) cpu_ns: u64,
    /// The largest memory of any one of them.
    pub(crate) peak_bytes: u64,
}

impl Ended {
    /// Whether it ended without an error.
    pub(crate) fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Whether SIGINT ended it.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.status.signal() == Some(libc::SIGINT)
    }
}

impl Process {
    /// Starts a command with its output in files.
    ///
    /// # Errors
    /// Where a file or the process cannot be made.
    pub(crate) fn start(command: &mut Command, stdout: &Path, stderr: &Path) -> Result<Self> {
        let create = |path: &Path| {
            File::create(path).with_context(|| format!("failed to create `{}`", path.display()))
        };
        let child = end_with_us(command)
            .stdin(Stdio::null())
            .stdout(create(stdout)?)
            .stderr(create(stderr)?)
            .spawn()
            .with_context(|| format!("failed to start {command:?}"))?;
        Ok(Self {
            child,
            is_over: false,
        })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as Ctrl-C does.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(crate) fn interrupt(&self) -> Result<()> {
        // SAFETY: the call takes numbers only; the process is not waited for yet, so that its
        // number is still its own.
        let answer = unsafe { libc::kill(self.raw_pid()?, libc::SIGINT) };
        if answer != 0 {
            return Err(io::Error::last_os_error()).context("failed to send SIGINT");
        }
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(crate) fn wait(mut self) -> Result<Ended> {
        let pid = self.raw_pid()?;
        let mut status = 0;
        // SAFETY: a `rusage` is plain numbers, for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the call writes one status and one usage.
        while unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } != pid {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error).with_context(|| format!("failed to wait for process {pid}"));
            }
        }
        self.is_over = true;
        Ok(Ended {
            status: ExitStatus::from_raw(status),
            cpu_ns: nanoseconds(usage.ru_utime)? + nanoseconds(usage.ru_stime)?,
            // Linux gives KiB.
            peak_bytes: u64::try_from(usage.ru_maxrss)? * 1024,
        })
    }

    fn raw_pid(&self) -> Result<libc::pid_t> {
        Ok(libc::pid_t::try_from(self.pid())?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_over {
            // Nothing is left to do where it has ended by itself.
            drop(self.child.kill().and_then(|()| self.child.wait()));
        }
    }
}

fn nanoseconds(time: libc::timeval) -> Result<u64> {
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec)?);
    let time = seconds + Duration::from_micros(u64::try_from(time.tv_usec)?);
    Ok(u64::try_from(time.as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that works, takes SIGINT and ends leaves its output and a true account.
    #[test]
    fn an_interrupted_process_is_accounted_for() {
        let folder = tempfile::tempdir().unwrap();
        let (stdout, stderr) = (folder.path().join("stdout"), folder.path().join("stderr"));
        let script = "trap 'exit 0' INT; echo ready; while :; do :; done";
        let shell =
            Process::start(Command::new("sh").args(["-c", script]), &stdout, &stderr).unwrap();
        while std::fs::read_to_string(&stdout).unwrap() != "ready\n" {
            std::thread::sleep(Duration::from_millis(10));
        }
        shell.interrupt().unwrap();
        let ended = shell.wait().unwrap();
        assert!(ended.is_success() && !ended.is_interrupted());
        assert!(ended.cpu_ns > 0 && ended.peak_bytes > 0);
    }

    /// A process that SIGINT ends is told from one that catches it.
    #[test]
    fn death_by_sigint_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let (stdout, stderr) = (folder.path().join("stdout"), folder.path().join("stderr"));
        let sleeper = Process::start(Command::new("sleep").arg("60"), &stdout, &stderr).unwrap();
        sleeper.interrupt().unwrap();
        let ended = sleeper.wait().unwrap();
        assert!(ended.is_interrupted() && !ended.is_success());
    }
}
