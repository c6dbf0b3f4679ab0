//! Jitdumps: the binary files in which JITs list their code with the times at which it came to be
//! there (`tools/perf/Documentation/jitdump-specification.txt` of Linux).
//!
//! The file is read in pieces and never mapped: its owner may cut it off at any moment. Sizes that
//! contradict themselves end the reading, since nothing tells where the next record begins. Where the
//! header says that times are those of another clock, they cannot be compared with those of samples,
//! and of several functions at an address the last one counts for all.

use std::{collections::HashMap, fs::File, ops::Range};

use crate::{
    Miss, SourceLine,
    jit::{Collector, JitNames, symbol},
    window::Window,
};

/// `JiTD`, as a machine of the same byte order writes it.
const MAGIC: u32 = 0x4a69_5444;
/// The header's fields, and what it may have besides.
const HEADER_BYTES: u32 = 40;
const MAX_HEADER_BYTES: u32 = 4096;
/// Times are those of a clock of the CPU.
const ARCH_TIMESTAMP: u64 = 1;
/// What each record begins with: its kind, its size and its time.
const RECORD_BYTES: u32 = 16;
const CODE_LOAD: u32 = 0;
const CODE_MOVE: u32 = 1;
const CODE_DEBUG_INFO: u32 = 2;
const CODE_CLOSE: u32 = 3;
/// The longest name of a function or file.
const MAX_NAME_BYTES: u64 = 4096;
/// How much of a dump is read; the bytes of the code itself are mostly passed over.
const MAX_BYTES: u64 = 1 << 30;
/// How many moves of code that is asked for are kept.
const MAX_MOVES: usize = 1 << 16;
/// V8 and others write the places of lines with the size of an ELF header added, which `perf inject`
/// puts before the code.
const ELF_HEADER_BYTES: u64 = 0x40;
/// In the place of a file's name, that it is the one before.
const SAME_FILE: &[u8] = &[0xff];

/// What a jitdump says of `addresses`, which are in ascending order. Code that moved is at its new
/// address from then on.
pub fn jitdump(file: &File, addresses: &[u64]) -> JitNames {
    let mut reader = Reader {
        file: Window::new(file, MAX_BYTES),
        collector: Collector::new(addresses),
        has_times: true,
        lines: None,
        moves: HashMap::new(),
        moves_count: 0,
        is_again: false,
    };
    let mut cut = reader.read().err();
    if !reader.moves.is_empty() {
        // Which function it was that moved stands before the move, and was passed over.
        reader.is_again = true;
        reader.lines = None;
        cut = cut.or(reader.read().err());
    }
    reader.collector.finish(cut)
}

/// Code that came to another place.
struct Move {
    since: u64,
    /// Which address that was asked for it covers.
    index: usize,
    /// Where in the code that is.
    offset: u64,
}

/// A function's code.
struct Load {
    since: u64,
    start: u64,
    size: u64,
    number: u64,
    /// Where its name begins, and the record ends.
    name: Range<u64>,
}

/// The lines of the function that comes next.
struct Lines {
    start: u64,
    count: u64,
    entries: Range<u64>,
}

struct Reader<'a> {
    file: Window<'a>,
    collector: Collector<'a>,
    has_times: bool,
    lines: Option<Lines>,
    /// By the number of the function.
    moves: HashMap<u64, Vec<Move>>,
    moves_count: usize,
    /// Whether this is the second time, for the functions that moved.
    is_again: bool,
}

impl Reader<'_> {
    /// Goes through all records.
    fn read(&mut self) -> Result<(), Miss> {
        let mut at = u64::from(self.header()?);
        loop {
            let head = self.file.at(at, u64::from(RECORD_BYTES))?;
            if head.len() < RECORD_BYTES as usize {
                // The writer may be in the midst of it.
                return Ok(());
            }
            let (kind, size, time) = (word(head, 0)?, word(head, 4)?, long(head, 8)?);
            let body = at + u64::from(RECORD_BYTES)..at + u64::from(size);
            if size < RECORD_BYTES {
                return Err(Miss::JitMapDamaged);
            }
            let since = if self.has_times { time } else { 0 };
            at = body.end;
            match kind {
                CODE_CLOSE => return Ok(()),
                CODE_LOAD => {
                    if let Some(code) = self.code(since, body)? {
                        self.load(&code)?;
                        self.lines = None;
                    }
                }
                CODE_MOVE if !self.is_again => self.moved(since, body)?,
                CODE_DEBUG_INFO => self.debug_info(body)?,
                _ => {}
            }
        }
    }

    /// The size of the header, by which a dump of another machine is refused.
    fn header(&mut self) -> Result<u32, Miss> {
        let header = self.file.at(0, u64::from(HEADER_BYTES))?;
        let magic = word(header, 0)?;
        if magic == MAGIC.swap_bytes() {
            return Err(Miss::JitMapForeign);
        }
        let (version, size, flags) = (word(header, 4)?, word(header, 8)?, long(header, 32)?);
        if magic != MAGIC || !(HEADER_BYTES..=MAX_HEADER_BYTES).contains(&size) {
            return Err(Miss::JitMapDamaged);
        }
        if version != 1 {
            return Err(Miss::JitMapForeign);
        }
        self.has_times = flags & ARCH_TIMESTAMP == 0;
        Ok(size)
    }

    /// pid, tid, address of the code, the same in the process, its size and number, then the name and
    /// the code itself.
    fn code(&mut self, since: u64, body: Range<u64>) -> Result<Option<Load>, Miss> {
        let fields = self.fields::<40>(&body)?;
        let Some(fields) = fields else {
            return Ok(None);
        };
        let load = Load {
            since,
            start: long(&fields, 16)?,
            size: long(&fields, 24)?,
            number: long(&fields, 32)?,
            name: body.start + 40..body.end,
        };
        match load.size <= load.name.end - load.name.start {
            true => Ok(Some(load)),
            false => Err(Miss::JitMapDamaged),
        }
    }

    fn load(&mut self, code: &Load) -> Result<(), Miss> {
        if self.is_again {
            return self.load_moved(code);
        }
        let covered = self.collector.covered(code.start, code.size)?;
        for index in covered {
            self.add(code, index, code.since, self.collector.address(index))?;
        }
        Ok(())
    }

    fn load_moved(&mut self, code: &Load) -> Result<(), Miss> {
        for moved in self.moves.remove(&code.number).unwrap_or_default() {
            let place = code.start.wrapping_add(moved.offset);
            self.add(code, moved.index, moved.since, place)?;
        }
        Ok(())
    }

    /// Adds the name of a function, with the line that is at `place`.
    fn add(&mut self, code: &Load, index: usize, since: u64, place: u64) -> Result<(), Miss> {
        let name = self.text(code.name.clone())?;
        if name.is_empty() {
            return Ok(());
        }
        let lines = self.lines.take().filter(|lines| lines.start == code.start);
        let source = match &lines {
            Some(lines) => self.line(lines, place)?,
            None => None,
        };
        self.lines = lines;
        self.collector.add(index, since, &symbol(&name, source))
    }

    /// pid, tid, address of the code, the old and the new one in the process, its size and number.
    fn moved(&mut self, since: u64, body: Range<u64>) -> Result<(), Miss> {
        let Some(fields) = self.fields::<48>(&body)? else {
            return Ok(());
        };
        let (start, size, number) = (long(&fields, 24)?, long(&fields, 32)?, long(&fields, 40)?);
        for index in self.collector.covered(start, size)? {
            if self.moves_count == MAX_MOVES {
                return Err(Miss::JitMapTooLong);
            }
            self.moves_count += 1;
            let offset = self.collector.address(index) - start;
            let moves = self.moves.entry(number).or_default();
            moves.push(Move {
                since,
                index,
                offset,
            });
        }
        Ok(())
    }

    /// Address of the code and the number of lines, then the lines.
    fn debug_info(&mut self, body: Range<u64>) -> Result<(), Miss> {
        if let Some(fields) = self.fields::<16>(&body)? {
            self.lines = Some(Lines {
                start: long(&fields, 0)?,
                count: long(&fields, 8)?,
                entries: body.start + 16..body.end,
            });
        }
        Ok(())
    }

    /// The source of the code at `place`: that of the last entry at or before it.
    fn line(&mut self, lines: &Lines, place: u64) -> Result<Option<SourceLine>, Miss> {
        let mut bias = None;
        let mut found = None;
        let mut file = 0..0;
        let mut at = lines.entries.start;
        for _ in 0..lines.count {
            self.collector.step(1)?;
            let Some(fields) = self.fields::<16>(&(at..lines.entries.end))? else {
                break;
            };
            let name = at + 16..lines.entries.end;
            let (address, line) = (long(&fields, 0)?, word(&fields, 8)?);
            let length = self.bytes(name.clone())?.len() as u64;
            if self.bytes(name.clone())? != SAME_FILE {
                file = name.clone();
            }
            at = name.start + length + 1;
            let has_header = address == lines.start.wrapping_add(ELF_HEADER_BYTES);
            let bias = *bias.get_or_insert(if has_header { ELF_HEADER_BYTES } else { 0 });
            if address.wrapping_sub(bias) > place {
                break;
            }
            found = Some((file.clone(), line));
        }
        let Some((name, line)) = found else {
            return Ok(None);
        };
        let file = self.text(name)?;
        Ok((!file.is_empty()).then_some(SourceLine { file, line }))
    }

    /// The first bytes of a part of the file; `None` where it is shorter, or the file ends before.
    fn fields<const BYTES: usize>(
        &mut self,
        part: &Range<u64>,
    ) -> Result<Option<[u8; BYTES]>, Miss> {
        if part.end.saturating_sub(part.start) < BYTES as u64 {
            return Err(Miss::JitMapDamaged);
        }
        Ok(self.file.at(part.start, BYTES as u64)?.try_into().ok())
    }

    /// What stands before the NUL in a part of the file.
    fn bytes(&mut self, part: Range<u64>) -> Result<&[u8], Miss> {
        let length = part.end.saturating_sub(part.start).min(MAX_NAME_BYTES);
        let bytes = self.file.at(part.start, length)?;
        Ok(bytes.split(|&byte| byte == 0).next().unwrap_or_default())
    }

    fn text(&mut self, part: Range<u64>) -> Result<String, Miss> {
        let bytes = self.bytes(part)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Miss> {
    let bytes = bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_ne_bytes).ok_or(Miss::JitMapDamaged)
}

fn long(bytes: &[u8], at: usize) -> Result<u64, Miss> {
    let bytes = bytes
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_ne_bytes).ok_or(Miss::JitMapDamaged)
}

#[cfg(test)]
mod tests;
