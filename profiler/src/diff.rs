//! `timesink diff`: what changed from one recording to another.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Error, Result, bail};
use output::{
    Against, Change, Diff, DiffOptions, Format, FunctionChange, MAX_PROFILE_BYTES, Profile, Store,
    decode,
};
use serde_json::{Value, json};

use crate::{
    cli::diff::{DiffArgs, Limit, Side},
    outputs::Outputs,
    query,
    report::{print, shown, tell, tell_written},
};

/// Compares, and prints and writes what changed. Whether that is within the limits.
///
/// # Errors
/// Where there is nothing to compare, or an output cannot be written.
pub fn run(args: &DiffArgs) -> Result<bool> {
    let outputs = Outputs::check(&args.output, None)?;
    if outputs.has(Format::Pprof) {
        bail!("failed to write a comparison as pprof: use .svg or .folded");
    }
    let sides = sides(args)?;
    let options = DiffOptions {
        sample_type: args.sample_type.clone(),
        against: against(args, sides.each_ref().map(|side| side.length_ns))?,
        min_share_percent: args.min_share,
    };
    let diff = Diff::new(sides.map(|side| side.profile), &options)?;
    let encode = |format| match format {
        Format::Svg => Ok(diff.svg()?),
        Format::Folded | Format::Pprof => Ok(diff.folded().into_bytes()),
    };
    let written = outputs.write_each(encode, tell_written);
    print(&match args.json {
        true => format!("{:#}\n", as_json(&diff)),
        false => diff.table(args.rows),
    })?;
    written?;
    let broken = args.fail_if.iter().filter(|limit| is_broken(&diff, limit));
    Ok(broken.count() == 0)
}

/// A recording, and how long the range was that it is of.
#[derive(Debug)]
struct Recording {
    profile: Profile,
    length_ns: Option<i64>,
}

fn sides(args: &DiffArgs) -> Result<[Recording; 2]> {
    let has_range = [&args.before, &args.after]
        .iter()
        .any(|side| matches!(side, Side::Range(_)));
    if !has_range && (args.store.is_some() || !args.selection.is_all()) {
        bail!("failed to choose from a store: give a range of time for A or B, such as @2h..1h");
    }
    let store = match (&args.store, has_range) {
        (Some(url), _) => Some(query::open(url)?),
        (None, true) => bail!("failed to find the store of a range: add `--store URL`"),
        (None, false) => None,
    };
    // Both ends of `now` are one.
    let now_ns = query::now_ns();
    let recording = |side| recording(args, side, store.as_deref(), now_ns);
    Ok([recording(&args.before)?, recording(&args.after)?])
}

fn recording(
    args: &DiffArgs,
    side: &Side,
    store: Option<&dyn Store>,
    now_ns: i64,
) -> Result<Recording> {
    match (side, store) {
        (Side::Range(span), Some(store)) => {
            let range = span.resolve(now_ns).map_err(Error::msg)?;
            Ok(Recording {
                profile: query::profile(store, &args.selection, range, span)?,
                length_ns: Some(range.len_ns()),
            })
        }
        (Side::Range(_), None) => bail!("failed to find the store of a range: add `--store URL`"),
        (Side::File(path), _) => Ok(Recording {
            profile: read(path).with_context(|| format!("failed to read `{}`", shown(path)))?,
            length_ns: None,
        }),
    }
}

/// One byte more than a profile may have is read, by which it is told.
fn read(path: &Path) -> Result<Profile> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_PROFILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(decode(&bytes)?)
}

fn against(args: &DiffArgs, lengths_ns: [Option<i64>; 2]) -> Result<Against> {
    match (args.absolute, lengths_ns) {
        (false, _) => Ok(Against::Typical),
        (true, [None, None]) => Ok(Against::Times(1.0)),
        (true, [Some(before), Some(after)]) => Ok(Against::Times(after as f64 / before as f64)),
        (true, _) => bail!(
            "failed to compare the times of a file and a range, which are not of the same length: \
             leave out `--absolute`"
        ),
    }
}

/// Says what breaks a limit, and what has no such function, which is no failure: it may have gone.
fn is_broken(diff: &Diff, limit: &Limit) -> bool {
    let Limit { text, percent, .. } = limit;
    if !diff.functions().iter().any(|of| limit.is_of(&of.name)) {
        tell(format_args!(
            "timesink: warning: `{text}` names no function of either recording\n"
        ));
    }
    let grown = diff.grown(*percent, |name| limit.is_of(name));
    for of in &grown {
        let FunctionChange { name, total, .. } = of;
        let by = match total.percent.is_finite() {
            true => format!(
                "grew by {:.1} % ± {:.1}",
                total.percent, total.error_percent
            ),
            false => "is new".to_owned(),
        };
        tell(format_args!(
            "timesink: failed by `{text}`: the total of `{name}` {by}\n"
        ));
    }
    !grown.is_empty()
}

/// Shares are in percent; a change without an end, of what is new, is null.
fn as_json(diff: &Diff) -> Value {
    let change = |change: &Change| {
        json!({
            "before": change.amounts[0],
            "after": change.amounts[1],
            "percent": change.percent,
            "error_percent": change.error_percent,
            "p_value": change.p_value,
        })
    };
    let function = |of: &FunctionChange| {
        json!({
            "name": of.name,
            "verdict": of.verdict.word(),
            "self": change(&of.own),
            "total": change(&of.total),
        })
    };
    let functions: Vec<Value> = diff.functions().iter().map(function).collect();
    json!({
        "type": diff.sample_type().name(),
        "unit": diff.sample_type().unit().to_string(),
        "before": diff.wholes()[0],
        "after": diff.wholes()[1],
        "level": diff.level(),
        "spread_percent": diff.spread_percent(),
        "functions": functions,
    })
}
