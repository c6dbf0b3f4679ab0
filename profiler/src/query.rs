//! `timesink query`: the profile of a range of a store.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Error, Result};
use output::{Profile, Query, Range, Store, hottest};

use crate::{
    cli::{
        query::{QueryArgs, Selection},
        when::Span,
    },
    finish::HOTTEST,
    outputs::Outputs,
    report::{print, tell, tell_written},
};

/// Writes the profile, or prints its hottest functions, and says what was lost.
///
/// # Errors
/// Where the store cannot be read, has nothing of that time, or an output cannot be written.
pub fn run(args: &QueryArgs) -> Result<()> {
    let outputs = Outputs::check(&args.output, args.format.as_deref())?;
    let span = Span {
        from: args.since.clone(),
        to: args.until.clone(),
    };
    let range = span.resolve(now_ns()).map_err(Error::msg)?;
    let store = open(&args.store)?;
    let mut profile = profile(&*store, &args.selection, range, &span)?;
    profile.by_thread = args.threads;
    if profile.samples().next().is_none() {
        tell(format_args!(
            "timesink: there are windows {span}, and no such samples in them\n"
        ));
    }
    let written = outputs.write(&profile, tell_written);
    if args.output.is_empty() {
        print(&hottest(&profile, HOTTEST))?;
    }
    tell(format_args!("timesink: {}\n", profile.ledger.summary()));
    written
}

/// Opens a store, which has to be there.
///
/// # Errors
/// Where there is none, or it cannot be read.
pub fn open(url: &str) -> Result<Box<dyn Store>> {
    output::open(url)
        .with_context(|| format!("failed to open the store `{}`", output::without_secret(url)))
}

/// The samples of a range.
///
/// # Errors
/// Where the store cannot be read, or has no window of that time.
pub fn profile(
    store: &dyn Store,
    selection: &Selection,
    range: Range,
    span: &Span,
) -> Result<Profile> {
    let query = Query {
        range,
        matchers: selection.matchers(),
    };
    let found = store.query(&query)?;
    found
        .with_context(|| format!("failed to find a window {span}: the store has none of that time"))
}

/// Nanoseconds from the Unix epoch.
#[must_use]
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}
