//! Servers that are away, slow, busy or refuse, with real sockets: what is lost is counted, and nothing else.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails with it")]

#[path = "common/server.rs"]
mod server;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use output::{
    Cause, Counters, Destination, Exporter, ExporterOptions, Labels, Meta, Profile, SampleType,
    Sink, SinkOptions, Unit,
};
use prost::Message;
use server::{Answer, Request, Server};

/// Far more than anything here takes: it ends a test that would not end.
const LIMIT: Duration = Duration::from_secs(60);

/// A window that is known by when it began.
fn window(time_nanos: i64) -> Arc<Profile> {
    let meta = Meta {
        time_nanos,
        duration_nanos: 10,
        ..Meta::default()
    };
    let mut profile = Profile::new(meta, vec![SampleType::new("samples", Unit::Count)]);
    let name = profile.intern_string("app");
    let frame = profile.synthetic("[x]");
    let stack = profile.intern_stack(None, frame);
    let labels = Labels {
        pid: 1,
        tid: 1,
        process: name,
        thread: name,
        cgroup: None,
        slice: None,
        wait: None,
    };
    profile.add(stack, labels, &[1]);
    Arc::new(profile)
}

fn sink(destination: &str, timeout: Duration) -> Vec<Box<dyn Sink>> {
    let options = SinkOptions {
        timeout,
        ..SinkOptions::default()
    };
    let destination: Destination = destination.parse().unwrap();
    vec![destination.sink(&options).unwrap()]
}

fn options(folder: &Path) -> ExporterOptions {
    ExporterOptions {
        first_retry: Duration::from_millis(10),
        longest_retry: Duration::from_millis(100),
        ..ExporterOptions::new(folder.to_owned())
    }
}

fn start(folder: &Path, address: impl std::fmt::Display) -> Exporter {
    let sinks = sink(&format!("otlp+http://{address}"), LIMIT);
    Exporter::start(sinks, &options(folder)).unwrap()
}

/// Waits until the counters of the only sink are so.
fn wait(exporter: &Exporter, is_so: impl Fn(&Counters) -> bool) -> Counters {
    for _ in 0..LIMIT.as_millis() / 10 {
        let counters = exporter.counters().remove(0);
        if is_so(&counters) {
            return counters;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", exporter.counters());
}

/// When the windows of OTLP requests began, in the order in which they came.
fn times(requests: &[Request]) -> Vec<u64> {
    let time = |request: &Request| {
        let mut bytes = Vec::new();
        let mut gzip = flate2::read::GzDecoder::new(request.body.as_slice());
        gzip.read_to_end(&mut bytes).unwrap();
        let message = ExportProfilesServiceRequest::decode(bytes.as_slice()).unwrap();
        let profile = &message.resource_profiles[0].scope_profiles[0].profiles[0];
        profile.time_unix_nano
    };
    requests.iter().map(time).collect()
}

/// Nothing is lost while the server is away, and all comes in order when it is back.
#[test]
fn a_server_that_was_away_gets_everything() {
    let folder = tempfile::tempdir().unwrap();
    let address = Server::nowhere();
    let exporter = start(folder.path(), address);
    (1..=5).for_each(|time| exporter.offer(window(time)));
    let away = wait(&exporter, |counters| {
        counters.retried >= 3 && counters.spooled == 5
    });
    assert_eq!(away.sent, 0);
    assert!(
        away.spooled_bytes > 0 && away.last_error.is_some(),
        "{away:?}"
    );
    let server = Server::start_at(address, &[]);
    let counters = wait(&exporter, |counters| counters.sent == 5);
    assert_eq!(times(&server.received()), [1, 2, 3, 4, 5]);
    assert_eq!((counters.dropped, counters.spooled_bytes), ([0; 5], 0));
}

/// A server that is busy gets the same window again until it takes it, before any later one.
#[test]
fn a_busy_server_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[
        Answer::Reply(503, "", "starting"),
        Answer::Reply(429, "retry-after: 1\r\n", ""),
        Answer::Reply(502, "", ""),
    ]);
    let exporter = start(folder.path(), server.address);
    (1..=2).for_each(|time| exporter.offer(window(time)));
    let counters = wait(&exporter, |counters| counters.sent == 2);
    assert_eq!(times(&server.received()), [1, 1, 1, 1, 2]);
    assert_eq!((counters.retried, counters.dropped), (3, [0; 5]));
}

/// A fault of Pyroscope is no reason to give up a window.
#[test]
fn a_fault_of_the_server_passes() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[Answer::Reply(500, "", "{\"code\":\"internal\"}")]);
    let sinks = sink(&format!("pyroscope+http://{}", server.address), LIMIT);
    let exporter = Exporter::start(sinks, &options(folder.path())).unwrap();
    exporter.offer(window(1));
    let counters = wait(&exporter, |counters| counters.sent == 1);
    assert_eq!((counters.retried, server.received().len()), (1, 2));
    assert!(counters.last_error.unwrap().contains("internal"));
}

/// A server that takes the request and never answers is given up for this time, and the window comes again.
#[test]
fn a_hanging_server_does_not_hold_a_window() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[Answer::Hang]);
    let address = format!("otlp+http://{}", server.address);
    let sinks = sink(&address, Duration::from_secs(2));
    let exporter = Exporter::start(sinks, &options(folder.path())).unwrap();
    (1..=2).for_each(|time| exporter.offer(window(time)));
    let counters = wait(&exporter, |counters| counters.sent == 2);
    let mut times = times(&server.received());
    assert_eq!(times.len() as u64, counters.retried + counters.sent);
    times.dedup();
    assert_eq!(times, [1, 2]);
    assert!(counters.retried > 0 && counters.dropped == [0; 5]);
}

/// What is refused for good is dropped and counted with the server's words, and the others go on.
#[test]
fn a_refused_window_does_not_block_others() {
    let folder = tempfile::tempdir().unwrap();
    let ok = Answer::Reply(200, "", "");
    let refusal = Answer::Reply(400, "", "too\nold");
    let server = Server::start(&[ok, refusal]);
    let exporter = start(folder.path(), server.address);
    (1..=3).for_each(|time| exporter.offer(window(time)));
    let counters = exporter.flush(LIMIT).remove(0);
    assert_eq!(times(&server.received()), [1, 2, 3]);
    assert_eq!((counters.sent, counters.dropped_by(Cause::Refused)), (2, 1));
    assert_eq!(
        counters.last_error.as_deref(),
        Some("HTTP 400 Bad Request: too\u{FFFD}old")
    );
}

/// Beyond the bound the oldest windows go, every one of them counted, and the rest arrives in order.
#[test]
fn what_does_not_fit_the_bound_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let address = Server::nowhere();
    let exporter = start(folder.path(), address);
    exporter.offer(window(1));
    let one = wait(&exporter, |counters| counters.spooled == 1).spooled_bytes;
    exporter.flush(LIMIT);

    let options = ExporterOptions {
        bound_bytes: 3 * (one + 8),
        ..options(folder.path())
    };
    let sinks = sink(&format!("otlp+http://{address}"), LIMIT);
    let exporter = Exporter::start(sinks, &options).unwrap();
    (2..=6).for_each(|time| exporter.offer(window(time)));
    let full = wait(&exporter, |counters| {
        counters.dropped_by(Cause::SpoolFull) == 3
    });
    assert!(full.spooled_bytes <= options.bound_bytes, "{full:?}");
    let server = Server::start_at(address, &[]);
    let counters = exporter.flush(LIMIT).remove(0);
    let times = times(&server.received());
    assert_eq!((counters.sent, counters.spooled, times.len()), (3, 0, 3));
    assert!(times.is_sorted() && times[1..] == [5, 6], "{times:?}");
}

/// Offering never waits for the disk, and a window that finds no room is counted.
#[test]
fn offering_never_waits() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let exporter = start(folder.path(), server.address);
    let window = window(1);
    (0..3000).for_each(|_| exporter.offer(Arc::clone(&window)));
    let counters = exporter.flush(LIMIT).remove(0);
    let dropped = counters.dropped_by(Cause::QueueFull);
    assert!(dropped > 0 && counters.sent > 0, "{counters:?}");
    assert_eq!(counters.sent + dropped, 3000);
}

/// Flushing ends although the server is away, and leaves in the spool what it could not send.
#[test]
fn flushing_ends_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = start(folder.path(), Server::nowhere());
    (1..=3).for_each(|time| exporter.offer(window(time)));
    let counters = exporter.flush(LIMIT).remove(0);
    assert_eq!(
        (counters.sent, counters.spooled, counters.dropped),
        (0, 3, [0; 5])
    );
}

/// The folder of a process that [`a_killed_process_loses_nothing`] starts and kills.
const CHILD: &str = "TIMESINK_TEST_SPOOL";

/// After SIGKILL in the middle of sending all comes that was in the spool, with the window that had no answer
/// a second time; a file that was cut short is counted.
#[test]
fn a_killed_process_loses_nothing() {
    if let Some(folder) = env::var_os(CHILD) {
        return run_child(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let ok = || Answer::Reply(200, "", "");
    let server = Server::start(&[ok(), ok(), Answer::Hang]);
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_loses_nothing", "--nocapture"])
        .env(CHILD, folder.path())
        .env("TIMESINK_TEST_SERVER", server.address.to_string())
        .spawn()
        .unwrap();
    while server.received().len() < 3 || windows(folder.path()).len() != 4 {
        assert!(child.try_wait().unwrap().is_none(), "the child has ended");
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(times(&server.received()), [1, 2, 3]);

    let torn = windows(folder.path()).pop().unwrap();
    let bytes = fs::read(&torn).unwrap();
    fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    let exporter = start(folder.path(), server.address);
    let counters = exporter.flush(LIMIT).remove(0);
    assert_eq!(times(&server.received()), [1, 2, 3, 3, 4, 5]);
    assert_eq!((counters.sent, counters.dropped_by(Cause::Damaged)), (3, 1));
    assert_eq!((counters.spooled, counters.spooled_bytes), (0, 0));
}

/// Offers six windows and waits to be killed.
fn run_child(folder: &Path) {
    let server = env::var("TIMESINK_TEST_SERVER").unwrap();
    let exporter = start(folder, server);
    (1..=6).for_each(|time| exporter.offer(window(time)));
    thread::sleep(LIMIT);
}

/// The windows in the spool of the only sink, the oldest first.
fn windows(folder: &Path) -> Vec<PathBuf> {
    let sinks = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = sinks.flat_map(|sink| fs::read_dir(sink).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    let windows = files.filter(|path| path.extension().is_some_and(|end| end == "window"));
    let mut windows: Vec<PathBuf> = windows.collect();
    windows.sort();
    windows
}
