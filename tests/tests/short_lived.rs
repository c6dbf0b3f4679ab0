//! Processes that are gone before anyone looks, and processes that become other programs.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::fs;

use tests::{Pprof, PprofFrame, PprofSample, Running, Workload, record, require_root};

/// Whether user code was running.
fn is_user(sample: &PprofSample) -> bool {
    let leaf = sample.frames.first();
    leaf.is_some_and(|leaf| !leaf.is_kernel() && !leaf.function.starts_with('['))
}

fn total(profile: &Pprof, wanted: impl Fn(&PprofSample) -> bool) -> u64 {
    let samples = profile.samples.iter().filter(|sample| wanted(sample));
    samples.map(|sample| sample.samples).sum()
}

/// Whether a frame shows a function, and not the place of an instruction in a file.
fn is_named(frame: &PprofFrame) -> bool {
    !frame.function.is_empty()
        && !frame.function.starts_with('[')
        && !frame.function.contains("+0x")
}

/// Of 2,000 children of 5 ms each, at least 98 % of the user samples have a function's name and are
/// those of the right process, and of those in the program itself at least 98 % are at work. The others
/// are the loader's: what it takes to start a program depends on the machine and on what else runs.
#[test]
fn children_have_names() {
    if !require_root() {
        return;
    }
    let forks = Workload::compile("forks");
    let recorded = record(&["-F", "999"], &[forks.path(), "2000", "5"]);
    let profile = recorded.pprof();
    let leaf_is = |sample: &PprofSample, wanted: &dyn Fn(&PprofFrame) -> bool| {
        is_user(sample) && sample.frames.first().is_some_and(wanted)
    };
    let user = total(&profile, is_user);
    assert!(user > 5000, "{user}");
    let named = total(&profile, |sample| {
        sample.process == "forks" && leaf_is(sample, &is_named)
    });
    assert!(named * 100 >= user * 98, "{named} of {user}");
    let in_program = |leaf: &PprofFrame| leaf.module == forks.path();
    let own = total(&profile, |sample| leaf_is(sample, &in_program));
    let right = total(&profile, |sample| {
        leaf_is(sample, &|leaf| {
            in_program(leaf) && leaf.function == "child_work"
        })
    });
    assert!(own * 100 >= user * 80, "{own} of {user}");
    assert!(right * 100 >= own * 98, "{right} of {own}");
}

/// Short commands, one after the other: every user sample is in a file by its path, and at least 98 %
/// of those in files with a symbol table or a debug file have a function's name. Debian's `git` and
/// `dash` have neither, and export nothing: what runs in them is shown by its place.
#[test]
fn short_commands_have_names() {
    if !require_root() {
        return;
    }
    let repository = env!("CARGO_MANIFEST_DIR");
    let script = format!(
        "for i in $(seq 150); do git -C {repository} log -3 >/dev/null; \
         sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'; done"
    );
    let recorded = record(&["-F", "1999"], &["sh", "-c", &script]);
    let profile = recorded.pprof();
    let user = |sample: &PprofSample| {
        let leaf = sample.frames.first();
        leaf.is_some_and(|leaf| !leaf.is_kernel() && !leaf.function.starts_with("[lost"))
    };
    let all = total(&profile, user);
    let in_files = total(&profile, |sample| {
        user(sample)
            && (sample.frames[0].module.starts_with('/') || sample.frames[0].module == "[vdso]")
    });
    assert!(all > 500, "{all}");
    assert_eq!(in_files, all, "{}", recorded.run.stderr);
    // The system's C library and its loader, whose debug files `tests/install-tools` brings.
    let has_symbols = |sample: &PprofSample| {
        let name = sample.frames[0].module.rsplit('/').next();
        name.is_some_and(|name| name.starts_with("libc.so") || name.starts_with("ld-linux"))
    };
    let expected = total(&profile, |sample| user(sample) && has_symbols(sample));
    let named = total(&profile, |sample| {
        user(sample) && has_symbols(sample) && is_named(&sample.frames[0])
    });
    assert!(expected > 100, "{expected}");
    assert!(named * 100 >= expected * 98, "{named} of {expected}");
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
