//! Interning, adding up and the order of frames.

use super::*;

fn profile() -> Profile {
    let types = vec![
        SampleType::new("samples", Unit::Count),
        SampleType::new("off-cpu", Unit::Nanoseconds),
    ];
    Profile::new(Meta::default(), types)
}

fn labels(profile: &mut Profile, tid: u32) -> Labels {
    let name = profile.intern_string("app");
    Labels {
        pid: 1,
        tid,
        process: name,
        thread: name,
        cgroup: None,
        slice: None,
        wait: None,
    }
}

#[test]
fn equal_values_share_a_handle() {
    // Interning an equal string, frame or stack again gives the same handle, another gives another.
    let mut profile = profile();
    assert_eq!(profile.intern_string("a"), profile.intern_string("a"));
    assert_ne!(profile.intern_string("a"), profile.intern_string("b"));
    let [a, b] = ["[a]", "[b]"].map(|name| profile.synthetic(name));
    assert_eq!(a, profile.synthetic("[a]"));
    let ab = profile.intern_frames(&[a, b]);
    assert_eq!(ab, profile.intern_frames(&[a, b]));
    assert_ne!(ab, profile.intern_frames(&[b, a]));
    assert_eq!(profile.intern_frames(&[]), None);
}

#[test]
fn names_are_cleaned_when_interned() {
    // No control character gets past the table of strings or the description of the recording.
    let mut profile = Profile::new(
        Meta {
            command: "sh\n-c".to_owned(),
            ..Meta::default()
        },
        vec![SampleType::new("a-b\n", Unit::Count)],
    );
    let dirty = profile.intern_string("a\x1bb");
    assert_eq!(profile.text(dirty), "a\u{FFFD}b");
    assert_eq!(dirty, profile.intern_string("a\x07b"));
    assert_eq!(profile.meta().command, "sh\u{FFFD}-c");
    assert_eq!(profile.default_type().name(), "a_b\u{FFFD}");
}

#[test]
fn equal_samples_add_up() {
    // Values of the same stack and thread add up per type; those of another thread stay apart.
    let mut profile = profile();
    let frame = profile.synthetic("[x]");
    let stack = profile.intern_stack(None, frame);
    let [one, two] = [1, 2].map(|tid| labels(&mut profile, tid));
    profile.add(stack, one, &[1, 500]);
    profile.add(stack, two, &[7, u64::MAX]);
    profile.add(stack, one, &[2, 300]);
    profile.add(stack, two, &[1, 1]);
    let values: Vec<&[u64]> = profile.samples().map(|sample| sample.values).collect();
    assert_eq!(values, [&[3, 800], &[8, u64::MAX]]);
}

#[test]
fn stacks_are_walked_both_ways() {
    // A stack given root first comes back root first, and leaf first in reverse.
    let mut profile = profile();
    let frames = ["[a]", "[b]", "[c]"].map(|name| profile.synthetic(name));
    let stack = profile.intern_frames(&frames).unwrap();
    assert!(profile.root_first(stack).eq(frames));
    assert!(profile.leaf_first(stack).eq(frames.into_iter().rev()));
}
