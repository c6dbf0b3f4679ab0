//! At every instruction of libc's functions, C++ with exceptions, a signal handler, PLT, the lazy
//! finding of functions and the vdso: the callers by our tables and step are libunwind's.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the differences are for whoever looks")]

mod ours;
mod process;
mod reference;

use std::collections::BTreeMap;

use ours::Tables;
use process::{Stop, Traced};
use reference::Reference;
use tests::Workload;

/// The most instructions of a scene that are looked at.
const MOST_STEPS: u64 = 30_000;

/// What the comparison of a scene gave.
#[derive(Default)]
struct Compared {
    steps: u64,
    /// Instructions by where they are and what came out differently, and how often.
    differences: BTreeMap<String, u64>,
}

impl Compared {
    fn different(&self) -> u64 {
        self.differences.values().sum()
    }
}

/// Goes through a scene up to its breakpoint.
fn scene(process: &mut Traced, tables: &mut Tables, reference: &Reference) -> Compared {
    let mut compared = Compared::default();
    let mut signal = 0;
    while compared.steps < MOST_STEPS {
        match process.step(signal) {
            Stop::Break => return compared,
            Stop::Step => signal = 0,
            Stop::Signal(number) => {
                signal = number;
                continue;
            }
            Stop::Ended => panic!("the process ended within a scene"),
        }
        let registers = process.registers();
        tables.see(process, registers.pc());
        let ours = tables.walk(process, &registers);
        let expected = reference.walk(process, &registers, tables.images());
        compared.steps += 1;
        if ours != expected {
            let difference = tables.describe(&ours, &expected);
            *compared.differences.entry(difference).or_default() += 1;
        }
    }
    assert!(matches!(process.run(signal), Stop::Break));
    compared
}

/// 99.9 % of the instructions have the same callers both ways, and the others are listed.
#[test]
fn callers_are_the_references_at_every_instruction() {
    let steps = Workload::without_frame_pointers("steps.cpp", "steps", &["-Wl,-z,lazy"]);
    let reference = Reference::build();
    let mut process = Traced::start(steps.path());
    let mut tables = Tables::default();
    let names = [
        "libc's functions",
        "exceptions",
        "a signal handler",
        "the vdso",
    ];
    let turns = ["first calls", "later calls"];
    let mut all = Compared::default();
    for (turn, name) in turns.iter().flat_map(|turn| names.map(|name| (turn, name))) {
        assert!(matches!(process.run(0), Stop::Break));
        let compared = scene(&mut process, &mut tables, &reference);
        println!(
            "{name:18} {turn}: {:6} steps, {} different",
            compared.steps,
            compared.different()
        );
        for (difference, times) in &compared.differences {
            println!("{times:8} × {difference}");
        }
        assert!(compared.steps > 100, "{name}");
        all.steps += compared.steps;
        *all.differences.entry(name.to_owned()).or_default() += compared.different();
    }
    assert!(matches!(process.run(0), Stop::Ended));
    let (different, steps) = (all.different(), all.steps);
    println!(
        "{different} of {steps} differ, {:.4} %",
        100.0 * different as f64 / steps as f64
    );
    assert!(different * 1000 <= steps, "{:?}", all.differences);
}
