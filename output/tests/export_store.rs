//! A store as a sink: it is opened late and again, and its errors decide whether a window waits or goes.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails with it")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use output::{
    Cause, Exporter, ExporterOptions, Kept, Label, Labels, Meta, Profile, Query, Range, Retention,
    SampleType, Store, StoreError, StoreSink, Timeline, TimelineOf, Unit,
};

/// What the store was given, as the bytes that it would keep.
static APPENDED: Mutex<Vec<Profile>> = Mutex::new(Vec::new());
static OPENED: AtomicUsize = AtomicUsize::new(0);
static TRIED: AtomicUsize = AtomicUsize::new(0);

/// Fails the first time, and refuses the window that begins at 2.
#[derive(Debug)]
struct Fake;

fn engine() -> StoreError {
    StoreError::Engine {
        what: "write to `db`".to_owned(),
        source: "connection refused".into(),
    }
}

impl Store for Fake {
    fn append(&self, window: &Profile) -> Result<(), StoreError> {
        if TRIED.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(engine());
        }
        if window.meta().time_nanos == 2 {
            return Err(StoreError::Refused("too old".to_owned()));
        }
        APPENDED.lock().unwrap().push(window.clone());
        Ok(())
    }

    fn query(&self, _: &Query) -> Result<Option<Profile>, StoreError> {
        Err(engine())
    }

    fn timeline(&self, _: &Query, _: &TimelineOf<'_>) -> Result<Timeline, StoreError> {
        Err(engine())
    }

    fn values(&self, _: &Query, _: Label) -> Result<Vec<String>, StoreError> {
        Err(engine())
    }

    fn sample_types(&self, _: Range) -> Result<Vec<SampleType>, StoreError> {
        Err(engine())
    }

    fn kept(&self) -> Result<Kept, StoreError> {
        Err(engine())
    }

    fn tidy(&self, _: i64, _: Retention) -> Result<(), StoreError> {
        Err(engine())
    }
}

/// Cannot be opened the first time.
fn open(url: &str) -> Result<Box<dyn Store>, StoreError> {
    assert_eq!(url, "clickhouse://user:secret@a,b/db");
    match OPENED.fetch_add(1, Ordering::SeqCst) {
        0 => Err(engine()),
        _ => Ok(Box::new(Fake)),
    }
}

fn window(time_nanos: i64) -> Profile {
    let meta = Meta {
        time_nanos,
        slice_ns: 100_000_000,
        ..Meta::default()
    };
    let mut profile = Profile::new(meta, vec![SampleType::new("samples", Unit::Count)]);
    let [name, cgroup] =
        ["app", "/system.slice/app.service"].map(|text| profile.intern_string(text));
    let frame = profile.synthetic("[x]");
    let stack = profile.intern_stack(None, frame);
    let labels = Labels {
        pid: 1,
        tid: 1,
        process: name,
        thread: name,
        cgroup: Some(cgroup),
        slice: Some(7),
        wait: None,
    };
    profile.add(stack, labels, &[1]);
    profile
}

/// The store gets the very windows, cgroups and slices included, once it can be opened and written; what it
/// refuses is dropped and counted.
#[test]
fn a_store_gets_the_very_windows() {
    let folder = tempfile::tempdir().unwrap();
    let name = "clickhouse://a,b/db".to_owned();
    let url = "clickhouse://user:secret@a,b/db".to_owned();
    let sink = StoreSink::new(name, url, open);
    let options = ExporterOptions {
        first_retry: Duration::from_millis(1),
        ..ExporterOptions::new(folder.path().to_owned())
    };
    let exporter = Exporter::start(vec![Box::new(sink)], &options).unwrap();
    (1..=3).for_each(|time| exporter.offer(Arc::new(window(time))));
    while exporter.counters()[0].sent < 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let counters = exporter.flush(Duration::from_secs(60)).remove(0);
    assert_eq!((counters.sent, counters.retried), (2, 2));
    assert_eq!(counters.dropped_by(Cause::Refused), 1);
    assert_eq!(counters.sink, "clickhouse://a,b/db");
    assert_eq!(counters.last_error.as_deref(), Some("too old"));
    let appended = APPENDED.lock().unwrap();
    for (appended, expected) in appended.iter().zip([window(1), window(3)]) {
        assert_eq!(appended.meta(), expected.meta());
        assert!(appended.samples().eq(expected.samples()));
        let cgroup = appended.samples().next().unwrap().labels.cgroup.unwrap();
        assert_eq!(appended.text(cgroup), "/system.slice/app.service");
    }
    assert_eq!(appended.len(), 2);
}
