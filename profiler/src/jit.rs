//! The maps that JITs write of their code: which belongs to which process, held open while the process
//! may go, and followed while they grow.
//!
//! What they say is read when the recording has stopped (`names`). A process that becomes another
//! program, or whose number another process gets, begins a new life here, and no life has the maps of
//! another.

mod look;
mod names;
mod open;
mod process;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel},
    thread,
    time::{Duration, SystemTime},
};

pub use look::Kind;
use look::{Before, Looked, look};
pub use names::{Addresses, JitPlaces, Unlisted};
pub use open::Refusal;
pub use process::Growth;
use process::{Held, Life, Process};

/// How many maps are held open at a time.
const MAX_HELD: usize = 512;
/// How many processes with code of a JIT are known.
const MAX_PROCESSES: usize = 4096;
/// How many looks go on at a time.
const MAX_LOOKS: usize = 8;
/// How long a look may take before that is said; the end of the recording waits no longer for it.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_NS: u64 = 1_000_000_000;
/// How many findings are told.
const MAX_FINDINGS: usize = 32;

/// A look that goes on.
#[derive(Debug)]
struct Looking {
    pid: u32,
    began_ns: u64,
    answer: Receiver<Looked>,
}

/// The maps of all processes.
#[derive(Debug)]
pub struct JitMaps {
    since: SystemTime,
    processes: HashMap<u32, Process>,
    looking: Vec<Looking>,
    held: usize,
    told: HashSet<(u32, Kind, Refusal)>,
    findings: Vec<String>,
    /// Processes beyond the bound on them.
    pub dropped: u64,
}

impl JitMaps {
    /// None yet; the recording begins at this time.
    #[must_use]
    pub fn since(since: SystemTime) -> Self {
        Self {
            since,
            processes: HashMap::new(),
            looking: Vec::new(),
            held: 0,
            told: HashSet::new(),
            findings: Vec::new(),
            dropped: 0,
        }
    }

    /// What a user must know of maps that were not used, a line each.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Takes in that a process runs code in memory without a file.
    pub fn see(&mut self, pid: u32, now_ns: u64) {
        if let Some(process) = self.process(pid) {
            let is_known = process.lives.last().is_some_and(|life| life.is_looked_at);
            let was_seen = std::mem::replace(&mut process.is_seen, true);
            if !was_seen && !is_known {
                self.look(pid, now_ns);
            }
        }
    }

    /// Takes in where a process mapped a file as code.
    pub fn mapped(&mut self, pid: u32, path: &Path) {
        let name = path.file_name().and_then(|name| name.to_str());
        let is_dump = name.is_some_and(|name| name.starts_with("jit-") && name.ends_with(".dump"));
        if is_dump && let Some(process) = self.process(pid) {
            process.dump = Some(path.to_owned());
        }
    }

    /// Takes in that a process became another program.
    pub fn executed(&mut self, pid: u32, at_ns: u64) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        process.begin(at_ns);
        process.dump = None;
    }

    /// What is known of some processes up to now.
    #[must_use]
    pub fn part(&mut self, pids: &HashSet<u32>) -> Self {
        let known = pids.iter().filter_map(|pid| {
            let process = self.processes.get(pid)?;
            Some((*pid, process.part()))
        });
        let processes: HashMap<_, _> = known.collect();
        Self {
            processes,
            findings: std::mem::take(&mut self.findings),
            dropped: std::mem::take(&mut self.dropped),
            ..Self::since(self.since)
        }
    }

    fn process(&mut self, pid: u32) -> Option<&mut Process> {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid) {
            self.dropped += 1;
            return None;
        }
        let process = self.processes.entry(pid).or_default();
        if process.lives.is_empty() {
            process.lives.push(Life::default());
        }
        Some(process)
    }

    fn look(&mut self, pid: u32, now_ns: u64) {
        let is_on_its_way = self.looking.iter().any(|looking| looking.pid == pid);
        if is_on_its_way || self.looking.len() >= MAX_LOOKS {
            return;
        }
        let process = self.processes.get(&pid);
        let life = process.and_then(|process| process.lives.last());
        let before = Before {
            pid,
            dump: process.and_then(|process| process.dump.clone()),
            users: life.map_or_else(Vec::new, |life| life.users.clone()),
            since: self.since,
        };
        let (sender, answer) = channel();
        let spawned = thread::Builder::new().spawn(move || {
            // Nobody may wait for it any more.
            let _unread = sender.send(look(&before));
        });
        if spawned.is_ok() {
            self.looking.push(Looking {
                pid,
                began_ns: now_ns,
                answer,
            });
        }
    }

    /// Takes the answers that have come.
    pub fn collect(&mut self, now_ns: u64) {
        for looking in std::mem::take(&mut self.looking) {
            match looking.answer.try_recv() {
                Ok(looked) => self.take(looking.pid, looked, now_ns),
                Err(TryRecvError::Empty) => {
                    if now_ns.saturating_sub(looking.began_ns) > PATIENCE_NS {
                        self.refuse(looking.pid, Kind::PerfMap, Refusal::NoAnswer);
                    }
                    self.looking.push(looking);
                }
                Err(TryRecvError::Disconnected) => {}
            }
        }
    }

    /// Notes how long each map is, and looks at processes whose code has none yet.
    pub fn tick(&mut self, now_ns: u64) {
        self.collect(now_ns);
        let mut wanted = Vec::new();
        for (&pid, process) in &mut self.processes {
            process.grow(now_ns);
            if std::mem::take(&mut process.is_seen) && process.lacks_maps(pid, now_ns) {
                wanted.push(pid);
            }
        }
        for pid in wanted {
            self.look(pid, now_ns);
        }
    }

    /// The last look, when the recording has stopped.
    pub fn finish(&mut self, now_ns: u64) {
        for process in self.processes.values_mut() {
            process.is_seen |= process
                .lives
                .last()
                .is_some_and(|life| life.maps.is_empty());
        }
        self.tick(now_ns);
        for looking in std::mem::take(&mut self.looking) {
            match looking.answer.recv_timeout(PATIENCE) {
                Ok(looked) => self.take(looking.pid, looked, now_ns),
                Err(RecvTimeoutError::Timeout) => {
                    self.refuse(looking.pid, Kind::PerfMap, Refusal::NoAnswer);
                }
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
        // Those that found no room among looks without an answer.
        let is_open = |process: &Process| {
            let life = process.lives.last();
            life.is_some_and(|life| !life.is_looked_at && life.refused.is_none())
        };
        let processes = self.processes.iter();
        let open = processes.filter(|(_, process)| is_open(process));
        let open: Vec<u32> = open.map(|(&pid, _)| pid).collect();
        for pid in open {
            self.refuse(pid, Kind::PerfMap, Refusal::NoAnswer);
        }
    }

    fn take(&mut self, pid: u32, looked: Looked, now_ns: u64) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        let Some(life) = process.lives.last_mut() else {
            return;
        };
        if life.from_ns > looked.began_ns {
            // It became another program meanwhile, and nobody knows which of the two was seen.
            return;
        }
        let mut refused = looked.refused;
        if life.users.is_empty() {
            life.users = looked.users;
        } else if looked.users.is_empty() {
            // It is gone by now, and what was refused while it lived was refused for a better reason.
            refused.clear();
        }
        life.is_looked_at = true;
        life.looked_ns = looked.began_ns;
        life.started = life.started.or(looked.started);
        for map in looked.maps {
            if self.held >= MAX_HELD {
                refused.push((map.kind, Refusal::TooMany));
            } else if process.hold(map, now_ns) {
                self.held += 1;
            }
        }
        for (kind, refusal) in refused {
            self.refuse(pid, kind, refusal);
        }
    }

    fn refuse(&mut self, pid: u32, kind: Kind, refusal: Refusal) {
        if let Some(process) = self.processes.get_mut(&pid)
            && let Some(life) = process.lives.last_mut()
        {
            life.refused = Some(refusal);
        }
        if self.told.len() > MAX_FINDINGS || !self.told.insert((pid, kind, refusal)) {
            return;
        }
        self.findings.push(match self.told.len() {
            told if told > MAX_FINDINGS => {
                "more maps of JITs are not used; the ledger counts their frames".to_owned()
            }
            _ => {
                let kind = kind.name();
                format!("the {kind} of process {pid} is not used: {refusal}")
            }
        });
    }
}
