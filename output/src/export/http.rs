//! One POST after another over a connection that is kept, within limits on time and on the answer's size.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};

use super::SendError;
use super::destination::{Address, SinkOptions};
use crate::clean::{clean, shorten};

/// The most that is read of an answer, in bytes.
const MAX_REPLY_BYTES: u64 = 64 << 10;
/// The most characters that are told of an answer.
const MAX_TOLD_CHARS: usize = 300;

/// A server.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Post<'a> {
    pub(super) content_type: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Client {
    /// For `path` below the address. Connects when there is something to send.
    pub(super) fn new(address: &Address, path: &str, options: &SinkOptions) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(options.connect_timeout))
            .timeout_global(Some(options.timeout))
            .user_agent(concat!("timesink/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Self {
            agent: config.into(),
            url: format!("{}{path}", address.url),
            authorization: address.authorization.clone(),
        }
    }

    /// Sends and waits for the answer.
    ///
    /// # Errors
    /// When there was none.
    pub(super) fn post(&self, post: &Post<'_>) -> Result<Reply, SendError> {
        let mut request = self.agent.post(&self.url).content_type(post.content_type);
        for (name, value) in post.headers {
            request = request.header(*name, *value);
        }
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        let mut response = request.send(post.body).map_err(SendError::later)?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = response.body_mut().with_config().limit(MAX_REPLY_BYTES);
        // The status has decided; what the server says of it is not worth another try.
        let body = body.read_to_vec().unwrap_or_default();
        Ok(Reply {
            status: status.as_u16(),
            retry_after,
            body,
        })
    }
}

impl Reply {
    pub(super) const fn is_success(&self) -> bool {
        matches!(self.status, 200..300)
    }
}

/// The status and what the server said, on one line.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        let status = StatusCode::from_u16(self.status).ok();
        if let Some(words) = status.and_then(|status| status.canonical_reason()) {
            write!(f, " {words}")?;
        }
        let text = String::from_utf8_lossy(&self.body);
        let text = clean(text.trim());
        match text.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", shorten(&text, MAX_TOLD_CHARS)),
        }
    }
}

/// The seconds of `Retry-After`. Its other form, a date, is left to the sender's own waiting.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse();
    seconds.ok().map(Duration::from_secs)
}

/// Bytes as a gzip file.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let compress = || -> io::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(bytes)?;
        gzip.finish()
    };
    compress().expect("memory takes what is written to it")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server says is shown on one line, cleaned and cut, after what its status means.
    #[test]
    fn replies_are_told_on_one_line() {
        let reply = |status, body: &str| Reply {
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(reply(404, "").to_string(), "HTTP 404 Not Found");
        assert_eq!(
            reply(400, "a\nb\x1b\n").to_string(),
            "HTTP 400 Bad Request: a\u{FFFD}b\u{FFFD}"
        );
        assert_eq!(reply(599, "x").to_string(), "HTTP 599: x");
        let long = reply(500, &"x".repeat(5000)).to_string();
        assert!(long.ends_with("x…") && long.len() < 400, "{long}");
    }

    /// `Retry-After` counts in seconds, and what is not a number is left out.
    #[test]
    fn retry_after_is_read_in_seconds() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(of("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
