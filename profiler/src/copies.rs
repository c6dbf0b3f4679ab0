//! Files of file systems that may not answer (`mounts`): another process reads them into memory, and is
//! left behind where it does not come to an end. All who read the file read the copy.
//!
//! It is another process, and no thread, since who waits for such a file system cannot be ended, and a
//! process with such a thread cannot end either. It runs as the user of the process that maps the
//! file: these file systems let no other user read them, mostly not even root.
//!
//! What an overlay shows of such a file is read by the recorder's own user, since it lets in others
//! than who mounted it. `stat` does not tell which file it is, so the process asks the kernel, as the
//! recorder does with files that it opens itself. It must not be one that a user could tamper with.

use std::{
    collections::{HashSet, VecDeque},
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use abi::records::FileIdentity;
use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    bpf::Identifier,
    btf::{self, Btf},
    code_files::CodeFile,
    identity::Identify,
    limits::give_up_capabilities,
};

/// The subcommand that reads.
pub const SUBCOMMAND: &str = "copy-file";
/// The one that reads from an overlay.
pub const LAYERED: &str = "copy-layered-file";
/// The largest file that is copied.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many are read at a time.
const MAX_AT_A_TIME: usize = 4;
/// How many wait at most.
const MAX_WAITING: usize = 256;
/// How often those that are waited for are looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// A file that is to be copied.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) identity: FileIdentity,
    pub(crate) path: PathBuf,
    /// A place by which it can be opened.
    pub(crate) place: OwnedFd,
    pub(crate) reader: Reader,
}

/// As whom it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reader {
    /// The user of a process that maps it.
    User(u32),
    /// The recorder's own: it lies in an overlay.
    Recorder,
}

/// A copy that is being made.
#[derive(Debug)]
struct Running {
    identity: FileIdentity,
    path: PathBuf,
    child: Child,
    copy: File,
    /// How large it may become.
    most_bytes: u64,
    ends: Instant,
}

/// All copies of a recording.
#[derive(Debug)]
pub(crate) struct Copies {
    /// What all of them may take.
    max_bytes: u64,
    asked: HashSet<FileIdentity>,
    waiting: VecDeque<Wanted>,
    running: Vec<Running>,
    /// File systems that did not answer once.
    silent: HashSet<u32>,
    bytes: u64,
    given_up: Vec<PathBuf>,
}

impl Copies {
    /// None yet.
    pub(crate) fn within(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            asked: HashSet::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            silent: HashSet::new(),
            bytes: 0,
            given_up: Vec::new(),
        }
    }

    /// Asks for a copy, once for each file.
    pub(crate) fn ask(&mut self, wanted: Wanted) {
        if !self.asked.insert(wanted.identity) {
            return;
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(wanted);
        } else {
            self.given_up.push(wanted.path);
        }
        self.start_some();
    }

    /// The copies that have been made since the last time.
    pub(crate) fn take(&mut self) -> Vec<CodeFile> {
        let mut made = Vec::new();
        for mut copying in std::mem::take(&mut self.running) {
            match copying.child.try_wait() {
                Ok(None) if Instant::now() < copying.ends => self.running.push(copying),
                Ok(Some(status)) if status.success() => made.extend(self.made(copying)),
                Ok(None) => {
                    // One that waits for the file system stays until that answers or ends.
                    let _ = copying.child.kill();
                    self.silent.insert(copying.identity.device);
                    self.given_up.push(copying.path);
                }
                Ok(Some(_)) | Err(_) => self.given_up.push(copying.path),
            }
        }
        self.start_some();
        made
    }

    /// As [`Self::take`], and waits for those that are being made.
    pub(crate) fn take_all(&mut self) -> Vec<CodeFile> {
        let mut made = self.take();
        while !self.running.is_empty() {
            std::thread::sleep(PAUSE);
            made.extend(self.take());
        }
        made
    }

    /// Where the files were of which there is no copy, since the last time.
    pub(crate) fn take_given_up(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.given_up)
    }

    fn made(&mut self, copying: Running) -> Option<CodeFile> {
        self.bytes += copying.copy.metadata().map_or(0, |data| data.len());
        // By another open file, since the one that was written could still be written.
        let file = File::open(format!("/proc/self/fd/{}", copying.copy.as_raw_fd()));
        if file.is_err() {
            self.given_up.push(copying.path.clone());
        }
        Some(CodeFile {
            identity: copying.identity,
            path: copying.path,
            file: file.ok()?,
        })
    }

    fn start_some(&mut self) {
        while self.running.len() < MAX_AT_A_TIME {
            let room = self.max_bytes.saturating_sub(self.bytes);
            let most_bytes = room.min(MAX_FILE_BYTES);
            let others = self.running.iter().map(|copying| copying.most_bytes);
            if others.sum::<u64>() + most_bytes > room {
                break;
            }
            let Some(wanted) = self.waiting.pop_front() else {
                break;
            };
            let is_silent = self.silent.contains(&wanted.identity.device);
            let path = wanted.path.clone();
            let started = (!is_silent && room > 0).then(|| start(wanted, most_bytes));
            match started {
                Some(Ok(running)) => self.running.push(running),
                Some(Err(_)) | None => self.given_up.push(path),
            }
        }
    }
}

fn start(wanted: Wanted, most_bytes: u64) -> io::Result<Running> {
    let copy = memory(&wanted.path)?;
    let mut command = Command::new("/proc/self/exe");
    let FileIdentity {
        inode,
        device,
        generation,
    } = wanted.identity;
    match wanted.reader {
        Reader::User(pid) => {
            let owner = std::fs::metadata(format!("/proc/{pid}"))?;
            command.args([SUBCOMMAND, &inode.to_string()]);
            command.uid(owner.uid()).gid(owner.gid());
        }
        Reader::Recorder => {
            command.arg(LAYERED).arg(inode.to_string());
            command.args([device, generation].map(|number| number.to_string()));
        }
    }
    // The user as whom it runs may make it do anything, but not write more than this.
    let limit = move || {
        let most = Rlimit {
            current: Some(most_bytes),
            maximum: Some(most_bytes),
        };
        Ok(setrlimit(Resource::Fsize, most)?)
    };
    // SAFETY: between fork and exec there is one system call, and no memory is allocated.
    unsafe { command.pre_exec(limit) };
    let child = command
        .env_clear()
        .current_dir("/")
        // Ctrl-C is for the process that asks.
        .process_group(0)
        .stdin(Stdio::from(wanted.place))
        .stdout(Stdio::from(copy.try_clone()?))
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Running {
        identity: wanted.identity,
        path: wanted.path,
        child,
        copy,
        most_bytes,
        ends: Instant::now() + PATIENCE,
    })
}

/// A file in memory.
pub(crate) fn memory(path: &std::path::Path) -> io::Result<File> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let name = CString::new(&name[..name.len().min(64)]).map_err(io::Error::other)?;
    // SAFETY: the call reads a C string.
    let descriptor = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    match descriptor {
        0.. => {
            // SAFETY: the kernel has just given this descriptor to us alone.
            Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The process that reads: from the place that standard input stands for to standard output.
///
/// # Errors
/// Where it is not the regular file of this number, cannot be read, or is too large.
pub fn copy_file(inode: u64) -> io::Result<()> {
    end_with_parent();
    // Anybody may run this, and where the program's file has capabilities they would read any file.
    give_up_capabilities()?;
    let place = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let data = place.metadata()?;
    if !data.is_file() || data.ino() != inode {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    copy(&File::open("/proc/self/fd/0")?)
}

/// As [`copy_file`], of what the kernel programs call by this name.
///
/// # Errors
/// As [`copy_file`], and where the kernel does not tell the name.
pub fn copy_layered_file(wanted: FileIdentity) -> Result<()> {
    end_with_parent();
    let identifier = Identifier::load(&btf::offsets(&Btf::of_kernel()?)?)?;
    // As in `copy_file`; what the kernel programs are loaded with is of use for nothing else.
    give_up_capabilities()?;
    let place = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    ensure!(place.metadata()?.is_file(), "not a regular file");
    let file = File::open("/proc/self/fd/0")?;
    let found = identifier.identities(&file).map(|found| found.mapped);
    ensure!(found == Some(wanted), "another file");
    Ok(copy(&file)?)
}

fn end_with_parent() {
    // SAFETY: the call takes two numbers. Where it is refused, this process lives a little longer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

fn copy(mut file: &File) -> io::Result<()> {
    // What is too large is to fail, by the limit that this process was started with, and leave no core.
    // SAFETY: the call takes two numbers.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    io::copy(&mut file, &mut output).map(drop)
}
