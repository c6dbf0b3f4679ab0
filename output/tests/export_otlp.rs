//! OTLP profiles as another implementation reads them: servers in Python, by gRPC and HTTP, with what PyPI's
//! `opentelemetry-proto` generates from the published format.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails with it")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use common::{KERNEL_ADDRESS, frame, mapping, meta, on_cpu, stack};
use output::{
    Destination, Extra, FrameKind, Labels, MappingKind, Profile, SampleType, SendError, Sink,
    SinkOptions, Unit, WaitLabels,
};
use serde_json::{Value, json};

/// The server of `otlp_server.py`, until it is dropped.
struct Server {
    child: Child,
    /// What it prints, read as it comes, so that it never waits for the test.
    lines: Receiver<String>,
    port: u16,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = here.join("../target/python/bin/python3");
        let child = Command::new(&python)
            .arg(here.join("tests/otlp_server.py"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!(
                "failed to run `{}`, run tests/install-tools: {error}",
                python.display()
            )
        });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = channel();
        thread::spawn(move || stdout.lines().try_for_each(|line| to.send(line.unwrap())));
        let port = lines.recv().unwrap().parse().unwrap();
        Self { child, lines, port }
    }

    /// The profiles of the next request that the server took.
    fn next(&self) -> Vec<Value> {
        let line = self.lines.recv().unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn sink(scheme: &str, server: &Server) -> Box<dyn Sink> {
    let mut extra = Extra::default();
    extra.add("region=eu").unwrap();
    let destination: Destination = format!("{scheme}://127.0.0.1:{}", server.port)
        .parse()
        .unwrap();
    let options = SinkOptions {
        extra,
        ..SinkOptions::default()
    };
    destination.sink(&options).unwrap()
}

/// A window of two services with running and waiting samples, in slices.
fn window() -> Profile {
    let types = [
        ("samples", Unit::Count),
        ("cpu", Unit::Nanoseconds),
        ("off_cpu", Unit::Nanoseconds),
    ];
    let types = types.map(|(name, unit)| SampleType::new(name, unit));
    let mut profile = Profile::new(meta("app"), types.to_vec());
    profile.period = on_cpu().period;
    let app = mapping(&mut profile, "/opt/app", MappingKind::File);
    let kernel = mapping(&mut profile, "vmlinux", MappingKind::Kernel);
    let main = [("app::inlined", 31), ("main", 20)];
    let main = frame(&mut profile, Some(app), 0x1130, FrameKind::User, &main);
    let read = [("ksys_read", 0)];
    let read = frame(
        &mut profile,
        Some(kernel),
        KERNEL_ADDRESS,
        FrameKind::Kernel,
        &read,
    );
    let stack = stack(&mut profile, &[main, read]);
    let text = [
        "/system.slice/app.service",
        "app",
        "worker",
        "blocked",
        "disk",
    ];
    let [cgroup, process, thread, state, cause] = text.map(|text| profile.intern_string(text));
    let ran = Labels {
        pid: 7,
        tid: 8,
        process,
        thread,
        cgroup: Some(cgroup),
        slice: Some(0),
        wait: None,
    };
    let waited = Labels {
        wait: Some(WaitLabels {
            state,
            cause,
            waker: None,
            interval: None,
            is_idle: true,
        }),
        ..ran
    };
    let later = Labels {
        slice: Some(5),
        ..ran
    };
    let other = Labels {
        cgroup: None,
        process: thread,
        ..ran
    };
    profile.add(stack, ran, &[2, 2 * 10_101_010, 0]);
    profile.add(stack, later, &[1, 10_101_010, 0]);
    profile.add(stack, waited, &[0, 0, 5_000]);
    profile.add(stack, other, &[4, 4 * 10_101_010, 0]);
    profile
}

/// What the reader is to find of `window`.
fn expected() -> Value {
    let frames = json!([
        {
            "names": ["ksys_read"], "system_names": ["_ksys_read"], "files": [""], "lines": [0],
            "address": KERNEL_ADDRESS, "mapping": "vmlinux",
            "of_mapping": {}, "of_frame": {"profile.frame.type": "kernel"},
        },
        {
            "names": ["app::inlined", "main"], "system_names": ["_app::inlined", "_main"],
            "files": ["src/main.rs", "src/main.rs"], "lines": [31, 20],
            "address": 0x1130, "mapping": "/opt/app",
            "of_mapping": {"process.executable.build_id.gnu": "0abcff"},
            "of_frame": {"profile.frame.type": "native"},
        },
    ]);
    let who = |process: &str| {
        json!({
            "process.pid": 7, "process.executable.name": process, "thread.id": 8, "thread.name": "worker",
        })
    };
    let mut waited = who("app");
    for (key, value) in [
        ("state", json!("blocked")),
        ("cause", json!("disk")),
        ("idle", json!(true)),
    ] {
        waited[format!("timesink.{key}")] = value;
    }
    let app = json!({
        "service.name": "app", "host.name": "box", "systemd.unit": "app.service", "region": "eu",
    });
    let other = json!({"service.name": "worker", "host.name": "box", "region": "eu"});
    let profile = |resource: &Value, sample_type, period_type, period, value, attributes: Value| {
        json!({
            "resource": resource, "scope": ["timesink", env!("CARGO_PKG_VERSION")],
            "type": sample_type, "period_type": period_type, "period": period,
            "time": 1_700_000_000_000_000_000_u64, "duration": 10_000_000_000_u64,
            "samples": [{"value": [value], "attributes": attributes, "frames": frames}],
        })
    };
    let (samples, cpu) = (json!(["samples", "count"]), json!(["cpu", "nanoseconds"]));
    let off_cpu = json!(["off_cpu", "nanoseconds"]);
    json!([
        profile(&app, &samples, &cpu, 10_101_010, 3, who("app")),
        profile(&app, &off_cpu, &json!(["", ""]), 0, 5_000, waited),
        profile(&other, &samples, &cpu, 10_101_010, 4, who("worker")),
    ])
}

/// Takes out the ids of profiles, which are 16 bytes, each another.
fn take_ids(profiles: &mut [Value]) -> BTreeSet<String> {
    let id = |profile: &mut Value| profile.as_object_mut().unwrap().remove("id");
    let ids = profiles
        .iter_mut()
        .map(|profile| id(profile).unwrap().as_str().unwrap().to_owned());
    let ids: BTreeSet<String> = ids.collect();
    assert!(
        ids.len() == profiles.len() && ids.iter().all(|id| id.len() == 32),
        "{ids:?}"
    );
    ids
}

/// Names, values, labels and types arrive by gRPC as they are in the window, and the same window sent again
/// has the same ids.
#[test]
fn grpc() {
    let server = Server::start(&["grpc"]);
    let sink = sink("otlp+grpc", &server);
    sink.send(&window()).unwrap();
    let mut first = server.next();
    sink.send(&window()).unwrap();
    let mut second = server.next();
    assert_eq!(take_ids(&mut first), take_ids(&mut second));
    assert_eq!(Value::from(first), expected());
}

/// And so they do by HTTP.
#[test]
fn http() {
    let server = Server::start(&["http"]);
    sink("otlp+http", &server).send(&window()).unwrap();
    let mut profiles = server.next();
    take_ids(&mut profiles);
    assert_eq!(Value::from(profiles), expected());
}

/// The server's status decides: gone for now is to be sent again, a refusal is not, and then all goes on.
#[test]
fn grpc_statuses() {
    let codes = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"];
    let server = Server::start(&[&["grpc"], codes.as_slice()].concat());
    let sink = sink("otlp+grpc", &server);
    let answers = [(); 4].map(|()| sink.send(&window()));
    let reasons = [
        "Unavailable: as told",
        "ResourceExhausted: as told",
        "InvalidArgument: as told",
    ];
    let [away, busy, refused] = reasons.map(str::to_owned);
    let expected = [
        Err(SendError::Later {
            reason: away,
            after: None,
        }),
        Err(SendError::Refused { reason: busy }),
        Err(SendError::Refused { reason: refused }),
        Ok(()),
    ];
    assert_eq!(answers, expected);
    assert_eq!(server.next().len(), 3);
}

/// A window that is larger than a server takes by default comes in several requests, with every sample once.
#[test]
fn large_windows_are_split() {
    let server = Server::start(&["grpc"]);
    let mut window = window();
    let labels = window.samples().next().unwrap().labels;
    let names = 6_000;
    for n in 0..names {
        let name = format!("function {n} {}", "x".repeat(900));
        let frame = frame(&mut window, None, 0, FrameKind::User, &[(&name, 0)]);
        let stack = stack(&mut window, &[frame]);
        window.add(stack, labels, &[1, 10_101_010, 0]);
    }
    sink("otlp+grpc", &server).send(&window).unwrap();
    let (mut found, mut requests, mut sum) = (BTreeSet::new(), 0, 0);
    while found.len() < names {
        requests += 1;
        for profile in server.next() {
            for sample in profile["samples"].as_array().unwrap() {
                let name = sample["frames"][0]["names"][0].as_str().unwrap();
                if name.starts_with("function") {
                    assert!(found.insert(name.to_owned()), "{name} came twice");
                    sum += sample["value"][0].as_u64().unwrap();
                }
            }
        }
    }
    assert!(requests > 2, "{requests}");
    assert_eq!(sum, names as u64);
}

/// Nobody there is an answer for later, and so is a server that takes the connection and says nothing, with
/// and without TLS.
#[test]
fn a_server_that_is_away_or_mute() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = SinkOptions {
        timeout: Duration::from_millis(300),
        ..SinkOptions::default()
    };
    let address = mute.local_addr().unwrap();
    let send_to_all = || {
        for protocol in ["otlp+grpc", "otlp+http", "pyroscope+http"] {
            for tls in ["", "s"] {
                let destination = format!("{protocol}{tls}://{address}");
                let sink = destination.parse::<Destination>().unwrap();
                let answer = sink.sink(&options).unwrap().send(&window());
                let is_for_later = matches!(answer, Err(SendError::Later { .. }));
                assert!(is_for_later, "{destination}: {answer:?}");
            }
        }
    };
    send_to_all();
    drop(mute);
    send_to_all();
}
