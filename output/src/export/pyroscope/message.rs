//! The requests of a window: messages of `push.v1` and `types.v1`, as far as a sender needs them.

use std::fmt::Write;

use ::pprof::protos::{self, Message as _};
use sha2::{Digest, Sha256};

use super::part::part;
use super::{MAX_BYTES, MAX_SAMPLES};
use crate::clean::shorten;
use crate::encode::pprof_message;
use crate::export::destination::Extra;
use crate::export::http::gzip;
use crate::export::parts::{Group, Parts};
use crate::export::service::{Service, by_service};
use crate::profile::{Profile, Sample, Unit};

/// `push.v1.PushRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) series: Vec<RawProfileSeries>,
}

/// `push.v1.RawProfileSeries`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RawProfileSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<RawSample>,
}

/// `push.v1.RawSample`: a gzipped pprof with an id, which servers read as a UUID.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) raw_profile: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}

/// `types.v1.LabelPair`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LabelPair {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// The labels of samples that become labels of series.
const KEPT: [&str; 4] = ["state", "cause", "interval", "idle"];

/// The longest value of a label: 2,048 bytes, at four for a character.
const MAX_VALUE_CHARS: usize = 512;

/// A window as requests within the server's limits.
pub(super) fn requests(window: &Profile, extra: &Extra) -> Parts<PushRequest> {
    let services = by_service(window);
    let mut series = Parts::new();
    for kind in kinds(window) {
        for (service, samples) in &services {
            let has_value =
                |sample: &&Sample<'_>| kind.types.iter().any(|&at| sample.values[at] > 0);
            let samples: Vec<Sample<'_>> = samples.iter().filter(has_value).copied().collect();
            if !samples.is_empty() {
                series.add(&[(service, &samples)], &|groups| {
                    one(window, groups, &kind, extra)
                });
            }
        }
    }
    let mut requests = join(series.requests);
    for (number, request) in requests.iter_mut().enumerate() {
        identify(window, number, request);
    }
    Parts {
        requests,
        too_large: series.too_large,
    }
}

/// A profile of its own to the server: a name, and which sample types it has.
struct Kind {
    name: String,
    types: Vec<usize>,
    has_period: bool,
}

/// Samples with the time that their period stands for, then each other sample type.
fn kinds(window: &Profile) -> Vec<Kind> {
    let types = window.sample_types();
    let period = window.period.as_ref().map(|period| &period.of);
    let is_cpu =
        |at: usize| Some(&types[at]) == period || (at == 0 && types[at].unit() == Unit::Count);
    let (cpu, others): (Vec<usize>, Vec<usize>) =
        (0..types.len()).partition(|&at| period.is_some() && is_cpu(at));
    let cpu = (!cpu.is_empty()).then(|| Kind {
        name: "process_cpu".to_owned(),
        types: cpu,
        has_period: true,
    });
    let others = others.into_iter().map(|at| Kind {
        name: types[at].name().to_owned(),
        types: vec![at],
        has_period: false,
    });
    cpu.into_iter().chain(others).collect()
}

/// A series and the uncompressed size of its profile.
type Sized = (RawProfileSeries, usize);

/// The series of some samples of a service; `None` where they are too many for one.
fn one(window: &Profile, groups: &[Group<'_>], kind: &Kind, extra: &Extra) -> Option<Sized> {
    let [(service, samples)] = groups else {
        return None;
    };
    let mut part = part(window, samples, &kind.types);
    part.period = window.period.clone().filter(|_| kind.has_period);
    let message = without_owners(pprof_message(&part));
    let bytes = message.encode_to_vec();
    if bytes.len() > MAX_BYTES || message.sample.len() > MAX_SAMPLES {
        return None;
    }
    let series = RawProfileSeries {
        labels: labels(window, service, kind, extra),
        samples: vec![RawSample {
            raw_profile: gzip(&bytes),
            id: String::new(),
        }],
    };
    Some((series, bytes.len()))
}

/// Without the labels of the processes and threads, which are nobody's here.
fn without_owners(mut message: protos::Profile) -> protos::Profile {
    let text = &message.string_table;
    let is_kept = |label: &protos::Label| KEPT.contains(&text[label.key as usize].as_str());
    for sample in &mut message.sample {
        sample.label.retain(is_kept);
    }
    message
}

/// Names are sorted, as the server wants them where it is told to check that.
fn labels(window: &Profile, service: &Service, kind: &Kind, extra: &Extra) -> Vec<LabelPair> {
    let host = Some(window.meta().host.as_str()).filter(|host| !host.is_empty());
    let own = [
        ("__name__", Some(kind.name.as_str())),
        ("service_name", Some(service.name.as_str())),
        ("host", host),
        ("container", service.container.as_deref()),
        ("unit", service.unit.as_deref()),
    ];
    let own = own
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let pairs = own.chain(extra.pairs()).map(|(name, value)| LabelPair {
        name: name.replace('.', "_"),
        value: shorten(value, MAX_VALUE_CHARS).into_owned(),
    });
    let mut pairs: Vec<LabelPair> = pairs.collect();
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    pairs
}

/// Puts series into as few requests as the limit allows, in their order.
fn join(all: Vec<Sized>) -> Vec<PushRequest> {
    let mut requests: Vec<PushRequest> = Vec::new();
    let mut room = 0;
    for (series, bytes) in all {
        match requests.last_mut() {
            Some(last) if bytes <= room => last.series.push(series),
            _ => {
                room = MAX_BYTES;
                requests.push(PushRequest {
                    series: vec![series],
                });
            }
        }
        room -= bytes;
    }
    requests
}

/// Gives each profile an id that is the same when the window is sent again.
fn identify(window: &Profile, number: usize, request: &mut PushRequest) {
    let meta = window.meta();
    for (place, series) in request.series.iter_mut().enumerate() {
        let mut hash = Sha256::new();
        hash.update(meta.time_nanos.to_le_bytes());
        hash.update((number as u64).to_le_bytes());
        hash.update((place as u64).to_le_bytes());
        hash.update(meta.host.as_bytes());
        let hash = hash.finalize();
        for sample in &mut series.samples {
            sample.id = uuid(&hash[..16]);
        }
    }
}

/// 16 bytes as a UUID of version 8, that of hashes of one's own (RFC 9562).
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        let byte = match at {
            6 => 0x80 | byte & 0x0f,
            8 => 0x80 | byte & 0x3f,
            _ => *byte,
        };
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
    }
    text
}
