//! File systems on which `stat` and the kernel's mappings call a file differently: programs on them
//! are unwound from their first sample and named like all others.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use tests::{Mounts, Whole, Workload, record, require_root, run_tool};

/// A program without frame pointers, in a folder.
fn program_in(folder: &Path) -> String {
    let program = folder.join("odd");
    let compiled = Workload::without_frame_pointers("odd.c", "odd", &[]);
    fs::copy(compiled.path(), &program).unwrap();
    program.to_str().unwrap().to_owned()
}

/// Every stack of the program, recorded as a command, is whole, and its table was there from the
/// first sample on.
fn assert_whole(program: &str) {
    let recorded = record(&["-F", "999"], &[program, "deep", "500", "20"]);
    let profile = recorded.pprof();
    let whole = Whole::of(&profile, |sample| sample.process == "odd");
    assert!(whole.user > 300, "{whole:?}");
    assert_eq!(whole.whole, whole.user, "{whole:?}");
    let ledger = recorded.ledger();
    // Until its `exec` the command is a process of timesink, which needs no table.
    let samples = profile.samples.iter();
    let before = samples.filter(|sample| sample.process == "timesink");
    let before: u64 = before.map(|sample| sample.samples).sum();
    assert!(ledger.count("table not loaded") <= before, "{ledger:?}");
    let chains = recorded.folded();
    let deep =
        chains.filter(|stack| stack.user_frames().filter(|name| *name == "deep").count() == 20);
    assert!(deep.total() > 300, "{chains:?}");
}

/// Short-lived processes of the program, started by another, have names and whole stacks.
fn assert_named(program: &str) {
    let script = format!("for i in $(seq 60); do {program} deep 10 20; done");
    let recorded = record(&["-F", "999"], &["sh", "-c", &script]);
    let at_work = |sample: &tests::PprofSample| {
        sample.process == "odd" && sample.frames[0].function == "work"
    };
    let profile = recorded.pprof();
    let whole = Whole::of(&profile, at_work);
    assert!(whole.user > 200, "{whole:?} {:?}", recorded.ledger());
    assert!(whole.percent() > 90.0, "{whole:?} {:?}", recorded.ledger());
    let named = profile.samples.iter().filter(|sample| at_work(sample));
    for sample in named {
        assert_eq!(sample.frames[0].module, program);
    }
}

/// An overlay over a file system in memory: the layers are of one file system.
#[test]
fn an_overlay_of_one_file_system() {
    if !require_root() {
        return;
    }
    let mounts = Mounts::new();
    let memory = mounts.mount("memory", &["-t", "tmpfs", "tmpfs"]);
    let lower = mounts.folder("memory/lower");
    program_in(&lower);
    let overlay = mounts.overlay(&lower, &memory);
    let program = overlay.join("odd");
    assert_whole(program.to_str().unwrap());
    assert_named(program.to_str().unwrap());
    // A copy in the upper layer is another file.
    run_tool("touch", &[program.to_str().unwrap()]);
    assert_whole(program.to_str().unwrap());
}

/// An overlay whose layers are of different file systems, as a container's often are.
#[test]
fn an_overlay_of_two_file_systems() {
    if !require_root() {
        return;
    }
    let mounts = Mounts::new();
    let memory = mounts.mount("memory", &["-t", "tmpfs", "tmpfs"]);
    let below = mounts.mount("below", &["-t", "tmpfs", "tmpfs"]);
    program_in(&below);
    let overlay = mounts.overlay(&below, &memory);
    let program = overlay.join("odd");
    assert_whole(program.to_str().unwrap());
    assert_named(program.to_str().unwrap());
}

/// Subvolumes of btrfs are devices of their own to `stat`, and of the one file system to mappings.
#[test]
#[allow(
    clippy::print_stderr,
    reason = "the reader of the test's output is told"
)]
fn a_subvolume_of_btrfs() {
    if !require_root() {
        return;
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    if !known.contains("btrfs")
        && !Command::new("modprobe")
            .arg("btrfs")
            .status()
            .is_ok_and(|ran| ran.success())
    {
        eprintln!("skipped: this kernel has no btrfs");
        return;
    }
    let mounts = Mounts::new();
    let image = mounts.path().join("image");
    File::create(&image).unwrap().set_len(256 << 20).unwrap();
    let image = image.to_str().unwrap();
    run_tool("mkfs.btrfs", &["-q", image]);
    let place = mounts.mount("btrfs", &["-o", "loop", image]);
    let subvolume = place.join("subvolume");
    run_tool(
        "btrfs",
        &["-q", "subvolume", "create", subvolume.to_str().unwrap()],
    );
    let program = program_in(&subvolume);
    assert_whole(&program);
    assert_named(&program);
}
