//! Where profiles go: checked before anything is recorded, written whole or not at all.

use std::{
    ffi::CString,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, bail};
use atomic_write_file::AtomicWriteFile;
use output::{Format, Profile};

use crate::report::shown;

const DEFAULT: &str = "timesink.svg";

/// Held while a file is being written.
static WRITING: Mutex<()> = Mutex::new(());

/// Waits for the file that is being written, and keeps others from being begun.
pub fn stop_writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One place to write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    path: PathBuf,
    format: Format,
}

/// All places to write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    outputs: Vec<Output>,
    /// Whether nobody chose them.
    pub is_default: bool,
}

impl Outputs {
    /// Each output with its format, known to be a place that can be written to. A format that is given is
    /// that of all of them.
    ///
    /// # Errors
    /// Where a format is not known or a place cannot be written to.
    pub fn check(paths: &[PathBuf], format: Option<&str>) -> Result<Self> {
        let format = format.and_then(Format::from_name);
        let check = |path: &PathBuf| {
            let path = path.clone();
            let format = format.map_or_else(|| format_of(&path), Ok)?;
            check_place(&path)?;
            Ok(Output { path, format })
        };
        Ok(Self {
            outputs: paths.iter().map(check).collect::<Result<_>>()?,
            is_default: false,
        })
    }

    /// As [`check`](Self::check), with a default for no path at all.
    ///
    /// # Errors
    /// As there.
    pub fn check_or_default(paths: &[PathBuf], format: Option<&str>) -> Result<Self> {
        if !paths.is_empty() {
            return Self::check(paths, format);
        }
        let extension = format.and_then(Format::from_name).unwrap_or(Format::Svg);
        let path = Path::new(DEFAULT).with_extension(&extension.extension()[1..]);
        Ok(Self {
            is_default: true,
            ..Self::check(&[path], format)?
        })
    }

    /// Whether one of them is of this format.
    #[must_use]
    pub fn has(&self, format: Format) -> bool {
        self.outputs.iter().any(|output| output.format == format)
    }

    /// Writes a profile to all of them and tells where; one that fails does not keep the others
    /// from being written.
    ///
    /// # Errors
    /// The first failure.
    pub fn write(&self, profile: &Profile, written: impl FnMut(&Path, usize)) -> Result<()> {
        let encode = |format: Format| {
            let mut bytes = Vec::new();
            format.encoder().encode(profile, &mut bytes)?;
            Ok(bytes)
        };
        self.write_each(encode, written)
    }

    /// As [`write`](Self::write), of what is no profile.
    ///
    /// # Errors
    /// The first failure.
    pub fn write_each(
        &self,
        encode: impl Fn(Format) -> Result<Vec<u8>>,
        mut written: impl FnMut(&Path, usize),
    ) -> Result<()> {
        let mut failed = Ok(());
        for output in &self.outputs {
            let result = encode(output.format).and_then(|bytes| output.write(&bytes));
            let result = result
                .with_context(|| format!("failed to write `{}`", shown(&output.path)))
                .map(|bytes| written(&output.path, bytes));
            failed = failed.and(result);
        }
        failed
    }
}

impl Output {
    fn write(&self, bytes: &[u8]) -> Result<usize> {
        if self.path == Path::new("-") {
            let mut stdout = io::stdout().lock();
            let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
            // Who reads no further, as `head` does, has what it wanted.
            written.or_else(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(error),
            })?;
        } else if is_special(&self.path) {
            OpenOptions::new()
                .write(true)
                .open(&self.path)?
                .write_all(bytes)?;
        } else {
            let _writing = stop_writing();
            put(&behind_link(&self.path)?, bytes)?;
        }
        Ok(bytes.len())
    }
}

fn format_of(path: &Path) -> Result<Format> {
    if path == Path::new("-") || is_special(path) {
        return Ok(Format::from_extension(path).unwrap_or(Format::Folded));
    }
    Format::from_extension(path).with_context(|| {
        format!(
            "failed to tell the format of `{}`; use .svg, .folded or .pb.gz, or `--format`",
            shown(path)
        )
    })
}

/// Whether something that is no regular file, such as `/dev/null`, has this name: it is written
/// to, not replaced.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn check_place(path: &Path) -> Result<()> {
    if path == Path::new("-") || is_special(path) {
        return Ok(());
    }
    if path.is_dir() {
        bail!("failed to write `{}`: it is a folder", shown(path));
    }
    let place = behind_link(path)
        .with_context(|| format!("failed to write through the link `{}`", shown(path)))?;
    tempfile::tempfile_in(folder_of(&place))
        .with_context(|| format!("failed to write in the folder of `{}`", shown(path)))?;
    Ok(())
}

/// The file that is written: that behind a link, not the link in its place. The link is opened and
/// not only read, so that the kernel's own rules hold, by which root follows no link that somebody
/// else has laid in a folder such as `/tmp`.
fn behind_link(path: &Path) -> io::Result<PathBuf> {
    if !path.is_symlink() {
        return Ok(path.to_owned());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Writes a file that is whole from the moment it has its name. Where something has the name
/// already, the new file takes its place under a second name, which a SIGKILL at that very moment
/// leaves behind; the kernel has no way without.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if !path.exists() && put_new(path, bytes).is_ok() {
        return Ok(());
    }
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Writes a file without a name and gives it one, as `open(2)` shows for `O_TMPFILE`. Not every
/// file system can, and a name that was taken meanwhile is an error too.
fn put_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(folder_of(path))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let unnamed = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let named = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both paths end in NUL and outlive the call.
    let answer = unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            unnamed.as_ptr(),
            libc::AT_FDCWD,
            named.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
