//! `timesink agent`, as a user starts it: its store, its page, its metrics.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{Run, Running, release_binary, tool};

/// An agent with a store of its own; its windows are two seconds long.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub running: Running,
    /// Its store.
    pub folder: TempDir,
    /// Where its page is.
    pub address: String,
}

impl Agent {
    /// How long a window is.
    pub const WINDOW_NS: i64 = 2_000_000_000;

    /// Starts it, and waits until it records.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    /// As [`start`](Self::start), with a store that may have something already.
    #[must_use]
    pub fn start_in(folder: TempDir, options: &[&str]) -> Self {
        Self::start_by(Command::new(release_binary()), folder, options)
    }

    /// As [`start`](Self::start), where the machine has another name.
    #[must_use]
    pub fn start_as(host: &str, options: &[&str]) -> Self {
        let mut command = Command::new(tool("unshare"));
        let rename = r#"hostname "$0" && exec "$@""#;
        command.args(["--uts", "sh", "-c", rename, host]);
        command.arg(release_binary());
        Self::start_by(command, tempfile::tempdir().unwrap(), options)
    }

    fn start_by(mut command: Command, folder: TempDir, options: &[&str]) -> Self {
        command.args(["agent", "-v", "--window", "2s", "--listen", "127.0.0.1:0"]);
        command.arg("--store").arg(folder.path());
        command.arg("--spool").arg(folder.path().join("spool"));
        command.args(options);
        let mut running = Running::spawn(command);
        let address = page_of(&mut running);
        running.wait_for("recording");
        Self {
            running,
            folder,
            address,
        }
    }

    /// Waits until it has read its settings again and serves its page, perhaps elsewhere.
    pub fn wait_for_page(&mut self) {
        self.address = page_of(&mut self.running);
    }

    /// Ends it as systemd does.
    #[must_use]
    pub fn end(self) -> (Run, TempDir) {
        self.running.signal(libc::SIGTERM);
        (self.running.finish(), self.folder)
    }

    /// The body of an answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|part| part == b"\r\n\r\n");
        answer.split_off(head.unwrap() + 4)
    }

    /// The sum of all metrics whose lines begin so.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let body = String::from_utf8(self.get("/metrics")).unwrap();
        let lines = body.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum()
    }

    /// What its descriptors lead to.
    #[must_use]
    pub fn open_files(&self) -> Vec<PathBuf> {
        let folder = format!("/proc/{}/fd", self.running.id());
        let entries = fs::read_dir(folder).unwrap();
        // One may be closed meanwhile.
        let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        links.collect()
    }

    /// Waits until so many windows are in the store.
    pub fn wait_for_windows(&self, count: f64) {
        while self.metric("timesink_windows_total") < count {
            thread::sleep(Duration::from_millis(200));
        }
    }
}

fn page_of(running: &mut Running) -> String {
    let said = running.wait_for("the page is at http://");
    let address = said.rsplit_once("http://").unwrap().1;
    address.trim_end_matches('/').to_owned()
}
