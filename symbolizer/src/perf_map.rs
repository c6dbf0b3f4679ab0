//! Perf maps: the text files in which JITs list their code, one `START SIZE NAME` a line, in
//! hexadecimal (`tools/perf/Documentation/jit-interface.txt` of Linux).
//!
//! The file is read forward in pieces and never mapped: its owner may cut it off at any moment. Lines
//! that make no sense are passed over, and so is a last one without an end, which is being written.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    time::Instant,
};

use crate::{
    Miss,
    jit::{Collector, JitNames, MAX_TIME, symbol},
};

/// How much of a map is read. One with a million functions has some 100 MB.
const MAX_BYTES: u64 = 1 << 30;
/// How much is read at a time.
const PIECE_BYTES: usize = 256 << 10;
/// How much of a line is looked at: names are cut off before that.
const MAX_LINE_BYTES: usize = 8 << 10;

/// What a perf map says of `addresses`, which are in ascending order. A line that comes later was
/// written later: [`JitName::since`](crate::JitName::since) is where it ends.
pub fn perf_map(file: &File, addresses: &[u64]) -> JitNames {
    let mut collector = Collector::new(addresses);
    let cut = read(file, &mut collector).err();
    collector.finish(cut)
}

fn read(file: &File, collector: &mut Collector<'_>) -> Result<(), Miss> {
    let start = FromStart {
        file,
        position: 0,
        began: Instant::now(),
        is_cut: false,
    };
    let mut reader = BufReader::with_capacity(PIECE_BYTES, start);
    let mut line = Vec::new();
    let mut end = 0;
    loop {
        line.clear();
        let mut beginning = reader.by_ref().take(MAX_LINE_BYTES as u64);
        end += beginning.read_until(b'\n', &mut line).map_err(unreadable)? as u64;
        let is_long = line.len() == MAX_LINE_BYTES && line.last() != Some(&b'\n');
        if is_long {
            end += reader.skip_until(b'\n').map_err(unreadable)? as u64;
        }
        if line.last() != Some(&b'\n') && !is_long {
            break;
        }
        if let Some(code) = Code::parse(&line) {
            take(&code, end, collector)?;
        }
    }
    match reader.get_ref().is_cut {
        true => Err(Miss::JitMapTooLong),
        false => Ok(()),
    }
}

fn unreadable(_error: io::Error) -> Miss {
    Miss::Unreadable
}

fn take(code: &Code<'_>, end: u64, collector: &mut Collector<'_>) -> Result<(), Miss> {
    let covered = collector.covered(code.start, code.size)?;
    if covered.is_empty() {
        return Ok(());
    }
    let symbol = symbol(&String::from_utf8_lossy(code.name), None);
    for index in covered {
        collector.add(index, end, &symbol)?;
    }
    Ok(())
}

/// A line that makes sense.
#[derive(Debug, PartialEq, Eq)]
struct Code<'a> {
    start: u64,
    size: u64,
    name: &'a [u8],
}

impl<'a> Code<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        // A file that was cut off below the place at which its writer stands gets zeros before it.
        let zeros = line.iter().take_while(|&&byte| byte == 0).count();
        let (start, rest) = word(&line[zeros..])?;
        let (size, rest) = word(rest)?;
        let name = rest.trim_ascii();
        let padding = name.iter().rev().take_while(|&&byte| byte == 0).count();
        let name = &name[..name.len() - padding];
        (size > 0 && !name.is_empty()).then_some(Self { start, size, name })
    }
}

/// The hexadecimal number with which a line begins, and what stands behind it.
fn word(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace)?;
    let (digits, rest) = text.split_at(end);
    let digits = digits.strip_prefix(b"0x").or(digits.strip_prefix(b"0X"));
    let digits = digits.unwrap_or(&text[..end]);
    // The parser of numbers takes a sign.
    if !digits.first()?.is_ascii_hexdigit() {
        return None;
    }
    let number = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((number, rest))
}

/// A file from its start to the bounds, by positions: its cursor may be shared.
struct FromStart<'f> {
    file: &'f File,
    position: u64,
    began: Instant,
    /// Whether there is more of it than was read.
    is_cut: bool,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= MAX_BYTES || self.began.elapsed() > MAX_TIME {
            self.is_cut = true;
            return Ok(0);
        }
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn map(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn names(text: &[u8], address: u64) -> Vec<(u64, String)> {
        let found = perf_map(&map(text), &[address]);
        assert_eq!(found.cut, None);
        let names = found.names[0].iter();
        names
            .map(|name| (name.since, name.symbol.functions[0].name.clone()))
            .collect()
    }

    fn last(text: &str, address: u64) -> Option<String> {
        Some(names(text.as_bytes(), address).pop()?.1)
    }

    /// A line covers its first byte and not the one behind its last, and the name has all its words.
    #[test]
    fn a_line_covers_its_range() {
        let text = "1000 10 JS:*a b /x.js:1:2\n";
        let name = Some("JS:*a b /x.js:1:2".to_owned());
        assert_eq!(last(text, 0xfff), None);
        assert_eq!(last(text, 0x1000), name);
        assert_eq!(last(text, 0x100f), name);
        assert_eq!(last(text, 0x1010), None);
    }

    /// What other JITs and a hand write is taken; what makes no sense costs no other line.
    #[test]
    fn odd_lines_are_read_and_bad_ones_passed_over() {
        let good = [
            "0x1000 0x10 f\n",
            "0X1000 10 f\r\n",
            "  1000\t10\tf  \n",
            "\0\0\x001000 10 f\n",
            "1000 10 f\0\0\n",
            "\n\r\nnonsense\n1000\n1000 10\n1000 zz g\n-1000 10 g\n+1000 10 g\n1000 10 f\n",
            "1000 0 g\n1000 10 f\n1000 11111111111111111 g\n",
            "1000 ffffffffffffffff g\nffffffffffffffff 1001 g\n1000 10 f\n",
            "1000 10 f\n1000 10 being writ",
        ];
        for text in good {
            assert_eq!(last(text, 0x1008).as_deref(), Some("f"), "{text:?}");
        }
    }

    /// Each name stands with where its line ends, and one that is written again is told once.
    #[test]
    fn later_lines_come_later() {
        let text = b"1000 10 a\n1000 10 a\n1008 8 b\n1000 10 a\n";
        let expected = [(10, "a"), (29, "b"), (39, "a")].map(|(end, name)| (end, name.to_owned()));
        assert_eq!(names(text, 0x1008), expected);
        assert_eq!(names(text, 0x1000).len(), 1);
    }

    /// Names of compiled languages are demangled, others stay as they are.
    #[test]
    fn names_of_scripts_are_left_alone() {
        let names = [
            ("_ZN3foo3barEv", "foo::bar()"),
            ("JS:~f@1 file:///x.js:1:1", "JS:~f@1 file:///x.js:1:1"),
            ("py::run:/usr/lib/x.py", "py::run:/usr/lib/x.py"),
            ("package@2", "package@2"),
            ("Zone", "Zone"),
        ];
        for (written, shown) in names {
            let text = format!("1000 10 {written}\n");
            assert_eq!(last(&text, 0x1000).as_deref(), Some(shown));
        }
    }

    /// Of a line without an end so much is looked at as a name can have, and what follows counts.
    #[test]
    fn a_long_line_costs_itself() {
        let mut text = b"1000 10 ".to_vec();
        text.resize(3 << 20, b'x');
        text.extend(b"\n2000 10 f\n");
        let found = perf_map(&map(&text), &[0x1000, 0x2000]);
        assert_eq!(found.names[0][0].symbol.functions[0].name.len(), 4096);
        assert_eq!(found.names[1][0].symbol.functions[0].name, "f");
        assert_eq!(found.names[1][0].since, text.len() as u64);
    }

    /// A file that claims 64 GiB is read up to the bound, and that is said.
    #[test]
    fn a_sparse_file_is_cut() {
        let file = map(b"1000 10 f\n");
        file.set_len(64 << 30).unwrap();
        let found = perf_map(&file, &[0x1000]);
        assert_eq!(found.names[0][0].symbol.functions[0].name, "f");
        assert_eq!(found.cut, Some(Miss::JitMapTooLong));
    }

    /// Ranges that all cover all addresses are given up.
    #[test]
    fn work_is_bounded() {
        let text = (0..5000).map(|line| format!("1000 ffff f{line}\n"));
        let addresses: Vec<u64> = (0x1000..0x2000).collect();
        let found = perf_map(&map(text.collect::<String>().as_bytes()), &addresses);
        assert_eq!(found.cut, Some(Miss::JitMapTooLong));
        let kept: usize = found.names.iter().map(Vec::len).sum();
        assert!(kept < 1 << 20, "{kept}");
    }

    /// What is no file to be read has no names and a reason.
    #[test]
    fn a_folder_is_unreadable() {
        let found = perf_map(&File::open("/").unwrap(), &[1]);
        assert_eq!(
            (found.names[0].len(), found.cut),
            (0, Some(Miss::Unreadable))
        );
    }
}
