//! The work that is profiled: a compiled C program, and commands of the system beside it.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::scenario::Load;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads");
const FLAGS: &[&str] = &["-O1", "-fno-optimize-sibling-calls", "-pthread"];
const FRAME_POINTERS: &[&str] = &["-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"];
const NO_FRAME_POINTERS: &[&str] = &["-fomit-frame-pointer"];
/// Processes of a few milliseconds each, one after another.
const SHORT_COMMANDS: &str = "while :; do cat /proc/self/stat; ls /usr; sort /etc/passwd; done";
const INTERPRETED: &str = "
def total(values):
    return sum(value * value for value in values)
while True:
    total(range(1000))
";
/// The processes have found their stride after this.
const SETTLE: Duration = Duration::from_millis(500);

/// How a C program is compiled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Build {
    /// Whether its code keeps a frame pointer.
    pub(crate) frame_pointers: bool,
    /// How many frames its stacks have, 12 or 40; about twenty without it.
    pub(crate) frames: Option<u32>,
}

/// Compiles a C program of `bench/workloads` into a folder.
///
/// # Errors
/// Where there is no C compiler or it fails.
pub(crate) fn compile(name: &str, build: Build, folder: &Path) -> Result<PathBuf> {
    let frames = build.frames.map(|frames| format!("-DFRAMES={frames}"));
    let (flags, suffix) = match build.frame_pointers {
        true => (FRAME_POINTERS, "with"),
        false => (NO_FRAME_POINTERS, "without"),
    };
    // The program keeps its name, by which peers know it.
    let folder = folder.join(format!("{}-{suffix}", build.frames.unwrap_or(0)));
    fs::create_dir_all(&folder).context("failed to create a folder for a program")?;
    let binary = folder.join(name);
    let source = format!("{SOURCES}/{name}.c");
    let output = Command::new("cc")
        .args(FLAGS)
        .args(flags)
        .args(frames)
        .arg("-o")
        .arg(&binary)
        .arg(&source)
        .output()
        .context("failed to run `cc`; install a C compiler (Debian: build-essential)")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("failed to compile `{source}`: {said}");
    }
    Ok(binary)
}

/// The processes of a load; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Running {
    children: Vec<Child>,
    /// The process of the chains.
    pub(crate) target: Option<u32>,
}

impl Running {
    /// Starts a load and lets it settle.
    ///
    /// # Errors
    /// Where one of its processes cannot be started.
    pub(crate) fn start(load: Load, chains: &Path) -> Result<Self> {
        let mut running = Self {
            children: Vec::new(),
            target: None,
        };
        if load != Load::Nothing {
            running.target = Some(running.add(&mut Command::new(chains))?);
        }
        if load == Load::Mixture {
            running.add(Command::new("sh").args(["-c", SHORT_COMMANDS]))?;
            if has_python() {
                running.add(Command::new("python3").args(["-c", INTERPRETED]))?;
            }
        }
        running.settle();
        Ok(running)
    }

    /// Gives what was started a moment to get going.
    pub(crate) fn settle(&self) {
        std::thread::sleep(SETTLE);
    }

    /// Starts one more process; gives its number.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(crate) fn add(&mut self, command: &mut Command) -> Result<u32> {
        let child = end_with_us(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("failed to start the load {command:?}"))?;
        let pid = child.id();
        self.children.push(child);
        Ok(pid)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            // A child that has ended by itself needs no killing.
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

/// Sees to it that the kernel ends the command's process should this one end before it, and that
/// SIGINT reaches it: a shell's job in the background ignores it, and so do its children.
pub(crate) fn end_with_us(command: &mut Command) -> &mut Command {
    let ask = || {
        // SAFETY: the call takes numbers only, and may be made between fork and exec.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        // SAFETY: as above.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes system calls and allocates nothing.
    unsafe { command.pre_exec(ask) }
}

fn has_python() -> bool {
    let version = Command::new("python3").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C program compiles, runs with two threads that the first one waits for, and ends when
    /// dropped.
    #[test]
    fn the_chains_have_two_threads() {
        let folder = tempfile::tempdir().unwrap();
        let binary = compile("chains", Build::default(), folder.path()).unwrap();
        let running = Running::start(Load::Chains, &binary).unwrap();
        let process = PathBuf::from("/proc").join(running.target.unwrap().to_string());
        assert_eq!(fs::read_dir(process.join("task")).unwrap().count(), 3);
        let name = fs::read_to_string(process.join("comm")).unwrap();
        assert_eq!(name, "chains\n");
        drop(running);
        assert!(!process.exists());
    }
}
