//! Inlined functions, held against what `addr2line` says of the same places, of binutils and of LLVM.
//!
//! The linker's names are compared as they are. Names for readers are compared as binutils writes them
//! for Rust; for C++ without arguments, parameters and return types, since each demangler writes those
//! in its own way (`64ul`, `(unsigned long)64`).

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the figures are for whoever looks")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use object::{Object, ObjectSegment, SegmentFlags, elf::PF_X};
use symbolizer::short_name;
use tests::{Pprof, PprofFrame, PprofLine, Recorded, Workload, record, require_root, tool};

/// The functions at each place of a file, innermost first.
type Chains = BTreeMap<u64, Vec<String>>;

/// Link-time addresses of file offsets: `address = p_vaddr + offset - p_offset`.
fn addresses(file: &str, offsets: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let bytes = fs::read(file).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    let mut addresses = BTreeMap::new();
    for segment in elf.segments() {
        let SegmentFlags::Elf { p_flags, .. } = segment.flags() else {
            panic!("`{file}` is no ELF file");
        };
        let (start, size) = segment.file_range();
        let inside = offsets.range(start..start + size);
        if p_flags.contains(PF_X) {
            addresses.extend(inside.map(|offset| (*offset, segment.address() + offset - start)));
        }
    }
    assert_eq!(addresses.len(), offsets.len(), "each is in code of {file}");
    addresses
}

/// What `addr2line -i -f` says, by offset.
fn chains(file: &str, offsets: &BTreeSet<u64>, program: &[&str]) -> Chains {
    let addresses = addresses(file, offsets);
    let words = addresses.values().map(|address| format!("{address:#x}"));
    let output = Command::new(tool(program[0]))
        .args(["-a", "-i", "-f", "-e", file])
        .args(&program[1..])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut chains: Vec<Vec<String>> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            chains.push(Vec::new());
        } else {
            chains.last_mut().unwrap().push(line.to_owned());
            assert!(lines.next().unwrap().contains(':'));
        }
    }
    assert_eq!(chains.len(), addresses.len());
    addresses.into_keys().zip(chains).collect()
}

/// A program and a recording of it.
struct Scene {
    workload: Workload,
    pprof: Pprof,
    recorded: Recorded,
}

impl Scene {
    fn record(source: &str, options: &[&str]) -> Self {
        let workload = Workload::without_frame_pointers(source, "inlined", &["-g"]);
        let options = [&["-F", "999"][..], options].concat();
        let recorded = record(&options, &[workload.path(), "1500"]);
        Self {
            workload,
            pprof: recorded.pprof(),
            recorded,
        }
    }

    /// Frames of the program, without the entries of its linkage table, of which neither binutils nor
    /// LLVM knows where they lead.
    fn frames<'a>(&'a self, frames: &'a [PprofFrame]) -> impl Iterator<Item = &'a PprofFrame> {
        let frames = frames.iter();
        let frames = frames.filter(|frame| frame.module == self.workload.path());
        frames.filter(|frame| !frame.function.ends_with("@plt"))
    }

    /// Our functions by place, each as `of` tells.
    fn ours(&self, of: impl Fn(&PprofLine) -> &String) -> Chains {
        let samples = self.pprof.samples.iter();
        let frames = samples.flat_map(|sample| self.frames(&sample.frames));
        let names = |frame: &PprofFrame| frame.lines.iter().map(|line| of(line).clone()).collect();
        frames.map(|frame| (frame.offset, names(frame))).collect()
    }

    fn theirs(&self, program: &[&str]) -> Chains {
        let offsets = self.ours(|line| &line.function).into_keys().collect();
        chains(self.workload.path(), &offsets, program)
    }

    /// Checks that of the samples in which a function is inlined, 99 % and more have them all.
    fn assert_seen(&self, theirs: &Chains) {
        let (mut with, mut seen) = (0, 0);
        for sample in &self.pprof.samples {
            let frames: Vec<_> = self.frames(&sample.frames).collect();
            if frames.iter().any(|frame| theirs[&frame.offset].len() > 1) {
                let is_seen =
                    |frame: &&PprofFrame| frame.lines.len() == theirs[&frame.offset].len();
                with += sample.samples;
                seen += sample.samples * u64::from(frames.iter().all(is_seen));
            }
        }
        println!("{seen} of {with} samples have all inlined functions");
        assert!(with > 100, "{with}");
        assert!(seen * 100 >= with * 99, "{seen} of {with}");
    }
}

/// Checks that all are equal that binutils knows: where the debug information of an inlined function has
/// no linkage name it tells the symbol that covers the address, which is the outermost function.
fn assert_equal(ours: &Chains, theirs: &Chains, shown: impl Fn(&str) -> String) {
    let mut compared = 0;
    for (offset, ours) in ours {
        let theirs = &theirs[offset];
        let symbol = ours.last().unwrap();
        for (depth, (ours, words)) in ours.iter().zip(theirs).enumerate() {
            let expected = shown(words);
            let is_outermost = depth + 1 == theirs.len();
            if words == "??" || (depth == 0 && !is_outermost && expected == *symbol) {
                continue;
            }
            compared += 1;
            // The symbol table has the whole name of a function that has none for the linker in the
            // debug information, and tells a copy that the compiler made.
            let of_symbol = ours.split(" [clone").next().unwrap();
            let is_whole = is_outermost
                && (of_symbol == expected || of_symbol.ends_with(&format!("::{expected}")));
            assert!(
                *ours == expected || is_whole,
                "{ours} at {offset:#x}: {theirs:#?}"
            );
        }
    }
    println!("{compared} names are equal");
    assert!(compared > 100, "{compared}");
}

/// A Rust program has the inlined functions that binutils has, by the same names.
#[test]
fn rust_is_what_addr2line_says() {
    if !require_root() {
        return;
    }
    let scene = Scene::record("inlined.rs", &[]);
    let theirs = scene.theirs(&["addr2line", "-C"]);
    scene.assert_seen(&theirs);
    assert_equal(&scene.ours(|line| &line.function), &theirs, str::to_owned);
}

/// A C++ program has the inlined functions that binutils and LLVM have: the same linker's names, and
/// the same names without arguments and parameters.
#[test]
fn cpp_is_what_addr2line_says() {
    if !require_root() {
        return;
    }
    let scene = Scene::record("inlined.cpp", &["--short-names"]);
    let theirs = scene.theirs(&["addr2line", "-C"]);
    scene.assert_seen(&theirs);
    assert_equal(&scene.ours(|line| &line.function), &theirs, short_name);

    let system_names = scene.ours(|line| &line.system_name);
    let theirs = scene.theirs(&["llvm-addr2line"]);
    let equal = system_names
        .iter()
        .filter(|(offset, ours)| theirs[offset] == **ours);
    assert!(equal.count() * 100 >= theirs.len() * 99, "{theirs:#?}");
}

/// Inlined functions are frames of folded stacks, marked, and have a colour of their own in the flame
/// graph; each line of pprof has its place in the source. Without them there is one line a place.
#[test]
fn outputs_show_them() {
    if !require_root() {
        return;
    }
    let scene = Scene::record("inlined.rs", &[]);
    let folded = scene.recorded.folded();
    let marked = folded.filter(|stack| stack.frames.iter().any(|frame| frame.ends_with("_[i]")));
    assert!(marked.total() * 10 > folded.total() * 9, "{folded:?}");
    let svg = fs::read_to_string(scene.recorded.svg_path()).unwrap();
    assert_eq!(
        fills(&svg, "inlined::round"),
        BTreeSet::from([Fill::Yellow])
    );
    assert_eq!(
        fills(&svg, "alloc::slice::stable_sort"),
        BTreeSet::from([Fill::Aqua])
    );
    let samples = scene.pprof.samples.iter();
    let lines = samples
        .flat_map(|sample| &sample.frames)
        .flat_map(|frame| &frame.lines);
    let own = lines.filter(|line| line.function == "inlined::round");
    let own: Vec<_> = own.collect();
    let is_placed =
        |line: &&&PprofLine| line.file.ends_with("workloads/inlined.rs") && line.line > 0;
    let placed = own.iter().filter(is_placed).count();
    // Compilers give some instructions the line 0, which is none.
    assert!(
        placed > 0 && placed * 100 >= own.len() * 95,
        "{placed} of {}",
        own.len()
    );

    let without = Scene::record("inlined.rs", &["--no-inline"]);
    assert!(!without.recorded.folded_text().contains("_[i]"));
    assert!(
        without
            .ours(|line| &line.file)
            .values()
            .all(|files| files == &[""])
    );
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fill {
    Aqua,
    Yellow,
    Other,
}

/// The colours of the rectangles whose title begins with a name.
fn fills(svg: &str, name: &str) -> BTreeSet<Fill> {
    let titled = svg.split("<title>").skip(1);
    let titled = titled.filter(|part| {
        part.strip_prefix(name)
            .is_some_and(|end| end.starts_with(" ("))
    });
    let fill = |part: &str| {
        let (_, after) = part.split_once("fill=\"rgb(").unwrap();
        let numbers = after.split_once(')').unwrap().0.split(',');
        let numbers: Vec<u32> = numbers.map(|number| number.parse().unwrap()).collect();
        match numbers[..] {
            [red, green, blue] if red < 120 && green > 160 && blue > 160 => Fill::Aqua,
            [red, green, blue] if red > 160 && green > 160 && blue < 120 => Fill::Yellow,
            _ => Fill::Other,
        }
    };
    titled.map(fill).collect()
}
