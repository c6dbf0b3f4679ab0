//! User stacks of programs without frame pointers are whole: they begin where a thread began. Run with
//! `--nocapture` to see the table.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the table is for whoever looks")]

use std::{fs, process::Command};

use tests::{FoldedStack, Recorded, Whole, Workload, ends, record_by_release, require_root, tool};

/// Prints a row of the table.
fn row(name: &str, whole: &Whole, recorded: &Recorded) {
    let ends = ends(&recorded.run.stderr);
    println!("{name:24} {whole}  {ends}");
    let mut others: Vec<_> = whole.others.iter().collect();
    others.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
    for (stack, samples) in others.into_iter().take(4) {
        println!("{samples:31} {stack}");
    }
}

/// Records a command at 999 Hz and checks that at least `percent` of the user samples are whole.
fn assert_whole(name: &str, percent: f64, command: &[&str]) -> Recorded {
    let recorded = record_by_release(&["-F", "999"], command);
    let whole = Whole::of(&recorded.pprof(), |_| true);
    row(name, &whole, &recorded);
    assert!(whole.user >= 400, "{name}: {whole}");
    assert!(whole.percent() >= percent, "{name}: {:?}", whole.others);
    recorded
}

/// The user frames of a stack as a text: `main work`, without the parameters of C++.
fn chain(stack: &FoldedStack) -> String {
    let names = stack.user_frames();
    let names: Vec<_> = names.map(|name| name.split('(').next().unwrap()).collect();
    names.join(" ")
}

/// Each sample in `leaf` below `caller` has this chain, where `*` stands for any frames of libc's; and
/// there are such samples.
fn assert_chain(recorded: &Recorded, caller: &str, leaf: &str, expected: &str) {
    let all = recorded.folded();
    let all: Vec<String> = all.0.iter().map(chain).collect();
    let below = all.iter().filter(|chain| {
        let mut names = chain.split(' ');
        names.clone().next_back() == Some(leaf) && names.any(|name| name == caller)
    });
    let below: Vec<_> = below.collect();
    assert_ne!(below.len(), 0, "{caller} {leaf}: {all:?}");
    for chain in below {
        assert!(is_chain(chain, expected), "`{chain}` is not `{expected}`");
    }
}

fn is_chain(chain: &str, expected: &str) -> bool {
    let Some((before, behind)) = expected.split_once(" * ") else {
        return chain == expected;
    };
    let rest = chain
        .strip_prefix(before)
        .and_then(|rest| rest.strip_prefix(' '));
    let mut starts = rest.into_iter().flat_map(|rest| {
        let spaces = rest.match_indices(' ');
        spaces.map(move |(space, _)| &rest[space + 1..])
    });
    starts.any(|start| is_chain(start, behind))
}

const START: &str = "_start __libc_start_main __libc_start_call_main main";

/// C without frame pointers, at -O2 and -O3: alloca, realigned stacks, vectors, recursion, threads,
/// handlers on a stack of their own, PLT, vfork, callbacks from libc and the vdso. Every chain is the
/// program's own.
#[test]
fn c_programs() {
    if !require_root() {
        return;
    }
    for optimization in ["-O2", "-O3"] {
        let flags = [optimization];
        let frames = Workload::with_library("frames.c", "called.c", "frames", &flags);
        let name = format!("C {optimization}");
        let recorded = assert_whole(&name, 99.0, &[frames.path(), "100"]);
        for caller in [
            "with_alloca",
            "realigned",
            "realigned_and_moved",
            "with_vectors",
            "in_vforked_child",
        ] {
            let expected = format!("{START} {caller} work");
            assert_chain(&recorded, caller, "work", &expected);
        }
        let recursion = vec!["recursive"; 200].join(" ");
        let handlers = "interrupted * on_first * on_second work";
        for (caller, leaf, expected) in [
            ("recursive", "work", format!("{START} {recursion} work")),
            ("on_second", "work", format!("{START} {handlers}")),
            ("sorting", "work", format!("{START} sorting * compare work")),
            (
                "through_plt",
                "called",
                format!("{START} through_plt called"),
            ),
        ] {
            assert_chain(&recorded, caller, leaf, &expected);
        }
        let thread = "__clone3 start_thread threaded work";
        assert_chain(&recorded, "threaded", "work", thread);
    }
}

/// C++ without frame pointers: virtual calls, destructors in a deep recursion, exceptions.
#[test]
fn cpp_programs() {
    if !require_root() {
        return;
    }
    for optimization in ["-O2", "-O3"] {
        let frames = Workload::without_frame_pointers("frames.cpp", "frames", &[optimization]);
        let name = format!("C++ {optimization}");
        let recorded = assert_whole(&name, 99.0, &[frames.path(), "300"]);
        for shape in ["Square::area", "Circle::area"] {
            let expected = format!("{START} total {shape} work");
            assert_chain(&recorded, shape, "work", &expected);
        }
        let recursion = vec!["deep"; 100].join(" ");
        let expected = format!("{START} {recursion} work");
        assert_chain(&recorded, "deep", "work", &expected);
        let thrown = recorded
            .folded()
            .filter(|stack| chain(stack).contains("thrower"));
        let caught = thrown.filter(|stack| chain(stack).contains("main catcher"));
        assert!(thrown.total() > 200, "{}", thrown.total());
        // When libgcc installs a handler's registers, it writes them over those that it saved, and what
        // is described no longer holds: libunwind loses its way there too.
        assert!(caught.total() * 100 >= thrown.total() * 97, "{thrown:?}");
    }
}

/// Rust as cargo's release profile builds it: threads, closures, virtual calls, panics that are caught.
#[test]
fn rust_programs() {
    if !require_root() {
        return;
    }
    let mixture = Workload::without_frame_pointers("mixture.rs", "mixture", &[]);
    assert_whole("Rust", 99.0, &[mixture.path(), "1500"]);
}

/// Many functions for a compiler.
fn source(functions: usize, function: impl Fn(usize) -> String) -> String {
    (0..functions).map(function).collect()
}

fn rust_source() -> String {
    let function = |number| {
        format!(
            "pub fn f{number}(map: &mut std::collections::BTreeMap<String, Vec<usize>>) -> usize {{
                for key in 0..{number} {{
                    map.entry(format!(\"{{}}\", key + {number})).or_default().push(key);
                }}
                let mut all: Vec<_> = map.iter().map(|(name, list)| (list.len(), name)).collect();
                all.sort();
                all.iter().filter(|pair| pair.0 % 3 == 0).map(|pair| pair.1.len()).sum()
            }}\n"
        )
    };
    source(150, function)
}

fn cpp_source() -> String {
    let function = |number| {
        format!(
            "size_t f{number}(std::map<std::string, int> &map) {{
                map[std::to_string({number})]++;
                std::vector<std::pair<int, std::string>> all;
                for (auto &pair : map) all.emplace_back(pair.second, pair.first);
                std::sort(all.begin(), all.end());
                return all.size() + std::regex_match(\"a{number}\", std::regex(\"a.*\"));
            }}\n"
        )
    };
    let includes = ["map", "string", "algorithm", "vector", "regex"];
    let includes = includes.map(|name| format!("#include <{name}>\n")).concat();
    includes + &source(12, function)
}

/// The path of the compiler itself, and not of rustup's.
fn rustc() -> String {
    let sysroot = Command::new(tool("rustc"))
        .args(["--print", "sysroot"])
        .output();
    let sysroot = String::from_utf8(sysroot.unwrap().stdout).unwrap();
    format!("{}/bin/rustc", sysroot.trim())
}

/// Compilers: functions that are split and moved, in several executable mappings.
#[test]
fn compilers() {
    if !require_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rust = file("input.rs", rust_source());
    let cpp = file("input.cpp", cpp_source());
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let rustc = rustc();
    let options = [&*rustc, "-O", "--crate-type", "lib", "-o", out, &rust];
    assert_whole("rustc", 99.0, &options);
    assert_whole(
        "clang++",
        99.0,
        &[tool("clang++"), "-O2", "-c", "-o", out, &cpp],
    );
}

const PYTHON: &str = "
import json
for turn in range(120):
    sum(number * number for number in range(400000))
    texts = sorted(str(number) for number in range(60000))
    json.loads(json.dumps(texts))
";

const JAVASCRIPT: &str = "
const begin = Date.now(), counts = new Map();
let length = 0;
while (Date.now() - begin < 1500) {
    for (let i = 0; i < 20000; i++) {
        const key = 'key' + i % 977;
        counts.set(key, (counts.get(key) || 0) + Math.sqrt(i));
        length += JSON.stringify({i, list: [1, 2, 3]}).length;
    }
    [...counts.keys()].sort();
}
if (length === 0) process.exit(1);
";

const SQL: &str = "
with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < 2000000)
select count(*), sum(n * 2), max(printf('%d', n)) from numbers;
";

/// Interpreters: native code, a JIT's and V8's built-in functions.
#[test]
fn interpreters() {
    if !require_root() {
        return;
    }
    // Not one that stands before it in `PATH` to choose a version: what such a launcher becomes has its
    // tables built while it runs already, which here is a matter of how many CPUs are free.
    assert_whole("python3", 99.0, &["/usr/bin/python3", "-c", PYTHON]);
    assert_whole("node", 99.0, &[tool("node"), "-e", JAVASCRIPT]);
    assert_whole("sqlite3", 99.0, &[tool("sqlite3"), ":memory:", SQL]);
}

/// A program that is stripped.
#[test]
fn a_stripped_program() {
    if !require_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::write(
        &input,
        source(600_000, |line| format!("{} {line}\n", line * line)),
    )
    .unwrap();
    let input = input.to_str().unwrap();
    assert_whole("gzip", 99.0, &[tool("gzip"), "-9", input]);
}

/// Programs that end within a few milliseconds, of which most is starting.
#[test]
fn short_commands() {
    if !require_root() {
        return;
    }
    let script = "for turn in $(seq 300); do ls -l /; date; head -c 100 /etc/passwd | wc; done";
    assert_whole("commands of a shell", 97.0, &["sh", "-c", script]);
}

/// Compilers put code without descriptions around every program. Page faults are met in it at each
/// exit: where a byte of data is tested, where it is set, and where the last page of code begins.
#[cfg(target_arch = "x86_64")]
#[test]
fn code_around_a_program() {
    if !require_root() {
        return;
    }
    for kind in [
        &["-Wl,-z,now"][..],
        &["-Wl,-z,now", "-no-pie"],
        &["-static"],
    ] {
        let program = Workload::without_frame_pointers("exit.c", "exit", kind);
        let recorded = tests::record(&["-F", "999"], &[program.path(), "200"]);
        let whole = Whole::of(&recorded.pprof(), |sample| {
            sample.frames.iter().any(|frame| frame.function == "work")
        });
        assert!(whole.user > 450, "{kind:?}: {whole}");
        assert_eq!(whole.whole, whole.user, "{kind:?}: {whole:?}");
        let folded = recorded.folded();
        let below = |caller| folded.filter(|stack| stack.user_frames().any(|name| name == caller));
        let aux = below("__do_global_dtors_aux").total();
        let fini = below("_fini").total();
        assert!(aux > 300 && fini > 150, "{kind:?}: {folded:?}");
    }
}
