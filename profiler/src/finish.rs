//! From what was recorded to the files and the words on the terminal.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use abi::samples::SampleCount;
use anyhow::Result;
use output::{Format, Ledger, Meta, Profile, RowKind, hottest};
use symbolizer::Detail;

use crate::{
    account::{EventAccount, ledger, warnings},
    cli::RecordArgs,
    outputs::Outputs,
    record::Recorded,
    report::{Report, tell},
    resolve::{Findings, add_lost, resolve},
    sampling::Sampling,
};

/// How many functions the table of the hottest has.
const HOTTEST: usize = 10;

/// Names the stacks, writes the outputs, and says what was lost.
///
/// # Errors
/// Where an output cannot be written.
pub fn finish(
    recorded: &Recorded,
    args: &RecordArgs,
    outputs: &Outputs,
    report: &Report,
) -> Result<()> {
    report.say("symbolizing");
    let (profile, findings) = profile(recorded, args, outputs);
    report.say("writing");
    report.finish();
    let written = outputs.write(&profile, |path, bytes| {
        if path != Path::new("-") {
            let path = path.display();
            tell(format_args!("timesink: wrote `{path}`, {bytes} bytes\n"));
        }
    });
    if outputs.is_default {
        tell(format_args!("{}", hottest(&profile, HOTTEST)));
    }
    tell(format_args!("timesink: {}\n", summary(&profile)));
    tell(format_args!("{}", shown(&profile.ledger, args.verbose)));
    if let Some(words) = partial(recorded, outputs) {
        tell(format_args!("timesink: {words}\n"));
    }
    for warning in warnings(&profile.ledger, &findings) {
        tell(format_args!("timesink: warning: {warning}\n"));
    }
    written
}

/// What was counted and for how long, and the ledger in one line.
fn summary(profile: &Profile) -> String {
    let Meta {
        event,
        duration_nanos,
        ..
    } = profile.meta();
    let seconds = *duration_nanos as f64 / 1e9;
    format!("{event}, {seconds:.1} s: {}", profile.ledger.summary())
}

/// That some of the outputs show one event of several.
fn partial(recorded: &Recorded, outputs: &Outputs) -> Option<String> {
    let [(first, _), _, ..] = recorded.events.as_slice() else {
        return None;
    };
    let is_partial = outputs.has(Format::Svg) || outputs.has(Format::Folded);
    is_partial.then(|| {
        format!(
            "flame graphs and folded stacks show the first event, {}; a .pb.gz holds all of them",
            first.event.name
        )
    })
}

/// The ledger without the rows that say nothing, unless all were asked for.
fn shown(ledger: &Ledger, all: bool) -> Ledger {
    let says = |kind, count| all || count > 0 || matches!(kind, RowKind::Expected | RowKind::Got);
    let mut shown = Ledger::default();
    for row in ledger.rows().iter().filter(|row| says(row.kind, row.count)) {
        shown.push(row.kind, &row.name, row.count, &row.meaning);
    }
    shown
}

/// The profile of a recording.
fn profile(recorded: &Recorded, args: &RecordArgs, outputs: &Outputs) -> (Profile, Findings) {
    let events = &recorded.events;
    let alone = events.len() == 1;
    let types = events
        .iter()
        .flat_map(|(sampling, _)| sampling.sample_types(alone));
    let mut profile = Profile::new(meta(recorded, args), types.collect());
    profile.period = events.first().and_then(|(sampling, _)| sampling.period());
    profile.by_thread = args.threads;
    let detail = Detail {
        lines: outputs.has(Format::Pprof),
        inlines: false,
    };
    let values = |event: u32, count: SampleCount| values(events, event as usize, count);
    let findings = resolve(&recorded.collected, &mut profile, detail, &values);
    for (number, (sampling, account)) in events.iter().enumerate() {
        let period = sampling.fixed_period().unwrap_or(0);
        for (cause, samples) in account.lost_of_target() {
            let weight = samples.saturating_mul(period);
            let lost = SampleCount { samples, weight };
            add_lost(&mut profile, cause, &self::values(events, number, lost));
        }
    }
    profile.ledger = ledger(
        events,
        &recorded.processes,
        recorded.tables,
        &recorded.collected,
        &findings,
    );
    (profile, findings)
}

/// The values of a sample: zero but for the two of its own event.
fn values(events: &[(Sampling, EventAccount)], event: usize, count: SampleCount) -> Vec<u64> {
    let mut values = vec![0; events.len() * 2];
    if let Some((sampling, _)) = events.get(event) {
        values[event * 2] = count.samples;
        values[event * 2 + 1] = sampling.weight(count.samples, count.weight);
    }
    values
}

fn meta(recorded: &Recorded, args: &RecordArgs) -> Meta {
    let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let events = recorded
        .events
        .iter()
        .map(|(sampling, _)| sampling.describe());
    let since_epoch = recorded
        .started
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let is_time = recorded
        .events
        .first()
        .is_some_and(|(sampling, _)| sampling.is_time());
    let title = if is_time {
        "timesink: on-CPU time"
    } else {
        "timesink: events"
    };
    Meta {
        title: title.to_owned(),
        command: target(args),
        host: host.trim_end().to_owned(),
        time_nanos: nanoseconds(since_epoch),
        duration_nanos: nanoseconds(recorded.duration),
        event: events.collect::<Vec<_>>().join("; "),
    }
}

/// What was recorded, in words.
fn target(args: &RecordArgs) -> String {
    if !args.command.is_empty() {
        let words = args.command.iter().map(|word| word.to_string_lossy());
        return words.collect::<Vec<_>>().join(" ");
    }
    if let Some(cgroup) = &args.cgroup {
        return format!("cgroup {}", cgroup.display());
    }
    if args.all {
        return "the whole machine".to_owned();
    }
    let list = |what: &str, numbers: &[u32]| {
        let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
        (!numbers.is_empty()).then(|| format!("{what} {}", numbers.join(", ")))
    };
    let parts = [list("process", &args.pid), list("thread", &args.tid)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
