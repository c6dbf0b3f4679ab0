//! Windows whose content is known, for a store.

use output::{Frame, FrameKind, Function, Labels, Line, Meta, Profile, RowKind, SampleType, Unit};

/// Nanoseconds of a slice.
const SLICE_NS: u64 = 100_000_000;

/// A window of a machine that samples CPU time and measures waits.
#[derive(Debug)]
pub struct Window(Profile);

impl Window {
    /// One that begins so many milliseconds after the Unix epoch, without samples. Of a thousand ticks it
    /// got all but ten.
    #[must_use]
    pub fn new(begin_ms: i64, seconds: i64) -> Self {
        let meta = Meta {
            title: "machine".to_owned(),
            command: "the whole machine".to_owned(),
            host: "test-host".to_owned(),
            event: "cpu-clock at 100 Hz".to_owned(),
            time_nanos: begin_ms * 1_000_000,
            duration_nanos: seconds * 1_000_000_000,
            slice_ns: SLICE_NS,
        };
        let types = vec![
            SampleType::new("samples", Unit::Count),
            SampleType::new("off_cpu", Unit::Nanoseconds),
            SampleType::new("cpu", Unit::Nanoseconds),
        ];
        let mut profile = Profile::new(meta, types);
        let ledger = &mut profile.ledger;
        ledger.push(RowKind::Expected, "expected", 1000, "ticks of the clock");
        ledger.push(RowKind::Got, "got", 990, "in this profile");
        ledger.push(RowKind::Lost, "ring full", 10, "the reader was late");
        Self(profile)
    }

    /// Adds CPU time, a sample for every 10 ms, and time of waiting, of a process in a slice. Functions
    /// are of the program but for those that begin with `k_`, which are the kernel's.
    pub fn add(
        &mut self,
        (process, pid): (&str, u32),
        slice: u32,
        stack: &[&str],
        cpu_ms: u64,
        wait_ms: u64,
    ) {
        let profile = &mut self.0;
        let frames = stack
            .iter()
            .map(|name| frame(profile, name))
            .collect::<Vec<_>>();
        let stack = profile.intern_frames(&frames).unwrap();
        let process = profile.intern_string(process);
        let labels = Labels {
            pid,
            tid: pid,
            process,
            thread: process,
            cgroup: None,
            slice: Some(slice),
            wait: None,
        };
        let values = [cpu_ms / 10, wait_ms * 1_000_000, cpu_ms * 1_000_000];
        profile.add(stack, labels, &values);
    }

    /// The window.
    #[must_use]
    pub fn profile(self) -> Profile {
        self.0
    }
}

fn frame(profile: &mut Profile, name: &str) -> output::FrameId {
    let kind = match name {
        _ if name.starts_with("k_") => FrameKind::Kernel,
        _ if name.starts_with('[') => FrameKind::Synthetic,
        _ => FrameKind::User,
    };
    let name = profile.intern_string(name);
    let function = profile.intern_function(Function {
        name,
        system_name: name,
        file: None,
        start_line: 0,
    });
    profile.intern_frame(Frame {
        mapping: None,
        address: 0,
        kind,
        lines: vec![Line { function, line: 0 }],
    })
}
