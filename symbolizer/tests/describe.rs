//! What ELF files say of themselves, as binutils made them.

mod common;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use common::{PROGRAM, compile, run};
use symbolizer::{Description, Miss, build_id, crc32, describe};
use tempfile::tempdir;

fn of(path: &Path) -> Description {
    let file = File::open(path).expect("the file can be opened");
    describe(&file).expect("the file can be described")
}

/// A program, its separate debug file and its stripped copy have one build id, and the tables that
/// `objcopy` left to each.
#[test]
fn a_program_and_its_debug_file() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g", "-Wl,--build-id=sha1"]);
    let (debug, stripped) = (path.with_extension("debug"), path.with_extension("bare"));
    let [program, debug_name, bare] = [&path, &debug, &stripped].map(|path| path.display());
    run(&format!("objcopy --only-keep-debug {program} {debug_name}"));
    run(&format!(
        "objcopy --strip-all --add-gnu-debuglink={debug_name} {program} {bare}"
    ));
    let (whole, separate, rest) = (of(&path), of(&debug), of(&stripped));
    assert_eq!(whole.build_id, build_id(&File::open(&path).unwrap()));
    assert_eq!(whole.build_id.as_ref().map(Vec::len), Some(20));
    assert_eq!(separate.build_id, whole.build_id);
    assert_eq!(rest.build_id, whole.build_id);
    assert!(whole.has_symtab && whole.has_dynsym && whole.has_dwarf);
    assert!(separate.has_symtab && !separate.has_dynsym && separate.has_dwarf);
    assert!(!rest.has_symtab && rest.has_dynsym && !rest.has_dwarf && rest.has_symbols());
    let link = rest.debug_link.unwrap();
    assert_eq!(link.name, debug.file_name().unwrap().as_encoded_bytes());
    assert_eq!(crc32(&File::open(&debug).unwrap()), Some(link.crc32));
    assert_eq!(whole.debug_link, None);
}

/// DWARF in parts is told from DWARF in one piece.
#[test]
fn split_dwarf() {
    let directory = tempdir().unwrap();
    let split = compile(&directory, "cc", PROGRAM, &["-g", "-gsplit-dwarf"]);
    let whole = compile(&directory, "cc", PROGRAM, &["-g"]);
    assert!(of(&split).may_be_split && !of(&split).is_package);
    assert!(!of(&whole).may_be_split);
}

/// What is no ELF file has a reason, and a file cut off anywhere is described or refused.
#[test]
fn damaged_files() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        let mut cut = tempfile::tempfile().unwrap();
        cut.write_all(&bytes[..length]).unwrap();
        let described = describe(&cut);
        assert!(
            matches!(described, Ok(_) | Err(Miss::NotElf | Miss::Malformed)),
            "{length}: {described:?}"
        );
    }
    assert_eq!(
        describe(&File::open("/etc/passwd").unwrap()),
        Err(Miss::NotElf)
    );
    assert_eq!(
        describe(&File::open("/dev/zero").unwrap()),
        Err(Miss::Unreadable)
    );
    assert_eq!(crc32(&File::open("/proc").unwrap()), None);
}
