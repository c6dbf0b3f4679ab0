//! Which windows answer a question, and what they say beside their samples.

use std::io;

use super::client::{Beside, Client};
use super::codes::Code;
use super::row_binary::{Reader, Rows};
use super::schema::{self, WINDOWS};
use super::sql::{and_matching, int64, within_days};
use crate::ledger::{Ledger, RowKind};
use crate::profile::{Meta, Period, SampleType, Unit};
use crate::store::summary::{Head, Summary};
use crate::store::{Label, Matcher, Query, Range, StoreError};

/// The most windows that one question is about; each takes 8 bytes here and about 20 at each server.
const MAX_WINDOWS: usize = 1 << 24;

/// The windows that answer a question, each as one copy.
pub(super) struct Chosen {
    query: Query,
    copies: Rows,
    /// When each begins and ends, in the order of their beginning.
    pub(super) parts: Vec<Range>,
}

impl Chosen {
    /// Chooses once, so that all statements of a question are about the same windows, while others arrive.
    ///
    /// # Errors
    /// When they cannot be read, or are too many.
    pub(super) fn new(client: &Client, query: &Query) -> Result<Self, StoreError> {
        let hosts = of_hosts(&query.matchers);
        let Range { from_ns, to_ns } = query.range;
        let sql = format!(
            "SELECT min(copy), any(begin_ns) AS begin, any(end_ns) AS end FROM {} \
             WHERE {} AND begin_ns < {} AND until_ns > {}{} GROUP BY id ORDER BY begin, id LIMIT {}",
            schema::all(&client.address, WINDOWS),
            within_days(query.range),
            int64(to_ns),
            int64(from_ns),
            and_matching(hosts),
            MAX_WINDOWS + 1,
        );
        let mut chosen = Self {
            query: query.clone(),
            copies: Rows::default(),
            parts: Vec::new(),
        };
        if query.range.is_empty() {
            return Ok(chosen);
        }
        client.read_rows(&sql, &[], |row| {
            chosen.copies.u64(row.u64()?);
            let (from_ns, to_ns) = (row.i64()?, row.i64()?);
            chosen.parts.push(Range { from_ns, to_ns });
            Ok(())
        })?;
        match chosen.parts.len() {
            0..=MAX_WINDOWS => Ok(chosen),
            _ => Err(StoreError::Refused(format!(
                "there are more than {MAX_WINDOWS} windows in the range: ask for a shorter one, or for \
                 one machine"
            ))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn range(&self) -> Range {
        self.query.range
    }

    /// The table of copies, to be sent beside a statement that has one of the conditions.
    pub(super) fn beside(&self) -> Beside<'_> {
        Beside {
            name: "chosen",
            structure: "copy UInt64",
            rows: &self.copies,
        }
    }

    /// The condition that a row of `windows` is one of them.
    fn windows(&self) -> String {
        format!("{} AND copy IN chosen", within_days(self.query.range))
    }

    /// The condition that a row of `samples` is what was asked for.
    pub(super) fn samples(&self) -> String {
        let Range { from_ns, to_ns } = self.query.range;
        format!(
            "{} AND time_ns >= {} AND time_ns < {} AND copy IN chosen{}",
            within_days(self.query.range),
            int64(from_ns),
            int64(to_ns),
            and_matching(&self.query.matchers),
        )
    }

    /// What the windows say beside their samples.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn summary(&self, client: &Client) -> Result<Summary, StoreError> {
        let mut summary = Summary::default();
        for head in self.heads(client)? {
            summary.add(head);
        }
        self.add_ledgers(client, &mut summary)?;
        self.add_comments(client, &mut summary)?;
        Ok(summary)
    }

    /// Windows that are alike but for their time are one row, as the time from the first to the last.
    fn heads(&self, client: &Client) -> Result<Vec<Head>, StoreError> {
        let alike = "host, title, command, event, period_type, period_unit, period, by_thread, \
                     short_names, type.name, type.unit, type.is_folded";
        let sql = format!(
            "SELECT min(begin_ns), max(end_ns), max(begin_ns) AS newest, {alike} FROM {} WHERE {} \
             GROUP BY {alike} ORDER BY newest, {alike}",
            schema::all(&client.address, WINDOWS),
            self.windows(),
        );
        let mut heads = Vec::new();
        client.read_rows(&sql, &[self.beside()], |row| {
            let (begin_ns, end_ns, newest_ns) = (row.i64()?, row.i64()?, row.i64()?);
            let mut head = head(row)?;
            head.meta.time_nanos = begin_ns;
            head.meta.duration_nanos = end_ns.saturating_sub(begin_ns);
            heads.push(head.clone());
            // Which is the newest of all is decided by when the newest of each begins.
            head.meta.time_nanos = newest_ns;
            head.meta.duration_nanos = 0;
            heads.push(head);
            Ok(())
        })?;
        Ok(heads)
    }

    fn add_ledgers(&self, client: &Client, summary: &mut Summary) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT kind, name, sum(count), argMax(meaning, begin_ns), max(begin_ns) FROM \
             (SELECT begin_ns, id, ledger.kind, ledger.name, ledger.count, ledger.meaning FROM {} WHERE {}) \
             ARRAY JOIN ledger.kind AS kind, ledger.name AS name, ledger.count AS count, \
             ledger.meaning AS meaning, arrayEnumerate(ledger.kind) AS place \
             GROUP BY kind, name ORDER BY min(begin_ns), argMin(place, begin_ns), kind, name",
            schema::all(&client.address, WINDOWS),
            self.windows(),
        );
        client.read_rows(&sql, &[self.beside()], |row| {
            let (kind, name) = (RowKind::from_code(row.u8()?)?, row.string()?);
            let (count, meaning, newest_ns) = (row.u64()?, row.string()?, row.i64()?);
            let mut ledger = Ledger::default();
            ledger.push(kind, &name, count, &meaning);
            summary.add_ledger(newest_ns, &ledger);
            Ok(())
        })
    }

    fn add_comments(&self, client: &Client, summary: &mut Summary) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT comment FROM (SELECT begin_ns, comments FROM {} WHERE {}) \
             ARRAY JOIN comments AS comment, arrayEnumerate(comments) AS place \
             GROUP BY comment ORDER BY min(begin_ns), argMin(place, begin_ns), comment",
            schema::all(&client.address, WINDOWS),
            self.windows(),
        );
        client.read_rows(&sql, &[self.beside()], |row| {
            summary.add_comments(&[row.string()?]);
            Ok(())
        })
    }
}

/// The sample types of the windows in a range, in the order of the newest.
///
/// # Errors
/// When they cannot be read.
pub(super) fn sample_types(client: &Client, range: Range) -> Result<Vec<SampleType>, StoreError> {
    let query = Query {
        range,
        matchers: Vec::new(),
    };
    let chosen = Chosen::new(client, &query)?;
    let mut summary = Summary::default();
    for head in chosen.heads(client)? {
        summary.add(head);
    }
    Ok(summary.sample_types())
}

/// Windows are chosen by machine already, the other labels are of samples only.
fn of_hosts(matchers: &[Matcher]) -> impl Iterator<Item = &Matcher> {
    matchers
        .iter()
        .filter(|matcher| matcher.label == Label::Host)
}

fn head(row: &mut Reader) -> io::Result<Head> {
    let meta = Meta {
        host: row.string()?,
        title: row.string()?,
        command: row.string()?,
        event: row.string()?,
        ..Meta::default()
    };
    let (of, unit, value) = (row.string()?, Unit::from_code(row.u8()?)?, row.u64()?);
    let of = SampleType::new(&of, unit);
    let (by_thread, short_names) = (row.u8()? != 0, row.u8()? != 0);
    let names = row.array(Reader::string)?;
    let units = row.array(|row| Unit::from_code(row.u8()?))?;
    let folded = row.array(Reader::u8)?;
    let types = names.iter().zip(units);
    let folded_types = (0..).zip(folded).filter(|&(_, is_folded)| is_folded != 0);
    Ok(Head {
        meta,
        sample_types: types
            .map(|(name, unit)| SampleType::new(name, unit))
            .collect(),
        folded_types: folded_types.map(|(place, _)| place).collect(),
        period: (!of.name().is_empty()).then_some(Period { of, value }),
        by_thread,
        short_names,
        ledger: Ledger::default(),
        comments: Vec::new(),
    })
}
