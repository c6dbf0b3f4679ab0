//! Processes that are gone before anyone looks, and processes that become other programs.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use tests::{Pprof, PprofFrame, Running, Workload, record, require_root};

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
    let user = profile.user_count(|_| true);
    assert!(user > 5000, "{user}");
    let named = profile.count(|sample| {
        sample.process == "forks" && sample.user_leaf().is_some_and(PprofFrame::is_named)
    });
    assert!(named * 100 >= user * 98, "{named} of {user}");
    let in_program = |leaf: &PprofFrame| leaf.module == forks.path();
    let own = profile.user_count(in_program);
    let right = profile.user_count(|leaf| in_program(leaf) && leaf.function == "child_work");
    assert!(own * 100 >= user * 80, "{own} of {user}");
    assert!(right * 100 >= own * 98, "{right} of {own}");
}

/// Children of a program that ran already when the recording began, all of which have ended before the
/// recorder can look at one, since that stands still meanwhile: no process that was sampled is there any
/// more, and no mapping of the program was told.
#[test]
fn children_of_a_program_that_ran_before_have_names() {
    if !require_root() {
        return;
    }
    let births = Workload::compile("births");
    let mut command = Command::new(births.path());
    let command = command.args(["300", "2"]).stdin(Stdio::piped());
    let mut program = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut input = program.stdin.take().unwrap();
    let mut said = BufReader::new(program.stdout.take().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("births.pb.gz");
    let (pid, place) = (program.id().to_string(), output.to_str().unwrap());
    let options = ["record", "-v", "-F", "1999", "-p", &pid, "-o", place];
    let mut recorder = Running::start(&options);
    recorder.wait_for("recording");
    recorder.signal(libc::SIGSTOP);
    input.write_all(b"go\n").unwrap();
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "done\n");
    recorder.signal(libc::SIGCONT);
    drop(input);
    let run = recorder.finish();
    assert!(run.status.success(), "{}", run.stderr);
    assert!(program.wait().unwrap().success());

    let profile = Pprof::read(&output);
    let (user, named) = (
        profile.user_count(|_| true),
        profile.user_count(PprofFrame::is_named),
    );
    assert!(user > 500, "{user}");
    assert!(
        named * 100 >= user * 98,
        "{named} of {user}: {}",
        run.stderr
    );
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
        let samples = profile.count(|sample| {
            sample.process == own && sample.frames.iter().any(|frame| frame.function == at_work)
        });
        assert!(samples > 800, "{samples} in {own}");
        let mixed = profile.count(|sample| {
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
