//! From what was recorded to the files and the words on the terminal.

use abi::waits::ThreadTimes;
use anyhow::{Result, bail};
use output::{Format, Profile, hottest, human_duration};

use crate::{
    cli::RecordArgs,
    ledger::{Ledgers, warnings},
    outputs::Outputs,
    profile::{describe, profile},
    record::Recorded,
    report::{Report, tell, tell_written},
    resolve::Resolved,
    waiting,
};

/// How many functions the table of the hottest has.
pub const HOTTEST: usize = 10;

/// Names the stacks, writes the outputs, and says what was lost.
///
/// # Errors
/// Where an output cannot be written, and where too much has no name.
pub fn finish(
    recorded: &Recorded,
    args: &RecordArgs,
    outputs: &Outputs,
    report: &Report,
) -> Result<()> {
    report.say("symbolizing");
    let (profile, resolved, ledgers) = profile(recorded, args, outputs.has(Format::Pprof), None);
    report.say("writing");
    report.finish();
    let written = outputs.write(&profile, tell_written);
    if outputs.is_default {
        tell(format_args!("{}", hottest(&profile, HOTTEST)));
    }
    tell(format_args!(
        "{}",
        waits(recorded, &resolved, &profile, args)
    ));
    for line in summaries(recorded, &ledgers) {
        tell(format_args!("timesink: {line}\n"));
    }
    let ledger = match args.verbose {
        true => profile.ledger.clone(),
        false => profile.ledger.without_zeros(),
    };
    tell(format_args!("{ledger}"));
    let unresolved = &resolved.unresolved;
    tell(format_args!("{}", unresolved.table(args.verbose)));
    if let Some(words) = partial(recorded, outputs) {
        tell(format_args!("timesink: {words}\n"));
    }
    for words in recorded
        .collected
        .files
        .finding()
        .iter()
        .chain(&resolved.words)
    {
        tell(format_args!("timesink: {words}\n"));
    }
    for finding in recorded.collected.jit.findings() {
        tell(format_args!("timesink: warning: {finding}\n"));
    }
    for warning in warnings(&ledgers, &resolved.findings, unresolved) {
        tell(format_args!("timesink: warning: {warning}\n"));
    }
    written?;
    match args.fail_unresolved {
        Some(most) if unresolved.percent() > most => bail!(
            "{:.1} % of what is shown ran or waited in functions without a name, more than the \
             {most} % of --fail-unresolved",
            unresolved.percent()
        ),
        _ => Ok(()),
    }
}

/// How long waits took and how they were counted, where they were recorded; with `-v` the time of each
/// thread too.
fn waits(
    recorded: &Recorded,
    resolved: &Resolved<'_>,
    profile: &Profile,
    args: &RecordArgs,
) -> String {
    let Some(waits) = &recorded.waits else {
        return String::new();
    };
    let threads = recorded.schedstats.as_ref().map(|scheduler| {
        let threads = &recorded.collected.threads;
        waiting::threads::table(threads, scheduler)
    });
    let longest = waiting::distributions::table(&resolved.waiting, profile, args.threads);
    let mode = waiting::estimate::describe(waits, &resolved.waiting);
    let threads = threads.unwrap_or_default();
    format!("{longest}{threads}timesink: waits: {mode}\n")
}

/// What was counted and for how long, and each account in one line.
fn summaries(recorded: &Recorded, ledgers: &Ledgers) -> Vec<String> {
    let seconds = recorded.duration.as_secs_f64();
    let samples = ledgers.samples.iter().map(|ledger| {
        let event = describe(&recorded.events);
        format!("{event}, {seconds:.1} s: {}", ledger.summary())
    });
    let waits = ledgers.waits.iter().map(|ledger| {
        let collected = &recorded.collected;
        let sum = |part: fn(&ThreadTimes) -> u64| {
            human_duration(collected.threads.iter().map(part).sum())
        };
        format!(
            "waits of {}, {seconds:.1} s: {}; {} asleep, {} in the queue, {} on a CPU",
            threads(collected.threads.len()),
            ledger.summary(),
            sum(|thread| thread.asleep_ns),
            sum(|thread| thread.queued_ns),
            sum(|thread| thread.on_ns),
        )
    });
    samples.chain(waits).collect()
}

fn threads(count: usize) -> String {
    match count {
        1 => "1 thread".to_owned(),
        _ => format!("{count} threads"),
    }
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
