//! The programs of `tests/workloads`, which know where their time goes.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::tool;

/// Frame pointers everywhere, no call turned into a jump, and an own entry: see `common.h`.
const FLAGS: &[&str] = &[
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fno-omit-frame-pointer",
    "-mno-omit-leaf-frame-pointer",
    "-fno-optimize-sibling-calls",
    "-pthread",
    "-DOWN_START",
    "-nostartfiles",
];

/// As programs are built for use: no frame pointers, libc's entry.
const PLAIN_FLAGS: &[&str] = &[
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fomit-frame-pointer",
    "-pthread",
];

/// A compiled program, in a folder of its own that goes with it.
#[derive(Debug)]
pub struct Workload {
    _folder: TempDir,
    path: String,
}

impl Workload {
    /// Compiles `tests/workloads/SOURCE.c` to a program of the same name.
    #[must_use]
    pub fn compile(source: &str) -> Self {
        Self::compile_as(source, source, &[])
    }

    /// Compiles `tests/workloads/SOURCE.c` to a program called `name`.
    #[must_use]
    pub fn compile_as(source: &str, name: &str, flags: &[&str]) -> Self {
        let source = format!("{source}.c");
        Self::build(name, |path| {
            run("cc", &[FLAGS, flags].concat(), &source, path)
        })
    }

    /// Compiles `tests/workloads/SOURCE`, C, C++ or Rust by its extension, to a program called
    /// `name` that has no frame pointers.
    #[must_use]
    pub fn without_frame_pointers(source: &str, name: &str, flags: &[&str]) -> Self {
        Self::build(name, |path| compile_plain(source, flags, path))
    }

    /// As [`Workload::without_frame_pointers`], with a library from `tests/workloads/LIBRARY`,
    /// whose functions are found when they are first called.
    #[must_use]
    pub fn with_library(source: &str, library: &str, name: &str, flags: &[&str]) -> Self {
        Self::build(name, |path| {
            let folder = path.parent().unwrap();
            let shared = folder.join("libshared.so");
            compile_plain(library, &["-shared", "-fPIC"], &shared);
            let shared = shared.to_str().unwrap().to_owned();
            let search = format!("-Wl,-z,lazy,-rpath,{}", folder.display());
            let flags = [flags, &["-Wl,--no-as-needed", &shared, &search]].concat();
            compile_plain(source, &flags, path);
        })
    }

    fn build(name: &str, compile: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap().join(name);
        compile(&path);
        Self {
            path: path.to_str().unwrap().to_owned(),
            _folder: folder,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn compile_plain(source: &str, flags: &[&str], path: &Path) {
    match source.rsplit_once('.').unwrap().1 {
        "c" => run("cc", &[PLAIN_FLAGS, flags].concat(), source, path),
        "cpp" => run("c++", &[PLAIN_FLAGS, flags].concat(), source, path),
        "rs" => run("rustc", &[&["-O"], flags].concat(), source, path),
        other => panic!("no compiler for `{other}`"),
    }
}

fn run(compiler: &str, flags: &[&str], source: &str, path: &Path) {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads");
    let compiled = Command::new(tool(compiler))
        .arg(format!("{sources}/{source}"))
        .args(flags)
        .arg("-o")
        .arg(path)
        .status()
        .unwrap();
    assert!(compiled.success(), "failed to compile {source}");
}
