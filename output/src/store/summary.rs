//! What windows have in common, as the profile to which their samples are added.
//!
//! Does not know where windows come from.

use std::collections::HashMap;

use super::Range;
use crate::ledger::{Ledger, RowKind};
use crate::profile::{Meta, Period, Profile, SampleType};

/// Different comments of windows that one answer has; more are counted.
const MAX_COMMENTS: usize = 64;
/// Different rows of ledgers that one answer has; more are counted.
const MAX_ROWS: usize = 1024;

/// A window without its samples.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) meta: Meta,
    pub(crate) sample_types: Vec<SampleType>,
    /// Which of the types folded stacks show.
    pub(crate) folded_types: Vec<usize>,
    pub(crate) period: Option<Period>,
    pub(crate) by_thread: bool,
    pub(crate) short_names: bool,
    pub(crate) ledger: Ledger,
    pub(crate) comments: Vec<String>,
}

/// Heads of windows, added up in any order.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    newest: Option<Head>,
    sample_types: Vec<SampleType>,
    /// Hosts and periods, each once.
    hosts: Vec<String>,
    periods: Vec<Option<Period>>,
    covered: Option<Range>,
    rows: Vec<(RowKind, String, u64, (i64, String))>,
    row_of: HashMap<(u8, String), usize>,
    comments: Vec<String>,
    left_out: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, head: Head) {
        let from_ns = head.meta.time_nanos;
        let to_ns = from_ns.saturating_add(head.meta.duration_nanos.max(0));
        let covered = self.covered.get_or_insert(Range { from_ns, to_ns });
        covered.from_ns = covered.from_ns.min(from_ns);
        covered.to_ns = covered.to_ns.max(to_ns);
        push_new(&mut self.hosts, &head.meta.host);
        push_new(&mut self.periods, &head.period);
        for sample_type in &head.sample_types {
            push_new(&mut self.sample_types, sample_type);
        }
        self.add_ledger(from_ns, &head.ledger);
        self.add_comments(&head.comments);
        let newest = self.newest.as_ref();
        if newest.is_none_or(|newest| newest.meta.time_nanos <= from_ns) {
            self.newest = Some(head);
        }
    }

    /// Rows of the same kind and name are one; what it means is what the newest window says.
    pub(crate) fn add_ledger(&mut self, at_ns: i64, ledger: &Ledger) {
        for row in ledger.rows() {
            let key = (row.kind as u8, row.name.clone());
            if let Some(&index) = self.row_of.get(&key) {
                let (_, _, count, (since_ns, meaning)) = &mut self.rows[index];
                *count = count.saturating_add(row.count);
                if *since_ns <= at_ns {
                    (*since_ns, *meaning) = (at_ns, row.meaning.clone());
                }
            } else if self.rows.len() < MAX_ROWS {
                self.row_of.insert(key, self.rows.len());
                let meaning = (at_ns, row.meaning.clone());
                self.rows
                    .push((row.kind, row.name.clone(), row.count, meaning));
            } else {
                self.left_out += 1;
            }
        }
    }

    pub(crate) fn add_comments(&mut self, comments: &[String]) {
        for comment in comments {
            if self.comments.contains(comment) {
                continue;
            }
            match self.comments.len() < MAX_COMMENTS {
                true => self.comments.push(comment.clone()),
                false => self.left_out += 1,
            }
        }
    }

    /// All sample types, in the order of the newest window.
    pub(crate) fn sample_types(&self) -> Vec<SampleType> {
        let newest = self.newest.iter().flat_map(|head| &head.sample_types);
        let mut types: Vec<SampleType> = newest.cloned().collect();
        for sample_type in &self.sample_types {
            push_new(&mut types, sample_type);
        }
        types
    }

    /// The profile of the windows within `range`, without samples; `None` without windows.
    pub(crate) fn profile(&self, range: Range) -> Option<Profile> {
        let (newest, covered) = (self.newest.as_ref()?, self.covered?);
        let from_ns = covered.from_ns.max(range.from_ns);
        let until_ns = covered.to_ns.min(range.to_ns);
        let meta = Meta {
            host: match self.hosts.as_slice() {
                [host] => host.clone(),
                hosts => format!("{} hosts", hosts.len()),
            },
            time_nanos: from_ns,
            duration_nanos: until_ns.saturating_sub(from_ns).max(0),
            slice_ns: 0,
            ..newest.meta.clone()
        };
        // Types of the newest window come first, so that its places are those of the profile.
        let mut profile = Profile::new(meta, self.sample_types());
        if !newest.folded_types.is_empty() {
            profile.fold_by(&newest.folded_types);
        }
        profile.by_thread = newest.by_thread;
        profile.short_names = newest.short_names;
        if let [period] = self.periods.as_slice() {
            profile.period.clone_from(period);
        }
        for (kind, name, count, (_, meaning)) in &self.rows {
            profile.ledger.push(*kind, name, *count, meaning);
        }
        for comment in &self.comments {
            profile.comment(comment);
        }
        if self.left_out > 0 {
            let left_out = self.left_out;
            profile.comment(&format!("{left_out} more comments of windows left out"));
        }
        Some(profile)
    }
}

fn push_new<T: Clone + PartialEq>(to: &mut Vec<T>, item: &T) {
    if !to.contains(item) {
        to.push(item.clone());
    }
}
