//! Roll-ups of what is complete, and the removal of what is old or too much.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, TransactionBehavior};

use super::append::{AppendError, Place, insert_block};
use super::block::{Block, Point, Who};
use super::damage::{Damage, Part};
use super::file::{self, Opening, Reading};
use super::folder::Name;
use super::plan::{Keys, LEVELS, Plan, ROLLUP_NS};
use super::scan::DayFile;
use super::{Sqlite, Writer, locked};
use crate::store::{Range, Retention, StoreError};

/// How long after its end a roll-up is made, so that late windows are in it.
const LATE_NS: i64 = 60_000_000_000;
/// Different samples of a roll-up at most: 100 MB of them. Where there are more, windows stay as they are.
const MAX_SAMPLES: usize = 1 << 20;
/// Of a file that alone is too large an eighth is removed at a time, until a further eighth is free.
const PART: u64 = 8;

/// A roll-up that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    name: Name,
    level: u8,
    from_ns: i64,
}

impl Due {
    fn range(&self) -> Range {
        let len_ns = ROLLUP_NS[usize::from(self.level)];
        Range {
            from_ns: self.from_ns,
            to_ns: self.from_ns.saturating_add(len_ns),
        }
    }
}

impl Sqlite {
    /// Makes all roll-ups that are due. Windows can be appended between any two.
    pub(super) fn roll_up(&self, now_ns: i64) -> Result<(), StoreError> {
        let names = self.as_writer(|_| self.folder.names())?;
        for name in names {
            let damage = Damage::default();
            match self.roll_up_day(name, now_ns, &damage) {
                Err(error) if error.is_damage() => damage.note(name, Part::File),
                Err(error) => return Err(error.when("roll up", &self.folder.file(name))),
                Ok(()) => {}
            }
            damage.add_to(&mut locked(&self.damaged));
        }
        Ok(())
    }

    fn roll_up_day(&self, name: Name, now_ns: i64, damage: &Damage) -> Result<(), Opening> {
        if self.as_writer(|writer| Ok(writer.settled.contains(&name)))? {
            return Ok(());
        }
        let db = file::open_to_write(&self.folder, name)?;
        let reading = Reading::of_writer(db);
        for level in 1..LEVELS {
            let file = DayFile {
                name,
                reading: &reading,
                damage,
            };
            let due = due(&file.keys(i64::MAX)?, name, level, now_ns);
            for due in due {
                self.as_writer(|writer| Ok(roll_up(&reading, due, damage, &mut writer.left)))??;
            }
        }
        let is_over = name.range().to_ns.saturating_add(LATE_NS) <= now_ns;
        self.as_writer(|writer| {
            if is_over {
                writer.settled.insert(name);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Removes what is beyond the retention.
    pub(super) fn retain(&self, now_ns: i64, retention: Retention) -> Result<(), StoreError> {
        let oldest_ns = now_ns.saturating_sub(retention.age_ns.max(0));
        self.as_writer(|writer| {
            for name in self.folder.names()? {
                let has = name.range();
                if has.to_ns <= oldest_ns {
                    writer.remove(self, name)?;
                } else if has.from_ns < oldest_ns {
                    // To the hour, so that no roll-up loses a part of its windows.
                    let hour_ns = ROLLUP_NS[LEVELS - 1];
                    let before_ns = oldest_ns - oldest_ns.rem_euclid(hour_ns);
                    self.in_file(name, |db| remove_before(db, before_ns))?;
                }
            }
            self.make_room(writer, retention.bytes)
        })
    }

    /// Removes the oldest files, and of the last its oldest windows.
    fn make_room(&self, writer: &mut Writer, bytes: u64) -> Result<(), StoreError> {
        for name in self.folder.names()? {
            if self.folder.bytes()? <= bytes {
                return Ok(());
            }
            let is_last = self.folder.names()?.len() == 1;
            let is_smaller = match is_last {
                true => self.in_file(name, |db| shrink(db, bytes / PART * (PART - 1)))?,
                false => None,
            };
            if !is_smaller.unwrap_or(false) {
                writer.remove(self, name)?;
            }
        }
        Ok(())
    }

    /// Changes a file; `None` where it is damaged.
    fn in_file<T>(
        &self,
        name: Name,
        change: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let opened = file::open_to_write(&self.folder, name);
        match opened.and_then(|mut db| Ok(change(&mut db)?)) {
            Ok(changed) => Ok(Some(changed)),
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error.when("remove windows from", &self.folder.file(name))),
        }
    }
}

impl Writer {
    /// Closes a file and removes it.
    fn remove(&mut self, store: &Sqlite, name: Name) -> Result<(), StoreError> {
        self.open.retain(|written| written.name != name);
        self.settled.remove(&name);
        self.left.retain(|due| due.name != name);
        store.folder.remove(name)
    }
}

/// The roll-ups of a level that are complete and not there yet, within the file's own day.
fn due(keys: &Keys, name: Name, level: usize, now_ns: i64) -> Vec<Due> {
    let (len_ns, day) = (ROLLUP_NS[level], name.range());
    let there: BTreeSet<i64> = keys.of_level(level).iter().map(|key| key.from_ns).collect();
    let mut windows: HashMap<i64, u32> = HashMap::new();
    for key in keys.of_level(0) {
        let mut from_ns = key.from_ns - key.from_ns.rem_euclid(len_ns);
        while from_ns < key.to_ns.min(day.to_ns) {
            *windows.entry(from_ns).or_default() += 1;
            from_ns += len_ns;
        }
    }
    let is_due = |&(&from_ns, &windows): &(&i64, &u32)| {
        let is_complete = from_ns.saturating_add(len_ns + LATE_NS) <= now_ns;
        windows > 1 && is_complete && !there.contains(&from_ns)
    };
    let due = windows.iter().filter(is_due);
    let mut due: Vec<Due> = due
        .map(|(&from_ns, _)| Due {
            name,
            level: u8::try_from(level).unwrap_or(u8::MAX),
            from_ns,
        })
        .collect();
    due.sort_unstable();
    due
}

/// Makes one roll-up. Where a part is damaged or there is too much, windows go on to answer, so that each
/// answer tells of the damage.
fn roll_up(
    reading: &Reading,
    due: Due,
    damage: &Damage,
    left: &mut BTreeSet<Due>,
) -> Result<(), Opening> {
    if left.contains(&due) {
        return Ok(());
    }
    let before = damage.count();
    let file = DayFile {
        name: due.name,
        reading,
        damage,
    };
    let block = added_up(&file, due)?;
    let Some(block) = block.filter(|_| damage.count() == before) else {
        left.insert(due);
        return Ok(());
    };
    let Range { from_ns, to_ns } = due.range();
    let place = Place {
        level: due.level,
        from_ns,
        to_ns,
        slice_ns: 0,
    };
    insert_block(&reading.db, place, &block).map_err(|error| match error {
        AppendError::Sqlite(error) => Opening::Sqlite(error),
        AppendError::Encode(error) => {
            Opening::Store(StoreError::engine("roll windows up".to_owned(), error))
        }
    })
}

/// All samples of a roll-up without their slices; `None` where there are too many.
fn added_up(file: &DayFile<'_>, due: Due) -> rusqlite::Result<Option<Block>> {
    let range = due.range();
    let keys = file.keys(range.to_ns)?;
    let plan = Plan::new(&keys, range, usize::from(due.level) - 1, |_| true);
    let mut sums = Sums::default();
    for (key, is_whole) in super::read::blocks(&plan) {
        let Some(block) = file.block(&key)? else {
            continue;
        };
        sums.add(&block, |point| {
            is_whole || plan.is_of_windows(key.begin_ns(point.slice))
        });
        if sums.samples.len() > MAX_SAMPLES {
            return Ok(None);
        }
    }
    Ok(Some(sums.block()))
}

/// Samples by who and stack.
#[derive(Debug, Default)]
struct Sums {
    types: Vec<u32>,
    samples: HashMap<(Who, u32), Vec<u64>>,
}

impl Sums {
    fn add(&mut self, block: &Block, is_in: impl Fn(&Point) -> bool) {
        for of in &block.types {
            if !self.types.contains(of) {
                self.types.push(*of);
            }
        }
        let columns = block.types.iter();
        let columns = columns.map(|of| self.types.iter().position(|it| it == of));
        let columns: Vec<usize> = columns.flatten().collect();
        let width = block.types.len();
        for (index, point) in block.points.iter().enumerate() {
            if !is_in(point) {
                continue;
            }
            let key = (block.whos[point.who as usize], point.stack);
            let sums = self.samples.entry(key).or_default();
            sums.resize(self.types.len(), 0);
            for (from, &to) in columns.iter().enumerate() {
                sums[to] = sums[to].saturating_add(block.values[index * width + from]);
            }
        }
    }

    fn block(self) -> Block {
        let width = self.types.len();
        let mut samples: Vec<_> = self.samples.into_iter().collect();
        samples.sort_unstable_by_key(|&(key, _)| key);
        let mut block = Block {
            types: self.types,
            ..Block::default()
        };
        for ((who, stack), mut values) in samples {
            if block.whos.last() != Some(&who) {
                block.whos.push(who);
            }
            let who = u32::try_from(block.whos.len() - 1).unwrap_or(u32::MAX);
            block.points.push(Point {
                who,
                stack,
                slice: None,
            });
            values.resize(width, 0);
            block.values.extend(values);
        }
        block
    }
}

/// Removes all windows that end by a moment, and the roll-ups that have any of them.
fn remove_before(db: &mut Connection, before_ns: i64) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let windows = "DELETE FROM windows WHERE from_ns < ?1 AND to_ns <= ?1";
    transaction.execute(windows, [before_ns])?;
    let blocks = "DELETE FROM blocks WHERE level = 0 AND from_ns < ?1 AND to_ns <= ?1";
    transaction.execute(blocks, [before_ns])?;
    for level in 1..LEVELS {
        let rolled = "DELETE FROM blocks WHERE level = ?1 AND from_ns < ?2";
        transaction.execute(rolled, (level as i64, before_ns))?;
    }
    transaction.commit()
}

/// Removes windows from the oldest on until no more than `bytes` are in use, and gives the rest back; false
/// where a last window is still too much.
fn shrink(db: &mut Connection, bytes: u64) -> rusqlite::Result<bool> {
    while used_bytes(db)? > bytes {
        if !remove_oldest(db)? {
            return Ok(false);
        }
    }
    // While somebody reads the log cannot be cut, which is then done by a later commit.
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(true)
}

fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let number = |name| db.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    Ok(u64::from(number("page_count")?) * u64::from(number("page_size")?))
}

/// False where there is no more than a window.
fn remove_oldest(db: &mut Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT min(from_ns), max(from_ns), min(to_ns) FROM windows";
    let times: (Option<i64>, Option<i64>, Option<i64>) =
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let (Some(oldest), Some(newest), Some(first_end)) = times else {
        return Ok(false);
    };
    if oldest == newest {
        return Ok(false);
    }
    let part_ns = (newest - oldest) / PART.cast_signed();
    remove_before(db, first_end.max(oldest.saturating_add(part_ns)))?;
    db.execute_batch("PRAGMA incremental_vacuum")?;
    Ok(true)
}
