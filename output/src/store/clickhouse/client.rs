//! Statements to ClickHouse's HTTP interface, at the first of several servers that answers.
//!
//! Knows how a statement travels and how a failure comes back, and nothing of tables but that there are some
//! to be made where a server has none.
//!
//! A server is asked to hold an answer back until it is complete (`wait_end_of_query`): otherwise an error
//! after the first rows would come as text between them, under the status of a success.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ureq::{Agent, Body, http::Response};

use super::address::Address;
use super::row_binary::{Reader, Rows};
use super::schema;
use crate::clean::clean_lines;
use crate::store::StoreError;

/// How long a connection may take: what a server that is away costs each statement.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a statement may take in all.
const STATEMENT: Duration = Duration::from_secs(60);
/// How much of an error's text is read.
const MAX_ERROR_BYTES: u64 = 4096;
/// Separates the parts of a request. Rows beside a statement are numbers and hashes, in which it cannot be.
const BOUNDARY: &str = "timesink-rows-beside-a-statement-timesink";

/// ClickHouse's own numbers of errors, of its `ErrorCodes.cpp`.
mod code {
    pub(super) const UNKNOWN_TABLE: u32 = 60;
    pub(super) const UNKNOWN_DATABASE: u32 = 81;
    pub(super) const ALL_CONNECTION_TRIES_FAILED: u32 = 279;
}

/// A table that lives as long as the statement that it is sent with.
pub(super) struct Beside<'a> {
    /// How the statement calls it.
    pub(super) name: &'static str,
    /// Its columns with their types.
    pub(super) structure: &'static str,
    pub(super) rows: &'a Rows,
}

/// Why a server did not do what a statement says.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There was no answer, or only a part of one.
    #[error("{0}")]
    Away(#[from] ureq::Error),
    /// The server's words.
    #[error("{text}")]
    Told { code: Option<u32>, text: String },
}

impl Failure {
    fn is(&self, codes: &[u32]) -> bool {
        matches!(self, Self::Told { code: Some(code), .. } if codes.contains(code))
    }

    /// Whether the server lacks tables, or tells so of another one that it asked.
    fn is_of_missing_tables(&self) -> bool {
        let is_of_other = self.to_string().contains("There is no table");
        self.is(&[code::UNKNOWN_TABLE, code::UNKNOWN_DATABASE]) || is_of_other
    }

    /// As an error of the store, with what was to be done at which server.
    pub(super) fn at(self, host: &str, what: &str) -> StoreError {
        let shard = match self.is(&[code::ALL_CONNECTION_TRIES_FAILED]) {
            true => {
                ", since a server of its cluster is away and an answer without it would be wrong"
            }
            false => "",
        };
        StoreError::engine(format!("{what} ClickHouse at `{host}`{shard}"), self)
    }
}

/// The way to the servers.
pub(super) struct Client {
    agent: Agent,
    pub(super) address: Address,
    /// How often tables had to be made.
    made: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.address).finish()
    }
}

impl Client {
    pub(super) fn new(address: Address) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A kept connection that the server has closed meanwhile would look as if it were away.
            .max_idle_connections(0)
            // A proxy of the environment is for the web, and would be shown the password.
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(STATEMENT));
        Self {
            agent: config.build().into(),
            address,
            made: AtomicU64::new(0),
        }
    }

    /// Hands each row that a statement asks for to `take`, from the first server that is there.
    ///
    /// # Errors
    /// When none is, or the first that is refuses: another could not say more, since each asks all.
    pub(super) fn read_rows(
        &self,
        sql: &str,
        beside: &[Beside<'_>],
        mut take: impl FnMut(&mut Reader) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let (host, mut rows) = self.read(sql, beside)?;
        let mut take_all = || {
            while !rows.is_at_end()? {
                take(&mut rows)?;
            }
            Ok(())
        };
        take_all().map_err(|error: io::Error| {
            StoreError::engine(format!("read the answer of ClickHouse at `{host}`"), error)
        })
    }

    fn read(&self, sql: &str, beside: &[Beside<'_>]) -> Result<(&str, Reader), StoreError> {
        let statement = format!("{sql} FORMAT RowBinary");
        let mut away = None;
        for host in &self.address.hosts {
            let answer = self.with_tables(|| match beside {
                [] => self.post(host, &[], statement.as_bytes()),
                beside => self.post_beside(host, &statement, beside),
            });
            match answer {
                Ok(rows) => return Ok((host, rows)),
                Err(failure @ Failure::Away(_)) => away = Some(failure.at(host, "read from")),
                Err(failure) => return Err(failure.at(host, "read from")),
            }
        }
        Err(away.expect("an address has a host"))
    }

    /// Sends rows to one server, which has them when this returns.
    pub(super) fn insert(&self, host: &str, into: &str, rows: &Rows) -> Result<(), Failure> {
        let statement = format!("INSERT INTO {into} FORMAT RowBinary");
        let query = [("query", statement.as_str())];
        self.with_tables(|| self.post(host, &query, rows.bytes()))?;
        Ok(())
    }

    /// Has one server do something.
    pub(super) fn execute(&self, host: &str, sql: &str) -> Result<(), Failure> {
        self.with_tables(|| self.post(host, &[], sql.as_bytes()))?;
        Ok(())
    }

    /// Does it, once more where tables were missing.
    fn with_tables<T>(&self, run: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
        match run() {
            Err(failure) if failure.is_of_missing_tables() => {
                self.make_tables()?;
                run()
            }
            answer => answer,
        }
    }

    /// Grows when tables had to be made: what was written before is gone.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Makes what is missing at every server that is there: a statement at one reads tables of all.
    fn make_tables(&self) -> Result<(), Failure> {
        self.made.fetch_add(1, Ordering::Relaxed);
        for host in &self.address.hosts {
            for statement in schema::statements(&self.address) {
                match self.post(host, &[], statement.as_bytes()) {
                    Err(Failure::Away(_)) => break,
                    made => made?,
                };
            }
        }
        Ok(())
    }

    fn post(&self, host: &str, query: &[(&str, &str)], body: &[u8]) -> Result<Reader, Failure> {
        let request = self.request(host).query_pairs(query.iter().copied());
        answer(request.send(body)?)
    }

    /// The statement goes into the address, since the body has the tables.
    fn post_beside(
        &self,
        host: &str,
        statement: &str,
        tables: &[Beside<'_>],
    ) -> Result<Reader, Failure> {
        let mut request = self.request(host).query("query", statement);
        let mut body = Vec::new();
        for Beside {
            name,
            structure,
            rows,
        } in tables
        {
            request = request
                .query(format!("{name}_format"), "RowBinary")
                .query(format!("{name}_structure"), structure);
            let head = format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; \
                 filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(rows.bytes());
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        answer(request.content_type(kind).send(&body[..])?)
    }

    fn request(&self, host: &str) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        self.agent
            .post(format!("http://{host}/"))
            .header_raw("X-ClickHouse-User", self.address.user.as_bytes())
            .header_raw("X-ClickHouse-Key", self.address.password.as_bytes())
            .query("wait_end_of_query", "1")
            // All that could make an answer partial is an error, whatever the user's profile says.
            .query_pairs(WHOLE_ANSWERS.iter().copied())
    }
}

/// Settings under which an answer is whole or an error.
const WHOLE_ANSWERS: [(&str, &str); 6] = [
    ("skip_unavailable_shards", "0"),
    ("timeout_overflow_mode", "throw"),
    ("read_overflow_mode", "throw"),
    ("group_by_overflow_mode", "throw"),
    ("result_overflow_mode", "throw"),
    ("distinct_overflow_mode", "throw"),
];

fn answer(response: Response<Body>) -> Result<Reader, Failure> {
    let is_success = response.status().is_success();
    let body = response.into_body().into_with_config().limit(u64::MAX);
    let mut body = body.reader();
    if is_success {
        return Ok(Reader::new(BufReader::new(body)));
    }
    let mut text = Vec::new();
    (&mut body)
        .take(MAX_ERROR_BYTES)
        .read_to_end(&mut text)
        .map_err(ureq::Error::from)?;
    let text = String::from_utf8_lossy(&text);
    Err(Failure::Told {
        code: error_code(&text),
        text: clean_lines(text.trim()).into_owned(),
    })
}

/// The number in `Code: 60, …` or `Code: 60. …`.
fn error_code(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("Code: ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
