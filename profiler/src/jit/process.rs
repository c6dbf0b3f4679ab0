//! What is known of the processes that have code of a JIT.

use std::{fs::File, path::PathBuf};

use super::{
    look::{self, Kind, Map},
    open::Refusal,
};

/// How many sizes of one map are kept: those of three hours in which it grew each second.
const MAX_GROWTH: usize = 10_000;
/// How many programs a process may be one after the other.
const MAX_LIVES: usize = 64;

/// How long a map was up to a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// When it was looked at last and was not longer, on the monotonic clock.
    pub time_ns: u64,
    /// Its length.
    pub bytes: u64,
}

/// A map that is held open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) growth: Vec<Growth>,
    /// What stands before belongs to an earlier life.
    pub(super) first_byte: u64,
    /// What stands behind belongs to a later one.
    pub(super) last_byte: Option<u64>,
}

/// A process from its start, or from the moment at which it became another program, up to the next.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) from_ns: u64,
    pub(super) started: Option<u64>,
    /// Whose it is, once it was looked at.
    pub(super) users: Vec<u32>,
    pub(super) maps: Vec<Held>,
    pub(super) refused: Option<Refusal>,
    pub(super) is_looked_at: bool,
    /// When the last look at it began.
    pub(super) looked_ns: u64,
}

/// A process by its number.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) lives: Vec<Life>,
    /// Where it mapped a jitdump.
    pub(super) dump: Option<PathBuf>,
    /// Whether code of a JIT was seen since the last look.
    pub(super) is_seen: bool,
}

impl Process {
    /// Begins a new life. One that had many has no names from then on.
    pub(super) fn begin(&mut self, at_ns: u64) {
        if self.lives.len() < MAX_LIVES
            && let Some(last) = self.lives.last_mut()
            && last.is_looked_at
            && last.looked_ns > at_ns
        {
            // It was told late, and what was seen is the new life's.
            let from_ns = std::mem::replace(&mut last.from_ns, at_ns);
            let before = Life {
                from_ns,
                ..Life::default()
            };
            self.lives.insert(self.lives.len() - 1, before);
            return;
        }
        for held in self.lives.iter_mut().flat_map(|life| &mut life.maps) {
            held.last_byte = held.last_byte.or_else(|| length(&held.file));
        }
        if self.lives.len() < MAX_LIVES {
            self.lives.push(Life {
                from_ns: at_ns,
                ..Life::default()
            });
        } else if let Some(last) = self.lives.last_mut() {
            last.maps.clear();
            last.refused = Some(Refusal::TooMany);
        }
    }

    /// The same, with descriptors of its own.
    pub(super) fn part(&self) -> Self {
        Self {
            lives: self.lives.iter().map(Life::part).collect(),
            dump: self.dump.clone(),
            is_seen: self.is_seen,
        }
    }

    /// Whether it is worth a look. Another process may have got the number.
    pub(super) fn lacks_maps(&mut self, pid: u32, now_ns: u64) -> bool {
        let life = self.lives.last();
        let before = life.and_then(|life| life.started);
        let now = look::started(pid);
        if before.is_some() && now.is_some() && before != now {
            self.begin(now_ns);
        }
        self.lives.last().is_some_and(|life| life.maps.is_empty())
    }

    /// Holds a map open unless it is held already.
    pub(super) fn hold(&mut self, map: Map, now_ns: u64) -> bool {
        if self.lives.len() == MAX_LIVES {
            return false;
        }
        let same = |held: &&Held| look::identity(&held.file) == look::identity(&map.file);
        let earlier = self.lives.iter().flat_map(|life| &life.maps).rfind(same);
        let first_byte = match earlier.map(|held| held.last_byte) {
            // Held in this very life.
            Some(None) => return false,
            Some(Some(last)) => last,
            None => 0,
        };
        let Some(bytes) = length(&map.file) else {
            return false;
        };
        let held = Held {
            kind: map.kind,
            path: map.path,
            file: map.file,
            growth: vec![Growth {
                time_ns: now_ns,
                bytes,
            }],
            first_byte: if bytes < first_byte { 0 } else { first_byte },
            last_byte: None,
        };
        if let Some(life) = self.lives.last_mut() {
            life.maps.push(held);
        }
        true
    }

    /// Notes how long each map is.
    pub(super) fn grow(&mut self, now_ns: u64) {
        for life in &mut self.lives {
            for held in &mut life.maps {
                held.grow(now_ns);
            }
            // The next program wrote over it.
            let lost = |held: &mut Held| held.last_byte > held.growth.last().map(|last| last.bytes);
            if life.maps.extract_if(.., lost).count() > 0 {
                life.refused = Some(Refusal::Overwritten);
            }
        }
    }
}

impl Life {
    fn part(&self) -> Self {
        Self {
            from_ns: self.from_ns,
            started: self.started,
            users: self.users.clone(),
            maps: self.maps.iter().filter_map(Held::part).collect(),
            refused: self.refused,
            is_looked_at: self.is_looked_at,
            looked_ns: self.looked_ns,
        }
    }
}

impl Held {
    fn part(&self) -> Option<Self> {
        Some(Self {
            kind: self.kind,
            path: self.path.clone(),
            file: self.file.try_clone().ok()?,
            growth: self.growth.clone(),
            first_byte: self.first_byte,
            last_byte: self.last_byte,
        })
    }

    fn grow(&mut self, now_ns: u64) {
        let Some(bytes) = length(&self.file) else {
            return;
        };
        let now = Growth {
            time_ns: now_ns,
            bytes,
        };
        let is_full = self.growth.len() >= MAX_GROWTH;
        match self.growth.last_mut() {
            Some(last) if bytes == last.bytes => *last = now,
            // Written anew, and nothing tells when its lines came to be there.
            Some(last) if bytes < last.bytes => {
                self.growth = vec![now];
                self.first_byte = 0;
            }
            _ if is_full => {}
            _ => self.growth.push(now),
        }
    }
}

fn length(file: &File) -> Option<u64> {
    Some(file.metadata().ok()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was seen after a process became another program is that program's, also where the look comes
    /// to be known before the change.
    #[test]
    fn a_look_belongs_to_the_life_in_which_it_began() {
        let map = || Map {
            kind: Kind::PerfMap,
            path: PathBuf::from("/tmp/perf-1.map"),
            file: tempfile::tempfile().unwrap(),
        };
        for (looked_ns, has_maps) in [(400, [true, false]), (600, [false, true])] {
            let mut process = Process {
                lives: vec![Life::default()],
                ..Process::default()
            };
            assert!(process.hold(map(), 700));
            process.lives[0].is_looked_at = true;
            process.lives[0].looked_ns = looked_ns;
            process.begin(500);
            let lives = process.lives.iter();
            let found: Vec<_> = lives
                .map(|life| (life.from_ns, !life.maps.is_empty()))
                .collect();
            assert_eq!(found, [(0, has_maps[0]), (500, has_maps[1])]);
        }
    }

    /// A process that becomes one program after the other has names for so many of them.
    #[test]
    fn lives_are_bounded() {
        let mut process = Process::default();
        for at_ns in 0..1000 {
            process.begin(at_ns);
        }
        assert_eq!(process.lives.len(), MAX_LIVES);
        assert!(process.lives.iter().all(|life| life.maps.is_empty()));
    }
}
