use super::*;
use crate::profile::{Function, Labels, Line, Meta, SampleType, Unit};

const MOST: usize = 100;

fn profile(samples: &[(&str, &[&str], u64)]) -> Profile {
    let types = vec![SampleType::new("samples", Unit::Count)];
    let mut profile = Profile::new(Meta::default(), types);
    for (process, names, value) in samples {
        let process = profile.intern_string(process);
        let labels = Labels {
            pid: 1,
            tid: 1,
            process,
            thread: process,
            cgroup: None,
            slice: None,
            wait: None,
        };
        let names = names.iter().map(|name| profile.synthetic(name));
        let frames: Vec<_> = names.collect();
        let stack = profile.intern_frames(&frames).unwrap();
        profile.add(stack, labels, &[*value]);
    }
    profile
}

fn tree(sides: &[&Profile], most: usize) -> Tree {
    let mut growing = Growing::default();
    for (side, profile) in sides.iter().enumerate() {
        growing.add(profile, 0, side);
    }
    growing.finish(most)
}

/// Each frame as `caller>name total/own`, of the first side.
fn lines(tree: &Tree, side: usize) -> Vec<String> {
    let name = |frame: &Frame| tree.names[frame.1].name.as_str();
    let frames = tree.frames.iter();
    frames
        .map(|frame| {
            let caller = usize::try_from(frame.0).map_or("", |at| name(&tree.frames[at]));
            format!(
                "{caller}>{} {}/{}",
                name(frame),
                frame.2[side],
                frame.3[side]
            )
        })
        .collect()
}

/// Equal names under equal callers are one frame, and each frame comes after its caller.
#[test]
fn stacks_are_merged_from_the_root() {
    let profile = profile(&[
        ("p", &["main", "a"], 3),
        ("q", &["main"], 1),
        ("p", &["main", "b", "a"], 4),
        ("p", &["main"], 2),
    ]);
    let tree = tree(&[&profile], MOST);
    let expected = [
        "main>a 3/3",
        "b>a 4/4",
        "main>b 4/0",
        "p>main 9/2",
        "q>main 1/1",
        ">p 9/0",
        ">q 1/0",
    ];
    let mut found = lines(&tree, 0);
    found.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!((tree.total, tree.left_out), ([10, 0], 0));
    for (at, frame) in tree.frames.iter().enumerate() {
        assert!(frame.0 < at as i64);
    }
}

/// Two sides share their frames; what one of them lacks is 0 there.
#[test]
fn two_sides_share_one_tree() {
    let now = profile(&[("p", &["main", "new"], 5), ("p", &["main", "same"], 1)]);
    let before = profile(&[("p", &["main", "old"], 2), ("p", &["main", "same"], 1)]);
    let tree = tree(&[&now, &before], MOST);
    assert_eq!(tree.total, [6, 3]);
    let sum = |name: &str| {
        let named = |frame: &&Frame| tree.names[frame.1].name == name;
        tree.frames.iter().find(named).unwrap().2
    };
    assert_eq!(
        [sum("new"), sum("old"), sum("same")],
        [[5, 0], [0, 2], [1, 1]]
    );
}

/// The lightest frames are left out, and what they had stays, as one frame that says so.
#[test]
fn what_is_left_out_is_shown_as_such() {
    let names: Vec<String> = (0..50).map(|at| format!("f{at}")).collect();
    let samples: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(at, name)| ("p", std::slice::from_ref(name), at as u64 + 1))
        .collect();
    let stacks: Vec<[&str; 2]> = samples
        .iter()
        .map(|(_, name, _)| ["main", name[0].as_str()])
        .collect();
    let samples: Vec<_> = samples
        .iter()
        .zip(&stacks)
        .map(|((process, _, value), stack)| (*process, stack.as_slice(), *value))
        .collect();
    let tree = tree(&[&profile(&samples)], 12);
    assert_eq!(tree.total, [50 * 51 / 2, 0]);
    assert_eq!(tree.left_out, 40);
    let pruned = tree
        .frames
        .iter()
        .filter(|frame| tree.names[frame.1].kind == Kind::Pruned);
    let pruned: Vec<_> = pruned.map(|frame| frame.2).collect();
    assert_eq!(pruned, [[40 * 41 / 2, 0]]);
    assert_eq!(tree.frames.len(), 13);
    assert_eq!(tree.names.len(), 13);
}

/// Where frames of one weight would be too many, all of them are left out: the bound holds.
#[test]
fn the_bound_holds_for_equal_weights() {
    let names: Vec<String> = (0..50).map(|at| format!("f{at}")).collect();
    let stacks: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let samples: Vec<_> = stacks
        .iter()
        .map(|stack| ("p", stack.as_slice(), 7))
        .collect();
    let tree = tree(&[&profile(&samples)], 10);
    assert_eq!(
        lines(&tree, 0),
        [">p 350/0", "p>[too small to show] 350/350"]
    );
}

/// A stack of thousands of frames is no deeper for the program than one of three.
#[test]
fn deep_stacks_are_no_trouble() {
    let names: Vec<String> = (0..100_000).map(|at| format!("f{at}")).collect();
    let stack: Vec<&str> = names.iter().map(String::as_str).collect();
    let tree = tree(&[&profile(&[("p", &stack, 1)])], 200_000);
    assert_eq!(tree.frames.len(), 100_001);
}

/// Inlined functions stand below the function that they were put into, and only the outermost is of the
/// frame's own kind; code without a name is called by its file.
#[test]
fn kinds_are_told_apart() {
    let mut profile = profile(&[]);
    let lines = ["inner", "outer"].map(|name| {
        let name = profile.intern_string(name);
        let function = profile.intern_function(Function {
            name,
            system_name: name,
            file: None,
            start_line: 0,
        });
        Line { function, line: 1 }
    });
    let frame = |kind, lines: &[Line]| crate::profile::Frame {
        mapping: None,
        address: 1,
        kind,
        lines: lines.to_vec(),
    };
    let found = |frame| {
        let names = names(&profile, &frame).into_iter();
        names.map(|name| (name.name, name.kind)).collect::<Vec<_>>()
    };
    let expected = [
        ("outer".to_owned(), Kind::User),
        ("inner".to_owned(), Kind::Inlined),
    ];
    assert_eq!(found(frame(FrameKind::User, &lines)), expected);
    let unnamed = [(UNKNOWN.to_owned(), Kind::Kernel)];
    assert_eq!(found(frame(FrameKind::Kernel, &[])), unnamed);
}
