//! Profiles that are read back: what was written comes back, and damage is an error.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails with it")]

mod common;

use std::io::Write;

use common::{encode, encode_text, frame, labels, mapping, stack};
use flate2::{Compression, write::GzEncoder};
use output::{DecodeError, Format, FrameKind, MappingKind, Profile, WaitLabels, decode};
use pprof::protos::{self, Message};

/// Numbers that look random and are the same each time (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// A profile of everything that pprof has room for, in proportions that a seed decides.
fn random(seed: u64) -> Profile {
    let mut random = Random(seed);
    let mut profile = common::empty("app --fast");
    let files = ["/opt/app", "/usr/lib/libc.so.6"]
        .map(|name| mapping(&mut profile, name, MappingKind::File));
    let kernel = mapping(&mut profile, "[kernel.kallsyms]", MappingKind::Kernel);
    let vdso = mapping(&mut profile, "[vdso]", MappingKind::Vdso);
    profile.main_mapping = Some(files[0]);
    profile.comment("a line of the recorder");
    profile
        .ledger
        .push(output::RowKind::Lost, "ring full", 5, "the reader was late");
    let names: Vec<String> = (0..8).map(|number| format!("f{number}<T; 2> x")).collect();
    for tid in 1..40 {
        let mut frames = Vec::new();
        for _ in 0..=random.below(6) {
            let count = random.below(3) as usize;
            let lines: Vec<(&str, u32)> = (0..count)
                .map(|_| {
                    (
                        names[random.below(8) as usize].as_str(),
                        random.below(50) as u32,
                    )
                })
                .collect();
            let (mapping, kind) = match random.below(6) {
                0 => (Some(kernel), FrameKind::Kernel),
                1 => (Some(vdso), FrameKind::User),
                2 => (None, FrameKind::User),
                _ => (Some(files[random.below(2) as usize]), FrameKind::User),
            };
            let high = if kind == FrameKind::Kernel {
                0xffff_ffff_8100_0000
            } else {
                0
            };
            let address = high + 16 + random.below(0x1000);
            frames.push(frame(&mut profile, mapping, address, kind, &lines));
        }
        if random.below(5) == 0 {
            frames.push(profile.synthetic("[lost: ring full]"));
        }
        let at = stack(&mut profile, &frames);
        let mut labels = labels(&mut profile, tid % 5, "worker");
        labels.cgroup =
            (random.below(2) == 0).then(|| profile.intern_string("/system.slice/a.service"));
        labels.wait = (random.below(3) == 0).then(|| {
            let [state, cause, waker] =
                ["blocked", "futex", "app 7"].map(|text| profile.intern_string(text));
            let waker = (random.below(2) == 0).then_some(waker);
            WaitLabels {
                state,
                cause,
                waker,
                interval: None,
                is_idle: random.below(2) == 0,
            }
        });
        profile.add(at, labels, &[random.below(9), random.below(1 << 40)]);
    }
    profile
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn error(bytes: &[u8]) -> String {
    decode(bytes).unwrap_err().to_string()
}

/// A small message that is whole, for tests to damage.
fn message() -> protos::Profile {
    common::decode(&encode(&common::on_cpu(), Format::Pprof))
}

fn error_of(damage: impl Fn(&mut protos::Profile)) -> String {
    let mut message = message();
    damage(&mut message);
    error(&message.encode_to_vec())
}

/// What is written, read and written again is the same in each byte, with its labels, lines, build ids,
/// values and comments; and folded stacks, which tell kernel, inlined and lost frames apart, are the same.
#[test]
fn pprof_comes_back() {
    for profile in (0..200).map(random) {
        let written = encode(&profile, Format::Pprof);
        let read = decode(&written).unwrap();
        assert_eq!(encode(&read, Format::Pprof), written);
        assert_eq!(
            encode_text(&read, Format::Folded),
            encode_text(&profile, Format::Folded)
        );
        assert_eq!(read.period, profile.period);
        let [before, after] = [profile.meta(), read.meta()];
        assert_eq!(
            (&after.command, &after.host, &after.event),
            (&before.command, &before.host, &before.event)
        );
        let ledger = profile.ledger.to_string();
        let comments: Vec<&str> = ledger
            .lines()
            .chain(profile.comments().iter().map(String::as_str))
            .collect();
        assert_eq!(read.comments(), comments);
    }
}

/// Folded stacks come back as they were, with the marks of kernel and inlined functions.
#[test]
fn folded_stacks_come_back() {
    let profile = common::on_cpu();
    let written = encode_text(&profile, Format::Folded);
    let read = decode(written.as_bytes()).unwrap();
    assert_eq!(encode_text(&read, Format::Folded), written);
    let kinds: Vec<FrameKind> = read.frames().map(|(_, frame)| frame.kind).collect();
    assert!(
        kinds.contains(&FrameKind::Kernel) && kinds.contains(&FrameKind::Synthetic),
        "{kinds:?}"
    );
    let inlined = read.frames().filter(|(_, frame)| frame.lines.len() == 2);
    assert_eq!(inlined.count(), 1);
}

/// Folded stacks of other programs are read: blanks in names, comments, empty lines, one frame.
#[test]
fn folded_stacks_of_others_are_read() {
    let text = "# a comment\n\nnode;operator new 3\r\nnode;operator new\t4\nalone 5";
    let read = decode(text.as_bytes()).unwrap();
    assert_eq!(
        encode_text(&read, Format::Folded),
        "alone;alone 5\nnode;operator new 7\n"
    );
    assert!(decode(b"").unwrap().samples().next().is_none());
}

/// A line that is no stack is named by its number.
#[test]
fn lines_that_are_no_stacks_are_told() {
    for bad in [
        "a;b 1\nhello\n",
        "a;b 1\na;b x",
        "a;b 1\na;b 1.5",
        "a;b 1\n 7",
        "a;b 1\na -1",
    ] {
        assert!(
            error(bad.as_bytes()).contains("line 2 does not end in a whole number"),
            "{bad}"
        );
    }
}

/// Other units of time become nanoseconds, what has no label is the main program's.
#[test]
fn profiles_of_others_are_read() {
    let text = |table: &mut Vec<String>, text: &str| {
        table.push(text.to_owned());
        table.len() as i64 - 1
    };
    let mut table = vec![String::new()];
    let of = protos::ValueType {
        ty: text(&mut table, "cpu"),
        unit: text(&mut table, "microseconds"),
    };
    let mapping = protos::Mapping {
        id: 9,
        memory_start: 0x40_0000,
        memory_limit: 0x50_0000,
        file_offset: 0x1000,
        filename: text(&mut table, "/usr/bin/tool"),
        build_id: text(&mut table, "not hexadecimal"),
        ..protos::Mapping::default()
    };
    let location = protos::Location {
        id: 77,
        mapping_id: 9,
        address: 0x40_0123,
        ..protos::Location::default()
    };
    let sample = |location_id: Vec<u64>, value| protos::Sample {
        location_id,
        value: vec![value],
        label: Vec::new(),
    };
    let message = protos::Profile {
        sample_type: vec![of],
        sample: vec![sample(vec![77, 77], 5), sample(Vec::new(), 2)],
        mapping: vec![mapping],
        location: vec![location],
        string_table: table,
        ..protos::Profile::default()
    };
    for bytes in [message.encode_to_vec(), gzip(&message.encode_to_vec())] {
        let read = decode(&bytes).unwrap();
        assert_eq!(
            encode_text(&read, Format::Folded),
            "tool;[tool];[tool] 5000\ntool;[unknown] 2000\n"
        );
        assert_eq!(read.frames().next().unwrap().1.address, 0x1123);
    }
}

/// What refers to nothing, exists twice or cannot be is told with its number.
#[test]
fn damage_is_told() {
    type Damage = fn(&mut protos::Profile);
    let cases: [(Damage, &str); 12] = [
        (
            |m| m.sample[1].location_id[0] = 99,
            "sample 2 is at location 99",
        ),
        (
            |m| m.location[0].mapping_id = 99,
            "location 1 is in mapping 99",
        ),
        (
            |m| m.location[0].line[0].function_id = 99,
            "is in function 99",
        ),
        (
            |m| m.location[1].id = m.location[0].id,
            "two locations have the id 1",
        ),
        (
            |m| m.mapping[1].id = m.mapping[0].id,
            "two mappings have the id 1",
        ),
        (
            |m| m.function[1].id = m.function[0].id,
            "two functions have the id 1",
        ),
        (|m| m.function[0].name = 999, "no string 999"),
        (|m| m.function[0].name = -1, "no string -1"),
        (
            |m| m.sample[0].label[0].key = i64::MAX,
            "no string 9223372036854775807",
        ),
        (
            |m| m.sample[0].value[0] = -7,
            "sample 1 has a value below 0",
        ),
        (
            |m| m.sample[0].value.truncate(1),
            "sample 1 has 1 values for 2 sample types",
        ),
        (|m| m.sample_type.clear(), "no sample type"),
    ];
    for (damage, words) in cases {
        let said = error_of(damage);
        assert!(said.contains(words), "{said} is not {words}");
    }
}

/// Bytes that are damaged anywhere are an error or another profile, and never a panic.
#[test]
fn any_damage_is_survived() {
    let whole = message().encode_to_vec();
    for length in 0..whole.len() {
        let _other = decode(&whole[..length]);
        let _other = decode(&gzip(&whole[..length]));
    }
    let mut random = Random(1);
    for _ in 0..5_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        if let Ok(read) = decode(&bytes) {
            for format in [Format::Pprof, Format::Folded, Format::Svg] {
                encode(&read, format);
            }
        }
    }
}

/// Gzip that is cut short or followed by something else is an error of gzip.
#[test]
fn damaged_gzip_is_told() {
    let whole = encode(&common::on_cpu(), Format::Pprof);
    for bytes in [&whole[..whole.len() - 5], &[0x1f, 0x8b, 8, 0][..]] {
        assert!(matches!(decode(bytes), Err(DecodeError::Gzip(_))));
    }
}

/// A small file that unpacks to more than a profile may have is given up, whatever it grows by: bytes,
/// fields, or frames.
#[test]
fn bombs_are_given_up() {
    let zeros = gzip(&vec![0; 1 << 20]).repeat(257);
    assert!(error(&zeros).contains("more than 268435456 bytes"));
    let samples = [0x12, 0].repeat(9 << 20);
    assert!(error(&gzip(&samples)).contains("more than 8388608 fields"));
    let mut deep = message();
    deep.sample[0].location_id = vec![1; (16 << 20) + 1];
    assert!(error(&deep.encode_to_vec()).contains("more than 16777216 frames"));
    let line = ";".repeat(16 << 20) + " 1";
    assert!(error(line.as_bytes()).contains("more than 16777216 frames"));
}

/// Names out of a file are cleaned as those of a recording are.
#[test]
fn names_are_cleaned() {
    let mut message = message();
    for text in message
        .string_table
        .iter_mut()
        .filter(|text| text.contains("app"))
    {
        text.push_str("\x1b[2J\n");
    }
    let read = decode(&message.encode_to_vec()).unwrap();
    let folded = encode_text(&read, Format::Folded);
    assert!(folded.contains("app::hash\u{fffd}[2J\u{fffd}"), "{folded}");
    assert!(!folded.contains('\x1b'), "{folded}");
}
