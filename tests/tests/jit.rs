//! The code of JITs has its names: those of the time at which it was sampled, and of the process in
//! which it ran.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use tests::{JitRun, Workload, alone, require_root, tool};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/jit.js");

/// `JS:*six /path/jit.js:17:13`, where the character before the name tells how it was compiled.
fn is_script_function(frame: &str, name: &str) -> bool {
    let function = frame.split_once(':').map_or("", |(_, function)| function);
    let function = function.trim_start_matches(['~', '^', '*', '+']);
    function
        .strip_prefix(name)
        .is_some_and(|rest| rest.starts_with(" /"))
}

/// `script:function_0 /src/jit.script:1`
fn is_function(frame: &str, name: &str) -> bool {
    let function = frame.strip_prefix("script:").unwrap_or_default();
    function
        .strip_prefix(name)
        .is_some_and(|rest| rest.starts_with(' '))
}

fn script(options: &[&str]) -> JitRun {
    let node = [&[tool("node")], options, &[SCRIPT, "2500"]].concat();
    let run = JitRun::record(&[], "", &node);
    let folded = run.recorded.folded().of_process("node");
    run.check_shares(&folded, is_script_function);
    assert!(
        JitRun::named(&folded) >= 0.99,
        "{}",
        run.recorded.run.stderr
    );
    run
}

/// node with a perf map: all code of its JIT has a name, and each function its share by the script's
/// own clock.
#[test]
fn node_lists_its_code_in_a_perf_map() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    script(&["--perf-basic-prof"]);
}

/// With frames of their own for functions that are interpreted, those have names too: the script
/// itself is interpreted at least at first.
#[test]
fn node_lists_what_it_interprets() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let run = script(&["--perf-basic-prof", "--interpreted-frames-native-stack"]);
    let folded = run.recorded.folded().of_process("node");
    let is_module = |frame: &String| frame.contains("Module._compile node:internal");
    let inside = folded.filter(|stack| stack.frames.iter().any(is_module));
    assert!(inside.total() * 10 > folded.total() * 8, "{folded:?}");
}

/// node with a jitdump: as with a perf map, and each function has its source and its lines.
#[test]
fn node_lists_its_code_in_a_jitdump() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let run = script(&["--perf-prof"]);
    let pprof = run.recorded.pprof();
    let frames = pprof.samples.iter().flat_map(|sample| &sample.frames);
    let mut lines: Vec<(String, u64)> = frames
        .filter(|frame| is_script_function(&frame.function, "six"))
        .map(|frame| (frame.lines[0].file.clone(), frame.lines[0].line))
        .collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines, [(SCRIPT.to_owned(), 17)]);
}

/// Of functions that were at one address one after the other, each has its own time: the jitdump tells
/// when it came there.
#[test]
fn an_address_that_is_used_again_has_the_name_of_its_time() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let jit = Workload::compile("jit");
    let run = JitRun::record(&[], "", &[jit.path(), "dump", "3000"]);
    let folded = run.recorded.folded().of_process("jit");
    run.check_shares(&folded, is_function);
    assert!(JitRun::named(&folded) >= 0.999, "{folded:?}");
    let pprof = run.recorded.pprof();
    for frame in pprof.samples.iter().flat_map(|sample| &sample.frames) {
        if let Some(index) = frame.function.strip_prefix("script:function_") {
            let index: u64 = index[..1].parse().unwrap();
            let line = &frame.lines[0];
            assert_eq!(
                (line.file.as_str(), line.line),
                ("/src/jit.script", index + 1)
            );
        }
    }
}

/// A perf map has no times, but how long it was from second to second tells which of its lines were
/// there.
#[test]
fn a_perf_map_is_followed_while_it_grows() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let jit = Workload::compile("jit");
    let run = JitRun::record(&[], "", &[jit.path(), "map", "1300"]);
    let folded = run.recorded.folded().of_process("jit");
    run.check_shares(&folded, is_function);
    assert!(JitRun::named(&folded) >= 0.999, "{folded:?}");
}

/// With too many samples for each to have its time, functions at one address are not told apart, no
/// sample is lost, and that is said.
#[test]
fn times_become_coarser_before_samples_are_lost() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let jit = Workload::compile("jit");
    let few = ["--count-entries", "1600"];
    let run = JitRun::record(&few, "", &[jit.path(), "dump", "3000"]);
    let folded = run.recorded.folded().of_process("jit");
    assert!(JitRun::named(&folded) >= 0.999, "{folded:?}");
    let ledger = run.recorded.ledger();
    assert!(ledger.count("times of JIT code coarser") > 0, "{ledger:?}");
    assert_eq!(ledger.count("count map full"), 0, "{ledger:?}");
}

/// A process whose number is 1 in its own pid namespace is named by the map of that number, in a mount
/// namespace of its own too.
#[test]
fn namespaces_have_numbers_of_their_own() {
    if !require_root() {
        return;
    }
    let jit = Workload::compile("jit");
    let unshare = [tool("unshare"), "-Urpmf", "--mount-proc"];
    let private_tmp = "mount -t tmpfs none /mnt && cp \"$0\" /mnt/jit && \
         mount --bind /mnt /tmp && exec /tmp/jit \"$@\"";
    let tmp = ["sh", "-c", private_tmp, jit.path()];
    let dump = [&unshare[..], &[jit.path(), "dump", "1000"]].concat();
    let list = [&unshare[..], &[jit.path(), "list", "1000"]].concat();
    let list_apart = [&unshare[..], &tmp, &["list", "1000"]].concat();
    for command in [dump, list, list_apart] {
        let _alone = alone();
        let run = JitRun::record(&[], "", &command);
        let folded = run.recorded.folded().of_process("jit");
        assert!(folded.total() > 500, "{folded:?}");
        assert!(JitRun::named(&folded) >= 0.999, "{command:?} {folded:?}");
        let _there_is_none = std::fs::remove_file("/tmp/perf-1.map");
    }
}

/// A process that becomes another program has none of the first one's names after that, though the
/// addresses are the same and the map is still there.
#[test]
fn an_exec_ends_the_names_of_a_program() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let (first, second) = (
        Workload::compile("jit"),
        Workload::compile_as("jit", "other", &[]),
    );
    for form in ["list", "dump"] {
        let command = ["setarch", "-R", first.path(), form, "600"];
        let then = [second.path(), "none", "600"];
        let run = JitRun::record(&[], "", &[&command[..], &then].concat());
        let folded = run.recorded.folded();
        let (first, second) = (folded.of_process("jit"), folded.of_process("other"));
        assert!(first.total() > 300 && second.total() > 300, "{folded:?}");
        assert!(JitRun::named(&first) >= 0.999, "{form} {first:?}");
        assert!(JitRun::named(&second) < 0.2, "{form} {second:?}");
        let is_named = |frame: &String| frame.starts_with("script:");
        let named = second.filter(|stack| stack.frames.iter().any(is_named));
        assert_eq!(named.total(), 0, "{form} {named:?}");
    }
}

/// The child of a JIT's process has its parent's code and not its map.
#[test]
fn a_child_has_not_its_parents_names() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let jit = Workload::compile("jit");
    let run = JitRun::record(&[], "", &[jit.path(), "forked", "500"]);
    let folded = run.recorded.folded();
    assert!(
        JitRun::named(&folded.of_process("jit")) >= 0.999,
        "{folded:?}"
    );
    let child = folded.of_process("forked");
    assert!(
        child.total() > 300 && JitRun::named(&child) < 0.2,
        "{child:?}"
    );
    let nameless = run.recorded.ledger().count("unnamed: anonymous-memory");
    assert!(nameless > 300, "{nameless}");
}

/// Of a process that is gone before anyone looks, root's own map is believed, and that of a user is not:
/// nobody can tell whose it should be.
#[test]
fn a_process_that_is_gone_is_judged_by_its_map_alone() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let jit = Workload::compile("jit");
    // The recorder is stopped while the process lives.
    let script = "kill -STOP $PPID; \"$0\" list 40 & child=$!; wait $child; echo child $child
        chown $1 /tmp/perf-$child.map; kill -CONT $PPID";
    for (owner, is_believed) in [("0", true), ("65534", false)] {
        let mut run = JitRun::record(&[], "", &["sh", "-c", script, jit.path(), owner]);
        let child = run.truth.remove("child").unwrap();
        std::fs::remove_file(format!("/tmp/perf-{child}.map")).unwrap();
        let folded = run.recorded.folded().of_process("jit");
        let (stderr, named) = (&run.recorded.run.stderr, JitRun::named(&folded));
        assert!(folded.total() > 10, "{folded:?}");
        assert!(
            if is_believed {
                named == 1.0
            } else {
                named < 0.3
            },
            "{named} {stderr}"
        );
        let finding = format!(
            "the perf map of process {child} is not used: \
             the process was gone before anyone could see whose it was"
        );
        assert_eq!(run.warns(&finding), !is_believed, "{stderr}");
        if !is_believed {
            assert!(run.recorded.ledger().count("unnamed: jit-map-gone") > 10);
        }
    }
}
