//! A machine that never was: its processes and stacks, from a fixed seed.
//!
//! Thirty processes have shares of the time that fall as 1/(n + 1). Each has a call tree of its own: a stack
//! leaves an earlier one of the process at a random frame and goes on to a depth of 20 to 60. Processes
//! have from 38 to 600 stacks, 3,600 in all, with shares that fall the same way, so that a third of a
//! window's stacks, and more of its samples, were in the one before it. One sample in a hundred has a stack
//! that was never there, and one in fifty belongs to a process that lives for that sample only.

use output::{
    Frame, FrameKind, Function, Labels, Line, Mapping, MappingKind, Meta, Period, Profile, RowKind,
    SampleType, StackId, Unit,
};

/// How long a window is.
pub(super) const WINDOW_NS: i64 = 10_000_000_000;
const SLICE_NS: u64 = 100_000_000;
const SLICES: usize = 100;
const PROCESSES: usize = 30;
/// Stacks of the process that has most.
const STACKS: usize = 600;
const LEAST_STACKS: usize = 20;
/// Functions of each program, of the libraries that all share, and of the kernel.
const FUNCTIONS: [usize; 3] = [2_000, 500, 800];
const NEW_STACK: usize = 100;
const SHORT_LIVED: usize = 50;

/// A function of a program; of the libraries with a program of [`LIBRARY`], of the kernel with [`KERNEL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    program: usize,
    function: usize,
}

const LIBRARY: usize = PROCESSES;
const KERNEL: usize = PROCESSES + 1;

#[derive(Debug)]
struct Process {
    threads: usize,
    stacks: Vec<Vec<Place>>,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    random: Random,
    processes: Vec<Process>,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let processes = (0..PROCESSES).map(|program| {
            let stacks = (STACKS * 2 / (program + 2)).max(LEAST_STACKS);
            Process::new(&mut random, program, stacks)
        });
        let processes = processes.collect();
        Self { random, processes }
    }

    /// What the busy core of the machine did for ten seconds.
    pub(super) fn window(&mut self, time_nanos: i64, hz: u32) -> Profile {
        let period = Period {
            of: SampleType::new("cpu", Unit::Nanoseconds),
            value: 1_000_000_000 / u64::from(hz),
        };
        let mut profile = Profile::new(meta(time_nanos, hz), sample_types());
        let samples = hz * 10;
        for _ in 0..samples {
            let program = self.random.low(PROCESSES);
            let stack = self.stack(program);
            let labels = self.labels(&mut profile, program);
            let stack = intern(&mut profile, &stack);
            profile.add(stack, labels, &[1, period.value]);
        }
        profile.period = Some(period);
        for (kind, name) in [(RowKind::Expected, "expected"), (RowKind::Got, "got")] {
            let meaning = "samples of one busy core";
            profile.ledger.push(kind, name, samples.into(), meaning);
        }
        profile
    }

    /// One that the process has, or now and then one that it never had.
    fn stack(&mut self, program: usize) -> Vec<Place> {
        let random = &mut self.random;
        let stacks = &self.processes[program].stacks;
        let known = &stacks[random.low(stacks.len())];
        match random.below(NEW_STACK) {
            0 => grown(random, program, known),
            _ => known.clone(),
        }
    }

    fn labels(&mut self, profile: &mut Profile, program: usize) -> Labels {
        let random = &mut self.random;
        let pid = match random.below(SHORT_LIVED) {
            0 => 100_000 + number(random.below(1 << 20)),
            _ => 1_000 + number(program) * 100,
        };
        let thread = random.low(self.processes[program].threads);
        let cgroup = format!("/system.slice/service-{program}.service");
        Labels {
            pid,
            tid: pid + number(thread),
            process: profile.intern_string(&format!("process-{program}")),
            thread: profile.intern_string(&format!("worker-{thread}")),
            cgroup: Some(profile.intern_string(&cgroup)),
            slice: Some(number(random.below(SLICES))),
            wait: None,
        }
    }
}

impl Process {
    fn new(random: &mut Random, program: usize, count: usize) -> Self {
        let mut stacks: Vec<Vec<Place>> = Vec::with_capacity(count);
        while stacks.len() < count {
            let from: &[Place] = match stacks.len() {
                0 => &[],
                known => &stacks[random.below(known)],
            };
            let stack = grown(random, program, from);
            stacks.push(stack);
        }
        let threads = 1 + random.below(16);
        Self { threads, stacks }
    }
}

/// Leaves `known` at some frame and goes on to a depth of its own. The last frames may be of libraries, and
/// after those of the kernel.
fn grown(random: &mut Random, program: usize, known: &[Place]) -> Vec<Place> {
    let depth = 20 + random.below(41);
    let shared = random.below(known.len() + 1).min(depth - 1);
    let mut stack = known[..shared].to_vec();
    while stack.len() < depth {
        let left = depth - stack.len();
        let (program, count) = match (left, random.below(4)) {
            (1..4, 0) => (KERNEL, FUNCTIONS[2]),
            (1..8, 1) => (LIBRARY, FUNCTIONS[1]),
            _ => (program, FUNCTIONS[0]),
        };
        let function = random.low(count);
        stack.push(Place { program, function });
    }
    stack
}

fn meta(time_nanos: i64, hz: u32) -> Meta {
    Meta {
        title: "CPU profile of the machine".to_owned(),
        command: "the whole machine".to_owned(),
        host: "generated".to_owned(),
        time_nanos,
        duration_nanos: WINDOW_NS,
        event: format!("cpu-clock at {hz} Hz"),
        slice_ns: SLICE_NS,
    }
}

fn sample_types() -> Vec<SampleType> {
    vec![
        SampleType::new("samples", Unit::Count),
        SampleType::new("cpu", Unit::Nanoseconds),
    ]
}

fn intern(profile: &mut Profile, stack: &[Place]) -> StackId {
    let frames: Vec<_> = stack.iter().map(|&place| frame(profile, place)).collect();
    let stack = profile.intern_frames(&frames);
    stack.expect("a stack has at least 20 frames")
}

/// Functions have names as long as those of C++ and Rust often are.
fn frame(profile: &mut Profile, place: Place) -> output::FrameId {
    let Place { program, function } = place;
    let (path, kind) = match program {
        KERNEL => ("vmlinux".to_owned(), MappingKind::Kernel),
        LIBRARY => ("/usr/lib/libshared.so.6".to_owned(), MappingKind::File),
        _ => (format!("/usr/bin/process-{program}"), MappingKind::File),
    };
    let name = profile.intern_string(&path);
    let mapping = profile.intern_mapping(Mapping {
        name,
        build_id: Some(vec![program as u8; 20]),
        kind,
        size_bytes: 4 << 20,
    });
    let name = format!(
        "subsystem_{}::module_{program}::Type::method_{function}",
        function % 37
    );
    let name = profile.intern_string(&name);
    let function_id = profile.intern_function(Function {
        name,
        system_name: name,
        file: None,
        start_line: 0,
    });
    profile.intern_frame(Frame {
        mapping: Some(mapping),
        address: 0x1000 + function as u64 * 173,
        kind: match program {
            KERNEL => FrameKind::Kernel,
            _ => FrameKind::User,
        },
        lines: vec![Line {
            function: function_id,
            line: 0,
        }],
    })
}

fn number(of: usize) -> u32 {
    u32::try_from(of).expect("all counts here are small")
}

/// Enough of a random sequence, the same every time (xorshift, <https://doi.org/10.18637/jss.v008.i14>).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    /// Below `bound`, low ones more often: `n` as often as 1/(n + 1) says, which is what the logarithm of a
    /// uniform number gives.
    fn low(&mut self, bound: usize) -> usize {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let of = ((bound + 1) as f64).powf(uniform) - 1.0;
        (of as usize).min(bound - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window has all its samples, in stacks of 20 to 60 frames, many of which the next has too.
    #[test]
    fn windows_are_as_described() {
        let mut machine = Machine::new(1);
        let stacks = |profile: &Profile| {
            let samples = profile.samples();
            let stacks = samples.map(|sample| {
                let frames = profile.root_first(sample.stack);
                let addresses = frames.map(|frame| profile.frame(frame).address);
                addresses.collect::<Vec<u64>>()
            });
            stacks.collect::<std::collections::HashSet<_>>()
        };
        let [first, second] = [0, WINDOW_NS].map(|at_ns| machine.window(at_ns, 99));
        let total: u64 = first.samples().map(|sample| sample.values[0]).sum();
        assert_eq!(total, 990);
        let [first, second] = [stacks(&first), stacks(&second)];
        assert!(first.iter().all(|stack| (20..=60).contains(&stack.len())));
        let common = first.intersection(&second).count();
        assert!(common * 4 > first.len(), "{common} of {}", first.len());
    }
}
