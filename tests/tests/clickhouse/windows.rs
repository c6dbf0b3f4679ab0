//! A window whose every name is chosen by somebody who knows SQL.

use output::{
    Frame, FrameKind, Function, Labels, Line, Mapping, MappingKind, Meta, Profile, RowKind,
    SampleType, Unit, WaitLabels,
};

use crate::suite::windows::START_NS;

/// What a name may hold after it was cleaned, and SQL, HTTP or a shell gives a meaning to.
pub(crate) const HOSTILE: &str =
    r#"'); DROP TABLE x; -- \' \\ \0 " ` {a:String} ? %s %00 $1 &query=1 größe 日本 👩‍💻"#;

/// A window of a machine with a hostile name.
pub(crate) fn hostile() -> Profile {
    let meta = Meta {
        title: HOSTILE.to_owned(),
        command: HOSTILE.to_owned(),
        host: HOSTILE.to_owned(),
        time_nanos: START_NS,
        duration_nanos: 10,
        event: HOSTILE.to_owned(),
        slice_ns: 0,
    };
    let mut profile = Profile::new(meta, vec![SampleType::new(HOSTILE, Unit::Bytes)]);
    profile.comment(HOSTILE);
    profile
        .ledger
        .push(RowKind::Note, HOSTILE, u64::MAX, HOSTILE);
    let name = profile.intern_string(HOSTILE);
    let function = profile.intern_function(Function {
        name,
        system_name: name,
        file: Some(name),
        start_line: u32::MAX,
    });
    let mapping = profile.intern_mapping(Mapping {
        name,
        build_id: Some((0..=255).collect()),
        kind: MappingKind::Jit,
        size_bytes: u64::MAX,
    });
    let line = Line {
        function,
        line: u32::MAX,
    };
    let frame = profile.intern_frame(Frame {
        mapping: Some(mapping),
        address: u64::MAX,
        kind: FrameKind::User,
        lines: vec![line; 300],
    });
    let stack = profile.intern_frames(&[frame; 200]).unwrap();
    let wait = WaitLabels {
        state: name,
        cause: name,
        waker: Some(name),
        interval: Some(name),
        is_idle: true,
    };
    let labels = Labels {
        pid: u32::MAX,
        tid: u32::MAX,
        process: name,
        thread: name,
        cgroup: Some(name),
        slice: None,
        wait: Some(wait),
    };
    profile.add(stack, labels, &[u64::MAX]);
    profile
}
