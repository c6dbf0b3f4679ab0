//! What the page asks for, in JSON; docs/http.md has the shapes and the bounds.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query as Pairs, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::diff::Judging;
use crate::encode::{Encode, Format};
use crate::ledger::{Ledger, RowKind};
use crate::profile::{Profile, SampleType};
use crate::store::{Label, Query, Range, Row, Store, Timeline, TimelineOf};

use super::ask::{Parameters, ms_after, ms_before, place_of};
use super::functions;
use super::refusal::Refusal;
use super::site::Site;
use super::tree;

type Asked = Pairs<Vec<(String, String)>>;
type Answer = Result<Json<Value>, Refusal>;

/// Steps of a timeline: ten minutes of slices.
const MAX_STEPS: i64 = 6000;

/// Rows of a timeline that are not put together.
const MAX_ROWS: i64 = 50;

/// The longest step, a day.
const MAX_STEP_MS: i64 = 86_400_000;

/// Frames of a flame graph: more than a screen has room for, and about a megabyte.
const MAX_FRAMES: usize = 20_000;

/// Rows of the table of functions.
const MAX_FUNCTIONS: usize = 500;

/// Values of a label.
const MAX_VALUES: usize = 1000;

/// `/api/store`: what there is.
pub(super) async fn store(State(site): State<Site>, Pairs(pairs): Asked) -> Answer {
    Parameters::new(pairs)?.finish()?;
    let is_live = site.live().is_some();
    let kept = site.ask(|store| Ok(store.kept()?)).await?;
    Ok(Json(json!({
        "bytes": kept.bytes,
        "windows": kept.windows,
        "damaged": kept.damaged,
        "oldest_ms": kept.oldest_ns.map(ms_before),
        "newest_ms": kept.newest_ns.map(ms_after),
        "live": is_live,
    })))
}

/// `/api/types`: the sample types of a range.
pub(super) async fn types(State(site): State<Site>, Pairs(pairs): Asked) -> Answer {
    let mut asked = Parameters::new(pairs)?;
    let range = asked.whole_range()?;
    asked.finish()?;
    let types = site
        .ask(move |store| Ok(store.sample_types(range)?))
        .await?;
    let types: Vec<Value> = types.iter().map(of_type).collect();
    Ok(Json(json!({ "types": types })))
}

fn of_type(of: &SampleType) -> Value {
    json!({ "name": of.name(), "unit": of.unit().to_string() })
}

/// `/api/values`: the values of a label.
pub(super) async fn values(State(site): State<Site>, Pairs(pairs): Asked) -> Answer {
    let mut asked = Parameters::new(pairs)?;
    let label = asked.label("label")?;
    let label = label.ok_or_else(|| Refusal::bad("`label` is needed"))?;
    let query = asked.query()?;
    asked.finish()?;
    let mut values = site
        .ask(move |store| Ok(store.values(&query, label)?))
        .await?;
    let left_out = values.len().saturating_sub(MAX_VALUES);
    values.truncate(MAX_VALUES);
    Ok(Json(json!({ "values": values, "left_out": left_out })))
}

/// `/api/timeline`: sums over time.
pub(super) async fn timeline(State(site): State<Site>, Pairs(pairs): Asked) -> Answer {
    let mut asked = Parameters::new(pairs)?;
    let query = asked.query()?;
    let sample_type = asked.text("type");
    let by = asked.label("by")?;
    let top = asked.number("top", 1, MAX_ROWS)?.unwrap_or(MAX_ROWS);
    let step_ms = asked.number("step", 1, MAX_STEP_MS)?;
    let step_ms = step_ms.ok_or_else(|| Refusal::bad("`step` is needed, in milliseconds"))?;
    asked.finish()?;
    let step_ns = step_ms * 1_000_000;
    if (query.range.len_ns() - 1) / step_ns >= MAX_STEPS {
        return Err(Refusal::bad(&format!(
            "that is more than {MAX_STEPS} steps; take a longer `step` or a shorter range"
        )));
    }
    site.ask(move |store| {
        timeline_of(
            store,
            &query,
            sample_type.as_deref(),
            by,
            step_ns,
            top as usize,
        )
    })
    .await
}

fn timeline_of(
    store: &dyn Store,
    query: &Query,
    sample_type: Option<&str>,
    by: Option<Label>,
    step_ns: i64,
    top: usize,
) -> Answer {
    let types = store.sample_types(query.range)?;
    if types.is_empty() {
        return Ok(Json(json!({
            "type": null,
            "from_ms": ms_before(query.range.from_ns),
            "step_ms": ms_before(step_ns),
            "rows": [],
            "others": { "count": 0, "sums": [] },
            "covered": [],
        })));
    }
    let of = &types[place_of(sample_type, &types)?];
    let asked = TimelineOf {
        sample_type: of.name(),
        by,
        step_ns,
    };
    let Timeline {
        mut rows, covered, ..
    } = store.timeline(query, &asked)?;
    let rest = rows.split_off(top.min(rows.len()));
    let shown: Vec<Value> = rows
        .into_iter()
        .map(|Row { value, sums }| json!({ "value": value, "sums": sums }))
        .collect();
    Ok(Json(json!({
        "type": of_type(of),
        "from_ms": ms_before(query.range.from_ns),
        "step_ms": ms_before(step_ns),
        "rows": shown,
        "others": { "count": rest.len(), "sums": added_up(&rest) },
        "covered": covered.iter().map(of_range).collect::<Vec<_>>(),
    })))
}

/// The sums of several rows; empty without any.
fn added_up(rows: &[Row]) -> Vec<u64> {
    let mut sums = rows
        .first()
        .map_or_else(Vec::new, |row| vec![0u64; row.sums.len()]);
    for row in rows {
        for (sum, of_row) in sums.iter_mut().zip(&row.sums) {
            *sum = sum.saturating_add(*of_row);
        }
    }
    sums
}

fn of_range(range: &Range) -> Value {
    json!([ms_before(range.from_ns), ms_after(range.to_ns)])
}

/// `/api/profile`: flame graph, table of functions and ledger of a range, or of two.
pub(super) async fn profile(State(site): State<Site>, Pairs(pairs): Asked) -> Answer {
    let mut asked = Parameters::new(pairs)?;
    let query = asked.query()?;
    let sample_type = asked.text("type");
    let base = asked.range("base_from", "base_to")?;
    asked.finish()?;
    site.ask(move |store| profile_of(store, query, base, sample_type.as_deref()))
        .await
}

fn profile_of(
    store: &dyn Store,
    query: Query,
    base: Option<Range>,
    sample_type: Option<&str>,
) -> Answer {
    let mut growing = tree::Growing::default();
    let mut functions = functions::Adding::default();
    let mut judging = base.map(|_| Judging::default());
    let mut sides = Vec::new();
    let mut shown = None;
    for (side, range) in [Some(query.range), base].into_iter().flatten().enumerate() {
        let query = Query {
            range,
            ..query.clone()
        };
        let profile = store.query(&query)?.ok_or_else(nothing)?;
        let name = shown.as_ref().map(SampleType::name).or(sample_type);
        let place = place_of(name, profile.sample_types())?;
        growing.add(&profile, place, side);
        functions.add(&profile, place, side);
        if let Some(judging) = &mut judging {
            // What is shown first is the later of the two.
            judging
                .add(&profile, place, 1 - side)
                .map_err(|error| Refusal::failed(&error))?;
        }
        sides.push(side_of(&profile, range));
        shown = Some(profile.sample_types()[place].clone());
    }
    let verdicts = judging.map_or_else(HashMap::new, Judging::verdicts);
    Ok(Json(json!({
        "type": shown.as_ref().map(of_type),
        "sides": sides,
        "tree": growing.finish(MAX_FRAMES),
        "functions": functions.finish(MAX_FUNCTIONS, &verdicts),
    })))
}

fn side_of(profile: &Profile, range: Range) -> Value {
    let meta = profile.meta();
    json!({
        "range": of_range(&range),
        "host": meta.host,
        "event": meta.event,
        "windows": of_range(&Range {
            from_ns: meta.time_nanos,
            to_ns: meta.time_nanos.saturating_add(meta.duration_nanos),
        }),
        "ledger": of_ledger(&profile.ledger),
        "comments": profile.comments(),
    })
}

fn of_ledger(ledger: &Ledger) -> Value {
    let rows = ledger.rows().iter().map(|row| {
        let kind = match row.kind {
            RowKind::Expected => "expected",
            RowKind::Got => "got",
            RowKind::Elsewhere => "elsewhere",
            RowKind::Lost => "lost",
            RowKind::Note => "note",
        };
        json!({ "name": row.name, "kind": kind, "count": row.count, "meaning": row.meaning })
    });
    json!({ "summary": ledger.summary(), "lost": ledger.lost(), "rows": rows.collect::<Vec<_>>() })
}

/// `/api/download`: a range as a file.
pub(super) async fn download(
    State(site): State<Site>,
    Pairs(pairs): Asked,
) -> Result<Response, Refusal> {
    let mut asked = Parameters::new(pairs)?;
    let query = asked.query()?;
    let sample_type = asked.text("type");
    let format = asked
        .text("format")
        .and_then(|name| Format::from_name(&name));
    let format = format.ok_or_else(|| {
        let known = Format::names().join(", ");
        Refusal::bad(&format!("`format` is needed: one of {known}"))
    })?;
    asked.finish()?;
    site.ask(move |store| {
        let mut profile = store.query(&query)?.ok_or_else(nothing)?;
        let place = place_of(sample_type.as_deref(), profile.sample_types())?;
        profile.fold_by(&[place]);
        let name = format!(
            "timesink-{}-{}-{}{}",
            profile.sample_types()[place].name(),
            ms_before(query.range.from_ns),
            ms_before(query.range.to_ns),
            format.extension()
        );
        file(&profile, format, &name)
    })
    .await
}

/// A profile as a file for a browser to keep.
pub(super) fn file(profile: &Profile, format: Format, name: &str) -> Result<Response, Refusal> {
    let mut bytes = Vec::new();
    let encoder: &dyn Encode = format.encoder();
    encoder
        .encode(profile, &mut bytes)
        .map_err(|error| Refusal::failed(&error))?;
    let content_type = match format {
        Format::Svg => "image/svg+xml",
        Format::Folded => "text/plain; charset=utf-8",
        Format::Pprof => "application/octet-stream",
    };
    // The name is in ASCII but for a sample type's, which others chose.
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name = name.replace(|c| !safe(c), "_");
    let headers = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, bytes).into_response())
}

/// For a range of which the store has nothing.
pub(super) fn nothing() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "the store has no window in this range",
    )
}
