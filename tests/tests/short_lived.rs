//! Processes that are gone before anyone looks, and processes that become other programs.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::fs;

use tests::{Pprof, PprofSample, Running, Workload, record, require_root};

/// Whether user code was running.
fn is_user(sample: &PprofSample) -> bool {
    let leaf = sample.frames.first();
    leaf.is_some_and(|leaf| !leaf.is_kernel() && !leaf.function.starts_with('['))
}

fn total(profile: &Pprof, wanted: impl Fn(&PprofSample) -> bool) -> u64 {
    let samples = profile.samples.iter().filter(|sample| wanted(sample));
    samples.map(|sample| sample.samples).sum()
}

/// Of 2,000 children of 5 ms each, at least 95 % of the user samples are in the right process, with
/// module and function.
#[test]
fn children_have_names() {
    if !require_root() {
        return;
    }
    let forks = Workload::compile("forks");
    let recorded = record(&["-F", "999"], &[forks.path(), "2000", "5"]);
    let profile = recorded.pprof();
    let user = total(&profile, is_user);
    let right = total(&profile, |sample| {
        let leaf = sample.frames.first();
        is_user(sample)
            && sample.process == "forks"
            && leaf.is_some_and(|leaf| leaf.module == forks.path() && leaf.function == "child_work")
    });
    assert!(user > 5000, "{user}");
    assert!(right * 100 >= user * 95, "{right} of {user}");
}

/// The most memory, in KiB, that the recorder of so many children has used when it stops.
fn peak_kib(forks: &Workload, children: &str) -> u64 {
    let record = ["record", "-v", "-F", "999", "-o", "-", "--"];
    let command = [forks.path(), children, "1"];
    let mut running = Running::start(&[&record[..], &command].concat());
    running.wait_for("symbolizing");
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().strip_suffix(" kB").unwrap();
    assert!(running.finish().status.success());
    peak.parse().unwrap()
}

/// A hundred times the children take no more than 4 MiB more memory.
#[test]
fn memory_is_flat() {
    if !require_root() {
        return;
    }
    let forks = Workload::compile("forks");
    let (few, many) = (peak_kib(&forks, "20"), peak_kib(&forks, "2000"));
    assert!(many <= few + 4096, "{few} KiB, then {many} KiB");
}

/// Two programs that become each other under one process id: each sample is of one of them alone,
/// by name, module and function.
#[test]
fn programs_that_become_each_other_do_not_mix() {
    if !require_root() {
        return;
    }
    let [alpha, beta] = ["alpha", "beta"].map(|name| {
        let function = format!("-DWORK={name}_work");
        Workload::compile_as("exec", name, &[&function])
    });
    let recorded = record(&["-F", "999"], &[alpha.path(), "400", beta.path()]);
    let profile = recorded.pprof();
    for (own, other) in [("alpha", "beta"), ("beta", "alpha")] {
        let at_work = format!("{own}_work");
        let samples = total(&profile, |sample| {
            sample.process == own && sample.frames.iter().any(|frame| frame.function == at_work)
        });
        assert!(samples > 800, "{samples} in {own}");
        let mixed = total(&profile, |sample| {
            let has = |name: &str| {
                let names = sample.frames.iter();
                names.clone().any(|frame| {
                    frame.function == format!("{name}_work") || frame.module.ends_with(name)
                })
            };
            has(other) && (sample.process == own || has(own))
        });
        assert_eq!(mixed, 0, "{own}: {profile:?}");
    }
}
