//! What every store must do: the same windows in, the same answers out.
//!
//! The expected answers are worked out from the windows themselves, sample by sample.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod expected;
pub(crate) mod windows;

use output::{Label, Matcher, Query, Range, Store, TimelineOf};

use windows::{MINUTE_NS, SECOND_NS, START_NS};

/// A folder in memory, where making sure that data is on the disk takes no time.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// Ranges of whole windows, of parts of them, of roll-ups, over midnight, and without any window.
pub(crate) fn ranges() -> Vec<Range> {
    let range = |from_ns: i64, to_ns: i64| Range {
        from_ns: START_NS + from_ns,
        to_ns: START_NS + to_ns,
    };
    vec![
        range(-MINUTE_NS, 100 * MINUTE_NS),
        range(0, 30 * SECOND_NS),
        range(13 * SECOND_NS, 74 * SECOND_NS + 150_000_000),
        range(10 * MINUTE_NS, 20 * MINUTE_NS),
        range(4 * MINUTE_NS + 7, 57 * MINUTE_NS + 13),
        range(-90 * MINUTE_NS, -80 * MINUTE_NS),
        range(5 * SECOND_NS, 5 * SECOND_NS),
    ]
}

/// Questions by each label, by two at once, and for what is not there.
pub(crate) fn matchers() -> Vec<Vec<Matcher>> {
    let of = |label, value: &str| Matcher {
        label,
        value: value.to_owned(),
    };
    vec![
        vec![],
        vec![of(Label::Host, "one")],
        vec![of(Label::Process, "nginx")],
        vec![of(Label::Pid, "101")],
        vec![of(Label::Thread, "worker 1")],
        vec![of(Label::Tid, "1012")],
        vec![of(Label::Cgroup, "")],
        vec![of(Label::Container, windows::CONTAINER)],
        vec![of(Label::Unit, "nginx.service")],
        vec![of(Label::Host, "two"), of(Label::Process, "app<b>")],
        vec![of(Label::Process, "nobody")],
        vec![of(Label::Pid, "0101")],
    ]
}

pub(crate) fn queries() -> Vec<Query> {
    let of_range = |range| {
        let queries = matchers().into_iter();
        queries.map(move |matchers| Query { range, matchers })
    };
    ranges().into_iter().flat_map(of_range).collect()
}

/// Asks a store that has exactly [`windows::all`] everything.
pub(crate) fn answers_are_right(store: &dyn Store) {
    let windows = windows::all();
    let steps = [7 * SECOND_NS, MINUTE_NS, 10 * MINUTE_NS];
    for (number, query) in queries().iter().enumerate() {
        query_is_right(store, &windows, query);
        // All labels have their turn, each with other ranges, matchers and steps.
        let labels = Label::ALL.map(Some).into_iter().chain([None]);
        let by = labels.cycle().nth(number).flatten();
        timeline_is_right(store, &windows, query, by, steps[number % 3]);
        if let Some(label) = by {
            let found = store.values(query, label).unwrap();
            let expected = expected::values(&windows, query, label);
            assert_eq!(found, expected, "{label} of {query:?}");
        }
    }
    heat_map_is_right(store, &windows);
    for range in ranges() {
        let types = store.sample_types(range).unwrap();
        assert_eq!(types, expected::sample_types(&windows, range), "{range:?}");
    }
    let kept = store.kept().unwrap();
    assert_eq!(kept.damaged, 0);
    let starts = windows.iter().map(|window| window.meta().time_nanos);
    assert_eq!(kept.oldest_ns, starts.min());
    assert_eq!(kept.newest_ns, windows.iter().map(expected::end_ns).max());
}

fn query_is_right(store: &dyn Store, windows: &[output::Profile], query: &Query) {
    let found = store.query(query).unwrap();
    let expected = expected::samples(windows, query);
    assert_eq!(found.is_some(), expected.is_some(), "{query:?}");
    let (Some(found), Some(expected)) = (found, expected) else {
        return;
    };
    assert_eq!(expected::samples_of(&found), expected, "{query:?}");
    assert_eq!(
        expected::rows_of([&found]),
        expected::rows(windows, query),
        "{query:?}"
    );
}

fn timeline_is_right(
    store: &dyn Store,
    windows: &[output::Profile],
    query: &Query,
    by: Option<Label>,
    step_ns: i64,
) {
    for sample_type in ["cpu", "off_cpu", "nothing"] {
        let of = TimelineOf {
            sample_type,
            by,
            step_ns,
        };
        let found = store.timeline(query, &of).unwrap();
        let expected = expected::timeline(windows, query, &of);
        assert_eq!(found, expected, "{of:?} of {query:?}");
    }
}

/// A timeline of steps as long as slices.
fn heat_map_is_right(store: &dyn Store, windows: &[output::Profile]) {
    let query = Query {
        range: ranges()[2],
        matchers: matchers().remove(2),
    };
    timeline_is_right(store, windows, &query, None, 300_000_000);
    timeline_is_right(store, windows, &query, Some(Label::Tid), 300_000_000);
}
