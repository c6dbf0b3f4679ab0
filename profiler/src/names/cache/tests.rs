use super::*;
use symbolizer::{Function, SourceLine};

const ALL: Detail = Detail {
    lines: true,
    inlines: true,
};
const NAMES: Detail = Detail {
    lines: false,
    inlines: false,
};

fn function(name: &str, line: u32) -> Function {
    Function {
        name: name.to_owned(),
        system_name: name.to_owned(),
        source: Some(SourceLine {
            file: "a.c".to_owned(),
            line,
        }),
    }
}

fn symbol() -> Symbol {
    Symbol {
        functions: vec![function("inner", 3), function("outer", 9)],
    }
}

fn cache(folder: &tempfile::TempDir) -> Cache {
    Cache::within(Folder::new(folder.path().into(), 1 << 20, 1 << 20))
}

fn key(size: u64) -> Key {
    Key {
        name: "ab.names".to_owned(),
        rests_on: vec![size, 0],
    }
}

fn ask(cache: &Cache, key: &Key, wanted: Detail, answer: Answer) -> Answer {
    ask_at(5, cache, key, wanted, answer)
}

/// Asks for a place in the function from 4 to 8.
fn ask_at(offset: u64, cache: &Cache, key: &Key, wanted: Detail, answer: Answer) -> Answer {
    let names = Names {
        answers: vec![answer],
        functions: vec![Some(4..8)],
        lacking: Vec::new(),
    };
    let mut found = cache.names(Some(key), &[offset], |_| wanted, |_| (names, ALL));
    cache.store();
    let (answer, function) = found.remove(0);
    assert_eq!(function, Some(4..8));
    answer
}

/// What was looked up is found again, with no more detail than is wanted, and what rested on
/// another file is not.
#[test]
fn names_are_looked_up_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = cache(&folder);
    assert_eq!(ask(&first, &key(7), ALL, Ok(symbol())), Ok(symbol()));
    assert_eq!(first.counts(), (0, 1));
    let second = cache(&folder);
    let other = Err(Miss::NoSymbols);
    assert_eq!(ask(&second, &key(7), ALL, other.clone()), Ok(symbol()));
    let bare = ask(&second, &key(7), NAMES, other.clone()).unwrap();
    let outer = Function {
        source: None,
        ..function("outer", 9)
    };
    assert_eq!(bare.functions, [outer]);
    let lines = Detail {
        lines: true,
        ..NAMES
    };
    let line = ask(&second, &key(7), lines, other.clone()).unwrap();
    assert_eq!(line.functions, [function("outer", 3)]);
    assert_eq!(second.counts(), (3, 0));
    assert_eq!(ask(&second, &key(8), ALL, other.clone()), other);
}

/// A name without detail is looked up again where detail is wanted, and a failure always.
#[test]
fn what_is_not_known_well_enough_is_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(&folder);
    assert!(ask(&cache, &key(7), NAMES, Ok(symbol())).is_ok());
    let gone = Err(Miss::TimedOut);
    assert_eq!(ask(&cache, &key(7), ALL, gone.clone()), gone);
    assert_eq!(ask(&cache, &key(7), ALL, Ok(symbol())), Ok(symbol()));
}

/// The name of one place is that of all of its function, and its inlined functions are not.
#[test]
fn a_function_has_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(&folder);
    ask(&cache, &key(7), ALL, Ok(symbol())).unwrap();
    let other: Answer = Err(Miss::NotCovered);
    for offset in [4, 7] {
        let name = ask_at(offset, &cache, &key(7), NAMES, other.clone()).unwrap();
        assert_eq!(name.functions[0].name, "outer");
    }
    assert_eq!(ask_at(6, &cache, &key(7), ALL, other.clone()), other);
    let names = Names::default();
    let beyond = cache.names(Some(&key(7)), &[8], |_| NAMES, |_| (names, ALL));
    assert_eq!(beyond, [(Err(Miss::ReaderDied), None)]);
}

/// A file cut short or with a changed bit is as good as none, whatever its checksum says.
#[test]
fn damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(&folder);
    ask(&cache, &key(7), ALL, Ok(symbol())).unwrap();
    let whole = std::fs::read(folder.path().join("ab.names")).unwrap();
    let body = unseal(VERSION, &whole).unwrap().to_vec();
    for at in 0..body.len() {
        for bytes in [body[..at].to_vec(), {
            let mut flipped = body.clone();
            flipped[at] ^= 0x80;
            flipped
        }] {
            std::fs::write(folder.path().join("ab.names"), seal(VERSION, bytes)).unwrap();
            let _any = cache.load(&key(7));
        }
    }
    std::fs::write(folder.path().join("ab.names"), &whole[..whole.len() - 1]).unwrap();
    assert!(cache.load(&key(7)).is_none());
}

/// Files that root does not own have their names for themselves, by their last change.
#[test]
fn a_claimed_build_id_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::tempfile().unwrap();
    file.set_len(MIN_FILE_BYTES).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o777))
        .unwrap();
    let of = || Key::of(&file, Some(&[0xab]), &[]).unwrap();
    let before = of();
    assert!(before.name.starts_with("ab-"));
    std::thread::sleep(std::time::Duration::from_millis(20));
    file.set_len(MIN_FILE_BYTES).unwrap();
    assert_ne!(of().name, before.name);
    file.set_len(1).unwrap();
    assert_eq!(Key::of(&file, Some(&[0xab]), &[]), None);
}

/// Names are shared by build id where all that they rest on is the host's root's.
#[test]
fn only_what_is_of_the_hosts_root_is_shared() {
    use std::os::unix::fs::PermissionsExt;
    let file = |mode| {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MIN_FILE_BYTES).unwrap();
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))
            .unwrap();
        file
    };
    let (program, open) = (file(0o755), file(0o777));
    let is_root = program.as_file().metadata().unwrap().uid() == 0;
    for (program, debug, is_shared) in [
        (&program, &program, is_root),
        (&open, &program, false),
        (&program, &open, false),
    ] {
        let others = [Some(debug.as_file()), None];
        let key = Key::of(program.as_file(), Some(&[0xab]), &others).unwrap();
        assert_eq!(key.name == "ab.names", is_shared, "{key:?}");
    }
}
