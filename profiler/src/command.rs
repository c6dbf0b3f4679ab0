//! The recorded command: started in two steps, so that sampling is on before its first instruction.

use std::{
    ffi::OsString,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::AsRawFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, Command, ExitStatus},
    thread::JoinHandle,
};

use anyhow::{Context, Result, bail};

use crate::{limits::Descriptors, report::shown, targets::open_pidfd, watch::watch};

/// A process that waits at a gate before it becomes the command. Dropped, it ends.
#[derive(Debug)]
pub struct Waiting {
    /// The process id that the command will have.
    pub pid: u32,
    name: String,
    gate: PipeWriter,
    spawned: JoinHandle<io::Result<Child>>,
}

impl Waiting {
    /// Starts the process; it waits until it is [let go](Self::go).
    ///
    /// # Errors
    /// Where the kernel gives no process.
    pub fn start(words: &[OsString], limit: Descriptors) -> Result<Self> {
        let Some((program, arguments)) = words.split_first() else {
            bail!("failed to start a command: there is none after `--`");
        };
        let name = shown(Path::new(program));
        let (gate_reader, gate) = io::pipe()?;
        let (mut pid_reader, pid_writer) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments);
        let gate_fd = gate.as_raw_fd();
        let wait = move || {
            limit.restore();
            wait_at(&gate_reader, gate_fd, &pid_writer)
        };
        // SAFETY: between fork and exec, this makes system calls only.
        unsafe { command.pre_exec(wait) };
        // `spawn` returns only when the process has become the command.
        let spawned = std::thread::spawn(move || command.spawn());
        let mut pid = [0; 4];
        if pid_reader.read_exact(&mut pid).is_err() {
            let answer = spawned.join().expect("spawning does not panic");
            answer.with_context(|| format!("failed to start `{name}`"))?;
            bail!("failed to start `{name}`");
        }
        Ok(Self {
            pid: u32::from_ne_bytes(pid),
            name,
            gate,
            spawned,
        })
    }

    /// Lets the process become the command.
    ///
    /// # Errors
    /// Where there is no such program, or it cannot be executed.
    pub fn go(mut self) -> Result<Running> {
        self.gate.write_all(&[1])?;
        let child = self.spawned.join().expect("spawning does not panic");
        let child = child.with_context(|| format!("failed to run `{}`", self.name))?;
        Ok(Running { child })
    }
}

/// Runs in the new process: tells its number and waits for a byte. Without one, the recorder is
/// gone, and the command is not run.
fn wait_at(gate: &PipeReader, gate_writer: i32, pid: &PipeWriter) -> io::Result<()> {
    // SAFETY: this process's own copy of the writing end is closed, which keeps the pipe from
    // ending when the recorder dies; nothing else here refers to it.
    unsafe { libc::close(gate_writer) };
    let mut pid = pid;
    pid.write_all(&std::process::id().to_ne_bytes())?;
    let mut gate = gate;
    gate.read_exact(&mut [0])
}

/// The command while it runs. Dropped before its end, it gets SIGTERM.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Waits for the command's end.
    ///
    /// # Errors
    /// What the kernel answers.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        let end = watch(open_pidfd(self.child.id(), 0)?)?;
        let _ready = end.readable().await?;
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && let Ok(pid) = libc::pid_t::try_from(self.child.id())
        {
            // SAFETY: the process was not waited for, so its number is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
}

/// The status to pass on, as a shell gives it: the command's own, or 128 and the signal's number.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(words: &[&str]) -> Result<Waiting> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Waiting::start(&words, Descriptors::raise())
    }

    /// The command keeps the number that was told, and its status comes through.
    #[test]
    fn a_command_waits_runs_and_ends() {
        let waiting = start(&["sh", "-c", "exit 7"]).unwrap();
        let pid = waiting.pid;
        assert_ne!(pid, std::process::id());
        let mut running = waiting.go().unwrap();
        assert_eq!(running.child.id(), pid);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let status = runtime.block_on(running.ended()).unwrap();
        assert_eq!(exit_code(status), 7);
    }

    /// A program that is not there is an error that names it.
    #[test]
    fn a_missing_program_is_named() {
        let error = start(&["/no/such/program"])
            .and_then(Waiting::go)
            .unwrap_err();
        assert!(
            format!("{error:#}").contains("/no/such/program"),
            "{error:#}"
        );
    }

    /// A command that nobody lets go ends without having run.
    #[test]
    fn a_command_without_a_recorder_does_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ran");
        let waiting = start(&["touch", file.to_str().unwrap()]).unwrap();
        let Waiting { gate, spawned, .. } = waiting;
        drop(gate);
        assert!(spawned.join().unwrap().is_err());
        assert!(!file.exists());
    }

    /// A signal's number is told as shells tell it.
    #[test]
    fn a_signal_is_128_and_its_number() {
        assert_eq!(exit_code(ExitStatus::from_raw(libc::SIGKILL)), 137);
    }
}
