//! Pyroscope's push API, held to what its published messages and limits say: its server does not run here.
//!
//! Messages: `api/push/v1/push.proto` and `api/types/v1/types.proto` of grafana/pyroscope. Limits:
//! `pkg/validation/limits.go` and `validate.go` there. Read here by the numbers of the fields, without
//! anything of the sender.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails with it")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};

use common::{decode, frame, on_cpu, stack};
use output::{
    Destination, Extra, FrameKind, Labels, Meta, Profile, SampleType, SinkOptions, Unit, WaitLabels,
};
use pprof::protos::{self, Message};
use server::Server;

/// The fields of a message of strings, bytes and messages: all have wire type 2.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        assert_eq!(key & 7, 2, "a field with a length");
        let len = varint(&mut bytes) as usize;
        let (field, rest) = bytes.split_at(len);
        fields.push((key >> 3, field));
        bytes = rest;
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// One series of a request, with its only profile.
struct Series {
    labels: BTreeMap<String, String>,
    id: String,
    profile: protos::Profile,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `PushRequest`: series = 1. `RawProfileSeries`: labels = 1, samples = 2. `LabelPair`: name = 1, value = 2.
/// `RawSample`: raw_profile = 1, ID = 2.
fn series(request: &[u8]) -> Vec<Series> {
    let series = fields(request).into_iter().map(|(number, series)| {
        assert_eq!(number, 1);
        let parts = fields(series);
        let labels = parts.iter().filter(|(number, _)| *number == 1);
        let pairs: Vec<(String, String)> = labels
            .map(|(_, pair)| match fields(pair).as_slice() {
                [(1, name), (2, value)] => (text(name), text(value)),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(pairs.is_sorted(), "{pairs:?}");
        let samples: Vec<_> = parts.iter().filter(|(number, _)| *number == 2).collect();
        assert_eq!(
            (samples.len(), samples.len() + pairs.len()),
            (1, parts.len())
        );
        let sample = fields(samples[0].1);
        let [(1, raw), (2, id)] = sample.as_slice() else {
            panic!("a profile and its id");
        };
        let labels: BTreeMap<_, _> = pairs.iter().cloned().collect();
        assert_eq!(labels.len(), pairs.len(), "a label twice");
        Series {
            labels,
            id: text(id),
            profile: decode(raw),
        }
    });
    series.collect()
}

/// What `ValidateLabels` and `ValidateProfile` check, with the limits of `RegisterFlags`, and the burst of
/// the rate for all profiles of a request.
fn check(request: &[Series]) {
    let mut bytes = 0;
    for Series {
        labels,
        id,
        profile,
    } in request
    {
        assert!(labels.len() <= 30);
        for needed in ["__name__", "service_name"] {
            assert!(!labels[needed].is_empty(), "{labels:?}");
        }
        for (name, value) in labels {
            assert!(name.len() <= 1024 && value.len() <= 2048);
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
            assert!(name.chars().all(letter) && !name.starts_with(|c: char| c.is_ascii_digit()));
        }
        assert!(profile.sample.len() <= 16_000, "{}", profile.sample.len());
        assert!(
            profile
                .sample
                .iter()
                .all(|sample| sample.label.len() <= 100)
        );
        assert!(profile.location.iter().all(|location| location.id > 0));
        assert!(profile.function.iter().all(|function| function.id > 0));
        for of in &profile.sample_type {
            assert!(!profile.string_table[of.ty as usize].contains('-'));
        }
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert!(
            groups == [8, 4, 4, 4, 12] && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()),
            "{id}"
        );
        bytes += profile.encoded_len();
    }
    assert!(bytes <= 2 << 20, "{bytes}");
}

/// What a window is sent as.
fn pushed(window: &Profile) -> Vec<Vec<Series>> {
    let server = Server::start(&[]);
    let mut extra = Extra::default();
    extra.add("deployment.environment=test").unwrap();
    let options = SinkOptions {
        extra,
        ..SinkOptions::default()
    };
    let destination = format!("pyroscope+http://u:p@{}/base", server.address);
    let destination: Destination = destination.parse().unwrap();
    destination.sink(&options).unwrap().send(window).unwrap();
    let requests = server.received();
    for request in &requests {
        assert_eq!(request.path, "/base/push.v1.PusherService/Push");
        assert_eq!(request.header("content-type"), Some("application/proto"));
        assert_eq!(request.header("connect-protocol-version"), Some("1"));
        assert_eq!(request.header("authorization"), Some("Basic dTpw"));
    }
    let requests = requests.iter().map(|request| series(&request.body));
    let requests: Vec<_> = requests.collect();
    requests.iter().for_each(|request| check(request));
    requests
}

fn type_names(profile: &protos::Profile) -> Vec<&str> {
    let types = profile.sample_type.iter();
    types
        .map(|of| profile.string_table[of.ty as usize].as_str())
        .collect()
}

/// A window of on-CPU samples becomes one profile of the service, with samples and time, its period, and
/// without labels of processes and threads, whose samples are added up. Sent again it has the same id.
#[test]
fn running_samples_are_process_cpu() {
    let requests = pushed(&on_cpu());
    let [series] = requests[0].as_slice() else {
        panic!("one series");
    };
    let expected = [
        ("__name__", "process_cpu"),
        ("deployment_environment", "test"),
        ("host", "box"),
        ("service_name", "app"),
    ];
    let labels = series
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    assert!(labels.eq(expected), "{:?}", series.labels);
    let profile = &series.profile;
    assert_eq!(type_names(profile), ["samples", "cpu"]);
    assert_eq!(
        (profile.period, profile.time_nanos),
        (10_101_010, 1_700_000_000_000_000_000)
    );
    let mut samples: Vec<i64> = profile
        .sample
        .iter()
        .map(|sample| sample.value[0])
        .collect();
    samples.sort_unstable();
    assert_eq!(
        samples,
        [2, 5, 83, 900],
        "two threads in one stack are one sample"
    );
    assert!(profile.sample.iter().all(|sample| sample.label.is_empty()));
    assert_eq!(pushed(&on_cpu())[0][0].id, series.id);
}

/// Waits are a profile of their own name without a period, with their state and cause as labels.
#[test]
fn waits_are_a_profile_of_their_own() {
    let mut window = Profile::new(
        Meta::default(),
        vec![SampleType::new("off-cpu", Unit::Nanoseconds)],
    );
    let [process, state, cause] =
        ["app", "blocked", "futex"].map(|text| window.intern_string(text));
    let frame = window.synthetic("[futex]");
    let stack = stack(&mut window, &[frame]);
    let wait = WaitLabels {
        state,
        cause,
        waker: Some(process),
        interval: None,
        is_idle: true,
    };
    let labels = Labels {
        pid: 1,
        tid: 2,
        process,
        thread: process,
        cgroup: None,
        slice: Some(3),
        wait: Some(wait),
    };
    window.add(stack, labels, &[5_000]);
    let requests = pushed(&window);
    let series = &requests[0][0];
    assert_eq!(series.labels["__name__"], "off_cpu");
    let profile = &series.profile;
    assert_eq!(
        (
            type_names(profile),
            profile.period,
            profile.period_type.clone()
        ),
        (vec!["off_cpu"], 0, None)
    );
    let text = |id: i64| profile.string_table[id as usize].as_str();
    let labels = profile.sample[0]
        .label
        .iter()
        .map(|label| (text(label.key), text(label.str)));
    let labels: Vec<_> = labels.collect();
    assert_eq!(
        labels,
        [("state", "blocked"), ("cause", "futex"), ("idle", "yes")]
    );
}

/// A window beyond the limits is split: by the number of samples, by bytes, and by service; every sample
/// comes once, and the ids are all different.
#[test]
fn windows_are_split_by_the_limits() {
    let mut window = on_cpu();
    let labels = window.samples().next().unwrap().labels;
    let (small, large) = (16_500, 1_200);
    let mut total: u64 = window.samples().map(|sample| sample.values[0]).sum();
    for n in 0..small + large {
        let name = match n < small {
            true => format!("f{n}"),
            false => format!("f{n} {}", "x".repeat(1_000)),
        };
        let frame = frame(&mut window, None, 0, FrameKind::User, &[(&name, 0)]);
        let stack = stack(&mut window, &[frame]);
        let process = window.intern_string(&format!("service{}", n / small));
        window.add(stack, Labels { process, ..labels }, &[1, 10_101_010]);
        total += 1;
    }
    let requests = pushed(&window);
    assert!(requests.len() > 1, "{}", requests.len());
    let all: Vec<&Series> = requests.iter().flatten().collect();
    let ids: BTreeSet<&str> = all.iter().map(|series| series.id.as_str()).collect();
    assert_eq!(ids.len(), all.len());
    for (service, least) in [("app", 1), ("service0", 2), ("service1", 2)] {
        let of_service = |series: &&&Series| series.labels["service_name"] == service;
        assert!(all.iter().filter(of_service).count() >= least, "{service}");
    }
    let samples = all.iter().flat_map(|series| &series.profile.sample);
    assert_eq!(
        samples.map(|sample| sample.value[0] as u64).sum::<u64>(),
        total
    );
}
