//! Which samples are asked for, and in which group each belongs.

use std::rc::Rc;

use super::block::{Block, Who};
use super::names::{Series, Texts};
use crate::store::{Label, Matcher};
use crate::{container, unit};

/// Whether the label is of the series, so that totals tell it.
pub(super) const fn is_of_series(label: Label) -> bool {
    match label {
        Label::Host | Label::Process | Label::Cgroup | Label::Container | Label::Unit => true,
        Label::Pid | Label::Thread | Label::Tid => false,
    }
}

/// The value of a label of the series; empty for others and where it has none.
fn of_series(series: &Series, label: Label) -> &str {
    let cgroup = series.cgroup.as_deref();
    match label {
        Label::Host => &series.host,
        Label::Process => &series.process,
        Label::Cgroup => cgroup.unwrap_or(""),
        Label::Container => cgroup.and_then(container).unwrap_or(""),
        Label::Unit => cgroup.and_then(unit).unwrap_or(""),
        Label::Pid | Label::Thread | Label::Tid => "",
    }
}

/// The matchers of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    matchers: &'a [Matcher],
}

impl<'a> Choice<'a> {
    pub(super) fn new(matchers: &'a [Matcher]) -> Self {
        Self { matchers }
    }

    /// Whether totals are enough to choose by.
    pub(super) fn is_of_series(&self) -> bool {
        let mut matchers = self.matchers.iter();
        matchers.all(|matcher| is_of_series(matcher.label))
    }

    /// Whether windows of a host are asked for.
    pub(super) fn has_host(&self, host: &str) -> bool {
        let mut matchers = self.matchers.iter();
        matchers.all(|matcher| matcher.label != Label::Host || matcher.value == host)
    }

    /// Whether samples of a series may be asked for.
    pub(super) fn has_series(&self, series: &Series) -> bool {
        let mut matchers = self.matchers.iter();
        matchers.all(|matcher| {
            !is_of_series(matcher.label) || of_series(series, matcher.label) == matcher.value
        })
    }

    /// Whether the samples of somebody are asked for.
    fn has(&self, texts: &mut Texts<'_>, who: &Who) -> rusqlite::Result<bool> {
        let series = texts.series(who.series)?;
        if !self.has_series(&series) {
            return Ok(false);
        }
        for matcher in self.matchers {
            if !is_of_series(matcher.label)
                && *value_of(texts, who, matcher.label)? != *matcher.value
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// For each in a block's list, whether it is asked for.
    pub(super) fn whos(&self, texts: &mut Texts<'_>, block: &Block) -> rusqlite::Result<Vec<bool>> {
        let whos = block.whos.iter();
        whos.map(|who| self.has(texts, who)).collect()
    }
}

/// The value of a label of the series.
pub(super) fn series_value(
    texts: &mut Texts<'_>,
    series: u32,
    label: Label,
) -> rusqlite::Result<Rc<str>> {
    let series = texts.series(series)?;
    Ok(of_series(&series, label).into())
}

/// The value of any label.
pub(super) fn value_of(
    texts: &mut Texts<'_>,
    who: &Who,
    label: Label,
) -> rusqlite::Result<Rc<str>> {
    match label {
        Label::Pid => Ok(who.pid.to_string().into()),
        Label::Tid => Ok(who.tid.to_string().into()),
        Label::Thread => texts.string(who.thread),
        _ => series_value(texts, who.series, label),
    }
}
