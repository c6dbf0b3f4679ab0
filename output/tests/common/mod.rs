//! Profiles to encode, and ways to read what comes out.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Read;

use output::{
    Format, Frame, FrameId, FrameKind, Function, Labels, Line, Mapping, MappingId, MappingKind,
    Meta, Period, Profile, RowKind, SampleType, StackId, Unit,
};
use pprof::protos::{self, Message};

pub(crate) const KERNEL_ADDRESS: u64 = 0xffff_ffff_8110_2030;

/// A description with `text` wherever there is room for text.
pub(crate) fn meta(text: &str) -> Meta {
    Meta {
        title: format!("CPU profile of {text}"),
        command: text.to_owned(),
        host: "box".to_owned(),
        time_nanos: 1_700_000_000_000_000_000,
        duration_nanos: 10_000_000_000,
        event: "cpu-clock at 99 Hz".to_owned(),
        slice_ns: 0,
    }
}

/// Without samples: what an on-CPU recording starts from.
pub(crate) fn empty(text: &str) -> Profile {
    let types = vec![
        SampleType::new("samples", Unit::Count),
        SampleType::new("cpu", Unit::Nanoseconds),
    ];
    let mut profile = Profile::new(meta(text), types);
    profile.period = Some(Period {
        of: SampleType::new("cpu", Unit::Nanoseconds),
        value: 10_101_010,
    });
    profile
}

/// An on-CPU recording of two threads with inlined, kernel, unnamed and lost frames.
pub(crate) fn on_cpu() -> Profile {
    let mut profile = empty("app --fast");
    let libc = mapping(&mut profile, "/usr/lib/libc.so.6", MappingKind::File);
    let app = mapping(&mut profile, "/opt/app", MappingKind::File);
    let kernel = mapping(&mut profile, "vmlinux", MappingKind::Kernel);
    profile.main_mapping = Some(app);

    let start = frame(&mut profile, Some(libc), 0x2a1c0, FrameKind::User, &[]);
    let main = frame(
        &mut profile,
        Some(app),
        0x1130,
        FrameKind::User,
        &[("main", 10)],
    );
    let lines = [("app::hash", 31), ("app::work", 20)];
    let work = frame(&mut profile, Some(app), 0x1190, FrameKind::User, &lines);
    let lines = [("ksys_read", 0)];
    let read = frame(
        &mut profile,
        Some(kernel),
        KERNEL_ADDRESS,
        FrameKind::Kernel,
        &lines,
    );
    let lost = profile.synthetic("[lost: ring full]");

    let stacks = [
        vec![start, main],
        vec![start, main, work],
        vec![start, main, read],
        vec![lost],
    ];
    let [in_main, in_work, in_read, in_lost] = stacks.map(|frames| stack(&mut profile, &frames));
    let [one, two] =
        [(7, "app"), (8, "worker 2")].map(|(tid, name)| labels(&mut profile, tid, name));
    for (stack, labels, samples) in [
        (in_main, one, 2),
        (in_work, one, 500),
        (in_work, two, 400),
        (in_read, two, 83),
        (in_lost, one, 5),
        (in_read, one, 0),
    ] {
        profile.add(stack, labels, &[samples, samples * 10_101_010]);
    }
    fill_ledger(&mut profile);
    profile
}

fn fill_ledger(profile: &mut Profile) {
    let rows = [
        (
            RowKind::Expected,
            "expected",
            990,
            "99 Hz on 1 CPU for 10.0 s",
        ),
        (RowKind::Got, "got", 985, "in this profile"),
        // Only what happened is told.
        (RowKind::Lost, "map full", 0, "the map was full"),
        (RowKind::Note, "evicted", 0, "for want of room"),
        (RowKind::Lost, "ring full", 5, "the reader was late"),
    ];
    for (kind, name, count, meaning) in rows {
        profile.ledger.push(kind, name, count, meaning);
    }
}

pub(crate) fn mapping(profile: &mut Profile, name: &str, kind: MappingKind) -> MappingId {
    let name = profile.intern_string(name);
    profile.intern_mapping(Mapping {
        name,
        build_id: (kind == MappingKind::File).then(|| vec![0x0a, 0xbc, 0xff]),
        kind,
        size_bytes: 0x2_0000,
    })
}

/// A frame with `lines` as names and line numbers, innermost first.
pub(crate) fn frame(
    profile: &mut Profile,
    mapping: Option<MappingId>,
    address: u64,
    kind: FrameKind,
    lines: &[(&str, u32)],
) -> FrameId {
    let lines = lines.iter().map(|&(name, line)| {
        let file = (line > 0).then(|| profile.intern_string("src/main.rs"));
        let [name, system_name] = [name, &format!("_{name}")].map(|s| profile.intern_string(s));
        let function = profile.intern_function(Function {
            name,
            system_name,
            file,
            start_line: line / 2,
        });
        Line { function, line }
    });
    let lines = lines.collect();
    profile.intern_frame(Frame {
        mapping,
        address,
        kind,
        lines,
    })
}

pub(crate) fn stack(profile: &mut Profile, root_first: &[FrameId]) -> StackId {
    profile.intern_frames(root_first).unwrap()
}

pub(crate) fn labels(profile: &mut Profile, tid: u32, thread: &str) -> Labels {
    Labels {
        pid: 7,
        tid,
        process: profile.intern_string("app"),
        thread: profile.intern_string(thread),
        cgroup: None,
        slice: None,
        wait: None,
    }
}

pub(crate) fn encode(profile: &Profile, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    format.encoder().encode(profile, &mut bytes).unwrap();
    bytes
}

pub(crate) fn encode_text(profile: &Profile, format: Format) -> String {
    String::from_utf8(encode(profile, format)).unwrap()
}

pub(crate) fn decode(gzip: &[u8]) -> protos::Profile {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzip)
        .read_to_end(&mut bytes)
        .unwrap();
    protos::Profile::decode(&bytes[..]).unwrap()
}
