//! The binary: built by cargo first, so that it is never an old one, then run as a user runs it.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Once,
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// No phase of a test's recording takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run of `timesink` left.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

/// Runs `timesink` to its end.
#[must_use]
pub fn timesink(arguments: &[&str]) -> Run {
    Running::start(arguments).finish()
}

/// The binary of the profile that this test was built in.
#[must_use]
pub fn binary() -> PathBuf {
    static BUILT: Once = Once::new();
    let folder = profile_folder();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    BUILT.call_once(|| build(profile));
    folder.join("timesink")
}

/// The binary as users have it, for what takes a debug build too long.
#[must_use]
pub fn release_binary() -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| build("release"));
    profile_folder().with_file_name("release").join("timesink")
}

fn profile_folder() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().to_owned()
}

fn build(profile: &str) {
    let mut cargo = Command::new(env!("CARGO"));
    // Of the package that is tested: to some build scripts another value means to build anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let built = cargo
        .args(["build", "--quiet", "--package", "profiler"])
        .args(["--bin", "timesink", "--profile", profile])
        .status()
        .unwrap();
    assert!(built.success(), "failed to build timesink");
}

/// A `timesink` that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    lines: Receiver<String>,
    stderr: String,
}

impl Running {
    /// Starts it.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a command that becomes `timesink` or runs it.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let err = child.stderr.take().unwrap();
        let stdout = thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        });
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(err).split(b'\n') {
                let line = String::from_utf8(line.unwrap()).unwrap();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            stdout,
            lines,
            stderr: String::new(),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the phase that standard error announces by `timesink: PHASE`, which takes `-v`;
    /// gives the line.
    pub fn wait_for(&mut self, phase: &str) -> String {
        let wanted = format!("timesink: {phase}");
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.stderr += &line;
            self.stderr.push('\n');
            if line.starts_with(&wanted) {
                return line;
            }
        }
        panic!("`{wanted}` was not said: {}", self.stderr);
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: the call takes no pointers; the child was not waited for, so the pid is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits for its end.
    #[must_use]
    pub fn finish(mut self) -> Run {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("timesink does not end: {}", self.stderr);
            }
            thread::sleep(Duration::from_millis(5));
        };
        for line in self.lines {
            self.stderr += &line;
            self.stderr.push('\n');
        }
        Run {
            status,
            stdout: self.stdout.join().unwrap(),
            stderr: self.stderr,
        }
    }
}
