//! Profiles and health as programs ask for them: `/debug/pprof/profile` as Go's tools do, `/metrics` as
//! Prometheus does, and `/healthz`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Query as Pairs, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::encode::Format;
use crate::store::{Label, Matcher, Query, Range};

use super::api::{file, nothing};
use super::ask::Parameters;
use super::metrics;
use super::refusal::Refusal;
use super::site::{Site, waiting};

/// What Go's handler takes where nothing is said.
const DEFAULT_SECONDS: i64 = 30;

const MAX_SECONDS: i64 = 3600;

/// `/debug/pprof/`, for a human.
pub(super) async fn index() -> &'static str {
    "profile?seconds=N[&pid=P]  what the machine, or a process, does in the next N seconds, as pprof:\n\
     \x20   go tool pprof 'http://HOST/debug/pprof/profile?seconds=5'\n"
}

/// `/debug/pprof/profile`: waits, and answers with what was recorded meanwhile.
pub(super) async fn profile(
    State(site): State<Site>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let mut asked = Parameters::new(pairs)?;
    let seconds = asked
        .number("seconds", 1, MAX_SECONDS)?
        .unwrap_or(DEFAULT_SECONDS);
    let pid = asked.number("pid", 1, i64::from(i32::MAX))?;
    asked.finish()?;
    let live = site.live().ok_or_else(|| {
        let words = "no agent records here: this page only shows a store";
        Refusal::new(StatusCode::NOT_FOUND, words)
    })?;
    let Ok(_place) = Arc::clone(&site.waiting).try_acquire_owned() else {
        return Err(Refusal::unavailable("too many wait for a profile already"));
    };
    let from_ns = now_ns()?;
    tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
    let range = Range {
        from_ns,
        to_ns: now_ns()?,
    };
    waiting(move || {
        live.close_window()
            .map_err(|words| Refusal::unavailable(&words))
    })
    .await?;
    let matchers = pid.map(|pid| Matcher {
        label: Label::Pid,
        value: pid.to_string(),
    });
    let query = Query {
        range,
        matchers: matchers.into_iter().collect(),
    };
    site.ask(move |store| {
        let profile = store.query(&query)?.ok_or_else(nothing)?;
        file(&profile, Format::Pprof, "profile.pb.gz")
    })
    .await
}

fn now_ns() -> Result<i64, Refusal> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.map_err(|error| Refusal::failed(&error))?;
    i64::try_from(since.as_nanos()).map_err(|error| Refusal::failed(&error))
}

/// `/metrics`: the numbers of the agent and of the store.
pub(super) async fn metrics(State(site): State<Site>) -> Result<Response, Refusal> {
    let (store, live) = (site.store(), site.live());
    let numbers = waiting(move || {
        let of_store = metrics::of_store(&store.kept()?);
        let of_agent = live.map(|live| live.metrics()).unwrap_or_default();
        Ok([of_agent, of_store].concat())
    });
    let text = metrics::text(&numbers.await?);
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// `/healthz`: whether windows are recorded, and can be read.
pub(super) async fn healthz(State(site): State<Site>) -> Result<&'static str, Refusal> {
    let (store, live) = (site.store(), site.live());
    waiting(move || {
        let health = live.map_or(Ok(()), |live| live.health());
        health.map_err(|words| Refusal::unavailable(&words))?;
        store.kept()?;
        Ok("ok\n")
    })
    .await
}
