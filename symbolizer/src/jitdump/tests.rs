use super::*;
use std::io::Write;

/// A dump in the making.
struct Dump(Vec<u8>);

impl Dump {
    fn new(flags: u64) -> Self {
        let mut bytes = Vec::new();
        for word in [MAGIC, 1, HEADER_BYTES, 62, 0, 1] {
            bytes.extend(word.to_ne_bytes());
        }
        for long in [0, flags] {
            bytes.extend(long.to_ne_bytes());
        }
        Self(bytes)
    }

    fn record(&mut self, kind: u32, time: u64, body: &[u8]) -> &mut Self {
        let size = RECORD_BYTES + body.len() as u32;
        self.0.extend([kind, size].map(u32::to_ne_bytes).concat());
        self.0.extend(time.to_ne_bytes());
        self.0.extend(body);
        self
    }

    fn load(&mut self, time: u64, start: u64, size: u64, number: u64, name: &str) -> &mut Self {
        let fields = [0, start, start, size, number]
            .map(u64::to_ne_bytes)
            .concat();
        let code = vec![0x90; size as usize];
        self.record(
            CODE_LOAD,
            time,
            &[&fields, name.as_bytes(), &[0], &code].concat(),
        )
    }

    fn moved(&mut self, time: u64, from: u64, to: u64, size: u64, number: u64) -> &mut Self {
        let fields = [0, to, from, to, size, number].map(u64::to_ne_bytes);
        self.record(CODE_MOVE, time, &fields.concat())
    }

    fn lines(&mut self, start: u64, lines: &[(u64, u32, &[u8])]) -> &mut Self {
        let mut body = [start, lines.len() as u64].map(u64::to_ne_bytes).concat();
        for (address, line, file) in lines {
            body.extend(address.to_ne_bytes());
            body.extend([*line, 0].map(u32::to_ne_bytes).concat());
            body.extend(*file);
            body.push(0);
        }
        self.record(CODE_DEBUG_INFO, 0, &body)
    }

    fn file(&self) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.0).unwrap();
        file
    }

    fn names(&self, address: u64) -> Vec<(u64, String)> {
        let found = jitdump(&self.file(), &[address]);
        let names = found.names[0].iter();
        names
            .map(|name| (name.since, name.symbol.functions[0].name.clone()))
            .collect()
    }

    fn source(&self, address: u64) -> Option<(String, u32)> {
        let found = jitdump(&self.file(), &[address]);
        let function = found.names[0][0].symbol.functions[0].clone();
        function.source.map(|source| (source.file, source.line))
    }
}

fn named(since: u64, name: &str) -> (u64, String) {
    (since, name.to_owned())
}

/// A function has its name from its time on, and the one that takes its place from its own.
#[test]
fn an_address_that_is_used_again_has_both_names() {
    let mut dump = Dump::new(0);
    dump.load(10, 0x1000, 16, 0, "a")
        .load(20, 0x1008, 16, 1, "b");
    assert_eq!(dump.names(0x1000), [named(10, "a")]);
    assert_eq!(dump.names(0x1008), [named(10, "a"), named(20, "b")]);
    assert_eq!(dump.names(0x1017), [named(20, "b")]);
    assert_eq!(dump.names(0x1018), []);
}

/// Threads that write at once may do it out of order.
#[test]
fn times_and_not_places_give_the_order() {
    let mut dump = Dump::new(0);
    dump.load(20, 0x1000, 16, 0, "b")
        .load(10, 0x1000, 16, 1, "a");
    assert_eq!(dump.names(0x1000), [named(10, "a"), named(20, "b")]);
}

/// Times of another clock count for nothing, and the last function is the one.
#[test]
fn times_of_another_clock_are_not_compared() {
    let mut dump = Dump::new(ARCH_TIMESTAMP);
    dump.load(20, 0x1000, 16, 0, "a")
        .load(10, 0x1000, 16, 1, "b");
    assert_eq!(dump.names(0x1000), [named(0, "a"), named(0, "b")]);
}

/// Code that moved has its name at each of its places, from its time there on, and its lines too.
#[test]
fn code_that_moved_keeps_its_name_and_lines() {
    let mut dump = Dump::new(0);
    dump.load(5, 0x9000, 32, 6, "other");
    dump.lines(0x1000, &[(0x1000, 1, b"a.x"), (0x1008, 2, SAME_FILE)]);
    dump.load(10, 0x1000, 16, 7, "a");
    dump.moved(20, 0x1000, 0x2000, 16, 7);
    dump.moved(30, 0x2000, 0x3000, 16, 7);
    assert_eq!(dump.names(0x1008), [named(10, "a")]);
    assert_eq!(dump.names(0x2008), [named(20, "a")]);
    assert_eq!(dump.names(0x3004), [named(30, "a")]);
    assert_eq!(dump.source(0x3004), Some(("a.x".to_owned(), 1)));
    assert_eq!(dump.source(0x3008), Some(("a.x".to_owned(), 2)));
}

/// A line holds up to the next one, whether or not an ELF header is counted in.
#[test]
fn lines_hold_to_the_next() {
    for header in [0, ELF_HEADER_BYTES] {
        let mut dump = Dump::new(0);
        let lines: [(u64, u32, &[u8]); 3] = [
            (0x1000 + header, 7, b"/src/a.js"),
            (0x1004 + header, 8, SAME_FILE),
            (0x100c + header, 3, b"/src/b.js"),
        ];
        dump.lines(0x1000, &lines).load(10, 0x1000, 0x80, 0, "a");
        let places = [
            (0x1003, "/src/a.js", 7),
            (0x1004, "/src/a.js", 8),
            (0x107f, "/src/b.js", 3),
        ];
        for (address, file, line) in places {
            assert_eq!(dump.source(address), Some((file.to_owned(), line)));
        }
    }
}

/// Lines of another function are not this one's.
#[test]
fn lines_belong_to_their_function() {
    let mut dump = Dump::new(0);
    dump.lines(0x2000, &[(0x2000, 7, b"a")])
        .load(10, 0x1000, 16, 0, "a");
    assert_eq!(dump.source(0x1000), None);
}

/// Records of other kinds are passed over, and one that ends the dump ends it.
#[test]
fn the_end_is_where_it_says() {
    let mut dump = Dump::new(0);
    dump.record(4, 0, &[1, 2, 3]).load(10, 0x1000, 16, 0, "a");
    dump.record(CODE_CLOSE, 0, &[]).load(20, 0x1000, 16, 1, "b");
    assert_eq!(dump.names(0x1000), [named(10, "a")]);
}

/// Sizes that contradict themselves end the reading, and what was read before counts.
#[test]
fn damage_costs_what_comes_after() {
    for size in [0, 15] {
        let mut dump = Dump::new(0);
        dump.load(10, 0x1000, 16, 0, "a");
        dump.0
            .extend([CODE_LOAD, size, 0, 0].map(u32::to_ne_bytes).concat());
        dump.load(20, 0x1000, 16, 1, "b");
        let found = jitdump(&dump.file(), &[0x1000]);
        assert_eq!(
            (found.names[0].len(), found.cut),
            (1, Some(Miss::JitMapDamaged))
        );
    }
    let mut dump = Dump::new(0);
    let fields = [0, 0x1000, 0x1000, 1 << 40, 0]
        .map(u64::to_ne_bytes)
        .concat();
    dump.record(CODE_LOAD, 10, &[&fields, b"a\0".as_slice()].concat());
    let found = jitdump(&dump.file(), &[0x1000]);
    assert_eq!(
        (found.names[0].len(), found.cut),
        (0, Some(Miss::JitMapDamaged))
    );
}

/// A dump that is being written is read as far as it is there.
#[test]
fn a_dump_may_end_anywhere() {
    let mut dump = Dump::new(0);
    dump.load(10, 0x1000, 16, 0, "a");
    let first = dump.0.len();
    dump.lines(0x1000, &[(0x1000, 1, b"x")])
        .load(20, 0x1000, 16, 1, "b");
    for length in first..dump.0.len() {
        let cut = Dump(dump.0[..length].to_vec());
        let found = jitdump(&cut.file(), &[0x1000]);
        assert_eq!(found.cut, None, "{length}");
        assert!(!found.names[0].is_empty(), "{length}");
    }
}

/// A dump of another byte order, another version or none at all is refused with its reason.
#[test]
fn other_files_are_refused() {
    let whole = Dump::new(0).0;
    let damaged = |at: usize, word: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        jitdump(&Dump(bytes).file(), &[1]).cut
    };
    assert_eq!(damaged(0, MAGIC.swap_bytes()), Some(Miss::JitMapForeign));
    assert_eq!(damaged(4, 2), Some(Miss::JitMapForeign));
    assert_eq!(damaged(0, 0), Some(Miss::JitMapDamaged));
    assert_eq!(damaged(8, 4), Some(Miss::JitMapDamaged));
    assert_eq!(damaged(8, u32::MAX), Some(Miss::JitMapDamaged));
}

/// A file that claims 64 GiB, or leads through them record by record, is read within the budget.
#[test]
fn a_sparse_dump_is_cut() {
    let mut dump = Dump::new(0);
    dump.load(10, 0x1000, 16, 0, "a");
    let file = dump.file();
    file.set_len(64 << 30).unwrap();
    let found = jitdump(&file, &[0x1000]);
    assert_eq!(
        (found.names[0].len(), found.cut),
        (1, Some(Miss::JitMapDamaged))
    );
}
