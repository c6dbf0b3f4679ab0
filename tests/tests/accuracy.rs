//! Whether the profile says of a program what the program says of itself.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use tests::{FoldedStack, Workload, alone, record, require_root};

/// Each function has its share within 1.5 points, its chain is exact from `main` down, and the
/// stacks are whole.
#[test]
fn shares_and_chains_are_the_programs_own() {
    if !require_root() {
        return;
    }
    let shares = Workload::compile("shares");
    let _alone = alone();
    let recorded = record(&["-F", "999"], &[shares.path(), "10"]);
    let folded = recorded.folded().of_process("shares");

    for line in recorded.run.stdout.lines() {
        let (function, truth) = line.split_once(' ').unwrap();
        let (share, truth) = (folded.share(function), truth.parse::<f64>().unwrap());
        assert!((share - truth).abs() <= 0.015, "{line}, not {share}");
    }
    assert_eq!(recorded.run.stdout.lines().count(), 4);

    // The first instructions of a function run before it has its frame, and so without its caller.
    let at_work = folded.filter(|stack| stack.user_frames().any(|f| f.starts_with("leaf_")));
    let exact = at_work.filter(has_exact_chain).total();
    assert!(exact * 1000 >= at_work.total() * 999, "{at_work:?}");

    let user = folded.filter(|stack| stack.user_frames().next().is_some());
    let whole = user.filter(|stack| stack.frames[0] == "_start").total();
    assert!(whole * 100 >= user.total() * 99, "{user:?}");
    assert!(user.total() * 100 >= folded.total() * 99, "{folded:?}");
}

fn has_exact_chain(stack: &FoldedStack) -> bool {
    let frames: Vec<&str> = stack.user_frames().collect();
    matches!(frames[..], ["_start", "main", "a", "b", leaf] if leaf.starts_with("leaf_"))
}
