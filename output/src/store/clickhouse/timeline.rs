//! Sums over time.

use super::client::Client;
use super::head::Chosen;
use super::schema::{self, SAMPLES};
use super::sql::{int64, quoted, text_of};
use crate::store::sums::Sums;
use crate::store::{Query, StoreError, Timeline, TimelineOf};

/// See [`Store::timeline`](crate::store::Store::timeline).
pub(super) fn timeline(
    client: &Client,
    query: &Query,
    of: &TimelineOf<'_>,
) -> Result<Timeline, StoreError> {
    let mut sums = Sums::new(query, of)?;
    let chosen = Chosen::new(client, query)?;
    for part in &chosen.parts {
        sums.cover(part.from_ns, part.to_ns);
    }
    let sql = format!(
        "SELECT {} AS label, intDiv(toUInt64(time_ns - {}), toUInt64({})) AS step, sum(value) \
         FROM {} WHERE {} AND type = {} GROUP BY label, step",
        of.by.map_or("''", text_of),
        int64(query.range.from_ns),
        of.step_ns,
        schema::all(&client.address, SAMPLES),
        chosen.samples(),
        quoted(of.sample_type),
    );
    let mut refused = None;
    client.read_rows(&sql, &[chosen.beside()], |row| {
        let (label, step, sum) = (row.string()?, row.u64()?, row.u64()?);
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        if refused.is_none() {
            refused = sums.add(&label, step, sum).err();
        }
        Ok(())
    })?;
    refused.map_or_else(|| Ok(sums.finish()), Err)
}
