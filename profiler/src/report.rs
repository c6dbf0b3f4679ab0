//! What is said while a recording goes on, and the signals that stop it.

use std::{
    fmt,
    io::{ErrorKind, IsTerminal, Write, stderr, stdout},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::tables::{Built, Found};

/// Writes to standard error, whatever names are in it: here the border is that they all pass. Where
/// nobody can read it any more, as after a terminal was closed, the work goes on in silence: a profile
/// is worth more than the words about it.
pub fn tell(words: fmt::Arguments<'_>) {
    let words = words.to_string();
    let _unread = stderr().write_all(output::clean_lines(&words).as_bytes());
}

/// Writes to standard output, whatever names are in it. Who reads no further, as `head` does, has what it
/// wanted.
///
/// # Errors
/// Where it cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut to = stdout().lock();
    let written = to.write_all(output::clean_lines(text).as_bytes());
    match written.and_then(|()| to.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("failed to write to standard output")
        }
        _ => Ok(()),
    }
}

/// Tells that a file was written.
pub fn tell_written(path: &Path, bytes: usize) {
    if path != Path::new("-") {
        let path = shown(path);
        tell(format_args!("timesink: wrote `{path}`, {bytes} bytes\n"));
    }
}

/// A path as one word of a message, whatever bytes it has.
#[must_use]
pub fn shown(path: &Path) -> String {
    output::clean(&path.to_string_lossy()).into_owned()
}

/// Writes words in the place of those that the last line of a terminal has.
fn write_over(words: &str) {
    let _unread = write!(stderr(), "\r\x1b[K{}", output::clean(words));
}

/// Says what is being done: on a terminal in one line that is written over, else only with `-v`.
#[derive(Debug)]
pub struct Report {
    verbose: bool,
    is_terminal: bool,
    began: Instant,
    what: String,
}

impl Report {
    /// Says nothing yet.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        Self {
            verbose,
            is_terminal: stderr().is_terminal(),
            began: Instant::now(),
            what: String::new(),
        }
    }

    /// Sampling is on.
    pub fn recording(&mut self, what: &str) {
        self.began = Instant::now();
        self.what = what.to_owned();
        self.say(&format!("recording {what}"));
        if self.is_live() {
            self.progress("Ctrl-C stops");
        }
    }

    /// Unwind tables are being built.
    pub fn preparing(&self) {
        self.say("building unwind tables");
        if self.is_live() {
            write_over("timesink: building unwind tables");
        }
    }

    /// What files gave, with `-v`.
    pub fn table(&self, file: &Found) {
        let path = shown(&file.path);
        let took = file.took.as_secs_f64() * 1e3;
        match &file.built {
            Built::Rows(rows) => {
                let count = rows.rows.len();
                self.say(&format!(
                    "unwind table of `{path}`: {count} rows in {took:.1} ms"
                ));
            }
            Built::ByFramePointer(why) => {
                self.say(&format!("`{path}` is walked by frame pointer: {why}"));
            }
            Built::TooLarge(bytes) => {
                let kib = bytes.div_ceil(1024);
                self.say(&format!(
                    "no unwind table of `{path}`: to build it takes up to {kib} KiB, more than \
                     `--unwind-memory` leaves"
                ));
            }
        }
    }

    /// A part of the work begins; `-v` tells when.
    pub fn say(&self, what: &str) {
        if self.verbose {
            let elapsed = self.began.elapsed();
            let seconds = elapsed.as_secs_f64();
            tell(format_args!("timesink: {what} [{seconds:.3} s]\n"));
        }
    }

    /// Whether there is a line to write over.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_terminal && !self.verbose
    }

    /// How far it is.
    pub fn progress(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs();
        let line = format!("timesink: {}, {seconds} s, {what}", self.what);
        write_over(cut(&line, columns()));
    }

    /// Ends the line that was written over.
    pub fn finish(&self) {
        if self.is_live() {
            write_over("");
        }
    }
}

/// How many characters a line of the terminal holds; one that does not tell is taken for wide.
fn columns() -> usize {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call fills the struct that it is given.
    let answer = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    match size.ws_col {
        0 => usize::MAX,
        columns if answer == 0 => usize::from(columns),
        _ => usize::MAX,
    }
}

/// What fits before the last column: a line that goes over the edge could not be written over.
fn cut(line: &str, columns: usize) -> &str {
    let end = line.char_indices().nth(columns.saturating_sub(1));
    end.map_or(line, |(end, _)| &line[..end])
}

/// What a signal asks for. A recording ends at either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The end.
    Stop,
    /// To read the settings again, of what has any: SIGHUP.
    Reload,
}

/// The signals that ask for an end.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes them over: from here on they no longer end the process.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("failed to wait for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line is cut before the edge of the terminal, between characters, and not where there is
    /// no edge.
    #[test]
    fn a_line_stays_on_its_row() {
        assert_eq!(cut("12345", 6), "12345");
        assert_eq!(cut("12345", 5), "1234");
        assert_eq!(cut("ä…ö", 3), "ä…");
        assert_eq!(cut("12345", usize::MAX), "12345");
        assert_eq!(cut("12345", 0), "");
    }
}
