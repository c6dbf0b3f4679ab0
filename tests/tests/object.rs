//! The committed kernel object and its sources belong together.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn manifest() -> Vec<(String, String)> {
    fs::read_to_string(root().join("profiler-ebpf/object/manifest"))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (hash, file) = line.split_once("  ").unwrap();
            (hash.to_owned(), file.to_owned())
        })
        .collect()
}

fn rust_files(folder: &Path) -> usize {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => usize::from(path.extension().is_some_and(|extension| extension == "rs")),
        })
        .sum()
}

/// Every kernel source and the object have the hash that stands in the manifest, so the object was
/// built from these sources; `profiler-ebpf/build-object` makes it so again.
#[test]
fn the_object_was_built_from_the_sources() {
    let manifest = manifest();
    for (hash, file) in &manifest {
        let bytes = fs::read(root().join(file)).unwrap();
        let now: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            &now, hash,
            "`{file}` changed: run profiler-ebpf/build-object"
        );
    }
    let listed = manifest
        .iter()
        .filter(|(_, file)| file.ends_with(".rs"))
        .count();
    assert_eq!(
        listed,
        rust_files(&root().join("profiler-ebpf")),
        "a source is not in the manifest"
    );
}

/// No path of the machine that built the object is left in it.
#[test]
fn the_object_names_no_place_of_its_builder() {
    for arch in ["x86_64", "aarch64"] {
        let path = format!("profiler-ebpf/object/{arch}.bpf.o");
        let object = fs::read(root().join(&path)).unwrap();
        let text = String::from_utf8_lossy(&object);
        for trace in ["/root", "/home", "index.crates", "/tmp"] {
            assert!(!text.contains(trace), "`{trace}` is in {path}");
        }
    }
}
