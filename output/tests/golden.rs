//! Each format against a file in `tests/golden`; run with `BLESS=1` to rewrite the files.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails with it")]

mod common;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use common::{decode, empty, encode, encode_text, on_cpu};
use output::{Format, Labels, WaitLabels};
use pprof::protos;

fn check(file: &str, actual: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = folder.join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{file} differs; BLESS=1 accepts");
}

#[test]
fn folded() {
    // Threads add up, the kernel and inlined functions are marked, lines are sorted.
    check("on_cpu.folded", &encode_text(&on_cpu(), Format::Folded));
}

#[test]
fn folded_by_thread() {
    // With a frame per thread, threads do not add up.
    let mut profile = on_cpu();
    profile.by_thread = true;
    profile.fold_by(&[1]);
    check("by_thread.folded", &encode_text(&profile, Format::Folded));
}

#[test]
fn svg() {
    // The picture without its script, one element a line.
    let svg = encode_text(&on_cpu(), Format::Svg);
    let (head, rest) = svg.split_once("<script").unwrap();
    let (_, tail) = rest.split_once("</script>").unwrap();
    check(
        "on_cpu.svg",
        &(head.to_owned() + tail).replace("><", ">\n<"),
    );
}

#[test]
fn svg_without_samples() {
    // A recording without samples still is a picture.
    check("empty.svg", &encode_text(&empty("idle"), Format::Svg));
}

#[test]
fn pprof() {
    // The message as text, with numbers of strings replaced by the strings.
    check(
        "on_cpu.pprof.txt",
        &render(&decode(&encode(&on_cpu(), Format::Pprof))),
    );
}

#[test]
fn pprof_tells_how_a_thread_waited() {
    // The labels of a wait are there where they are known, and those of a sample that ran are not.
    let mut profile = empty("app");
    let futex = profile.synthetic("[futex]");
    let stack = common::stack(&mut profile, &[futex]);
    let ran = common::labels(&mut profile, 1, "app");
    let mut wait = WaitLabels {
        state: profile.intern_string("blocked"),
        cause: profile.intern_string("futex"),
        waker: None,
        interval: None,
        is_idle: false,
    };
    for (tid, more) in [(2, false), (3, true)] {
        if more {
            wait.waker = Some(profile.intern_string("app 1/1"));
            wait.interval = Some(profile.intern_string("open"));
            wait.is_idle = true;
        }
        let labels = Labels {
            tid,
            cgroup: None,
            slice: None,
            wait: Some(wait),
            ..ran
        };
        profile.add(stack, labels, &[1, 1]);
    }
    profile.add(stack, ran, &[1, 1]);
    let message = decode(&encode(&profile, Format::Pprof));
    let text = |id: i64| message.string_table[id as usize].as_str();
    let labels = message.sample.iter().map(|sample| {
        let labels = sample.label.iter().skip(4);
        let labels = labels.map(|label| format!("{}={}", text(label.key), text(label.str)));
        labels.collect::<Vec<_>>().join(" ")
    });
    let all = "state=blocked cause=futex waker=app 1/1 interval=open idle=yes";
    let expected = ["state=blocked cause=futex", all, ""];
    assert_eq!(labels.collect::<Vec<_>>(), expected);
}

#[test]
fn folded_by_several_values() {
    // Stacks show the sum of the values that were chosen.
    let mut profile = empty("app");
    let main = profile.synthetic("main");
    let stack = common::stack(&mut profile, &[main]);
    let labels = common::labels(&mut profile, 1, "app");
    profile.add(stack, labels, &[3, 0]);
    profile.fold_by(&[0, 0]);
    assert_eq!(encode_text(&profile, Format::Folded), "app;main 6\n");
}

#[test]
fn equal_profiles_are_equal_files() {
    // Nothing random and no time of writing gets into a file.
    for format in Format::names().map(|name| Format::from_name(name).unwrap()) {
        assert_eq!(
            encode(&on_cpu(), format),
            encode(&on_cpu(), format),
            "{format}"
        );
    }
}

#[test]
fn equal_frames_are_drawn_once() {
    // A function with samples of its own and a callee stays whole beside one whose name sorts between them.
    let mut profile = empty("app");
    let [foo, bar, foo2] = ["foo", "bar", "foo2"].map(|name| profile.synthetic(name));
    for frames in [vec![foo], vec![foo, bar], vec![foo2]] {
        let stack = common::stack(&mut profile, &frames);
        let labels = common::labels(&mut profile, 1, "app");
        profile.add(stack, labels, &[1, 1]);
    }
    let svg = encode_text(&profile, Format::Svg);
    assert_eq!(svg.matches("<title>foo (2 samples").count(), 1);
}

#[test]
fn a_writer_that_fails_is_an_error() {
    // A full disk is reported by each format, with the format in the text.
    for format in Format::names().map(|name| Format::from_name(name).unwrap()) {
        let mut full: &mut [u8] = &mut [0; 16];
        let result = format.encoder().encode(&on_cpu(), &mut full);
        let expected = format!("failed to write the profile as `{format}`");
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}

fn render(profile: &protos::Profile) -> String {
    let text = |id: i64| profile.string_table[id as usize].as_str();
    let value_type = |of: &protos::ValueType| format!("{}/{}", text(of.ty), text(of.unit));
    let types: Vec<String> = profile.sample_type.iter().map(value_type).collect();
    let period_type = profile
        .period_type
        .as_ref()
        .map(value_type)
        .unwrap_or_default();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "types {types:?}, default {}",
        text(profile.default_sample_type)
    );
    let _ = writeln!(out, "period {} of {period_type}", profile.period);
    let _ = writeln!(
        out,
        "time {} ns, duration {} ns",
        profile.time_nanos, profile.duration_nanos
    );
    for comment in &profile.comment {
        let _ = writeln!(out, "comment {:?}", text(*comment));
    }
    render_code(profile, text, &mut out);
    for sample in &profile.sample {
        let label = |label: &protos::Label| format!("{}={}", text(label.key), text(label.str));
        let labels: Vec<String> = sample.label.iter().map(label).collect();
        let _ = writeln!(
            out,
            "sample {:?} {:?} {labels:?}",
            sample.location_id, sample.value
        );
    }
    out
}

fn render_code<'a>(profile: &'a protos::Profile, text: impl Fn(i64) -> &'a str, out: &mut String) {
    for m in &profile.mapping {
        let flags = [
            m.has_functions,
            m.has_filenames,
            m.has_line_numbers,
            m.has_inline_frames,
        ];
        let (name, build_id) = (text(m.filename), text(m.build_id));
        let range = m.memory_start..m.memory_limit;
        let _ = writeln!(
            out,
            "mapping {} {name} {range:#x?} {build_id:?} {flags:?}",
            m.id
        );
    }
    for f in &profile.function {
        let names = [f.name, f.system_name, f.filename].map(&text);
        let _ = writeln!(
            out,
            "function {} {names:?} from line {}",
            f.id, f.start_line
        );
    }
    for location in &profile.location {
        let lines = location
            .line
            .iter()
            .map(|line| (line.function_id, line.line));
        let lines: Vec<_> = lines.collect();
        let (id, mapping, address) = (location.id, location.mapping_id, location.address);
        let _ = writeln!(
            out,
            "location {id} in mapping {mapping} at {address:#x} {lines:?}"
        );
    }
}
