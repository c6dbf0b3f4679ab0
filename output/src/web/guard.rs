//! What stands before every answer: who may ask, and what a browser may do with the answer.
//!
//! The page listens where only this machine can connect, but any web page that a browser here shows can
//! send requests to it, and one whose name resolves to a loopback address could read the answers. So the
//! name that was asked for must be one of ours, and what another site makes a browser ask gets nothing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;

/// The names by which a machine always knows itself.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The page loads its own files and nothing else, and no text becomes a script, a style or markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// The names under which the page may be asked for.
#[derive(Clone, Debug)]
pub(super) struct Names(Arc<[String]>);

impl Names {
    /// The machine's own names, and `more`.
    pub(super) fn new(more: &[String]) -> Self {
        let own = OWN_NAMES.into_iter().map(str::to_owned);
        let more = more.iter().map(|name| name.to_ascii_lowercase());
        Self(own.chain(more).collect())
    }

    /// Whether the header names one of them, with or without a port.
    fn allow(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let name = host.to_str().ok().map(without_port);
        name.is_some_and(|name| self.0.contains(&name.to_ascii_lowercase()))
    }
}

/// `name` of `name:80` and of `name`; the `[…]` of an IPv6 address stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Answers, or refuses, with the headers that every answer has.
pub(super) async fn guard(State(names): State<Names>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&names, &request) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(names: &Names, request: &Request) -> Option<Refusal> {
    let forbidden = |words| Some(Refusal::new(StatusCode::FORBIDDEN, words));
    if !names.allow(request.headers()) {
        return forbidden("this name is not served here; `--host NAME` allows it");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let words = "the page is only read: use GET";
        return Some(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, words));
    }
    if asked_by_another_site(request.headers()) && request.uri().path() != "/" {
        return forbidden("another site asked for this");
    }
    None
}

/// Whether a browser says so (<https://www.w3.org/TR/fetch-metadata/>); programs say nothing.
fn asked_by_another_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        Names::new(&["Profiles.Example".to_owned()]).allow(&headers)
    }

    /// Only the machine's own names and those that were given are served, whatever the port and the case.
    #[test]
    fn names_are_checked() {
        for host in [
            "localhost",
            "LOCALHOST:4041",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:4041",
            "profiles.example",
            "profiles.example:443",
        ] {
            assert!(allowed(&[host]), "{host}");
        }
        for host in [
            "",
            ":4041",
            "evil.example",
            "localhost.evil.example",
            "localhost:4041.evil.example",
            "localhost@evil.example",
            "127.0.0.1.evil.example:4041",
            "::1",
            "10.0.0.1",
        ] {
            assert!(!allowed(&[host]), "{host}");
        }
        assert!(!allowed(&[]));
        assert!(!allowed(&["localhost", "localhost"]));
    }
}
