//! Windows in [ClickHouse](https://clickhouse.com), for many machines: one server, or a cluster of them.
//!
//! A window is written whole to one server, to the next where that one is away, and asked for at one that
//! asks all others. An answer has all that was kept, or is an error: a server that is away makes questions
//! fail, and never an answer smaller. `schema.sql` makes the tables, says what is in them, and why a window
//! that was written twice counts once.
//!
//! Sums are made by the servers. Roll-ups are not: samples keep their slices for as long as they are kept.
//! The connection is plain HTTP, without TLS.

mod address;
mod append;
mod client;
mod codes;
mod head;
mod read;
mod row_binary;
mod schema;
mod sql;
mod stack;
mod tidy;
mod timeline;
mod window;

use std::sync::Mutex;

use crate::profile::{Profile, SampleType};
use crate::store::{Kept, Label, Query, Range, Retention, Store, StoreError, Timeline, TimelineOf};
use address::Address;
use append::Sent;
use client::Client;

/// How the address of such a store begins.
const SCHEME: &str = "clickhouse://";
/// The length of a day of Coordinated Universal Time, which has no leap seconds here.
const DAY_NS: i64 = 86_400_000_000_000;

/// A store whose windows are in ClickHouse.
#[derive(Debug)]
pub(super) struct ClickHouse {
    client: Client,
    /// The stacks that need not be sent again.
    sent: Mutex<Sent>,
}

impl ClickHouse {
    /// The store at an address that begins with [`SCHEME`]; see [`open`](crate::open).
    ///
    /// # Errors
    /// When the address makes no sense.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            client: Client::new(Address::parse(url)?),
            sent: Mutex::default(),
        })
    }
}

impl Store for ClickHouse {
    /// Keeps a window at one server, which has it when this returns; how soon its disk has it, is the
    /// server's to say.
    ///
    /// # Errors
    /// When no server took it, or one did not say that it did. To append it again is always right: a window
    /// counts once.
    fn append(&self, window: &Profile) -> Result<(), StoreError> {
        append::append(&self.client, &self.sent, window)
    }

    fn query(&self, query: &Query) -> Result<Option<Profile>, StoreError> {
        read::query(&self.client, query)
    }

    fn timeline(&self, query: &Query, of: &TimelineOf<'_>) -> Result<Timeline, StoreError> {
        timeline::timeline(&self.client, query, of)
    }

    fn values(&self, query: &Query, label: Label) -> Result<Vec<String>, StoreError> {
        read::values(&self.client, query, label)
    }

    fn sample_types(&self, range: Range) -> Result<Vec<SampleType>, StoreError> {
        head::sample_types(&self.client, range)
    }

    fn kept(&self) -> Result<Kept, StoreError> {
        tidy::kept(&self.client)
    }

    /// Removes days that are wholly beyond the retention, oldest first. The newest day stays whatever its
    /// size.
    ///
    /// # Errors
    /// When a server is away, or refuses.
    fn tidy(&self, now_ns: i64, retention: Retention) -> Result<(), StoreError> {
        // Days that are removed take their stacks along.
        append::forget(&self.sent);
        tidy::tidy(&self.client, now_ns, retention)
    }
}
