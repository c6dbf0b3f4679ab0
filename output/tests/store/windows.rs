//! Windows of two machines around midnight, made from a fixed seed.

use output::{
    Frame, FrameKind, Function, Labels, Line, Mapping, MappingKind, Meta, Period, Profile, RowKind,
    SampleType, StackId, Unit, WaitLabels,
};

pub(crate) const SECOND_NS: i64 = 1_000_000_000;
pub(crate) const MINUTE_NS: i64 = 60 * SECOND_NS;
/// 2023-11-14 23:20:00: the windows reach over midnight.
pub(crate) const START_NS: i64 = 1_700_004_000_000_000_000;
/// Short, as it is asked for.
pub(crate) const CONTAINER: &str = "0123456789ab";
const PERIOD_NS: u64 = 10_101_010;

/// A process of the machines.
struct Process {
    pid: u32,
    name: &'static str,
    cgroup: Option<&'static str>,
}

const PROCESSES: [Process; 4] = [
    Process {
        pid: 101,
        name: "nginx",
        cgroup: Some("/system.slice/nginx.service"),
    },
    Process {
        pid: 102,
        name: "nginx",
        cgroup: Some("/system.slice/nginx.service/worker"),
    },
    Process {
        pid: 201,
        name: "app<b>",
        cgroup: Some("/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    },
    Process {
        pid: 1,
        name: "kworker/0:1",
        cgroup: None,
    },
];

/// Enough of a random sequence for a test, the same every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn small(&mut self, bound: u32) -> u32 {
        self.below(bound.into()) as u32
    }
}

/// Of host `one` 50 minutes in windows of 30 s, with a gap; of `two` some, of 15 s, without slices and
/// with waits. Not in the order of time.
pub(crate) fn all() -> Vec<Profile> {
    let mut random = Random(0x7453_6e6b);
    let mut windows = Vec::new();
    for number in (0..100).filter(|number| !(33..37).contains(number)) {
        let start_ns = START_NS + number * 30 * SECOND_NS;
        windows.push(window(&mut random, "one", start_ns, false));
        if number % 8 == 3 {
            let start_ns = start_ns - 2 * MINUTE_NS + 77;
            windows.push(window(&mut random, "two", start_ns, true));
        }
    }
    windows
}

/// A window of 30 s with slices, or of 15 s with waits and without.
pub(crate) fn window(random: &mut Random, host: &str, time_nanos: i64, waits: bool) -> Profile {
    let mut types = vec![
        SampleType::new("samples", Unit::Count),
        SampleType::new("cpu", Unit::Nanoseconds),
    ];
    if waits {
        types.insert(0, SampleType::new("off-cpu", Unit::Nanoseconds));
    }
    let meta = Meta {
        title: "CPU profile".to_owned(),
        command: "the whole machine".to_owned(),
        host: host.to_owned(),
        time_nanos,
        duration_nanos: if waits {
            15 * SECOND_NS
        } else {
            30 * SECOND_NS
        },
        event: "cpu-clock at 99 Hz".to_owned(),
        slice_ns: if waits { 0 } else { 300_000_000 },
    };
    let mut profile = Profile::new(meta, types);
    profile.period = Some(Period {
        of: SampleType::new("cpu", Unit::Nanoseconds),
        value: PERIOD_NS,
    });
    profile.comment("recorded for a test");
    for _ in 0..30 {
        let process = &PROCESSES[random.below(4) as usize];
        let stack = stack(&mut profile, random, process);
        let labels = labels(&mut profile, random, process, waits);
        let count = 1 + random.below(5);
        match (waits, labels.wait) {
            (false, _) => profile.add(stack, labels, &[count, count * PERIOD_NS]),
            (true, None) => profile.add(stack, labels, &[0, count, count * PERIOD_NS]),
            (true, Some(_)) => profile.add(stack, labels, &[1 + random.below(1 << 40), 0, 0]),
        }
    }
    ledger(&mut profile, random);
    profile
}

fn ledger(profile: &mut Profile, random: &mut Random) {
    for (kind, name, count) in [
        (RowKind::Expected, "expected", 990),
        (RowKind::Got, "got", 900 + random.below(90)),
        (RowKind::Lost, "ring full", random.below(3)),
    ] {
        profile.ledger.push(kind, name, count, "of a test");
    }
}

fn labels(profile: &mut Profile, random: &mut Random, of: &Process, waits: bool) -> Labels {
    let thread = random.small(3);
    let wait = (waits && random.below(2) == 0).then(|| WaitLabels {
        state: profile.intern_string("blocked"),
        cause: profile.intern_string(["futex", "disk"][random.below(2) as usize]),
        waker: (random.below(2) == 0).then(|| profile.intern_string("kworker")),
        interval: None,
        is_idle: random.below(2) == 0,
    });
    let slice = random.small(100);
    Labels {
        pid: of.pid,
        tid: of.pid * 10 + thread,
        process: profile.intern_string(of.name),
        thread: profile.intern_string(&format!("worker {thread}")),
        cgroup: of.cgroup.map(|path| profile.intern_string(path)),
        slice: (!waits && slice < 98).then_some(slice),
        wait,
    }
}

/// Up to ten frames with inlined functions, kernel code, and places without a name.
fn stack(profile: &mut Profile, random: &mut Random, process: &Process) -> StackId {
    let path = format!("/usr/bin/{}", process.name);
    let mut stack = None;
    let depth = 1 + random.below(10);
    for level in 0..depth {
        let is_kernel = process.cgroup.is_none() || (level + 1 == depth && random.below(4) == 0);
        let place = random.small(6);
        let name = profile.intern_string(if is_kernel { "vmlinux" } else { &path });
        let mapping = profile.intern_mapping(Mapping {
            name,
            build_id: (!is_kernel).then(|| vec![0x0a, 0xbc, process.pid as u8]),
            kind: match is_kernel {
                true => MappingKind::Kernel,
                false => MappingKind::File,
            },
            size_bytes: if is_kernel { 0 } else { 123_456 },
        });
        let lines = (0..place % 3).map(|line| line_of(profile, place, line));
        let lines = lines.collect();
        let frame = profile.intern_frame(Frame {
            mapping: Some(mapping),
            address: u64::from(place) * 64 + if is_kernel { 0xffff_ffff_8100_0000 } else { 0 },
            kind: if is_kernel {
                FrameKind::Kernel
            } else {
                FrameKind::User
            },
            lines,
        });
        stack = Some(profile.intern_stack(stack, frame));
    }
    let lost = profile.synthetic("[lost: ring full]");
    match random.below(20) {
        0 => profile.intern_stack(None, lost),
        _ => stack.unwrap_or_else(|| profile.intern_stack(None, lost)),
    }
}

fn line_of(profile: &mut Profile, place: u32, line: u32) -> Line {
    let name = profile.intern_string(&format!("work::step_{place}<{line}>"));
    let system_name = profile.intern_string(&format!("_ZN4work{place}E{line}"));
    let file = (line == 0).then(|| profile.intern_string("src/work.rs"));
    let function = profile.intern_function(Function {
        name,
        system_name,
        file,
        start_line: place * 10,
    });
    Line {
        function,
        line: place * 10 + line,
    }
}
