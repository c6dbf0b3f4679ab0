//! What there is, and taking away the oldest of it: a day at a time, by its partitions.

use std::collections::BTreeMap;

use super::DAY_NS;
use super::client::Client;
use super::schema::{self, TABLES, WINDOWS};
use super::sql::quoted;
use crate::store::{Kept, Retention, StoreError};

/// See [`Store::kept`](crate::store::Store::kept). Bytes are those of all servers. A damaged part is none
/// that is left out: the server refuses to read it, and the question fails.
pub(super) fn kept(client: &Client) -> Result<Kept, StoreError> {
    let windows = schema::all(&client.address, WINDOWS);
    let sql = format!(
        "SELECT count(), min(begin), max(end) FROM (SELECT any(begin_ns) AS begin, any(end_ns) AS end \
         FROM {windows} GROUP BY id)"
    );
    let mut kept = Kept::default();
    client.read_rows(&sql, &[], |row| {
        kept.windows = row.u64()?;
        let (oldest_ns, newest_ns) = (row.i64()?, row.i64()?);
        if kept.windows > 0 {
            (kept.oldest_ns, kept.newest_ns) = (Some(oldest_ns), Some(newest_ns));
        }
        Ok(())
    })?;
    kept.bytes = days(client)?.values().map(|day| day.bytes).sum();
    Ok(kept)
}

/// See [`Store::tidy`](crate::store::Store::tidy).
pub(super) fn tidy(client: &Client, now_ns: i64, retention: Retention) -> Result<(), StoreError> {
    let mut days = days(client)?;
    let mut bytes: u64 = days.values().map(|day| day.bytes).sum();
    let oldest_ns = now_ns.saturating_sub(retention.age_ns);
    while let Some(oldest) = days.first_entry() {
        let end_ns = (i64::from(*oldest.key()) + 1).saturating_mul(DAY_NS);
        let day = oldest.remove();
        let is_too_much = bytes > retention.bytes && !days.is_empty();
        if end_ns > oldest_ns && !is_too_much {
            break;
        }
        remove(client, &day.partition)?;
        bytes -= day.bytes;
    }
    Ok(())
}

/// What all servers have of a day.
struct Day {
    /// As ClickHouse calls it, such as `2026-11-25`.
    partition: String,
    bytes: u64,
}

/// The days that there are, counted from the Unix epoch.
fn days(client: &Client) -> Result<BTreeMap<u16, Day>, StoreError> {
    let parts = match &client.address.cluster {
        Some(cluster) => format!("cluster({}, system.parts)", quoted(cluster)),
        None => "system.parts".to_owned(),
    };
    let sql = format!(
        "SELECT toDate(partition) AS day, partition, sum(bytes_on_disk) FROM {parts} \
         WHERE database = {} AND table IN ({}) AND active GROUP BY partition",
        quoted(&client.address.database),
        TABLES.map(quoted).join(", "),
    );
    let mut days = BTreeMap::new();
    client.read_rows(&sql, &[], |row| {
        let (day, partition, bytes) = (row.u16()?, row.string()?, row.u64()?);
        days.insert(day, Day { partition, bytes });
        Ok(())
    })?;
    Ok(days)
}

/// Windows go first: without them their samples do not count.
fn remove(client: &Client, partition: &str) -> Result<(), StoreError> {
    for table in TABLES.into_iter().rev() {
        let table = schema::local(&client.address, table);
        let sql = format!("ALTER TABLE {table} DROP PARTITION {}", quoted(partition));
        for host in &client.address.hosts {
            let done = client.execute(host, &sql);
            done.map_err(|failure| failure.at(host, "remove a day from"))?;
        }
    }
    Ok(())
}
