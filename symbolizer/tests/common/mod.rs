//! Programs that are compiled for the tests, and the true place of their functions.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSegment, ObjectSymbol};
use symbolizer::{Detail, Miss, Sources, Symbol};
use tempfile::TempDir;

/// Lines are counted by the tests: `leaf` opens on line 1, `inlined` on 2, `caller` on 5.
pub(crate) const PROGRAM: &str = "\
__attribute__((noinline)) int leaf(int x) { return x * 3 + 1; }
static inline __attribute__((always_inline)) int inlined(int x) {
  return leaf(x) ^ leaf(x + 1);
}
__attribute__((noinline)) int caller(int x) {
  return inlined(x) + 7;
}
int main(int argc, char **argv) { (void)argv; return caller(argc); }
";

pub(crate) const CPP_PROGRAM: &str = "\
template <typename T> struct Box { T value; __attribute__((noinline)) T get(T more); };
template <typename T> T Box<T>::get(T more) { return value + more; }
int main(int argc, char **) { Box<int> box{argc}; return box.get(3); }
";

/// Compiles `source` by `compiler` into `directory`.
pub(crate) fn compile(
    directory: &TempDir,
    compiler: &str,
    source: &str,
    flags: &[&str],
) -> PathBuf {
    let output = directory.path().join(format!("program{}", flags.join("")));
    let extension = if compiler == "c++" { "cc" } else { "c" };
    let input = directory.path().join(format!("program.{extension}"));
    std::fs::write(&input, source).expect("the directory is writable");
    let (input, output_name) = (input.display(), output.display());
    run(&format!(
        "{compiler} -O1 {} -o {output_name} {input}",
        flags.join(" ")
    ));
    output
}

/// Runs a command whose words have no blanks.
pub(crate) fn run(command: &str) {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command has a word");
    let status = Command::new(program).args(words).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "failed to run `{command}`"
    );
}

/// The file offset of a function by `object`: `st_value - p_vaddr + p_offset`.
pub(crate) fn offset_of(path: &Path, function: &str) -> u64 {
    let data = std::fs::read(path).expect("the file is readable");
    let elf = object::File::parse(data.as_slice()).expect("the file is ELF");
    let symbol = elf
        .symbols()
        .chain(elf.dynamic_symbols())
        .find(|symbol| symbol.name() == Ok(function) && symbol.is_definition())
        .unwrap_or_else(|| panic!("no `{function}`"));
    let covers = |start: u64, size: u64| (start..start + size).contains(&symbol.address());
    let segment = elf
        .segments()
        .find(|segment| covers(segment.address(), segment.size()))
        .expect("a function is in a segment");
    symbol.address() - segment.address() + segment.file_range().0
}

/// The answers for offsets of a file that has no others beside it.
pub(crate) fn resolve_all(
    file: &File,
    offsets: &[u64],
    detail: Detail,
) -> Vec<Result<Symbol, Miss>> {
    let sources = Sources::alone(file);
    symbolizer::file(sources, "/proc/self/fd", offsets, detail, |_| true).answers
}

/// The answer for one offset of the file at `path`.
pub(crate) fn resolve(path: &Path, offset: u64, detail: Detail) -> Result<Symbol, Miss> {
    let file = File::open(path).expect("the file can be opened");
    let mut answers = resolve_all(&file, &[offset], detail);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// The names of a symbol's functions, innermost first.
pub(crate) fn names(answer: &Result<Symbol, Miss>) -> Vec<&str> {
    let symbol = answer.as_ref().expect("there is a name");
    symbol
        .functions
        .iter()
        .map(|function| function.name.as_str())
        .collect()
}

/// The next number of Marsaglia's xorshift64.
pub(crate) fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
