//! The same process recorded by `perf record --call-graph dwarf`, which copies the stack and unwinds it
//! later, and by timesink at once: the same chains, with the same shares.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the figures are for whoever looks")]

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Stdio},
};

use tests::{Pprof, Running, Workload, alone, require_root, tool};

/// How many chains are compared.
const TOP: usize = 50;
/// A chain of which fewer samples are expected is not compared.
const ENOUGH: u64 = 20;
/// How many standard errors two shares may differ. A run compares some 52 chains and errors are 1.05 times
/// as large as those of independent samples (1,870 shares of 36 runs), so that more is met once in 1,000 runs.
const MOST_ERRORS: f64 = 4.5;
/// The most that the squares of these errors may be on average: five standard errors of that average, which is
/// 1.1, above it.
const MOST_SQUARES: f64 = 2.2;
const SECONDS: &str = "8";

/// Samples by chain, outermost frame first.
type Chains = HashMap<String, u64>;

/// A frame of the program has its function's name, one of a library the library's: the two name the
/// functions of libc differently.
fn frame(function: &str, module: &str, program: &str) -> String {
    if module == program {
        return function.to_owned();
    }
    module.rsplit('/').next().unwrap().to_owned()
}

/// The chains of `perf script`: a frame a line, leaf first, as `address name (file)`, and an empty line
/// behind each sample.
fn of_perf(text: &str, program: &str) -> Chains {
    let mut chains = Chains::new();
    for sample in text.split("\n\n") {
        let frames = sample.lines().rev().filter_map(|line| {
            let line = line.trim().strip_suffix(')')?;
            let (named, module) = line.rsplit_once(" (")?;
            let (address, function) = named.split_once(' ')?;
            let address = u64::from_str_radix(address, 16).ok()?;
            let is_kernel = address >> 63 == 1;
            (!is_kernel).then(|| frame(function, module, program))
        });
        let chain = frames.collect::<Vec<_>>().join(" ");
        if !chain.is_empty() {
            *chains.entry(chain).or_default() += 1;
        }
    }
    chains
}

fn of_timesink(profile: &Pprof, program: &str) -> Chains {
    let mut chains = Chains::new();
    for sample in &profile.samples {
        let user = sample
            .frames
            .iter()
            .rev()
            .filter(|frame| !frame.is_kernel());
        let user = user.map(|found| frame(&found.function, &found.module, program));
        let chain = user.collect::<Vec<_>>().join(" ");
        if sample.process == "chains" && !chain.is_empty() {
            *chains.entry(chain).or_default() += sample.samples;
        }
    }
    chains
}

fn record_by_perf(folder: &Path, program: &str, pid: &str) -> Chains {
    let data = folder.join("perf.data");
    let recorded = Command::new(tool("perf"))
        .args(["record", "-q", "-F", "997", "-e", "cpu-clock"])
        .args(["--call-graph", "dwarf,4096", "-p", pid, "-o"])
        .arg(&data)
        .args(["--", "sleep", SECONDS])
        .stderr(Stdio::null())
        .status();
    assert!(recorded.unwrap().success());
    let script = Command::new(tool("perf"))
        .args(["script", "--no-inline", "-F", "ip,sym,dso", "-i"])
        .arg(&data)
        .stderr(Stdio::null())
        .output();
    of_perf(&String::from_utf8(script.unwrap().stdout).unwrap(), program)
}

fn total(chains: &Chains) -> u64 {
    chains.values().sum()
}

/// The most frequent chains, each with enough samples.
fn top(chains: &Chains) -> Vec<&String> {
    let mut sorted: Vec<_> = chains
        .iter()
        .filter(|(_, samples)| **samples >= ENOUGH)
        .collect();
    sorted.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
    sorted
        .into_iter()
        .take(TOP)
        .map(|(chain, _)| chain)
        .collect()
}

/// Each of the 50 most frequent chains of either is a chain of the other, with the same share within
/// the error of sampling.
#[test]
fn chains_and_shares_are_those_of_perf() {
    if !require_root() {
        return;
    }
    let workload = Workload::without_frame_pointers("chains.c", "chains", &[]);
    let (folder, _alone) = (tempfile::tempdir().unwrap(), alone());
    let mut process = Command::new(workload.path()).arg("60").spawn().unwrap();
    let pid = process.id().to_string();
    let output = folder.path().join("out.pb.gz");
    let duration = format!("{SECONDS}s");
    let mut options = vec!["record", "-v", "-F", "1009", "-e", "cpu-clock", "-p", &pid];
    options.extend(["-d", &duration, "-o", output.to_str().unwrap()]);
    let mut timesink = Running::start(&options);
    timesink.wait_for("recording");
    let theirs = record_by_perf(folder.path(), workload.path(), &pid);
    let run = timesink.finish();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(run.status.success(), "{}", run.stderr);
    let ours = of_timesink(&Pprof::read(&output), workload.path());

    let (our_total, their_total) = (total(&ours) as f64, total(&theirs) as f64);
    let mut compared: Vec<&String> = top(&ours);
    let their_top = top(&theirs);
    assert!(
        compared.len() == TOP && their_top.len() == TOP,
        "{ours:?} {theirs:?}"
    );
    let common = their_top
        .iter()
        .filter(|chain| compared.contains(chain))
        .count();
    compared.extend(
        their_top
            .into_iter()
            .filter(|chain| !top(&ours).contains(chain)),
    );
    let mut largest = 0.0_f64;
    let (mut apart, mut squares) = (0.0, 0.0);
    for chain in &compared {
        let [our, their] = [&ours, &theirs].map(|chains| chains.get(*chain).copied().unwrap_or(0));
        assert!(our > 0 && their > 0, "{our} and {their} of {chain}");
        let (our, their) = (our as f64 / our_total, their as f64 / their_total);
        let both = (our * our_total + their * their_total) / (our_total + their_total);
        let error = (both * (1.0 - both) * (1.0 / our_total + 1.0 / their_total)).sqrt();
        let errors = (our - their).abs() / error;
        assert!(errors <= MOST_ERRORS, "{our} and {their} of {chain}");
        largest = largest.max(errors);
        squares += errors * errors / compared.len() as f64;
        apart += (our - their).abs() / 2.0;
    }
    assert!(squares <= MOST_SQUARES, "{squares} of {}", compared.len());
    println!(
        "{our_total} and {their_total} samples, {} chains compared, {common} of {TOP} in both tops, \
         {largest:.2} standard errors at most, {:.2} % of the time elsewhere",
        compared.len(),
        100.0 * apart
    );
}
