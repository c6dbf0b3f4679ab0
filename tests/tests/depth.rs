//! Deep stacks: whole up to the limit, and beyond it cut, marked and counted.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use tests::{Folded, Recorded, Workload, record, require_root};

/// How many frames a user stack has at most.
const LIMIT: usize = 512;

/// Records a recursion of this depth and gives its stacks that reach the bottom.
fn recursion(depth: &str) -> (Recorded, Folded) {
    let recurse = Workload::compile("recurse");
    let recorded = record(&["-F", "999"], &[recurse.path(), depth, "1"]);
    let folded = recorded.folded().of_process("recurse");
    let at_bottom = folded.filter(|stack| stack.has("bottom"));
    assert!(at_bottom.total() * 100 >= folded.total() * 95, "{folded:?}");
    (recorded, at_bottom)
}

/// A recursion of 300 frames is there frame by frame, from the entry to the leaf.
#[test]
fn a_stack_of_300_frames_is_whole() {
    if !require_root() {
        return;
    }
    let (recorded, stacks) = recursion("300");
    let mut whole = vec!["_start", "main"];
    whole.extend(["recurse"; 300]);
    whole.push("bottom");
    for stack in &stacks.0 {
        assert_eq!(stack.user_frames().collect::<Vec<_>>(), whole);
        assert_eq!(stack.frames[0], "_start");
    }
    assert_eq!(recorded.ledger().count("truncated"), 0);
}

/// A recursion of 2,000 frames is cut at the limit, begins with a frame that says so, and is counted.
#[test]
fn a_stack_beyond_the_limit_is_cut_and_says_so() {
    if !require_root() {
        return;
    }
    let (recorded, stacks) = recursion("2000");
    for stack in &stacks.0 {
        assert_eq!(stack.frames[0], "[truncated]");
        assert_eq!(stack.user_frames().count(), LIMIT);
    }
    let all = recorded.folded().of_process("recurse");
    let cut = all.filter(|stack| stack.has("[truncated]")).total();
    assert_eq!(recorded.ledger().count("truncated"), cut);
}
