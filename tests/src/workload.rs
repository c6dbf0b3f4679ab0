//! The C programs of `tests/workloads`, which know where their time goes.

use std::{fs, process::Command};

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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads");
        let compiled = Command::new(tool("cc"))
            .args(FLAGS)
            .args(flags)
            .arg(format!("{sources}/{source}.c"))
            .arg("-o")
            .arg(&path)
            .status()
            .unwrap();
        assert!(compiled.success(), "failed to compile {source}.c");
        let path = fs::canonicalize(path).unwrap();
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
