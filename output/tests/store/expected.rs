//! The right answers, worked out from windows sample by sample.

use std::collections::{BTreeMap, BTreeSet};

use output::{
    Label, Profile, Query, Range, Row, Sample, SampleType, Timeline, TimelineOf, container, unit,
};

/// Samples by all that tells them apart; values by sample type, without zeros.
pub(crate) type Samples = BTreeMap<String, BTreeMap<String, u64>>;

pub(crate) fn end_ns(window: &Profile) -> i64 {
    window.meta().time_nanos + window.meta().duration_nanos
}

/// Whether a window lies in a range: in part where it has slices, else with its beginning.
fn lies_in(window: &Profile, range: Range) -> bool {
    let from_ns = window.meta().time_nanos;
    let begins = (range.from_ns..range.to_ns).contains(&from_ns);
    let reaches = from_ns < range.to_ns && end_ns(window) > range.from_ns && !range.is_empty();
    begins || (reaches && window.meta().slice_ns > 0)
}

fn chosen_windows<'a>(
    windows: &'a [Profile],
    query: &'a Query,
) -> impl Iterator<Item = &'a Profile> {
    windows.iter().filter(|window| {
        let mut hosts = query.matchers.iter().filter(|it| it.label == Label::Host);
        lies_in(window, query.range) && hosts.all(|it| it.value == window.meta().host)
    })
}

fn begin_ns(window: &Profile, sample: &Sample<'_>) -> i64 {
    let slice = i64::from(sample.labels.slice.unwrap_or(0));
    window.meta().time_nanos + slice * window.meta().slice_ns as i64
}

fn value(window: &Profile, sample: &Sample<'_>, label: Label) -> String {
    let labels = &sample.labels;
    let cgroup = labels.cgroup.map_or("", |id| window.text(id));
    match label {
        Label::Host => window.meta().host.clone(),
        Label::Process => window.text(labels.process).to_owned(),
        Label::Pid => labels.pid.to_string(),
        Label::Thread => window.text(labels.thread).to_owned(),
        Label::Tid => labels.tid.to_string(),
        Label::Cgroup => cgroup.to_owned(),
        Label::Container => container(cgroup).unwrap_or("").to_owned(),
        Label::Unit => unit(cgroup).unwrap_or("").to_owned(),
    }
}

fn chosen<'a>(
    windows: &'a [Profile],
    query: &'a Query,
) -> impl Iterator<Item = (&'a Profile, Sample<'a>)> {
    let samples = windows
        .iter()
        .flat_map(|window| window.samples().map(move |sample| (window, sample)));
    samples.filter(|(window, sample)| {
        let at_ns = begin_ns(window, sample);
        let mut matchers = query.matchers.iter();
        (query.range.from_ns..query.range.to_ns).contains(&at_ns)
            && matchers.all(|it| value(window, sample, it.label) == it.value)
    })
}

/// All of a sample but its slice and values, as text.
fn key(window: &Profile, sample: &Sample<'_>) -> String {
    let labels = &sample.labels;
    let text = |id| window.text(id);
    let wait = labels.wait.map(|wait| {
        let waker = wait.waker.map(text);
        (text(wait.state), text(wait.cause), waker, wait.is_idle)
    });
    let who = (
        labels.pid,
        labels.tid,
        text(labels.process),
        text(labels.thread),
    );
    let frames = window.root_first(sample.stack).map(|id| {
        let frame = window.frame(id);
        let mapping = frame.mapping.map(|id| {
            let mapping = window.mapping(id);
            let build_id = &mapping.build_id;
            format!(
                "{} {build_id:?} {:?} {}",
                text(mapping.name),
                mapping.kind,
                mapping.size_bytes
            )
        });
        let lines = frame.lines.iter().map(|line| {
            let of = window.function(line.function);
            let file = of.file.map(text);
            let names = (text(of.name), text(of.system_name), file);
            format!("{names:?} {} {}", of.start_line, line.line)
        });
        let lines: Vec<String> = lines.collect();
        format!("{mapping:?} {:x} {:?} {lines:?}", frame.address, frame.kind)
    });
    let frames: Vec<String> = frames.collect();
    format!("{who:?} {:?} {wait:?} {frames:#?}", labels.cgroup.map(text))
}

fn add(samples: &mut Samples, window: &Profile, sample: &Sample<'_>) {
    let sums = samples.entry(key(window, sample)).or_default();
    for (of, &value) in window.sample_types().iter().zip(sample.values) {
        if value > 0 {
            *sums.entry(of.name().to_owned()).or_default() += value;
        }
    }
}

/// The samples that a query gives; `None` where no window lies in its range.
pub(crate) fn samples(windows: &[Profile], query: &Query) -> Option<Samples> {
    chosen_windows(windows, query).next()?;
    let mut samples = Samples::new();
    for (window, sample) in chosen(windows, query) {
        add(&mut samples, window, &sample);
    }
    Some(samples)
}

/// All samples of a profile.
pub(crate) fn samples_of(profile: &Profile) -> Samples {
    let mut samples = Samples::new();
    for sample in profile.samples() {
        add(&mut samples, profile, &sample);
    }
    samples
}

/// The ledger's sums by name.
pub(crate) fn rows_of<'a>(
    profiles: impl IntoIterator<Item = &'a Profile>,
) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for row in profiles.into_iter().flat_map(|of| of.ledger.rows()) {
        *sums.entry(row.name.clone()).or_default() += row.count;
    }
    sums
}

/// What the ledger of a query adds up to.
pub(crate) fn rows(windows: &[Profile], query: &Query) -> BTreeMap<String, u64> {
    rows_of(chosen_windows(windows, query))
}

pub(crate) fn values(windows: &[Profile], query: &Query, label: Label) -> Vec<String> {
    let values = chosen(windows, query).map(|(window, sample)| value(window, &sample, label));
    let values: BTreeSet<String> = values.filter(|value| !value.is_empty()).collect();
    values.into_iter().collect()
}

/// The types of the newest window first.
pub(crate) fn sample_types(windows: &[Profile], range: Range) -> Vec<SampleType> {
    let windows = windows.iter().filter(|window| lies_in(window, range));
    let mut windows: Vec<&Profile> = windows.collect();
    windows.sort_by_key(|window| std::cmp::Reverse(window.meta().time_nanos));
    let mut types: Vec<SampleType> = Vec::new();
    for of in windows.iter().flat_map(|window| window.sample_types()) {
        if !types.contains(of) {
            types.push(of.clone());
        }
    }
    types
}

pub(crate) fn timeline(windows: &[Profile], query: &Query, of: &TimelineOf<'_>) -> Timeline {
    let Range { from_ns, to_ns } = query.range;
    let steps = (to_ns - from_ns + of.step_ns - 1) / of.step_ns;
    let empty = vec![0; steps as usize];
    let mut rows = BTreeMap::new();
    if of.by.is_none() {
        rows.insert(String::new(), empty.clone());
    }
    for (window, sample) in chosen(windows, query) {
        let types = window.sample_types();
        let Some(place) = types.iter().position(|it| it.name() == of.sample_type) else {
            continue;
        };
        let group = of
            .by
            .map_or(String::new(), |label| value(window, &sample, label));
        let step = (begin_ns(window, &sample) - from_ns) / of.step_ns;
        if sample.values[place] > 0 {
            let row = rows.entry(group).or_insert_with(|| empty.clone());
            row[step as usize] += sample.values[place];
        }
    }
    let rows = rows.into_iter();
    let mut rows: Vec<Row> = rows.map(|(value, sums)| Row { value, sums }).collect();
    // Those of equal sums stay in the order of their values.
    rows.sort_by_key(|row| std::cmp::Reverse(row.sums.iter().sum::<u64>()));
    Timeline {
        from_ns,
        step_ns: of.step_ns,
        rows,
        covered: covered(windows, query),
    }
}

fn covered(windows: &[Profile], query: &Query) -> Vec<Range> {
    let parts = chosen_windows(windows, query).map(|window| {
        let from_ns = window.meta().time_nanos.max(query.range.from_ns);
        (from_ns, end_ns(window).min(query.range.to_ns))
    });
    let mut parts: Vec<(i64, i64)> = parts.collect();
    parts.sort_unstable();
    let mut covered: Vec<Range> = Vec::new();
    for (from_ns, to_ns) in parts {
        match covered.last_mut() {
            Some(last) if from_ns <= last.to_ns => last.to_ns = last.to_ns.max(to_ns),
            _ => covered.push(Range { from_ns, to_ns }),
        }
    }
    covered
}
