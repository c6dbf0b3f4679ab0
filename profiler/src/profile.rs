//! From what was recorded to a profile.

use std::time::{Duration, UNIX_EPOCH};

use output::{Meta, Profile};
use symbolizer::Detail;

use crate::{
    account::EventAccount,
    cli::RecordArgs,
    columns::Columns,
    debug_files::{Debuginfod, Finder},
    ledger::{Ledgers, wait_account},
    names::{Means, Remembered},
    record::Recorded,
    resolve::{Resolved, add_lost, lost_samples, resolve},
    sampling::Sampling,
    waiting::Rules,
};

/// The profile of a recording, and how it came to be; with lines of the source only where they are
/// wanted.
#[must_use]
pub fn profile<'a>(
    recorded: &'a Recorded,
    args: &RecordArgs,
    wants_lines: bool,
    remembered: Option<&Remembered>,
) -> (Profile, Resolved<'a>, Ledgers) {
    let events = &recorded.events;
    let columns = Columns::new(events, recorded.waits.is_some());
    let mut profile = Profile::new(meta(recorded, args), columns.types());
    profile.fold_by(&columns.folded());
    profile.period = events.first().and_then(|(sampling, _)| sampling.period());
    profile.by_thread = args.threads;
    profile.short_names = args.short_names;
    let detail = Detail {
        // The line of an inlined function would be told of the function around it.
        lines: wants_lines && !args.no_inline,
        inlines: !args.no_inline,
    };
    let rules = Rules {
        hide_idle: args.hide_idle,
        shortest: args.min_block.unwrap_or_default(),
        duration: recorded.duration,
    };
    let servers = args.debuginfod.then(Debuginfod::of_system);
    let finder = Finder::new(&*recorded.workers, servers.and_then(Result::ok));
    let means = Means {
        detail,
        workers: &recorded.workers,
        finder: &finder,
        remembered,
    };
    let resolved = resolve(&recorded.collected, &mut profile, &means, &columns, rules);
    for (number, (sampling, account)) in events.iter().enumerate() {
        let period = sampling.fixed_period().unwrap_or(0);
        for (cause, samples) in account.lost_of_target() {
            let lost = lost_samples(samples, period);
            add_lost(&mut profile, cause, &columns.of_samples(number, lost));
        }
    }
    if let Some(account) = wait_account(recorded, &resolved) {
        for (cause, lost) in account.lost() {
            add_lost(&mut profile, cause, &columns.of_waits(lost));
        }
    }
    let ledgers = Ledgers::of(recorded, &resolved);
    profile.ledger = ledgers.whole();
    for line in resolved.unresolved.table(true).lines() {
        profile.comment(line);
    }
    (profile, resolved, ledgers)
}

/// What was sampled on, in words.
#[must_use]
pub fn describe(events: &[(Sampling, EventAccount)]) -> String {
    let events = events.iter().map(|(sampling, _)| sampling.describe());
    events.collect::<Vec<_>>().join("; ")
}

fn meta(recorded: &Recorded, args: &RecordArgs) -> Meta {
    let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let since_epoch = recorded
        .started
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let waits = recorded.waits.as_ref().map(|_| "waits".to_owned());
    let events = Some(describe(&recorded.events)).filter(|events| !events.is_empty());
    let parts: Vec<String> = events.into_iter().chain(waits).collect();
    Meta {
        title: title(recorded).to_owned(),
        command: target(args),
        host: host.trim_end().to_owned(),
        time_nanos: nanoseconds(since_epoch),
        duration_nanos: nanoseconds(recorded.duration),
        event: parts.join("; "),
        slice_ns: recorded
            .collected
            .slices
            .map_or(0, |slices| slices.slice_ns),
    }
}

fn title(recorded: &Recorded) -> &'static str {
    let first = recorded.events.first();
    match (first, recorded.waits.is_some()) {
        (None, _) => "timesink: time off the CPUs",
        (Some(_), true) => "timesink: all time",
        (Some((sampling, _)), false) if sampling.is_time() => "timesink: on-CPU time",
        (Some(_), false) => "timesink: events",
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
