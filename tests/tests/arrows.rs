//! The dependency arrows of docs/ARCHITECTURE.md.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate must never know.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "abi",
        &[
            "aya",
            "aya-ebpf",
            "symbolizer",
            "output",
            "profiler",
            "libc",
        ],
    ),
    (
        "profiler-ebpf",
        &["aya", "symbolizer", "output", "profiler"],
    ),
    ("symbolizer", &["abi", "aya", "output", "profiler"]),
    (
        "output",
        &["abi", "aya", "symbolizer", "profiler", "blazesym"],
    ),
    ("bench", &["abi", "symbolizer", "profiler"]),
];

/// No crate depends on one that it must not know.
#[test]
fn arrows_point_one_way() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    for (name, forbidden) in FORBIDDEN {
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name == *name)
            .unwrap();
        for dependency in &package.dependencies {
            let known = dependency.kind == DependencyKind::Normal;
            assert!(
                !(known && forbidden.contains(&dependency.name.as_str())),
                "{name} depends on {}",
                dependency.name
            );
        }
    }
}
