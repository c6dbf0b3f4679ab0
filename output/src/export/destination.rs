//! What a user types for a server, and for labels that everything sent is to have.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use percent_encoding::percent_decode_str;

use super::{OtlpGrpc, OtlpHttp, Pyroscope, Sink, StoreSink};
use crate::clean::clean;
use crate::store::open;

/// The most labels: Pyroscope takes 30 with those that are set anyway.
const MAX_EXTRA: usize = 20;
/// The longest value of a label, in bytes, that Pyroscope takes.
const MAX_VALUE_BYTES: usize = 2048;
/// The labels that sinks set, in the spelling of Pyroscope.
const OWN: [&str; 9] = [
    "service_name",
    "host_name",
    "container_id",
    "systemd_unit",
    "host",
    "container",
    "unit",
    "state",
    "cause",
];

/// Why a destination or a label is none.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The address does not say how to send.
    #[error(
        "failed to read the destination `{0}`: expected {schemes}",
        schemes = Protocol::expected()
    )]
    Scheme(String),
    /// The address does not say where to.
    #[error(
        "failed to read the destination `{0}`: expected a host and a port, such as `{1}host:{2}`"
    )]
    Host(String, &'static str, u16),
    /// The address has parts that would do nothing.
    #[error("failed to read the destination `{0}`: leave out what follows `?`")]
    Query(String),
    /// The label is not `key=value`.
    #[error(
        "failed to read the label `{0}`: expected `key=value` with a key of letters, digits, `_` and `.`, \
         and a value of at most {MAX_VALUE_BYTES} bytes"
    )]
    Label(String),
    /// The label is set by what sends windows.
    #[error("failed to set the label `{0}`: it is taken from what was recorded")]
    Own(String),
    /// The label was given before, or there are too many.
    #[error("failed to add the label `{0}`: give each once, and at most {MAX_EXTRA}")]
    Extra(String),
    /// The client could not be made.
    #[error("failed to prepare sending to `{0}`")]
    Client(String, #[source] Box<dyn Error + Send + Sync>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    OtlpGrpc,
    OtlpHttp,
    Pyroscope,
    Store,
}

/// Each scheme with what is spoken, below what, and the usual port.
const SCHEMES: [(&str, Protocol, &str, u16); 7] = [
    ("otlp+grpc://", Protocol::OtlpGrpc, "http", 4317),
    ("otlp+grpcs://", Protocol::OtlpGrpc, "https", 4317),
    ("otlp+http://", Protocol::OtlpHttp, "http", 4318),
    ("otlp+https://", Protocol::OtlpHttp, "https", 4318),
    ("pyroscope+http://", Protocol::Pyroscope, "http", 4040),
    ("pyroscope+https://", Protocol::Pyroscope, "https", 4040),
    ("clickhouse://", Protocol::Store, "clickhouse", 8123),
];

impl Protocol {
    fn expected() -> String {
        let schemes = SCHEMES.map(|(scheme, _, _, port)| format!("`{scheme}HOST:{port}`"));
        schemes.join(", ")
    }
}

/// Where to send to, such as `otlp+grpc://collector:4317`.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    protocol: Protocol,
    name: String,
    address: Address,
}

/// A server.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// With `http:` or `https:`, without a `/` at the end; that of a store as it was given.
    pub(super) url: String,
    /// The value of the header, for a user and password in the address.
    pub(super) authorization: Option<String>,
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let shown = without_secret(text);
        let row = SCHEMES.iter().find(|row| text.starts_with(row.0));
        let &(scheme, protocol, inner, port) =
            row.ok_or(DestinationError::Scheme(shown.clone()))?;
        let rest = &text[scheme.len()..];
        if protocol == Protocol::Store {
            return Ok(Self {
                protocol,
                name: shown,
                address: Address {
                    url: text.to_owned(),
                    authorization: None,
                },
            });
        }
        let no_host = || DestinationError::Host(shown.clone(), scheme, port);
        let uri: Uri = format!("{inner}://{rest}").parse().or(Err(no_host()))?;
        let (host, port) = (
            uri.host().ok_or_else(no_host)?,
            uri.port_u16().ok_or_else(no_host)?,
        );
        if host.is_empty() {
            return Err(no_host());
        }
        if uri.query().is_some() {
            return Err(DestinationError::Query(shown));
        }
        let path = uri.path().trim_end_matches('/');
        let user = uri
            .authority()
            .and_then(|it| Some(it.as_str().rsplit_once('@')?.0));
        Ok(Self {
            protocol,
            name: format!("{scheme}{host}:{port}{path}"),
            address: Address {
                url: format!("{inner}://{host}:{port}{path}"),
                authorization: user.map(basic),
            },
        })
    }
}

impl Destination {
    /// The address without what is secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What sends there. Nothing is connected yet.
    ///
    /// # Errors
    /// When the client cannot be made, such as without the system's certificates.
    pub fn sink(&self, options: &SinkOptions) -> Result<Box<dyn Sink>, DestinationError> {
        let (name, options) = (self.name.clone(), options.clone());
        Ok(match self.protocol {
            Protocol::OtlpGrpc => {
                let sink = OtlpGrpc::new(name, &self.address, options);
                Box::new(sink.map_err(|e| DestinationError::Client(self.name.clone(), e))?)
            }
            Protocol::OtlpHttp => Box::new(OtlpHttp::new(name, &self.address, options)),
            Protocol::Pyroscope => Box::new(Pyroscope::new(name, &self.address, options)),
            Protocol::Store => Box::new(StoreSink::new(name, self.address.url.clone(), open)),
        })
    }
}

/// The name, since the address may hold a password.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Destination").field(&self.name).finish()
    }
}

/// The header of HTTP's basic authentication for `user:password`, percent-encoded.
fn basic(user: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(user).collect();
    format!("Basic {}", BASE64_STANDARD.encode(decoded))
}

/// An address without user, password and query, cleaned: as it may be shown.
pub fn without_secret(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let between = if scheme.is_empty() { "" } else { "://" };
    clean(&format!("{scheme}{between}{host}{path}")).into_owned()
}

/// Labels for everything that is sent, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra(BTreeMap<String, String>);

impl Extra {
    /// Adds a label given as `key=value`.
    ///
    /// # Errors
    /// When it is no label, when what was recorded sets it, and when it or too many others are there.
    pub fn add(&mut self, label: &str) -> Result<(), DestinationError> {
        let shown = || clean(label).into_owned();
        let pair = label
            .split_once('=')
            .filter(|(key, value)| is_label(key, value));
        let (key, value) = pair.ok_or_else(|| DestinationError::Label(shown()))?;
        let plain = key.replace('.', "_");
        if plain.starts_with("__") || OWN.contains(&plain.as_str()) {
            return Err(DestinationError::Own(key.to_owned()));
        }
        let is_known = self.0.keys().any(|known| known.replace('.', "_") == plain);
        if is_known || self.0.len() >= MAX_EXTRA {
            return Err(DestinationError::Extra(key.to_owned()));
        }
        self.0.insert(key.to_owned(), clean(value).into_owned());
        Ok(())
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// What is a label to Prometheus, whose rules Pyroscope has, and with the dots of OpenTelemetry.
fn is_label(key: &str, value: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    key.starts_with(begins)
        && key.chars().all(fits)
        && !value.is_empty()
        && value.len() <= MAX_VALUE_BYTES
}

/// What all sinks have in common.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// Labels for everything that is sent.
    pub extra: Extra,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a request may take with its answer.
    pub timeout: Duration,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            extra: Extra::default(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Destination {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<Destination>().unwrap_err().to_string()
    }

    /// Each scheme is known with its protocol and address, and a path is kept.
    #[test]
    fn destinations_are_read() {
        for (text, protocol, url) in [
            (
                "otlp+grpc://host:4317",
                Protocol::OtlpGrpc,
                "http://host:4317",
            ),
            (
                "otlp+grpcs://host:4317",
                Protocol::OtlpGrpc,
                "https://host:4317",
            ),
            (
                "otlp+http://[::1]:4318/",
                Protocol::OtlpHttp,
                "http://[::1]:4318",
            ),
            (
                "otlp+https://host:443/a/b/",
                Protocol::OtlpHttp,
                "https://host:443/a/b",
            ),
            (
                "pyroscope+http://127.0.0.1:4040",
                Protocol::Pyroscope,
                "http://127.0.0.1:4040",
            ),
        ] {
            let destination = parsed(text);
            assert_eq!(
                (destination.protocol, destination.address.url.as_str()),
                (protocol, url)
            );
        }
    }

    /// A user and a password become a header and are in no name and no message.
    #[test]
    fn passwords_are_not_shown() {
        let destination = parsed("pyroscope+https://user:p%40ss@host:443/x");
        let header = destination.address.authorization.as_deref();
        assert_eq!(header, Some("Basic dXNlcjpwQHNz"));
        assert_eq!(destination.name(), "pyroscope+https://host:443/x");
        let store = parsed("clickhouse://u:secret@a,b/db?x=secret");
        assert_eq!(store.name(), "clickhouse://a,b/db");
        assert_eq!(store.address.url, "clickhouse://u:secret@a,b/db?x=secret");
        for text in [
            "otlp://u:secret@host:1",
            "otlp+grpc://u:secret@host",
            "otlp+http://u:secret@h:1/?k=secret",
        ] {
            assert!(!error(text).contains("secret"), "{}", error(text));
        }
        assert!(!format!("{destination:?}").contains("dXNl"));
    }

    /// What is no destination is refused with what would be one.
    #[test]
    fn errors_say_what_is_expected() {
        assert!(error("host:4317").starts_with(
            "failed to read the destination `host:4317`: expected `otlp+grpc://HOST:4317`"
        ));
        assert_eq!(
            error("otlp+grpc://host"),
            "failed to read the destination `otlp+grpc://host`: expected a host and a port, such as `otlp+grpc://host:4317`"
        );
        for text in [
            "otlp+http://",
            "otlp+http://:4318",
            "otlp+http://h:x",
            "otlp+http://a b:1",
            "otlp+grpc://\n:1",
        ] {
            assert!(error(text).contains("expected a host and a port"), "{text}");
        }
        assert_eq!(
            error("pyroscope+http://h:1/?a=b"),
            "failed to read the destination `pyroscope+http://h:1/`: leave out what follows `?`"
        );
    }

    /// Labels are checked as the strictest receiver does, and cannot stand for what was recorded.
    #[test]
    fn labels_are_checked() {
        let mut extra = Extra::default();
        extra.add("region=eu=west").unwrap();
        extra.add("deployment.environment=pro\nd").unwrap();
        let pairs: Vec<_> = extra.pairs().collect();
        assert_eq!(
            pairs,
            [
                ("deployment.environment", "pro\u{FFFD}d"),
                ("region", "eu=west")
            ]
        );
        for label in ["", "a", "=b", "a=", "1a=b", "a-b=c", "a b=c", "é=x"] {
            assert!(
                matches!(extra.add(label), Err(DestinationError::Label(_))),
                "{label}"
            );
        }
        for label in ["service.name=x", "service_name=x", "host=x", "__name__=x"] {
            assert!(
                matches!(extra.add(label), Err(DestinationError::Own(_))),
                "{label}"
            );
        }
        assert!(matches!(
            extra.add("deployment_environment=x"),
            Err(DestinationError::Extra(_))
        ));
        for n in 0..MAX_EXTRA - 2 {
            extra.add(&format!("k{n}=v")).unwrap();
        }
        assert!(matches!(
            extra.add("more=v"),
            Err(DestinationError::Extra(_))
        ));
    }
}
