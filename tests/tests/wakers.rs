//! Who ends waits.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]
#![allow(clippy::print_stdout, reason = "the shares are for whoever looks")]

use tests::{Workload, alone, record, require_root};

/// At least 99 % of the time in which a consumer waits is ended by the producer, whose stack is shown.
fn assert_woken(kind: &str, consumer: &str, producer: &str) {
    let handed = Workload::without_frame_pointers("handed.c", "handed", &[]);
    let _alone = alone();
    // The time that the consumer runs for is little beside the time that it waits.
    let recorded = record(
        &["--off-cpu", "--wakers"],
        &[handed.path(), kind, "500", "5"],
    );
    let waited_ns: u64 = recorded.run.stdout.trim().parse().unwrap();
    let profile = recorded.pprof();
    let waits = profile.of_function(consumer);
    let blocked = waits.filter(|sample| sample.label("state") == "blocked");
    let woken = blocked.filter(|sample| {
        let mut leaf_first = sample.frames.iter().map(|frame| frame.function.as_str());
        sample.labels.contains_key("waker")
            && leaf_first.any(|function| function == producer)
            && leaf_first.any(|function| function == "[woken by]")
            && leaf_first.any(|function| function == consumer)
    });
    let shares =
        ["blocks", "off_cpu"].map(|name| woken.total(name) as f64 / blocked.total(name) as f64);
    let error = waits.away_ns() as f64 / waited_ns as f64 - 1.0;
    println!("{kind}: {shares:?} of waits and time by `{producer}`, {error:+.4} of the time more");
    assert!(shares.iter().all(|&share| share >= 0.99), "{blocked:?}");
    assert!(error.abs() <= 0.01, "{error}");
}

/// A condition variable between two threads.
#[test]
fn a_thread_is_woken_by_the_other() {
    if require_root() {
        assert_woken("threads", "consume_by_condition", "produce_by_condition");
    }
}

/// A pipe between two processes.
#[test]
fn a_process_is_woken_by_the_other() {
    if require_root() {
        assert_woken("processes", "consume_by_pipe", "produce_by_pipe");
    }
}
