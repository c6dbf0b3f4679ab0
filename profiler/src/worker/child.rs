//! One reader, seen from the process that asks.

use std::{
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::Path,
    process::{self, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{ARGUMENT, Answer, Fate, Job, wire};

/// How long a reader takes to end when it is killed, and how often it is looked whether it has.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_micros(200);

/// The process and the socket to it, which is its standard input.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    socket: UnixStream,
}

impl Child {
    /// Starts a reader that may take so much memory.
    pub(super) fn start(program: &Path, memory_bytes: u64) -> io::Result<Self> {
        let (here, there) = UnixStream::pair()?;
        let process = Command::new(program)
            .args([ARGUMENT, &memory_bytes.to_string()])
            .env_clear()
            // Ctrl-C is for the process that asks.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(there)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            process,
            socket: here,
        })
    }

    /// Has it do something, within so long. A reader without an answer is gone.
    pub(super) fn ask(
        &mut self,
        job: &Job,
        files: &[&File],
        time: Duration,
    ) -> Result<Answer, Fate> {
        self.socket
            .set_write_timeout(Some(time))
            .map_err(|_refused| Fate::Died)?;
        let sent = wire::send(&mut self.socket, job, files);
        let answer = sent
            .and_then(|()| wire::receive_within(&mut self.socket, time, job.most_answer_bytes()));
        answer.map_err(|error| self.fate(&error))
    }

    /// Ends it. One that waits in the kernel, as for a server that is gone, is left behind: nothing ends it.
    fn end(&mut self) -> Option<ExitStatus> {
        let _gone = self.process.kill();
        let given_up = Instant::now() + PATIENCE;
        loop {
            match self.process.try_wait() {
                Ok(None) if Instant::now() < given_up => thread::sleep(PAUSE),
                Ok(status) => return status,
                Err(_not_ours) => return None,
            }
        }
    }

    /// Why it gave no answer, by how it ended.
    fn fate(&mut self, error: &io::Error) -> Fate {
        if matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
        ) {
            return Fate::TimedOut;
        }
        // Else it has closed the socket by its end, or writes what it should not.
        match self.end().and_then(|status| status.signal()) {
            Some(libc::SIGABRT) => Fate::OutOfMemory,
            Some(libc::SIGBUS) => Fate::CutShort,
            Some(libc::SIGXCPU) => Fate::TimedOut,
            _ => Fate::Died,
        }
    }
}

impl Drop for Child {
    /// A reader that has nothing more to read ends by itself; one that hangs does not.
    fn drop(&mut self) {
        let _status = self.end();
    }
}
