//! What is recorded: two compilers, whose libraries are large, and a program with much debug
//! information.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::large;

/// A command that is recorded until it ends.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// What it is, in a few words.
    pub(super) meaning: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

/// How large the subjects are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Types of the source that rustc gets.
    rust_types: usize,
    /// Types of the source that clang++ gets.
    cpp_types: usize,
    /// Units of the large program.
    units: usize,
    /// How long the large program runs, in seconds.
    seconds: u32,
}

impl Sizes {
    /// Those of a quick run show that all of it works.
    pub(super) const fn new(quick: bool) -> Self {
        match quick {
            true => Self {
                rust_types: 5,
                cpp_types: 2,
                units: 4,
                seconds: 1,
            },
            false => Self {
                rust_types: 30,
                cpp_types: 12,
                units: 240,
                seconds: 5,
            },
        }
    }
}

/// All subjects, or why there is not one of them; sources are written into a folder, and what takes
/// long to make into another.
pub(super) fn all(
    sizes: Sizes,
    folder: &Path,
    built: &Path,
) -> [(&'static str, Result<Subject>); 3] {
    [
        ("rustc", rustc(sizes, folder)),
        ("clang++", clang(sizes, folder)),
        ("large", large(sizes, built)),
    ]
}

fn rustc(sizes: Sizes, folder: &Path) -> Result<Subject> {
    let install = "failed to run `rustc`; install Rust";
    // Not the one on PATH, which with rustup is a program that looks for this one.
    let root = output(Command::new("rustc").args(["--print", "sysroot"]), install)?;
    let program = Path::new(&root).join("bin/rustc");
    let source = folder.join("source.rs");
    fs::write(&source, rust_source(sizes.rust_types)).context("failed to write a source")?;
    let object = folder.join("rust.o");
    let subject = Subject {
        name: "rustc",
        meaning: output(Command::new(&program).arg("--version"), install)?,
        program,
        arguments: compile(&["-O", "--emit=obj"], &object, &source),
    };
    rehearse(subject)
}

fn clang(sizes: Sizes, folder: &Path) -> Result<Subject> {
    let install = "failed to run `clang++`; install the package clang";
    let version = output(Command::new("clang++").arg("--version"), install)?;
    let source = folder.join("source.cpp");
    fs::write(&source, cpp_source(sizes.cpp_types)).context("failed to write a source")?;
    let object = folder.join("cpp.o");
    let subject = Subject {
        name: "clang++",
        meaning: version,
        program: PathBuf::from("clang++"),
        arguments: compile(&["-O2", "-std=c++17", "-c"], &object, &source),
    };
    rehearse(subject)
}

fn large(sizes: Sizes, built: &Path) -> Result<Subject> {
    let program = large::program(sizes.units, built)?;
    let bytes = large::debug_bytes(&program)?;
    let subject = Subject {
        name: "large",
        meaning: format!(
            "a program of {} units with {} MiB of debug information",
            sizes.units,
            bytes >> 20
        ),
        program,
        arguments: vec![sizes.seconds.to_string()],
    };
    rehearse(subject)
}

fn compile(options: &[&str], object: &Path, source: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    arguments.extend(["-o".to_owned(), object.display().to_string()]);
    arguments.push(source.display().to_string());
    arguments
}

/// Runs it once, so that what it reads is in memory for the first recording as for the last.
fn rehearse(subject: Subject) -> Result<Subject> {
    output(
        Command::new(&subject.program).args(&subject.arguments),
        "failed to run it",
    )?;
    Ok(subject)
}

/// The first line that a command prints.
fn output(command: &mut Command, otherwise: &'static str) -> Result<String> {
    let output = command.output().context(otherwise)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{otherwise}: {}", said.trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Types with collections, whose generic code and derived traits rustc has to make for each.
fn rust_source(types: usize) -> String {
    let mut text = String::from("use std::collections::*;\n");
    for number in 0..types {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "#[derive(Debug, Clone, PartialEq, Default)]\n\
             pub struct S{number} {{ a: HashMap<String, Vec<[u8; {number}]>>, b: BTreeMap<u32, String> }}\n\
             impl S{number} {{\n pub fn f(&self) -> usize {{\n\
             \x20 self.a.values().map(|v| v.len()).sum::<usize>()\n\
             \x20  + self.b.iter().filter(|(k, v)| **k > {number} && v.len() > 2).count()\n }}\n}}"
        );
    }
    text.push_str("fn main() {\n let mut n = 0;\n");
    for number in 0..types {
        let _ = writeln!(
            text,
            " let mut s = S{number}::default();\n\
             \x20s.a.insert(format!(\"{{}}\", n), vec![[1; {number}]]);\n\
             \x20n += s.clone().f();\n println!(\"{{s:?}}\");"
        );
    }
    text + " println!(\"{n}\");\n}\n"
}

/// Types of their own in maps, sorted by lambdas, so that templates are made anew for each.
fn cpp_source(types: usize) -> String {
    let mut text = String::from(
        "#include <algorithm>\n#include <functional>\n#include <map>\n#include <string>\n\
         #include <tuple>\n#include <vector>\n\
         template <int N> struct key { int a; std::string b; \
         bool operator<(const key &o) const { return std::tie(a, b) < std::tie(o.a, o.b); } };\n",
    );
    for number in 0..types {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "int f{number}(std::map<key<{number}>, std::vector<std::string>> &m) {{\n\
             \x20std::vector<key<{number}>> v;\n\
             \x20for (auto &[k, s] : m) {{ v.push_back(k); s.push_back(k.b); }}\n\
             \x20std::sort(v.begin(), v.end(), [](auto &a, auto &b) {{ return b < a; }});\n\
             \x20std::function<int(int)> g = [&](int x) {{ return x + (int)m.size() + {number}; }};\n\
             \x20return m[v.empty() ? key<{number}>{{}} : v.front()].size() + g({number});\n}}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Rust source compiles, as does the C++ source where its compiler is installed.
    #[test]
    fn sources_compile() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = Sizes::new(true);
        rustc(sizes, folder.path()).unwrap();
        assert!(folder.path().join("rust.o").exists());
        if let Err(error) = clang(sizes, folder.path()) {
            assert!(format!("{error:#}").contains("install"), "{error:#}");
        }
    }
}
