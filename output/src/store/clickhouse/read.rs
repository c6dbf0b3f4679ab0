//! The samples that are asked for, as one profile; and the values of a label.

use std::collections::HashMap;
use std::io;

use super::client::Client;
use super::head::Chosen;
use super::row_binary::Reader;
use super::schema::{self, SAMPLES};
use super::sql::{quoted, text_of};
use super::stack;
use super::window::Id;
use crate::profile::{Labels, Profile, SampleType, StackId, WaitLabels};
use crate::store::merge::{BEYOND, MAX_SAMPLES, Merger};
use crate::store::{Label, Query, StoreError};

/// All that tells samples apart, in the order in which it is read.
const COLUMNS: [(&str, &str); 11] = [
    ("pid", "toUInt32(0)"),
    ("process", "''"),
    ("cgroup", "''"),
    ("waited", "toUInt8(0)"),
    ("wait_state", "''"),
    ("wait_cause", "''"),
    ("wait_waker", "''"),
    ("wait_interval", "''"),
    ("wait_is_idle", "toUInt8(0)"),
    ("tid", "toUInt32(0)"),
    ("thread", "''"),
];
/// How many of them are told apart: all, those of processes, none.
const LEVELS: [usize; 3] = [COLUMNS.len(), 9, 0];

/// See [`Store::query`](crate::store::Store::query).
pub(super) fn query(client: &Client, query: &Query) -> Result<Option<Profile>, StoreError> {
    let chosen = Chosen::new(client, query)?;
    if chosen.is_empty() {
        return Ok(None);
    }
    let summary = chosen.summary(client)?;
    let Some(profile) = summary.profile(query.range) else {
        return Ok(None);
    };
    let mut merger = Merger::new(profile, MAX_SAMPLES);
    for level in LEVELS {
        if add_samples(client, &chosen, &mut merger, level)? {
            break;
        }
        merger.reduce();
    }
    Ok(Some(merger.finish()))
}

/// See [`Store::values`](crate::store::Store::values).
pub(super) fn values(
    client: &Client,
    query: &Query,
    label: Label,
) -> Result<Vec<String>, StoreError> {
    let chosen = Chosen::new(client, query)?;
    let text = text_of(label);
    // Not `DISTINCT`, which in version 18.16 gives a value twice where it comes from two parts.
    let sql = format!(
        "SELECT {text} AS label FROM {} WHERE {} AND label != '' GROUP BY label",
        schema::all(&client.address, SAMPLES),
        chosen.samples(),
    );
    let mut values = Vec::new();
    client.read_rows(&sql, &[chosen.beside()], |row| {
        values.push(row.string()?);
        Ok(())
    })?;
    values.sort_unstable();
    Ok(values)
}

/// Samples whose stacks are not known yet.
#[derive(Default)]
struct Found {
    stacks: Vec<Id>,
    place_of: HashMap<Id, usize>,
    samples: Vec<(Option<usize>, Labels, Vec<u64>)>,
}

impl Found {
    /// The place of a stack; `None` beyond the bound on memory.
    fn place(&mut self, id: Id) -> Option<usize> {
        if let Some(&place) = self.place_of.get(&id) {
            return Some(place);
        }
        let place = self.stacks.len();
        (place < MAX_SAMPLES).then(|| {
            self.stacks.push(id);
            self.place_of.insert(id, place);
            place
        })
    }
}

/// Adds the samples, with so many of their labels told apart; `false`, without any of them, where that
/// makes more than the bound and fewer labels can be told apart.
fn add_samples(
    client: &Client,
    chosen: &Chosen,
    merger: &mut Merger,
    level: usize,
) -> Result<bool, StoreError> {
    let types = merger.profile().sample_types().to_vec();
    let sql = samples_sql(client, chosen, &types, level);
    let mut found = Found::default();
    client.read_rows(&sql, &[chosen.beside()], |row| {
        let place = found.place(row.fixed()?);
        let labels = labels(row, merger.profile())?;
        let values: io::Result<Vec<u64>> = types.iter().map(|_| row.u64()).collect();
        found.samples.push((place, labels, values?));
        Ok(())
    })?;
    if found.samples.len() > MAX_SAMPLES && level > 0 {
        return Ok(false);
    }
    let stacks = stack::read(client, chosen.range(), &found.stacks, merger.profile())?;
    let beyond = beyond(merger.profile());
    for (place, labels, values) in found.samples {
        let stack = place.map_or(beyond, |place| stacks[place]);
        merger.add(stack, labels, &values);
    }
    Ok(true)
}

/// One row for each stack with the labels that are told apart, and a column for each sample type.
fn samples_sql(client: &Client, chosen: &Chosen, types: &[SampleType], level: usize) -> String {
    let (apart, together) = COLUMNS.split_at(level);
    let apart: String = apart.iter().map(|(name, _)| format!(", {name}")).collect();
    let together: String = together
        .iter()
        .map(|(_, none)| format!(", {none}"))
        .collect();
    let sums = types.iter().map(|of| {
        let (name, unit) = (quoted(of.name()), of.unit());
        format!(", sumIf(value, type = {name} AND type_unit = '{unit}')")
    });
    let sums: String = sums.collect();
    let limit = match level {
        0 => String::new(),
        _ => format!(" LIMIT {}", MAX_SAMPLES + 1),
    };
    format!(
        "SELECT stack{apart}{together}{sums} FROM {} WHERE {} GROUP BY stack{apart} \
         ORDER BY stack{apart}{limit}",
        schema::all(&client.address, SAMPLES),
        chosen.samples(),
    )
}

fn labels(row: &mut Reader, profile: &mut Profile) -> io::Result<Labels> {
    let pid = row.u32()?;
    let process = profile.intern_string(&row.string()?);
    let cgroup = row.string()?;
    let wait = wait(row, profile)?;
    Ok(Labels {
        pid,
        tid: row.u32()?,
        process,
        thread: profile.intern_string(&row.string()?),
        cgroup: (!cgroup.is_empty()).then(|| profile.intern_string(&cgroup)),
        slice: None,
        wait,
    })
}

fn wait(row: &mut Reader, profile: &mut Profile) -> io::Result<Option<WaitLabels>> {
    let waited = row.u8()? != 0;
    let [state, cause, waker, interval] =
        [row.string()?, row.string()?, row.string()?, row.string()?];
    let is_idle = row.u8()? != 0;
    let mut optional = |text: &str| (!text.is_empty()).then(|| profile.intern_string(text));
    let (waker, interval) = (optional(&waker), optional(&interval));
    Ok(waited.then(|| WaitLabels {
        state: profile.intern_string(&state),
        cause: profile.intern_string(&cause),
        waker,
        interval,
        is_idle,
    }))
}

fn beyond(profile: &mut Profile) -> StackId {
    let frame = profile.synthetic(BEYOND);
    profile.intern_stack(None, frame)
}
