//! Nothing is lost on the way to bytes and back, and no bytes make a profile that panics.

use super::*;
use crate::encode::Format;
use crate::ledger::RowKind;
use crate::profile::{FrameKind, MappingKind, Unit};

/// A window with something in every field.
fn window() -> Profile {
    let types = vec![
        SampleType::new("samples", Unit::Count),
        SampleType::new("cpu", Unit::Nanoseconds),
    ];
    let meta = Meta {
        title: "title".to_owned(),
        command: "the whole machine".to_owned(),
        host: "box".to_owned(),
        time_nanos: 1_700_000_000_000_000_000,
        duration_nanos: 10_000_000_000,
        event: "cpu-clock at 99 Hz".to_owned(),
        slice_ns: 100_000_000,
    };
    let mut profile = Profile::new(meta, types);
    profile.period = Some(Period {
        of: SampleType::new("cpu", Unit::Nanoseconds),
        value: 10_101_010,
    });
    profile
        .ledger
        .push(RowKind::Lost, "ring full", 5, "the reader was late");
    profile.comment("a comment");
    profile.by_thread = true;
    profile.short_names = true;
    profile.fold_by(&[1]);
    let stack = stack(&mut profile);
    let [app, worker, cgroup, futex] =
        ["app", "worker", "/system.slice/app.service", "futex"].map(|s| profile.intern_string(s));
    let wait = WaitLabels {
        state: futex,
        cause: futex,
        waker: Some(app),
        interval: Some(worker),
        is_idle: true,
    };
    for (slice, wait) in [(Some(0), None), (Some(99), None), (None, Some(wait))] {
        let labels = Labels {
            pid: 7,
            tid: 8,
            process: app,
            thread: worker,
            cgroup: wait.is_none().then_some(cgroup),
            slice,
            wait,
        };
        profile.add(stack, labels, &[3, u64::MAX]);
    }
    profile
}

fn stack(profile: &mut Profile) -> StackId {
    let [file, name, source] = ["/opt/app", "main", "main.rs"].map(|s| profile.intern_string(s));
    let mapping = profile.intern_mapping(Mapping {
        name: file,
        build_id: Some(vec![0x0a, 0xbc]),
        kind: MappingKind::File,
        size_bytes: 0x2_0000,
    });
    profile.main_mapping = Some(mapping);
    let function = profile.intern_function(Function {
        name,
        system_name: name,
        file: Some(source),
        start_line: 3,
    });
    let frame = profile.intern_frame(Frame {
        mapping: Some(mapping),
        address: 0x1130,
        kind: FrameKind::User,
        lines: vec![Line { function, line: 10 }],
    });
    let lost = profile.synthetic("[lost: ring full]");
    profile.intern_frames(&[frame, lost]).unwrap()
}

/// A window comes back as it was, in every field.
#[test]
fn nothing_is_lost() {
    let window = window();
    let back = from_bytes(&to_bytes(&window)).unwrap();
    assert_eq!(to_bytes(&back), to_bytes(&window));
    assert_eq!(back.meta(), window.meta());
    assert_eq!(back.ledger, window.ledger);
    assert_eq!(back.period, window.period);
    assert_eq!(back.comments(), window.comments());
    assert_eq!(back.main_mapping, window.main_mapping);
    assert!(back.by_thread && back.short_names);
    assert!(back.samples().eq(window.samples()));
    for format in [Format::Pprof, Format::Folded, Format::Svg] {
        assert_eq!(written(&back, format), written(&window, format));
    }
}

fn written(profile: &Profile, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    format.encoder().encode(profile, &mut bytes).unwrap();
    bytes
}

/// Bytes cut short, longer or with any one bit turned are refused, or are a profile that can be written.
#[test]
fn damage_is_refused_or_harmless() {
    let bytes = to_bytes(&window());
    for len in 0..bytes.len() {
        assert!(from_bytes(&bytes[..len]).is_err(), "{len}");
    }
    assert!(from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    let mut refused = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            match from_bytes(&bytes) {
                Ok(profile) => drop(written(&profile, Format::Pprof)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// A caller that would come after what it called, and so could go round in circles, is refused.
#[test]
fn a_stack_cannot_call_itself() {
    let (mut fields, _) = postcard::take_from_bytes::<Fields>(&to_bytes(&window())).unwrap();
    fields.stacks[0].parent = Some(StackId::from_index(1));
    let bytes = postcard::to_stdvec(&fields).unwrap();
    let error = from_bytes(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to read a profile: no such caller"
    );
}

/// The bytes are those of every build with this version of the spool's files: who changes them, by a field
/// or an order, raises `spool::file::VERSION` with this number.
#[test]
fn the_form_is_that_of_its_version() {
    let bytes = to_bytes(&window());
    assert_eq!((bytes.len(), crc32fast::hash(&bytes)), (335, 4_144_727_300));
}
