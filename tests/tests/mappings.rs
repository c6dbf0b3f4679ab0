//! Mappings that change under a running program.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use tests::{PprofSample, Workload, record, require_root};

/// A library in which `NAME_work` lies behind `before` bytes of text and before the rest of 32 KiB.
fn library(name: &str, before: u32) -> Workload {
    let defines = [
        format!("-DWORK={name}_work"),
        format!("-DBEFORE={before}"),
        format!("-DAFTER={}", 32768 - before),
    ];
    let mut flags = vec!["-UOWN_START", "-shared", "-fPIC", "-fno-toplevel-reorder"];
    flags.extend(defines.iter().map(String::as_str));
    Workload::compile_as("library", &format!("lib{name}.so"), &flags)
}

fn calls(sample: &PprofSample, function: &str) -> bool {
    let mut frames = sample.frames.iter();
    frames.any(|frame| frame.function == function)
}

/// Two libraries that are loaded in turn, at the same address, with their work at different places of
/// their files: no sample shows one under the caller of the other. The kernel programs keep the
/// mappings of a process from sample to sample while they take them to be unchanged.
#[test]
fn libraries_that_take_each_others_place_do_not_mix() {
    if !require_root() {
        return;
    }
    let (alpha, beta) = (library("alpha", 256), library("beta", 28672));
    let loads = Workload::compile("loads");
    let recorded = record(
        &["-F", "4999"],
        &[loads.path(), "3", alpha.path(), beta.path()],
    );
    let (loads, same) = recorded.run.stdout.trim().split_once(' ').unwrap();
    let (loads, same): (u64, u64) = (loads.parse().unwrap(), same.parse().unwrap());
    assert!(loads > 100 && same * 10 >= loads * 9, "{same} of {loads}");

    let profile = recorded.pprof();
    for (own, other) in [("alpha", "beta"), ("beta", "alpha")] {
        let (caller, work) = (format!("run_{own}"), format!("{own}_work"));
        let called = profile
            .samples
            .iter()
            .filter(|sample| calls(sample, &caller));
        let (mut at_work, mut mixed) = (0, 0);
        for sample in called {
            let in_other = sample.frames.iter().any(|frame| {
                frame.function.starts_with(other) || frame.module.contains(&format!("lib{other}"))
            });
            let in_rest = sample
                .frames
                .iter()
                .any(|frame| frame.function.starts_with(own) && frame.function != work);
            mixed += u64::from(in_other || in_rest) * sample.samples;
            at_work += u64::from(calls(sample, &work)) * sample.samples;
        }
        assert!(at_work > 1000, "{at_work} in {work}");
        assert_eq!(mixed, 0, "of {at_work} in {work}");
    }
}
