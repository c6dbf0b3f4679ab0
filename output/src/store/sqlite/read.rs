//! The answers to questions, from the blocks of a day's file.

use std::collections::BTreeSet;

use super::block::Block;
use super::choose::{Choice, is_of_series, series_value, value_of};
use super::names::{Series, Texts, Translated};
use super::plan::{Key, LEVELS, Plan};
use super::scan::DayFile;
use crate::profile::{Labels, Profile, SampleType, WaitLabels};
use crate::store::merge::Merger;
use crate::store::summary::{Head, Summary};
use crate::store::sums::Sums;
use crate::store::{Label, Query, Range, StoreError, TimelineOf};

/// SQLite's error, or one of the answer itself.
#[derive(Debug)]
pub(super) enum ReadError {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Gives the windows that lie in the range to `take`, without their samples.
pub(super) fn windows(
    file: &DayFile<'_>,
    query: &Query,
    mut take: impl FnMut(Head),
) -> rusqlite::Result<()> {
    let choice = Choice::new(&query.matchers);
    let mut texts = Texts::new(file);
    file.windows(query.range, |window| {
        let head = texts.head(&window)?;
        let head = head.filter(|head| choice.has_host(&head.meta.host));
        // Without slices all samples are at the beginning.
        let is_in = |head: &Head| head.meta.slice_ns > 0 || window.from_ns >= query.range.from_ns;
        if let Some(head) = head.filter(is_in) {
            take(head);
        }
        Ok(())
    })
}

/// The coarsest blocks for the range.
fn plan(file: &DayFile<'_>, range: Range) -> rusqlite::Result<Plan> {
    let keys = file.keys(range.to_ns)?;
    file.compare(&keys, range.to_ns)?;
    Ok(Plan::new(&keys, range, LEVELS - 1, |_| true))
}

/// Adds up samples.
pub(super) fn query(
    file: &DayFile<'_>,
    query: &Query,
    merger: &mut Merger,
) -> rusqlite::Result<()> {
    let choice = Choice::new(&query.matchers);
    let plan = plan(file, query.range)?;
    let mut texts = Texts::new(file);
    let mut translated = Translated::default();
    for (key, is_whole) in blocks(&plan) {
        if let Some(block) = file.block(&key)? {
            let chosen = choice.whos(&mut texts, &block)?;
            let columns = columns(&mut texts, &block, merger.profile().sample_types())?;
            let labels = labels(&mut texts, merger.profile(), &block, &chosen)?;
            let width = block.types.len();
            let mut values = vec![0; merger.profile().sample_types().len()];
            for (index, point) in block.points.iter().enumerate() {
                let Some(labels) = labels[point.who as usize] else {
                    continue;
                };
                if !is_whole && !plan.is_of_windows(key.begin_ns(point.slice)) {
                    continue;
                }
                values.fill(0);
                for (from, to) in columns.iter().enumerate() {
                    if let Some(to) = to {
                        values[*to] = block.values[index * width + from];
                    }
                }
                let stack = translated.stack(&mut texts, merger.profile(), point.stack)?;
                merger.add(stack, labels, &values);
            }
        }
    }
    Ok(())
}

/// All blocks of a plan, and whether all their samples count.
pub(super) fn blocks(plan: &Plan) -> impl Iterator<Item = (Key, bool)> {
    let rolled = plan.rolled.iter().map(|&key| (key, true));
    rolled.chain(plan.windows.iter().copied())
}

/// Where each type of a block is among `types`.
fn columns(
    texts: &mut Texts<'_>,
    block: &Block,
    types: &[SampleType],
) -> rusqlite::Result<Vec<Option<usize>>> {
    let of_block = block.types.iter();
    of_block
        .map(|&id| {
            let of = texts.sample_type(id)?;
            Ok(types.iter().position(|it| *it == of))
        })
        .collect()
}

/// The labels of each in the block's list that was chosen.
fn labels(
    texts: &mut Texts<'_>,
    profile: &mut Profile,
    block: &Block,
    chosen: &[bool],
) -> rusqlite::Result<Vec<Option<Labels>>> {
    let mut all = Vec::with_capacity(block.whos.len());
    for (who, &is_chosen) in block.whos.iter().zip(chosen) {
        if !is_chosen {
            all.push(None);
            continue;
        }
        let series = texts.series(who.series)?;
        let Series {
            process, cgroup, ..
        } = &*series;
        let thread = texts.string(who.thread)?;
        let mut wait = None;
        if let Some(of) = who.wait {
            let mut text = |id| Ok::<_, rusqlite::Error>(profile.intern_string(&texts.string(id)?));
            wait = Some(WaitLabels {
                state: text(of.state)?,
                cause: text(of.cause)?,
                waker: of.waker.map(&mut text).transpose()?,
                interval: of.interval.map(&mut text).transpose()?,
                is_idle: of.is_idle,
            });
        }
        all.push(Some(Labels {
            pid: who.pid,
            tid: who.tid,
            process: profile.intern_string(process),
            thread: profile.intern_string(&thread),
            cgroup: cgroup.as_deref().map(|path| profile.intern_string(path)),
            slice: None,
            wait,
        }));
    }
    Ok(all)
}

/// Adds up one sample type by group and step.
pub(super) fn timeline(
    file: &DayFile<'_>,
    query: &Query,
    of: &TimelineOf<'_>,
    sums: &mut Sums,
) -> Result<(), ReadError> {
    let choice = Choice::new(&query.matchers);
    let keys = file.keys(query.range.to_ns)?;
    file.compare(&keys, query.range.to_ns)?;
    let step = |part: Range| {
        let last = sums.step(part.to_ns.saturating_sub(1))?;
        sums.step(part.from_ns).filter(|&first| first == last)
    };
    let plan = Plan::new(&keys, query.range, LEVELS - 1, |part| step(part).is_some());
    let mut texts = Texts::new(file);
    for (key, is_whole) in blocks(&plan) {
        let is_by_series = choice.is_of_series() && of.by.is_none_or(is_of_series);
        let step = match is_whole && is_by_series {
            true => sums.step(key.from_ns).filter(|_| {
                let last = sums.step(key.to_ns.saturating_sub(1));
                last == sums.step(key.from_ns) || key.slice_ns == 0
            }),
            false => None,
        };
        match step {
            Some(step) => add_totals(&mut texts, &choice, of, (&key, step), sums)?,
            None => add_samples(&mut texts, &choice, of, (&key, &plan, is_whole), sums)?,
        }
    }
    Ok(())
}

fn add_totals(
    texts: &mut Texts<'_>,
    choice: &Choice<'_>,
    of: &TimelineOf<'_>,
    (key, step): (&Key, usize),
    sums: &mut Sums,
) -> Result<(), ReadError> {
    let Some(totals) = texts.file.totals(key)? else {
        return Ok(());
    };
    for column in columns_called(texts, &totals.types, of.sample_type)? {
        for (series, values) in &totals.series {
            if choice.has_series(&*texts.series(*series)?) {
                let group = match of.by {
                    Some(label) => series_value(texts, *series, label)?,
                    None => "".into(),
                };
                let value = values.get(column).copied().unwrap_or(0);
                sums.add(&group, step, value)?;
            }
        }
    }
    Ok(())
}

fn add_samples(
    texts: &mut Texts<'_>,
    choice: &Choice<'_>,
    of: &TimelineOf<'_>,
    (key, plan, is_whole): (&Key, &Plan, bool),
    sums: &mut Sums,
) -> Result<(), ReadError> {
    let Some(block) = texts.file.block(key)? else {
        return Ok(());
    };
    let width = block.types.len();
    let chosen = choice.whos(texts, &block)?;
    let mut groups = Vec::with_capacity(block.whos.len());
    for who in &block.whos {
        groups.push(match of.by {
            Some(label) => value_of(texts, who, label)?,
            None => "".into(),
        });
    }
    for column in columns_called(texts, &block.types, of.sample_type)? {
        for (index, point) in block.points.iter().enumerate() {
            let at_ns = key.begin_ns(point.slice);
            let who = point.who as usize;
            if !chosen[who] || !(is_whole || plan.is_of_windows(at_ns)) {
                continue;
            }
            if let Some(step) = sums.step(at_ns) {
                sums.add(&groups[who], step, block.values[index * width + column])?;
            }
        }
    }
    Ok(())
}

/// The places of the types of a name, of which there may be one of each unit.
fn columns_called(
    texts: &mut Texts<'_>,
    types: &[u32],
    name: &str,
) -> rusqlite::Result<Vec<usize>> {
    let mut columns = Vec::new();
    for (column, &id) in types.iter().enumerate() {
        if texts.sample_type(id)?.name() == name {
            columns.push(column);
        }
    }
    Ok(columns)
}

/// Adds the values of a label.
pub(super) fn values(
    file: &DayFile<'_>,
    query: &Query,
    label: Label,
    to: &mut BTreeSet<String>,
) -> rusqlite::Result<()> {
    let choice = Choice::new(&query.matchers);
    let plan = plan(file, query.range)?;
    let mut texts = Texts::new(file);
    let is_by_series = choice.is_of_series() && is_of_series(label);
    for (key, is_whole) in blocks(&plan) {
        if is_whole && is_by_series {
            let totals = file.totals(&key)?.unwrap_or_default();
            for (series, _) in totals.series {
                if choice.has_series(&*texts.series(series)?) {
                    add(to, &series_value(&mut texts, series, label)?);
                }
            }
            continue;
        }
        let block = file.block(&key)?.unwrap_or_default();
        let chosen = choice.whos(&mut texts, &block)?;
        let mut is_in: Vec<bool> = vec![is_whole; block.whos.len()];
        for point in block.points.iter().filter(|_| !is_whole) {
            is_in[point.who as usize] |= plan.is_of_windows(key.begin_ns(point.slice));
        }
        for (index, who) in block.whos.iter().enumerate() {
            if chosen[index] && is_in[index] {
                add(to, &value_of(&mut texts, who, label)?);
            }
        }
    }
    Ok(())
}

fn add(to: &mut BTreeSet<String>, value: &str) {
    if !value.is_empty() && !to.contains(value) {
        to.insert(value.to_owned());
    }
}

/// Adds what windows say of themselves.
pub(super) fn summary(
    file: &DayFile<'_>,
    query: &Query,
    summary: &mut Summary,
) -> rusqlite::Result<()> {
    windows(file, query, |head| summary.add(head))
}
