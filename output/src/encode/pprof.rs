//! pprof: gzipped protobuf for `go tool pprof` and profile servers.
//!
//! The format is `profile.proto` (<https://github.com/google/pprof/tree/main/proto>), written the way the
//! stricter of its readers check it: Parca refuses ids that do not count from 1, Pyroscope drops numeric
//! labels, so `pid` and `tid` are strings. Samples of zero only are left out, and so is what only they use.

mod layout;
mod tables;

use std::io::{self, Write};

use ::pprof::protos::{self, Message};
use flate2::{Compression, GzBuilder};

use super::{Encode, EncodeError, Format};
use crate::profile::{Labels, Profile, SampleType};
use tables::{Strings, Tables};

/// Writes [pprof](https://github.com/google/pprof).
#[derive(Clone, Copy, Debug)]
pub struct Pprof;

impl Encode for Pprof {
    fn encode(&self, profile: &Profile, to: &mut dyn Write) -> Result<(), EncodeError> {
        let bytes = message(profile).encode_to_vec();
        compress(&bytes, to).map_err(Format::Pprof.write_error())
    }
}

/// Gzip with no time in its header, so that equal profiles are equal files.
fn compress(bytes: &[u8], to: &mut dyn Write) -> io::Result<()> {
    let mut gzip = GzBuilder::new().mtime(0).write(to, Compression::default());
    gzip.write_all(bytes)?;
    gzip.finish()?;
    Ok(())
}

/// The message before it is compressed.
pub(crate) fn message(profile: &Profile) -> protos::Profile {
    let mut tables = Tables::new(profile);
    let sample = samples(profile, &mut tables);
    let Tables {
        mut strings,
        mappings,
        locations,
        functions,
        ..
    } = tables;
    let mut value_type = |of: &SampleType| protos::ValueType {
        ty: strings.id(of.name()),
        unit: strings.id(&of.unit().to_string()),
    };
    let sample_type = profile.sample_types().iter().map(&mut value_type).collect();
    let period_type = profile.period.as_ref().map(|period| value_type(&period.of));
    let period = profile.period.as_ref().map_or(0, |p| signed(p.value));
    let comment = comments(profile, &mut strings);
    let default_sample_type = strings.id(profile.default_type().name());
    protos::Profile {
        sample_type,
        sample,
        mapping: mappings,
        location: locations,
        function: functions,
        string_table: strings.into_table(),
        drop_frames: 0,
        keep_frames: 0,
        time_nanos: profile.meta().time_nanos,
        duration_nanos: profile.meta().duration_nanos,
        period_type,
        period,
        comment,
        default_sample_type,
    }
}

fn samples(profile: &Profile, tables: &mut Tables<'_>) -> Vec<protos::Sample> {
    let samples = profile.samples();
    samples
        .filter(|sample| sample.values.iter().any(|&value| value > 0))
        .map(|sample| protos::Sample {
            location_id: profile
                .leaf_first(sample.stack)
                .map(|frame| tables.location(frame))
                .collect(),
            value: sample.values.iter().copied().map(signed).collect(),
            label: labels(profile, sample.labels, &mut tables.strings),
        })
        .collect()
}

fn labels(profile: &Profile, labels: Labels, strings: &mut Strings) -> Vec<protos::Label> {
    let (pid, tid) = (labels.pid.to_string(), labels.tid.to_string());
    let mut pairs = vec![
        ("pid", pid.as_str()),
        ("tid", tid.as_str()),
        ("process", profile.text(labels.process)),
        ("thread", profile.text(labels.thread)),
    ];
    let cgroup = labels.cgroup.map(|cgroup| profile.text(cgroup));
    pairs.extend(cgroup.map(|cgroup| ("cgroup", cgroup)));
    if let Some(wait) = labels.wait {
        pairs.push(("state", profile.text(wait.state)));
        pairs.push(("cause", profile.text(wait.cause)));
        pairs.extend(wait.waker.map(|waker| ("waker", profile.text(waker))));
        let interval = wait.interval.map(|interval| profile.text(interval));
        pairs.extend(interval.map(|interval| ("interval", interval)));
        pairs.extend(wait.is_idle.then_some(("idle", "yes")));
    }
    let label = |(key, value): (&str, &str)| protos::Label {
        key: strings.id(key),
        str: strings.id(value),
        num: 0,
        num_unit: 0,
    };
    pairs.into_iter().map(label).collect()
}

/// What was recorded, then the ledger row by row, then what was added. `pprof` prints all of it before
/// its own table, so rows of what did not happen are left out.
fn comments(profile: &Profile, strings: &mut Strings) -> Vec<i64> {
    let meta = profile.meta();
    let head = [
        format!("command: {}", meta.command),
        format!("event: {}", meta.event),
        format!("host: {}", meta.host),
    ];
    let ledger = profile.ledger.without_zeros().to_string();
    let added = profile.comments().iter().map(String::as_str);
    let lines = head
        .iter()
        .map(String::as_str)
        .chain(ledger.lines())
        .chain(added);
    lines.map(|line| strings.id(line)).collect()
}

/// pprof has signed values; more than it can hold becomes the most it can.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
