//! One recording of a command, and what it takes from the command's end to the result.

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{
    cache::NamesCache,
    memory::Memory,
    paranoid::Lowered,
    subjects::Subject,
    ways::{Tool, Way, names, pid_file},
};
use crate::{process::Process, usage};

/// A profiler has started its command by then, and the command has ended.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);
const START_POLL: Duration = Duration::from_millis(5);
/// How often the result is looked for.
const LOOK: Duration = Duration::from_millis(3);
/// At every so many of these looks memory is looked at too: to read what all processes have takes time
/// from those that are measured.
const LOOKS_PER_MEMORY: usize = 5;

/// What a recording gave.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Finish {
    /// From the command's end to the result; `None` where that was not there, and all done, within the
    /// limit.
    pub(crate) seconds: Option<f64>,
    /// The most memory that all processes had at one moment of that.
    pub(crate) peak_bytes: u64,
    /// The most of it that were no pages of files.
    pub(crate) private_bytes: u64,
    /// What the largest sizes of each add up to, of the time before too.
    pub(crate) bound_bytes: u64,
    /// Samples in the result.
    pub(crate) samples: u64,
    /// Those whose innermost function has a name.
    pub(crate) named: u64,
    /// Those whose innermost function is inlined.
    pub(crate) inlined: u64,
    /// Places whose names timesink had from its cache.
    pub(crate) names_cached: u64,
    /// Places that it looked up.
    pub(crate) names_looked_up: u64,
    /// The result's size.
    pub(crate) written_bytes: u64,
}

/// What every recording needs to know.
#[derive(Debug)]
pub(super) struct Means<'a> {
    pub(super) timesink: &'a Path,
    pub(super) cache: &'a NamesCache,
    /// How long a result may take.
    pub(super) limit: Duration,
}

/// Records a subject in one way, in a folder for this alone.
///
/// # Errors
/// Where a program fails or leaves no result; what it said is in the error.
pub(super) fn record(
    way: &Way,
    subject: &Subject,
    means: &Means<'_>,
    folder: &Path,
) -> Result<Finish> {
    measure(way, subject, means, folder).with_context(|| {
        let said = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
        format!(
            "failed to record {} with {}, which said `{}`",
            subject.name,
            way.name,
            [said("stderr"), said("drawing")].concat().trim()
        )
    })
}

fn measure(way: &Way, subject: &Subject, means: &Means<'_>, folder: &Path) -> Result<Finish> {
    let _lowered = match way.tool {
        Tool::Samply => Some(Lowered::new()?),
        _ => None,
    };
    let mut command = way.record(subject, means.timesink, means.cache, folder)?;
    let process = start(&mut command, folder, "stderr")?;
    wait_for_command(&process, &pid_file(folder))?;
    let since = Instant::now();
    let mut watch = Watch {
        since,
        until: since + means.limit,
        result: way.picture(folder),
        done: None,
        memory: Memory::default(),
    };
    if watch.finish(process)?
        && let Some(mut command) = way.draw(folder)
    {
        watch.finish(start(&mut command, folder, "drawing")?)?;
    }
    watch.finished(way, folder)
}

fn start(command: &mut Command, folder: &Path, said: &str) -> Result<Process> {
    Process::start(command, &folder.join("stdout"), &folder.join(said))
}

/// Waits for the end of the command that a profiler started, which is known when it has written its
/// number into a file.
fn wait_for_command(profiler: &Process, file: &Path) -> Result<()> {
    let until = Instant::now() + COMMAND_LIMIT;
    let pid = loop {
        let written = fs::read_to_string(file).unwrap_or_default();
        if let Some(pid) = written.strip_suffix('\n') {
            break pid.parse().context("failed to read the command's number")?;
        }
        if usage::has_ended(profiler.pid()) || Instant::now() > until {
            bail!("failed to start the command");
        }
        std::thread::sleep(START_POLL);
    };
    let rest = until.saturating_duration_since(Instant::now());
    if !has_ended_within(pid, rest)? {
        bail!("the command did not end within {COMMAND_LIMIT:?}");
    }
    Ok(())
}

/// Whether a process ends in time; who started it need not have waited for it.
fn has_ended_within(pid: libc::pid_t, time: Duration) -> Result<bool> {
    // SAFETY: the call takes numbers only.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(descriptor @ 0..) = i32::try_from(opened) else {
        return Err(io::Error::last_os_error()).context("failed to watch the command");
    };
    // SAFETY: the kernel has just opened it, and nobody else knows of it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut poll = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = i32::try_from(time.as_millis())?;
    // SAFETY: the call reads and writes one `pollfd`.
    match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
        -1 => Err(io::Error::last_os_error()).context("failed to wait for the command"),
        ready => Ok(ready == 1),
    }
}

/// What processes take until the result is there.
#[derive(Debug)]
struct Watch {
    /// When the command ended.
    since: Instant,
    /// They are ended then.
    until: Instant,
    /// The file that is the result once it is there; without one, the end of the last process is what
    /// counts.
    result: Option<PathBuf>,
    /// When the result was there.
    done: Option<Instant>,
    memory: Memory,
}

impl Watch {
    /// Waits for a process and looks at the memory of all that descend from it; whether it ended in
    /// time. One that does not is ended, with all of these.
    fn finish(&mut self, process: Process) -> Result<bool> {
        let is_there = |result: &Option<PathBuf>| result.as_ref().is_some_and(|path| path.exists());
        for look in 0.. {
            if usage::has_ended(process.pid()) {
                break;
            }
            if Instant::now() > self.until {
                kill_all(process.pid());
                process.wait()?;
                self.done = None;
                return Ok(false);
            }
            if is_there(&self.result) {
                self.done = self.done.or_else(|| Some(Instant::now()));
            } else if look % LOOKS_PER_MEMORY == 0 {
                self.memory.look(process.pid());
            }
            std::thread::sleep(LOOK);
        }
        if self.result.is_none() || self.done.is_none() {
            self.done = Some(Instant::now());
        }
        let ended = process.wait()?;
        if !ended.is_success() {
            bail!("it ended with {}", ended.status);
        }
        Ok(true)
    }

    /// What it took, and what the result holds where there is one.
    fn finished(&self, way: &Way, folder: &Path) -> Result<Finish> {
        let mut finish = Finish {
            seconds: self.done.map(|done| (done - self.since).as_secs_f64()),
            peak_bytes: self.memory.peak_bytes,
            private_bytes: self.memory.private_bytes,
            bound_bytes: self.memory.bound_bytes(),
            ..Finish::default()
        };
        if self.done.is_none() {
            return Ok(finish);
        }
        let (samples, bytes) = way.result(folder)?;
        finish.samples = samples.all;
        finish.named = samples.named;
        finish.inlined = samples.inlined;
        finish.written_bytes = bytes;
        if let Tool::Timesink { .. } = way.tool {
            let said = fs::read_to_string(folder.join("stderr")).unwrap_or_default();
            let names = names(&said).context("failed to find what timesink says of its cache")?;
            (finish.names_cached, finish.names_looked_up) = names;
        }
        Ok(finish)
    }
}

fn kill_all(root: u32) {
    for pid in usage::tree(root) {
        if let Ok(pid) = libc::pid_t::try_from(pid) {
            // SAFETY: the call takes numbers only. The processes descend from one of ours that was not
            // waited for; one that has ended meanwhile needs no killing.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of somebody else's child is seen, and that it goes on.
    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        assert!(!has_ended_within(pid, Duration::from_millis(10)).unwrap());
        child.kill().unwrap();
        assert!(has_ended_within(pid, Duration::from_secs(60)).unwrap());
        child.wait().unwrap();
    }

    fn watch(limit: Duration, result: Option<PathBuf>) -> Watch {
        let since = Instant::now();
        Watch {
            since,
            until: since + limit,
            result,
            done: None,
            memory: Memory::default(),
        }
    }

    /// What a process does after its result is there does not count.
    #[test]
    fn the_result_is_what_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo x > picture; sleep 0.5; exit 0"])
            .current_dir(folder.path());
        let process = start(&mut command, folder.path(), "stderr").unwrap();
        let picture = folder.path().join("picture");
        let mut watch = watch(Duration::from_secs(60), Some(picture));
        assert!(watch.finish(process).unwrap());
        assert!(watch.done.unwrap() < Instant::now() - Duration::from_millis(100));
    }

    /// A process that takes longer than it may is ended, and its children with it.
    #[test]
    fn what_takes_too_long_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 60 & echo $! > pid; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder.path());
        let process = start(&mut command, folder.path(), "stderr").unwrap();
        let written = || fs::read_to_string(pid_file(folder.path())).unwrap_or_default();
        while !written().ends_with('\n') {
            std::thread::sleep(START_POLL);
        }
        let mut watch = watch(Duration::from_millis(50), None);
        assert!(!watch.finish(process).unwrap());
        assert!(watch.done.is_none() && watch.memory.peak_bytes > 0);
        let child: u32 = written().trim().parse().unwrap();
        while !usage::has_ended(child) {
            std::thread::sleep(START_POLL);
        }
    }
}
