//! What the code of JITs was called, by process, address and time.
//!
//! That is the question for every frame in memory without a file. What reads the structures of an
//! interpreter would answer the same one, and stand beside this in [`crate::names::Names`].

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use symbolizer::{JitName, Miss, Symbol};

use super::{Growth, Held, JitMaps, Kind, Life, Refusal};
use crate::worker::Workers;

/// The addresses of each process that lie in memory without a file.
pub type Addresses = HashMap<u32, BTreeSet<u64>>;

/// Why code without a file has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unlisted {
    /// The process has no map.
    NoMap,
    /// It has one that is not used.
    Refused,
    /// The process was gone before its map was found.
    Gone,
    /// The process became another program, and when this code ran is not known.
    OtherProgram,
    /// The map does not say, for a reason that is a place in [`Miss::ALL`].
    Miss(usize),
}

/// What was found, by process; a `Place` is what the caller has made of a symbol.
#[derive(Debug)]
pub struct JitPlaces<Place> {
    processes: HashMap<u32, Vec<LifeNames<Place>>>,
}

#[derive(Debug)]
struct LifeNames<Place> {
    from_ns: u64,
    /// Those with times before those without.
    maps: Vec<MapNames<Place>>,
    without: Unlisted,
}

#[derive(Debug)]
struct MapNames<Place> {
    kind: Kind,
    /// From which time on an address is called so, in ascending order.
    names: HashMap<u64, Vec<(u64, Place)>>,
    cut: Option<Miss>,
}

impl<Place> Default for JitPlaces<Place> {
    fn default() -> Self {
        Self {
            processes: HashMap::new(),
        }
    }
}

impl<Place> JitPlaces<Place> {
    /// Reads the maps of all processes that have addresses. `place` is given the path of the map.
    pub fn look_up(
        maps: &JitMaps,
        addresses: &Addresses,
        workers: &Workers,
        mut place: impl FnMut(&Path, u64, &Symbol) -> Place,
    ) -> Self {
        let mut processes = HashMap::new();
        for (pid, addresses) in addresses {
            let Some(process) = maps.processes.get(pid) else {
                continue;
            };
            let addresses: Vec<u64> = addresses.iter().copied().collect();
            let lives = process.lives.iter();
            let lives = lives.map(|life| LifeNames::read(life, &addresses, workers, &mut place));
            processes.insert(*pid, lives.collect());
        }
        Self { processes }
    }

    /// What an address of a process was called at a time, or last where the time is not known.
    ///
    /// # Errors
    /// The reason why that is not known.
    pub fn get(&self, pid: u32, address: u64, time_ns: Option<u64>) -> Result<&Place, Unlisted> {
        let lives = self.processes.get(&pid).ok_or(Unlisted::NoMap)?;
        let life = life_at(lives, time_ns)?;
        let mut without = life.without;
        for map in &life.maps {
            match map.get(address, time_ns) {
                Ok(place) => return Ok(place),
                Err(miss) => without = unlisted(miss),
            }
        }
        Err(without)
    }
}

/// The life in which a time lies. Without a time it is the only one that has maps.
fn life_at<Place>(
    lives: &[LifeNames<Place>],
    time_ns: Option<u64>,
) -> Result<&LifeNames<Place>, Unlisted> {
    let found = match time_ns {
        Some(time) => lives[..lives.partition_point(|life| life.from_ns <= time)].last(),
        None => {
            let mut with_maps = lives.iter().filter(|life| !life.maps.is_empty());
            let first = with_maps.next();
            if with_maps.next().is_some() {
                return Err(Unlisted::OtherProgram);
            }
            first.or(lives.last())
        }
    };
    found.ok_or(Unlisted::NoMap)
}

impl<Place> LifeNames<Place> {
    fn read(
        life: &Life,
        addresses: &[u64],
        workers: &Workers,
        place: &mut impl FnMut(&Path, u64, &Symbol) -> Place,
    ) -> Self {
        let maps = life.maps.iter();
        let mut maps: Vec<_> = maps
            .map(|held| MapNames::read(held, addresses, workers, place))
            .collect();
        maps.sort_by_key(|map| map.kind == Kind::PerfMap);
        Self {
            from_ns: life.from_ns,
            maps,
            without: match life.refused {
                Some(Refusal::Ownerless) => Unlisted::Gone,
                Some(_) => Unlisted::Refused,
                None if life.is_looked_at && life.users.is_empty() => Unlisted::Gone,
                None => Unlisted::NoMap,
            },
        }
    }
}

impl<Place> MapNames<Place> {
    fn read(
        held: &Held,
        addresses: &[u64],
        workers: &Workers,
        place: &mut impl FnMut(&Path, u64, &Symbol) -> Place,
    ) -> Self {
        let found = workers.jit_names(held.kind, &held.file, addresses);
        let mut names = HashMap::new();
        for (&address, known) in addresses.iter().zip(&found.names) {
            let known = known.iter().filter(|name| held.has(name));
            let known = known.map(|name| {
                let symbol = place(&held.path, address, &name.symbol);
                (held.since_ns(name), symbol)
            });
            let known: Vec<_> = known.collect();
            if !known.is_empty() {
                names.insert(address, known);
            }
        }
        Self {
            kind: held.kind,
            names,
            cut: found.cut,
        }
    }

    fn get(&self, address: u64, time_ns: Option<u64>) -> Result<&Place, Miss> {
        let missing = self.cut.unwrap_or(Miss::NotInJitMap);
        let known = self.names.get(&address).ok_or(missing)?;
        let before = match time_ns {
            Some(time) => known.partition_point(|(since, _)| *since <= time),
            None => known.len(),
        };
        // A line of a perf map may be written long after its code ran.
        let first = known.first().filter(|_| self.kind == Kind::PerfMap);
        let found = known[..before].last().or(first);
        found.map(|(_, place)| place).ok_or(missing)
    }
}

impl Held {
    /// Whether a line belongs to the life that holds the map.
    fn has(&self, name: &JitName) -> bool {
        self.kind == Kind::Jitdump
            || self.first_byte < name.since && self.last_byte.is_none_or(|last| name.since <= last)
    }

    fn since_ns(&self, name: &JitName) -> u64 {
        match self.kind {
            Kind::Jitdump => name.since,
            Kind::PerfMap => written_ns(&self.growth, name.since),
        }
    }
}

/// From which time on a line counts that ends so many bytes into a perf map. It was written between
/// two looks at the file's length, and is taken for the truth about all of that time:
///
/// ```text
/// looks    t0          t1          t2
/// bytes    100         100         180
/// line         ends at 90: since 0      ends at 150: since t1 + 1
/// ```
fn written_ns(growth: &[Growth], end: u64) -> u64 {
    let first = growth.partition_point(|then| then.bytes < end);
    match growth[..first].last() {
        Some(before) => before.time_ns + 1,
        None => 0,
    }
}

fn unlisted(miss: Miss) -> Unlisted {
    let place = Miss::ALL.iter().position(|&other| other == miss);
    Unlisted::Miss(place.unwrap_or(0))
}

#[cfg(test)]
mod tests;
