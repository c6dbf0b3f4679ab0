//! Names and numbers that a profiled program chose to do harm, in each format.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails with it")]

mod common;

use std::collections::HashSet;

use common::{decode, encode, encode_text, frame, labels, mapping, stack};
use output::{Format, FrameKind, MappingKind, Profile, RowKind};
use pprof::protos;
use quick_xml::Reader;
use quick_xml::events::Event;

const NAMES: &[&str] = &[
    "a\nb 7",
    "a;b",
    "a\tb",
    "<script>alert(1)</script>",
    "]]>",
    "\"'&amp;&",
    "\x1b[2J",
    "\x07",
    "\0",
    "\u{9b}31m",
    "\u{202e}evil\u{2066}",
    "\u{2028}",
    "\u{feff}",
    "\u{fffe}\u{ffff}",
    "\u{fffd}",
    "",
    " ",
    "# comment",
    "foo 12",
    "foo 1 2",
    "-->",
    "<!--",
    "_[k]",
    "_[",
    "é_[i]",
];

/// Each hostile name as process, thread, function, path, title, command and cause of loss.
fn hostile() -> Profile {
    let mut profile = common::empty(&NAMES.concat());
    let mut names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
    names.push("long\n".repeat(200_000));
    for (name, tid) in names.iter().zip(1..) {
        let file = mapping(&mut profile, name, MappingKind::File);
        let lines = [(name.as_str(), 1), (name.as_str(), 2)];
        let named = frame(&mut profile, Some(file), 0x10, FrameKind::User, &lines);
        let unnamed = frame(&mut profile, Some(file), 0x20, FrameKind::Kernel, &[]);
        let lost = profile.synthetic(name);
        let stack = stack(&mut profile, &[named, unnamed, lost]);
        let mut labels = labels(&mut profile, tid, name);
        labels.process = labels.thread;
        profile.add(stack, labels, &[1, 10]);
        profile.ledger.push(RowKind::Lost, name, 1, name);
    }
    profile.by_thread = true;
    profile
}

#[test]
fn folded_has_one_line_per_stack() {
    // Each line has the frames that were put in, one count at its end and no control character.
    let profile = hostile();
    let text = encode_text(&profile, Format::Folded);
    assert_eq!(text.lines().count(), profile.samples().count());
    for line in text.lines() {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        assert_eq!(count, "1", "{line}");
        assert_eq!(stack.split(';').count(), 6, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
        let last_word = stack.rsplit_once(' ').map_or(stack, |(_, word)| word);
        assert!(last_word.parse::<f64>().is_err(), "{line}");
    }
}

#[test]
fn svg_is_well_formed() {
    // Tags match, text unescapes, no character is forbidden, and the only script is the viewer's own.
    for profile in [hostile(), common::empty(&NAMES.concat())] {
        let svg = encode_text(&profile, Format::Svg);
        let allowed = |c| matches!(c, '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert!(svg.chars().all(|c| allowed(c) || c == '\r' || c == '\t'));
        let mut reader = Reader::from_str(&svg);
        reader.config_mut().enable_all_checks(true);
        let (mut scripts, mut depth) = (0, 0);
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) => {
                    scripts += usize::from(tag.name().as_ref() == b"script");
                    depth += 1;
                }
                Event::End(_) => depth -= 1,
                Event::GeneralRef(name) => assert!(is_predefined(&name)),
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0);
        assert_eq!(scripts, usize::from(profile.samples().next().is_some()));
    }
}

/// Whether XML knows `&name;` without a declaration.
fn is_predefined(name: &[u8]) -> bool {
    matches!(name, b"amp" | b"lt" | b"gt" | b"quot" | b"apos")
}

#[test]
fn svg_shows_every_sample() {
    // No line is taken for a comment or for a comparison of two counts.
    let svg = encode_text(&hostile(), Format::Svg);
    let total = format!("total_samples=\"{}\"", hostile().samples().count());
    assert!(svg.contains(&total));
}

#[test]
fn pprof_resolves() {
    // Whatever the names, ids count from 1, all references resolve and each sample has its values.
    let profile = decode(&encode(&hostile(), Format::Pprof));
    assert_resolves(&profile);
    assert!(
        profile
            .string_table
            .iter()
            .all(|s| !s.contains(char::is_control))
    );
    assert_eq!(profile.sample.len(), NAMES.len() + 1);
}

#[test]
fn pprof_without_samples_resolves() {
    // An empty recording is a valid message too.
    assert_resolves(&decode(&encode(&common::empty("idle"), Format::Pprof)));
}

#[test]
fn pprof_ranges_do_not_overlap() {
    // Files that claim to be huge or are not known to have a size get ranges of their own, below the kernel's.
    let mut profile = common::empty("sparse");
    for (index, offset) in [0, 1 << 63, u64::MAX, 0x1000].into_iter().enumerate() {
        let file = mapping(&mut profile, &format!("/f{index}"), MappingKind::File);
        let kernel = mapping(&mut profile, "kernel", MappingKind::Kernel);
        let address = common::KERNEL_ADDRESS + offset % 16;
        let top = frame(&mut profile, Some(kernel), address, FrameKind::Kernel, &[]);
        let root = frame(&mut profile, Some(file), offset, FrameKind::User, &[]);
        let stack = stack(&mut profile, &[root, top]);
        let labels = labels(&mut profile, 1, "app");
        profile.add(stack, labels, &[u64::MAX, 1]);
    }
    let profile = decode(&encode(&profile, Format::Pprof));
    assert_resolves(&profile);
    let last = profile.mapping.last().unwrap();
    assert_eq!(
        profile.string_table[last.filename as usize],
        "[kernel.kallsyms]"
    );
    assert_eq!(profile.sample[0].value, [i64::MAX, 1]);
}

fn assert_resolves(profile: &protos::Profile) {
    assert_eq!(profile.string_table[0], "");
    let strings: HashSet<&String> = profile.string_table.iter().collect();
    assert_eq!(strings.len(), profile.string_table.len());
    assert!(
        profile
            .mapping
            .iter()
            .map(|m| m.id)
            .eq(1..=profile.mapping.len() as u64)
    );
    assert!(
        profile
            .function
            .iter()
            .map(|f| f.id)
            .eq(1..=profile.function.len() as u64)
    );
    assert!(
        profile
            .location
            .iter()
            .map(|l| l.id)
            .eq(1..=profile.location.len() as u64)
    );
    for pair in profile.mapping.windows(2) {
        assert!(pair[0].memory_limit < pair[1].memory_start, "{pair:?}");
    }
    for location in &profile.location {
        if location.mapping_id > 0 {
            let mapping = &profile.mapping[location.mapping_id as usize - 1];
            assert!((mapping.memory_start..mapping.memory_limit).contains(&location.address));
        }
        for line in &location.line {
            assert!((1..=profile.function.len() as u64).contains(&line.function_id));
        }
    }
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), profile.sample_type.len());
        assert!(!sample.location_id.is_empty());
        let known = 1..=profile.location.len() as u64;
        assert!(sample.location_id.iter().all(|id| known.contains(id)));
    }
    for id in string_ids(profile) {
        assert!((0..profile.string_table.len() as i64).contains(&id));
    }
}

fn string_ids(profile: &protos::Profile) -> Vec<i64> {
    let mut ids = vec![profile.default_sample_type];
    ids.extend(&profile.comment);
    ids.extend(
        profile
            .mapping
            .iter()
            .flat_map(|m| [m.filename, m.build_id]),
    );
    ids.extend(
        profile
            .function
            .iter()
            .flat_map(|f| [f.name, f.system_name, f.filename]),
    );
    ids.extend(profile.sample_type.iter().flat_map(|of| [of.ty, of.unit]));
    let labels = profile.sample.iter().flat_map(|sample| &sample.label);
    ids.extend(labels.flat_map(|label| [label.key, label.str]));
    ids
}
