//! What is said while a recording goes on, and the signals that stop it.
#![allow(
    clippy::print_stderr,
    reason = "this is where the program talks to its user"
)]

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::tables::{Built, Found};

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
            eprint!("\r\x1b[Ktimesink: building unwind tables");
        }
    }

    /// What files gave, with `-v`.
    pub fn tables(&self, found: &[Found]) {
        for file in found {
            let path = output::clean(&file.path.to_string_lossy()).into_owned();
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
            }
        }
    }

    /// A part of the work begins; `-v` tells when.
    pub fn say(&self, what: &str) {
        if self.verbose {
            let elapsed = self.began.elapsed();
            eprintln!("timesink: {what} [{:.3} s]", elapsed.as_secs_f64());
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
        eprint!("\r\x1b[Ktimesink: {}, {seconds} s, {what}", self.what);
    }

    /// Ends the line that was written over.
    pub fn finish(&self) {
        if self.is_live() {
            eprint!("\r\x1b[K");
        }
    }

    /// How long ago sampling began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
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
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
