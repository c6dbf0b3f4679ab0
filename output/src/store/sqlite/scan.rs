//! Blocks and windows of one file, past what is damaged.
//!
//! Where an index cannot be read, the table is read by the numbers of its rows, in halves, until the
//! damaged rows stand alone.

use rusqlite::{OptionalExtension, Row, params};

use super::append::Place;
use super::block::{Block, Totals};
use super::damage::{Damage, Part};
use super::file::{Reading, is_damage};
use super::folder::Name;
use super::plan::{Key, Keys, LEVELS};
use super::rows::{self, Interned};
use crate::store::{Kept, Range};

/// The largest number of a row that is looked for where the index cannot be read. Damage can make any of
/// it.
const MAX_ROW: i64 = 1 << 22;
/// How often the rest of a damaged table is tried to be read.
const MAX_TRIES: usize = 1 << 12;

/// A day's file, open for reading, and where its damage is told.
#[derive(Debug)]
pub(super) struct DayFile<'a> {
    pub(super) name: Name,
    pub(super) reading: &'a Reading,
    pub(super) damage: &'a Damage,
}

/// A window, without its samples.
#[derive(Clone, Debug)]
pub(super) struct WindowRow {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    pub(super) recording: u32,
    /// The ledger and the comments.
    pub(super) notes: Vec<u8>,
}

/// A table and the ways to read it.
struct Table {
    name: &'static str,
    /// By its index, up to a time.
    by_time: &'static str,
    /// From one number to another.
    by_number: &'static str,
}

const BLOCKS: Table = Table {
    name: "blocks",
    by_time: "SELECT id, level, from_ns, to_ns, slice_ns FROM blocks INDEXED BY blocks_by_time
              WHERE level BETWEEN 0 AND 2 AND from_ns < ?1",
    by_number: "SELECT id, level, from_ns, to_ns, slice_ns FROM blocks NOT INDEXED
                WHERE id BETWEEN ?1 AND ?2",
};
const WINDOWS: Table = Table {
    name: "windows",
    by_time: "SELECT id, from_ns, to_ns FROM windows INDEXED BY windows_by_time
              WHERE from_ns < ?1 ORDER BY from_ns",
    by_number: "SELECT id, from_ns, to_ns FROM windows NOT INDEXED WHERE id BETWEEN ?1 AND ?2",
};

impl DayFile<'_> {
    /// All blocks that begin before a moment.
    pub(super) fn keys(&self, before_ns: i64) -> rusqlite::Result<Keys> {
        let keys = self.rows(&BLOCKS, before_ns, |row| {
            Ok(Key {
                id: row.get(0)?,
                level: row.get(1)?,
                from_ns: row.get(2)?,
                to_ns: row.get(3)?,
                slice_ns: row.get(4)?,
            })
        })?;
        Ok(Keys::new(
            keys.into_iter().filter(|key| key.from_ns < before_ns),
        ))
    }

    /// Gives the windows that lie in a range to `take`.
    pub(super) fn windows(
        &self,
        range: Range,
        mut take: impl FnMut(WindowRow) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        for (id, from_ns, to_ns) in self.times(range.to_ns)? {
            let times = Range { from_ns, to_ns };
            if from_ns < range.to_ns && (to_ns > range.from_ns || from_ns >= range.from_ns) {
                match self.window(id, times)? {
                    Some(window) => take(window)?,
                    None => self.damage.note(self.name, Part::Row("windows", id)),
                }
            }
        }
        Ok(())
    }

    /// Tells of damage where blocks and windows do not belong together: an index whose entries have gone
    /// looks whole to SQLite.
    pub(super) fn compare(&self, keys: &Keys, before_ns: i64) -> rusqlite::Result<()> {
        let times = self.times(before_ns)?;
        let mut of_windows: Vec<i64> = times.iter().map(|&(_, from_ns, _)| from_ns).collect();
        of_windows.sort_unstable();
        let of_blocks = keys.of_level(0).iter().map(|key| key.from_ns);
        if !of_blocks.eq(of_windows) {
            self.damage.note(self.name, Part::Index("blocks"));
        }
        Ok(())
    }

    fn window(&self, id: i64, times: Range) -> rusqlite::Result<Option<WindowRow>> {
        let sql = "SELECT recording, notes, crc FROM windows WHERE id = ?";
        let mut select = self.reading.db.prepare_cached(sql)?;
        let found = select.query_row([id], |row| {
            let window = WindowRow {
                from_ns: times.from_ns,
                to_ns: times.to_ns,
                recording: row.get(0)?,
                notes: row.get(1)?,
            };
            Ok((window, row.get::<_, u32>(2)?))
        });
        let found = undamaged(found.optional())?.flatten();
        Ok(found.and_then(|(window, crc)| {
            let WindowRow {
                from_ns,
                to_ns,
                recording,
                notes,
            } = &window;
            (window_checksum(*from_ns, *to_ns, *recording, notes) == crc).then_some(window)
        }))
    }

    /// The samples of a block; `None` where it is damaged, which is told.
    pub(super) fn block(&self, key: &Key) -> rusqlite::Result<Option<Block>> {
        let found = self.checked(key)?;
        let block = found.and_then(|(_, samples)| Block::decode(&samples));
        Ok(self.tell(key, block))
    }

    /// The totals of a block; `None` where it is damaged, which is told.
    pub(super) fn totals(&self, key: &Key) -> rusqlite::Result<Option<Totals>> {
        let found = self.checked(key)?;
        let totals = found.and_then(|(totals, _)| Totals::decode(&totals));
        Ok(self.tell(key, totals))
    }

    fn tell<T>(&self, key: &Key, found: Option<T>) -> Option<T> {
        if found.is_none() {
            self.damage.note(self.name, Part::Row("blocks", key.id));
        }
        found
    }

    fn checked(&self, key: &Key) -> rusqlite::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let sql = "SELECT totals, samples, crc FROM blocks WHERE id = ?";
        let mut select = self.reading.db.prepare_cached(sql)?;
        let found = select.query_row(params![key.id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, u32>(2)?))
        });
        let found: Option<(Vec<u8>, Vec<u8>, u32)> = undamaged(found.optional())?.flatten();
        let place = Place {
            level: key.level,
            from_ns: key.from_ns,
            to_ns: key.to_ns,
            slice_ns: key.slice_ns,
        };
        Ok(found.and_then(|(totals, samples, crc)| {
            (block_checksum(place, &totals, &samples) == crc).then_some((totals, samples))
        }))
    }

    /// The row of a number; `None` where it is damaged, which is told.
    pub(super) fn interned<T: Interned>(&self, id: u32) -> rusqlite::Result<Option<T>> {
        let found = undamaged(rows::find::<T>(&self.reading.db, id))?.flatten();
        if found.is_none() {
            self.damage.note(self.name, Part::Row(T::TABLE, id.into()));
        }
        Ok(found)
    }

    /// What there is, as far as it can be read; its bytes and damage are not of this file alone.
    pub(super) fn kept(&self) -> rusqlite::Result<Kept> {
        let keys = self.keys(i64::MAX)?;
        let windows = (0..LEVELS).map(|level| keys.of_level(level).len() as u64);
        let mut kept = Kept {
            windows: windows.sum(),
            ..Kept::default()
        };
        for (_, from_ns, to_ns) in self.times(i64::MAX)? {
            kept.oldest_ns = Some(kept.oldest_ns.map_or(from_ns, |oldest| oldest.min(from_ns)));
            kept.newest_ns = kept.newest_ns.max(Some(to_ns));
        }
        Ok(kept)
    }

    /// The number, beginning and end of each window.
    fn times(&self, before_ns: i64) -> rusqlite::Result<Vec<(i64, i64, i64)>> {
        self.rows(&WINDOWS, before_ns, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
    }

    fn rows<T>(
        &self,
        table: &Table,
        before_ns: i64,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let select = |sql, from, to: Option<i64>| {
            let mut select = self.reading.db.prepare_cached(sql)?;
            match to {
                None => select.query_map([from], &read)?.collect(),
                Some(to) => select.query_map([from, to], &read)?.collect(),
            }
        };
        if let Some(rows) = undamaged(select(table.by_time, before_ns, None))? {
            return Ok(rows);
        }
        self.damage.note(self.name, Part::Index(table.name));
        let last = format!("SELECT max(id) FROM {} NOT INDEXED", table.name);
        let last = self.reading.db.query_row(&last, [], |row| row.get(0));
        let last = undamaged(last)?.flatten().unwrap_or(MAX_ROW);
        let mut rows = Vec::new();
        let mut parts = vec![(1, last.min(MAX_ROW))];
        let mut tries = 0;
        while let Some((from, to)) = parts.pop() {
            tries += 1;
            if tries > MAX_TRIES {
                self.damage.note(self.name, Part::File);
                break;
            }
            match undamaged(select(table.by_number, from, Some(to)))? {
                Some(found) => rows.extend::<Vec<T>>(found),
                None if from >= to => self.damage.note(self.name, Part::Row(table.name, from)),
                None => {
                    let middle = from + (to - from) / 2;
                    parts.extend([(middle + 1, to), (from, middle)]);
                }
            }
        }
        Ok(rows)
    }
}

/// `None` in place of an error that means damage.
fn undamaged<T>(result: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// CRC-32 of all that a block has.
pub(super) fn block_checksum(place: Place, totals: &[u8], samples: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[place.level]);
    for number in [place.from_ns, place.to_ns, place.slice_ns] {
        crc.update(&number.to_le_bytes());
    }
    crc.update(totals);
    crc.update(samples);
    crc.finalize()
}

/// CRC-32 of all that a window has.
pub(super) fn window_checksum(from_ns: i64, to_ns: i64, recording: u32, notes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&from_ns.to_le_bytes());
    crc.update(&to_ns.to_le_bytes());
    crc.update(&recording.to_le_bytes());
    crc.update(notes);
    crc.finalize()
}
