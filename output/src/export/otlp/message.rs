//! The requests of a window.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::profiles::v1development as proto;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use sha2::{Digest, Sha256};

use super::MAX_BYTES;
use super::dictionary::{Dictionary, Value};
use crate::export::destination::Extra;
use crate::export::parts::{Group, Parts};
use crate::export::service::{Service, by_service};
use crate::profile::{Labels, Period, Profile, Sample, SampleType, Unit};

/// How long the id of a profile is.
const ID_BYTES: usize = 16;

/// A window as requests, each within `MAX_BYTES`.
pub(super) fn requests(window: &Profile, extra: &Extra) -> Parts<ExportProfilesServiceRequest> {
    let services = by_service(window);
    let groups = services
        .iter()
        .map(|(service, samples)| (service, samples.as_slice()));
    let groups: Vec<Group<'_>> = groups.collect();
    let mut parts = Parts::new();
    if !groups.is_empty() {
        parts.add(&groups, &|groups| {
            let request = request(window, groups, extra);
            (request.encoded_len() <= MAX_BYTES).then_some(request)
        });
    }
    for (number, request) in parts.requests.iter_mut().enumerate() {
        identify(window, number, request);
    }
    parts
}

fn request(window: &Profile, groups: &[Group<'_>], extra: &Extra) -> ExportProfilesServiceRequest {
    let mut dictionary = Dictionary::new(window);
    let resources = groups
        .iter()
        .map(|(service, samples)| proto::ResourceProfiles {
            resource: Some(resource(window, service, extra)),
            scope_profiles: vec![proto::ScopeProfiles {
                scope: Some(InstrumentationScope {
                    name: "timesink".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                profiles: profiles(window, samples, &mut dictionary),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        });
    ExportProfilesServiceRequest {
        resource_profiles: resources.collect(),
        dictionary: Some(dictionary.into_message()),
    }
}

/// The attributes by OpenTelemetry's names for them, and those that were asked for.
fn resource(window: &Profile, service: &Service, extra: &Extra) -> Resource {
    let host = Some(window.meta().host.as_str()).filter(|host| !host.is_empty());
    let own = [
        ("service.name", Some(service.name.as_str())),
        ("host.name", host),
        ("container.id", service.container.as_deref()),
        ("systemd.unit", service.unit.as_deref()),
    ];
    let own = own
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    let attributes = own.chain(extra.pairs()).map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value: Some(Value::Text(value.into()).any()),
        key_strindex: 0,
    });
    Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    }
}

/// A profile for each sample type that has a value above 0.
fn profiles<'a>(
    window: &'a Profile,
    samples: &[Sample<'_>],
    dictionary: &mut Dictionary<'a>,
) -> Vec<proto::Profile> {
    let meta = window.meta();
    let types = window.sample_types().iter().enumerate();
    types
        .filter(|(place, of)| !is_derived(window, *place, of, samples))
        .filter(|(place, _)| samples.iter().any(|sample| sample.values[*place] > 0))
        .map(|(place, of)| {
            let period = period_of(window, place);
            let empty = proto::ValueType::default();
            proto::Profile {
                sample_type: Some(value_type(of, dictionary)),
                period_type: Some(
                    period.map_or(empty, |period| value_type(&period.of, dictionary)),
                ),
                period: period.map_or(0, |period| signed(period.value)),
                samples: added_up(window, samples, place, dictionary),
                time_unix_nano: u64::try_from(meta.time_nanos).unwrap_or(0),
                duration_nano: u64::try_from(meta.duration_nanos).unwrap_or(0),
                profile_id: vec![0; ID_BYTES],
                ..proto::Profile::default()
            }
        })
        .collect()
}

/// The period of the sample type at `place`: that of the window counts samples of its first event.
fn period_of(window: &Profile, place: usize) -> Option<&Period> {
    let counts = window.sample_types()[0].unit() == Unit::Count;
    window.period.as_ref().filter(|_| place == 0 && counts)
}

/// Whether a reader has these values from the samples and their period.
fn is_derived(window: &Profile, place: usize, of: &SampleType, samples: &[Sample<'_>]) -> bool {
    let period = period_of(window, 0).filter(|period| period.of == *of);
    let product = |values: &[u64], period: &Period| values[0].checked_mul(period.value);
    period.is_some_and(|period| {
        let same = |s: &Sample<'_>| product(s.values, period) == Some(s.values[place]);
        samples.iter().all(same)
    })
}

/// Samples of one type; those that differ in their slice alone become one.
fn added_up<'a>(
    window: &'a Profile,
    samples: &[Sample<'_>],
    place: usize,
    dictionary: &mut Dictionary<'a>,
) -> Vec<proto::Sample> {
    let mut places = HashMap::new();
    let mut sums: Vec<proto::Sample> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.values[place] > 0) {
        let value = signed(sample.values[place]);
        let labels = Labels {
            slice: None,
            ..sample.labels
        };
        let next = sums.len();
        let at = *places.entry((sample.stack, labels)).or_insert(next);
        if at < next {
            let sum = &mut sums[at].values[0];
            *sum = sum.saturating_add(value);
            continue;
        }
        sums.push(proto::Sample {
            stack_index: dictionary.stack(sample.stack),
            attribute_indices: attributes(window, labels, dictionary),
            values: vec![value],
            ..proto::Sample::default()
        });
    }
    sums
}

fn attributes<'a>(
    window: &'a Profile,
    labels: Labels,
    dictionary: &mut Dictionary<'a>,
) -> Vec<i32> {
    let text = |id| Value::Text(window.text(id).into());
    let mut pairs = vec![
        ("process.pid", Value::Int(labels.pid.into())),
        ("process.executable.name", text(labels.process)),
        ("thread.id", Value::Int(labels.tid.into())),
        ("thread.name", text(labels.thread)),
    ];
    if let Some(wait) = labels.wait {
        pairs.push(("timesink.state", text(wait.state)));
        pairs.push(("timesink.cause", text(wait.cause)));
        pairs.extend(wait.waker.map(|waker| ("timesink.waker", text(waker))));
        let interval = wait
            .interval
            .map(|interval| ("timesink.interval", text(interval)));
        pairs.extend(interval);
        pairs.extend(wait.is_idle.then_some(("timesink.idle", Value::Flag(true))));
    }
    let pairs = pairs.into_iter();
    pairs
        .map(|(key, value)| dictionary.attribute(key, value))
        .collect()
}

/// Gives each profile an id that is the same when the window is sent again.
fn identify(window: &Profile, number: usize, request: &mut ExportProfilesServiceRequest) {
    let meta = window.meta();
    let scopes = request
        .resource_profiles
        .iter_mut()
        .flat_map(|of| &mut of.scope_profiles);
    for (place, profile) in scopes.flat_map(|scope| &mut scope.profiles).enumerate() {
        let mut hash = Sha256::new();
        hash.update(meta.time_nanos.to_le_bytes());
        hash.update((number as u64).to_le_bytes());
        hash.update((place as u64).to_le_bytes());
        hash.update(meta.host.as_bytes());
        profile.profile_id = hash.finalize()[..ID_BYTES].to_vec();
    }
}

fn value_type(of: &SampleType, dictionary: &mut Dictionary<'_>) -> proto::ValueType {
    proto::ValueType {
        type_strindex: dictionary.string(of.name()),
        unit_strindex: dictionary.string(&of.unit().to_string()),
    }
}

/// The format has signed values; more than it can hold becomes the most it can.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
