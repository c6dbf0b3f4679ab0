//! The samples of a window or a roll-up as bytes, and back.
//!
//! Knows numbers only; what they name is in the tables of the day's file. Reading never panics: bytes that
//! make no sense are no block.

use serde::{Deserialize, Serialize};

/// The most bytes that a block has before it is compressed.
const MAX_BYTES: usize = 256 << 20;
/// zstd's default: higher ones win a twentieth and take several times as long.
const LEVEL: i32 = 3;

/// How a thread waited, by the numbers of its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Wait {
    pub(super) state: u32,
    pub(super) cause: u32,
    pub(super) waker: Option<u32>,
    pub(super) interval: Option<u32>,
    pub(super) is_idle: bool,
}

/// All labels of a sample but its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Who {
    /// Host, process and control group.
    pub(super) series: u32,
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// The name of the thread.
    pub(super) thread: u32,
    pub(super) wait: Option<Wait>,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    /// Its place in the block's list.
    pub(super) who: u32,
    pub(super) stack: u32,
    pub(super) slice: Option<u32>,
}

/// The samples of a window or a roll-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// The sample types.
    pub(super) types: Vec<u32>,
    pub(super) whos: Vec<Who>,
    pub(super) points: Vec<Point>,
    /// One value per type for each point.
    pub(super) values: Vec<u64>,
}

/// A block as it is written: column by column, because equal things side by side compress.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Columns {
    types: Vec<u32>,
    /// The labels, in order, each less what it is before: of the series, the process, the name of the
    /// thread; of the thread id less that of the process.
    series: Vec<i32>,
    pids: Vec<i32>,
    tids: Vec<i32>,
    threads: Vec<i32>,
    waits: Vec<Option<Wait>>,
    /// How many stacks each of these has.
    stacks_of: Vec<u32>,
    /// What to add to the stack before it, the first of each to 0.
    stacks: Vec<u32>,
    /// How many points each of `stacks` has.
    points_of: Vec<u32>,
    /// 0 without a slice; else what to add to the slice before it, of which the first is -1.
    slices: Vec<u32>,
    /// For each type, what all its values are multiples of, and how many times.
    values: Vec<(u64, Vec<u64>)>,
}

impl Block {
    /// The bytes: zstd of postcard of the columns. Labels and points are sorted first.
    pub(super) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut whos: Vec<(Who, usize)> = self.whos.iter().copied().zip(0..).collect();
        whos.sort_unstable();
        let mut place_of = vec![0; whos.len()];
        for (place, &(_, index)) in (0..).zip(&whos) {
            place_of[index] = place;
        }
        let placed = |&point: &Point| Point {
            who: place_of[point.who as usize],
            ..point
        };
        let points: Vec<Point> = self.points.iter().map(placed).collect();
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_unstable_by_key(|&index| points[index]);
        let mut columns = Columns {
            types: self.types.clone(),
            stacks_of: vec![0; whos.len()],
            slices: Vec::with_capacity(order.len()),
            values: self.value_columns(&order),
            ..Columns::default()
        };
        columns.push_whos(whos.iter().map(|(who, _)| who));
        let mut before: Option<Point> = None;
        for &index in &order {
            before = Some(columns.push(points[index], before));
        }
        let bytes = postcard::to_stdvec(&columns).map_err(std::io::Error::other)?;
        if bytes.len() > MAX_BYTES {
            return Err(std::io::Error::other("more samples than a block holds"));
        }
        zstd::bulk::compress(&bytes, LEVEL)
    }

    /// Nanoseconds are multiples of the period, so that they are as small as counts once divided by it.
    fn value_columns(&self, order: &[usize]) -> Vec<(u64, Vec<u64>)> {
        let width = self.types.len();
        let column = |of: usize| -> Vec<u64> {
            let values = order.iter();
            values
                .map(|&index| self.values[index * width + of])
                .collect()
        };
        let columns = (0..width).map(column);
        columns
            .map(|mut values| {
                let divisor = values.iter().copied().fold(0, gcd).max(1);
                values.iter_mut().for_each(|value| *value /= divisor);
                (divisor, values)
            })
            .collect()
    }

    /// The block that `bytes` are; `None` when they are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = decompressed(bytes)?;
        postcard::from_bytes::<Columns>(&bytes).ok()?.block()
    }
}

impl Columns {
    fn push_whos<'a>(&mut self, whos: impl Iterator<Item = &'a Who>) {
        let less = |of: u32, before: u32| of.wrapping_sub(before).cast_signed();
        let mut before = (0, 0, 0);
        for who in whos {
            let (series, pid, thread) = before;
            self.series.push(less(who.series, series));
            self.pids.push(less(who.pid, pid));
            self.tids.push(less(who.tid, who.pid));
            self.threads.push(less(who.thread, thread));
            self.waits.push(who.wait);
            before = (who.series, who.pid, who.thread);
        }
    }

    fn whos(&self) -> Option<Vec<Who>> {
        let count = self.stacks_of.len();
        let lengths = [&self.series, &self.pids, &self.tids, &self.threads].map(Vec::len);
        if lengths != [count; 4] || self.waits.len() != count {
            return None;
        }
        let (mut series, mut pid, mut thread) = (0_u32, 0_u32, 0_u32);
        let whos = (0..count).map(|index| {
            series = series.wrapping_add_signed(self.series[index]);
            pid = pid.wrapping_add_signed(self.pids[index]);
            thread = thread.wrapping_add_signed(self.threads[index]);
            Who {
                series,
                pid,
                tid: pid.wrapping_add_signed(self.tids[index]),
                thread,
                wait: self.waits[index],
            }
        });
        Some(whos.collect())
    }

    /// Adds what differs from the point before; gives the point.
    fn push(&mut self, point: Point, before: Option<Point>) -> Point {
        let same_who = before.filter(|before| before.who == point.who);
        let same_stack = same_who.filter(|before| before.stack == point.stack);
        if same_stack.is_none() {
            self.stacks_of[point.who as usize] += 1;
            let base = same_who.map_or(0, |before| before.stack);
            self.stacks.push(point.stack - base);
            self.points_of.push(0);
        }
        if let Some(count) = self.points_of.last_mut() {
            *count += 1;
        }
        let slice = match (point.slice, same_stack.and_then(|before| before.slice)) {
            (None, _) => 0,
            (Some(slice), None) => slice.saturating_add(1),
            (Some(slice), Some(before)) => slice - before,
        };
        self.slices.push(slice);
        point
    }

    fn block(self) -> Option<Block> {
        let (whos, points) = (self.whos()?, self.points()?);
        let width = self.types.len();
        let mut values = vec![0; points.len().checked_mul(width)?];
        if self.values.len() != width {
            return None;
        }
        for (of, (divisor, column)) in self.values.iter().enumerate() {
            if column.len() != points.len() {
                return None;
            }
            for (index, value) in column.iter().enumerate() {
                values[index * width + of] = value.checked_mul(*divisor)?;
            }
        }
        Some(Block {
            types: self.types,
            whos,
            points,
            values,
        })
    }

    fn points(&self) -> Option<Vec<Point>> {
        if self.points_of.len() != self.stacks.len() {
            return None;
        }
        let mut points = Vec::with_capacity(self.slices.len());
        let mut stacks = self.stacks.iter().zip(&self.points_of);
        let mut slices = self.slices.iter();
        for (who, &count) in (0..).zip(&self.stacks_of) {
            let mut stack = 0_u32;
            for _ in 0..count {
                let (delta, &count) = stacks.next()?;
                stack = stack.checked_add(*delta)?;
                let mut before: Option<u32> = None;
                for _ in 0..count {
                    let slice = match *slices.next()? {
                        0 => None,
                        delta => Some(match before {
                            None => delta - 1,
                            Some(before) => before.checked_add(delta)?,
                        }),
                    };
                    before = slice;
                    points.push(Point { who, stack, slice });
                }
            }
        }
        (stacks.next().is_none() && slices.next().is_none()).then_some(points)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

/// What each series has in all, so that sums by process need no samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) types: Vec<u32>,
    /// Each with one value per type.
    pub(super) series: Vec<(u32, Vec<u64>)>,
}

impl Totals {
    /// The totals of a block.
    pub(super) fn of(block: &Block) -> Self {
        let width = block.types.len();
        let mut sums = std::collections::BTreeMap::<u32, Vec<u64>>::new();
        for (index, point) in block.points.iter().enumerate() {
            let series = block.whos[point.who as usize].series;
            let sums = sums.entry(series).or_insert_with(|| vec![0; width]);
            for (sum, value) in sums.iter_mut().zip(&block.values[index * width..]) {
                *sum = sum.saturating_add(*value);
            }
        }
        Self {
            types: block.types.clone(),
            series: sums.into_iter().collect(),
        }
    }

    /// zstd of the postcard.
    pub(super) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let bytes = postcard::to_stdvec(self).map_err(std::io::Error::other)?;
        zstd::bulk::compress(&bytes, LEVEL)
    }

    /// The totals that `bytes` are; `None` when they are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(&decompressed(bytes)?).ok()
    }
}

fn decompressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let size = zstd::zstd_safe::get_frame_content_size(bytes).ok()??;
    let size = usize::try_from(size).ok();
    zstd::bulk::decompress(bytes, size.filter(|&size| size <= MAX_BYTES)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Block {
        let who = |series, tid, wait| Who {
            series,
            pid: 7,
            tid,
            thread: 3,
            wait,
        };
        let wait = Wait {
            state: 1,
            cause: 2,
            waker: Some(9),
            interval: None,
            is_idle: true,
        };
        let point = |who, stack, slice| Point { who, stack, slice };
        Block {
            types: vec![1, 2],
            whos: vec![
                who(1, 7, None),
                who(1, 8, Some(wait)),
                who(u32::MAX, 0, None),
            ],
            points: vec![
                point(0, 5, None),
                point(0, 5, Some(0)),
                point(0, 5, Some(99)),
                point(0, 4_000_000_000, Some(u32::MAX - 1)),
                point(2, 1, None),
            ],
            values: vec![
                1,
                10_101_010,
                2,
                20_202_020,
                0,
                0,
                3,
                30_303_030,
                9,
                u64::MAX,
            ],
        }
    }

    /// What is written is read: with and without slices and waits, largest numbers included.
    #[test]
    fn blocks_come_back() {
        let block = block();
        assert_eq!(Block::decode(&block.encode().unwrap()), Some(block));
        let empty = Block::default();
        assert_eq!(Block::decode(&empty.encode().unwrap()), Some(empty));
    }

    /// Every cut and every flipped byte gives a block or none, and never a panic.
    #[test]
    fn damage_never_panics() {
        let columns = zstd::decode_all(&block().encode().unwrap()[..]).unwrap();
        for at in 0..columns.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = columns.clone();
                bytes[at] ^= flip;
                let compressed = zstd::bulk::compress(&bytes, LEVEL).unwrap();
                let _ = Block::decode(&compressed);
            }
            assert_eq!(Block::decode(&columns[..at]), None);
        }
    }

    /// Totals are by series, whatever the thread.
    #[test]
    fn totals_add_up_series() {
        let totals = Totals::of(&block());
        let expected = [(1, vec![6, 60_606_060]), (u32::MAX, vec![9, u64::MAX])];
        assert_eq!(totals.series, expected);
        let bytes = totals.encode().unwrap();
        assert_eq!(Totals::decode(&bytes), Some(totals));
    }
}
