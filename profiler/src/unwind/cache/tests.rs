use std::fs;

use super::*;

const KEY: Key<'static> = Key {
    build_id: &[0xab, 0xcd, 0x01],
    file_bytes: 123_456,
};

fn small_table() -> Rows {
    let mut rules = RuleSet::default();
    let own = rules.intern(Rule::register(7, 8)).unwrap();
    let rows = [(0x1000, own), (0x1010, 2), (0x2_0000, 0)];
    Rows {
        rows: rows.map(|(start, rule)| Row { start, rule }).to_vec(),
        rules: rules.into_rules(),
    }
}

/// What is stored comes back, by its key alone, from a file that only its owner may read.
#[test]
fn a_stored_table_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path().join("new/tables"));
    let table = small_table();
    assert_eq!(cache.load(KEY), None);
    cache.store(KEY, &table).unwrap();
    assert_eq!(cache.load(KEY), Some(table));
    let names: Vec<_> = fs::read_dir(folder.path().join("new/tables"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["abcd01.unwind"]);
    for other in [
        Key {
            file_bytes: 1,
            ..KEY
        },
        Key {
            build_id: &[1],
            ..KEY
        },
    ] {
        assert_eq!(cache.load(other), None);
    }
}

/// A file without a build id, or with one that no linker writes, is neither stored nor found.
#[test]
fn no_build_id_no_cache() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path().into());
    for build_id in [&[][..], &[7; 65]] {
        let key = Key { build_id, ..KEY };
        cache.store(key, &small_table()).unwrap();
        assert_eq!(cache.load(key), None);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A cached table cut anywhere, or with bytes behind it, is not there.
#[test]
fn a_cut_file_is_none() {
    let bytes = encode(KEY, &small_table());
    assert!(decode(KEY, &bytes).is_some());
    for length in 0..bytes.len() {
        assert_eq!(decode(KEY, &bytes[..length]), None, "{length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(decode(KEY, &longer), None);
}

/// A cached table with any bit changed is not there.
#[test]
fn a_changed_bit_is_found() {
    let mut bytes = encode(KEY, &small_table());
    for index in 0..bytes.len() {
        for bit in 0..8 {
            bytes[index] ^= 1 << bit;
            assert_eq!(decode(KEY, &bytes), None, "bit {bit} of byte {index}");
            bytes[index] ^= 1 << bit;
        }
    }
}

/// Tables that no file could give are refused though their checksum is right.
#[test]
fn an_unsound_table_is_none() {
    let spoil: [fn(&mut Rows); 5] = [
        |table| table.rows[1].start = table.rows[0].start,
        |table| table.rows.swap(0, 2),
        |table| table.rows[2].rule = 5,
        |table| table.rules.swap(1, 2),
        |table| table.rules.truncate(3),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let mut table = small_table();
        spoil(&mut table);
        assert_eq!(decode(KEY, &encode(KEY, &table)), None, "case {number}");
    }
}

/// What is no regular file at the place of a cached table is left alone: a link is not followed,
/// and a pipe does not block.
#[test]
fn a_planted_file_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path().into());
    let place = cache.folder.place(&name(KEY).unwrap());
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, encode(KEY, &small_table())).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &place).unwrap();
    assert_eq!(cache.load(KEY), None);
    fs::remove_file(&place).unwrap();
    let name = std::ffi::CString::new(place.to_str().unwrap()).unwrap();
    // SAFETY: the name is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert_eq!(cache.load(KEY), None);
}
