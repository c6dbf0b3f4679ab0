//! Names for offsets of files that are as a compiler made them.

mod common;

use std::fs::File;

use common::{CPP_PROGRAM, PROGRAM, compile, names, offset_of, resolve, resolve_all, run};
use object::{Object, ObjectSection};
use symbolizer::{Detail, Miss, Names, Sources, SplitUnit};
use tempfile::tempdir;

const NONE: Detail = Detail {
    lines: false,
    inlines: false,
};
const LINES: Detail = Detail {
    lines: true,
    inlines: false,
};
const ALL: Detail = Detail {
    lines: true,
    inlines: true,
};

/// Functions resolve by the symbol table, from their first byte on, with and without debug info.
#[test]
fn symbol_table() {
    let directory = tempdir().unwrap();
    for flags in [&["-g"][..], &[], &["-no-pie"], &["-static"]] {
        let path = compile(&directory, "cc", PROGRAM, flags);
        for function in ["leaf", "caller", "main"] {
            let offset = offset_of(&path, function);
            let answer = resolve(&path, offset + 1, NONE);
            assert_eq!(names(&answer), [function]);
            assert_eq!(answer.unwrap().functions[0].source, None);
        }
    }
}

/// Answers come in the order of the offsets, duplicates and unloaded offsets included.
#[test]
fn order_and_duplicates() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &[]);
    let (leaf, main) = (offset_of(&path, "leaf"), offset_of(&path, "main"));
    let file = File::open(&path).unwrap();
    let answers = resolve_all(&file, &[main, u64::MAX, leaf, main], NONE);
    assert_eq!(names(&answers[0]), ["main"]);
    assert_eq!(answers[1], Err(Miss::InvalidOffset));
    assert_eq!(names(&answers[2]), ["leaf"]);
    assert_eq!(answers[3], answers[0]);
    assert_eq!(resolve_all(&file, &[], ALL), []);
}

/// A stripped program has no names, a stripped library those that it exports.
#[test]
fn stripped() {
    let directory = tempdir().unwrap();
    for (flags, expected) in [
        (
            &["-static", "-Wl,--build-id=none"][..],
            Err(Miss::NoSymbols),
        ),
        (&[], Err(Miss::NotCovered)),
        (&["-shared", "-fPIC"], Ok("leaf".to_owned())),
    ] {
        let path = compile(&directory, "cc", PROGRAM, flags);
        let offset = offset_of(&path, "leaf");
        run(&format!("strip {}", path.display()));
        let answer = resolve(&path, offset, ALL).map(|symbol| symbol.functions[0].name.clone());
        assert_eq!(answer, expected);
    }
}

/// A function's extent is that of its symbol, and in a stripped file that of its call frame information.
#[test]
fn functions_have_extents() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &[]);
    let (leaf, main) = (offset_of(&path, "leaf"), offset_of(&path, "main"));
    let functions = || {
        let file = File::open(&path).unwrap();
        let sources = Sources::alone(&file);
        let offsets = [main + 2, leaf, 0];
        symbolizer::file(sources, "/proc/self/fd", &offsets, NONE, |_| true).functions
    };
    let named = functions();
    assert_eq!(named[0].as_ref().unwrap().start, main);
    assert_eq!(named[1].as_ref().unwrap().start, leaf);
    assert_eq!(named[2], None);
    run(&format!("strip {}", path.display()));
    assert_eq!(functions(), named);
}

/// The entries by which a program calls functions of libraries have the names of these.
#[test]
fn linkage_tables() {
    let directory = tempdir().unwrap();
    let source = "#include <stdlib.h>\n#include <unistd.h>\n\
        int main(void) { return (int)labs(getpid()) + (int)random() + rand(); }\n";
    for flags in [&["-O0"][..], &["-O0", "-no-pie"]] {
        let path = compile(
            &directory,
            "cc",
            source,
            &[flags, &["-Wl,-z,lazy"]].concat(),
        );
        let data = std::fs::read(&path).unwrap();
        let elf = object::File::parse(data.as_slice()).unwrap();
        let table = elf.section_by_name(".plt").unwrap();
        let (start, size) = table.file_range().unwrap();
        let named = (start..start + size).step_by(16).map(|offset| {
            let answer = resolve(&path, offset + 6, NONE);
            answer.map(|symbol| symbol.functions[0].name.clone())
        });
        let mut named: Vec<String> = named.flatten().collect();
        named.sort();
        named.retain(|name| name != "_init");
        assert_eq!(named, ["getpid@plt", "rand@plt", "random@plt"]);
    }
}

/// With `-g` and lines asked for, the function's first byte is on the line that opens it.
#[test]
fn lines() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    for (function, line) in [("leaf", 1), ("caller", 5), ("main", 8)] {
        let symbol = resolve(&path, offset_of(&path, function), LINES).unwrap();
        let source = symbol.functions[0].source.clone().unwrap();
        assert_eq!(
            (symbol.functions[0].name.as_str(), source.line),
            (function, line)
        );
        assert!(source.file.ends_with("/program.c"), "{}", source.file);
    }
}

/// An inlined function comes before the one it is in, each with its line; without lines asked
/// for, with its name alone.
#[test]
fn inlines() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let start = offset_of(&path, "caller");
    let offset = (start..start + 64)
        .find(|&offset| names(&resolve(&path, offset, ALL)).len() == 2)
        .unwrap();
    let symbol = resolve(&path, offset, ALL).unwrap();
    let found = symbol.functions.iter().map(|function| {
        (
            function.name.as_str(),
            function.source.as_ref().unwrap().line,
        )
    });
    assert_eq!(found.collect::<Vec<_>>(), [("inlined", 3), ("caller", 6)]);

    let bare = resolve(
        &path,
        offset,
        Detail {
            lines: false,
            inlines: true,
        },
    );
    assert_eq!(names(&bare), ["inlined", "caller"]);
    assert!(
        bare.unwrap()
            .functions
            .iter()
            .all(|function| function.source.is_none())
    );
}

/// C++ names are demangled, and the linker's names are kept.
#[test]
fn cpp() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "c++", CPP_PROGRAM, &[]);
    let symbol = resolve(&path, offset_of(&path, "_ZN3BoxIiE3getEi"), NONE).unwrap();
    assert_eq!(symbol.functions[0].name, "Box<int>::get(int)");
    assert_eq!(symbol.functions[0].system_name, "_ZN3BoxIiE3getEi");
}

/// A stripped program gets names and lines from its separate debug file.
#[test]
fn separate_debug_file() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let offset = offset_of(&path, "leaf");
    let debug_path = directory.path().join("separate");
    run(&format!(
        "objcopy --only-keep-debug {} {}",
        path.display(),
        debug_path.display()
    ));
    run(&format!("strip {}", path.display()));
    let (file, debug) = (File::open(&path).unwrap(), File::open(&debug_path).unwrap());

    let sources = Sources {
        debug: Some(&debug),
        ..Sources::alone(&file)
    };
    let resolve =
        |detail| symbolizer::file(sources, "/proc/self/fd", &[offset], detail, |_| true).answers;
    let bare = resolve(NONE);
    assert_eq!(names(&bare[0]), ["leaf"]);
    let lines = resolve(LINES);
    assert_eq!(
        lines[0].as_ref().unwrap().functions[0]
            .source
            .as_ref()
            .unwrap()
            .line,
        1
    );
}

/// A program whose symbol table was removed but not its DWARF resolves by its DWARF.
#[test]
fn dwarf_alone() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let offset = offset_of(&path, "leaf");
    run(&format!(
        "objcopy --remove-section=.symtab --remove-section=.strtab {}",
        path.display()
    ));
    assert_eq!(names(&resolve(&path, offset, NONE)), ["leaf"]);
}

/// A file that was deleted after it was opened resolves as before.
#[test]
fn deleted() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let offset = offset_of(&path, "leaf");
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let answers = resolve_all(&file, &[offset], LINES);
    assert_eq!(names(&answers[0]), ["leaf"]);
    assert!(answers[0].as_ref().unwrap().functions[0].source.is_some());
}

/// The build id is the one that the linker was told to write.
#[test]
fn build_id() {
    let directory = tempdir().unwrap();
    let path = compile(
        &directory,
        "cc",
        PROGRAM,
        &["-Wl,--build-id=0x0123456789abcdef"],
    );
    let id = symbolizer::build_id(&File::open(&path).unwrap());
    assert_eq!(
        id,
        Some(vec![0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef])
    );

    let long = format!("-Wl,--build-id=0x{}", "ab".repeat(65));
    for flag in ["-Wl,--build-id=none", &long] {
        let path = compile(&directory, "cc", PROGRAM, &[flag]);
        assert_eq!(symbolizer::build_id(&File::open(&path).unwrap()), None);
    }
}

/// Only the offsets that are asked for in detail have lines, and the others their name.
#[test]
fn detail_by_offset() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let (leaf, main) = (offset_of(&path, "leaf"), offset_of(&path, "main"));
    let sources = &File::open(&path).unwrap();
    let answers = symbolizer::file(
        Sources::alone(sources),
        "/proc/self/fd",
        &[main, leaf],
        ALL,
        |offset| offset == leaf,
    )
    .answers;
    let has_line = |index: usize| {
        let symbol: &symbolizer::Symbol = answers[index].as_ref().unwrap();
        symbol.functions[0].source.is_some()
    };
    assert_eq!((names(&answers[0]), has_line(0)), (vec!["main"], false));
    assert_eq!((names(&answers[1]), has_line(1)), (vec!["leaf"], true));
}

/// What `-gsplit-dwarf` leaves in the program is little; the rest comes from the package, or from
/// single files, which are named where they lack.
#[test]
fn split_dwarf() {
    let directory = tempdir().unwrap();
    // binutils' `dwp` knows no DWARF 5.
    let flags = ["-gdwarf-4", "-gsplit-dwarf"];
    let path = compile(&directory, "cc", PROGRAM, &flags);
    let package_path = directory.path().join("package.dwp");
    run(&format!(
        "dwp -e {} -o {}",
        path.display(),
        package_path.display()
    ));
    let start = offset_of(&path, "caller");
    let offsets: Vec<u64> = (start..start + 64).collect();
    let file = File::open(&path).unwrap();
    let alone = Sources::alone(&file);
    let look_up = |sources| symbolizer::file(sources, "/proc/self/fd", &offsets, ALL, |_| true);
    let most_inlined = |names: &Names| {
        let answers = names.answers.iter().flatten();
        answers.map(|symbol| symbol.functions.len()).max().unwrap()
    };
    let bare = look_up(alone);
    assert_eq!((most_inlined(&bare), bare.lacking.len()), (1, 1));
    let SplitUnit { folder, name } = &bare.lacking[0];
    let [folder, name] = [folder, name].map(|text| std::str::from_utf8(text).unwrap());
    let place = std::path::Path::new(folder).join(name);
    let unit = [File::open(&place).unwrap()];
    std::fs::remove_file(&place).unwrap();
    let package = File::open(&package_path).unwrap();
    for sources in [
        Sources {
            package: Some(&package),
            ..alone
        },
        Sources {
            units: &unit,
            ..alone
        },
    ] {
        let whole = look_up(sources);
        assert_eq!((most_inlined(&whole), whole.lacking.len()), (2, 0));
    }
}

/// What `dwz` moves to another file is found there.
#[test]
fn supplementary_file() {
    let directory = tempdir().unwrap();
    let path = compile(&directory, "cc", PROGRAM, &["-g"]);
    let (other, common) = (
        directory.path().join("other"),
        directory.path().join("common"),
    );
    std::fs::copy(&path, &other).unwrap();
    run(&format!(
        "dwz -m {} {} {}",
        common.display(),
        path.display(),
        other.display()
    ));
    let start = offset_of(&path, "caller");
    let offsets: Vec<u64> = (start..start + 64).collect();
    let (file, common) = (File::open(&path).unwrap(), File::open(&common).unwrap());
    let sources = Sources {
        supplementary: Some(&common),
        ..Sources::alone(&file)
    };
    let answers = symbolizer::file(sources, "/proc/self/fd", &offsets, ALL, |_| true).answers;
    let inlined = answers
        .iter()
        .find(|answer| names(answer).len() == 2)
        .unwrap();
    assert_eq!(names(inlined), ["inlined", "caller"]);
}
