//! A whole profile as bytes and back, with nothing lost: tables, labels, slices and the ledger.
//!
//! For files of our own that the next start of the program reads. Formats for others are in
//! [`encode`](crate::Encode), and they lose what they have no room for. Bytes that do not make a profile
//! are refused, whatever they are, so that a handle from here is as good as any.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::table::{Handle, Table};
use super::{
    Frame, FrameId, Function, FunctionId, Labels, Line, Mapping, MappingId, Meta, Period, Profile,
    SampleIndex, SampleType, Stack, StackId, StringId, WaitLabels,
};
use crate::clean::clean;
use crate::ledger::Ledger;

/// Why bytes are not a profile.
#[derive(Debug, thiserror::Error)]
#[error("failed to read a profile: {0}")]
pub(crate) struct Damaged(&'static str);

/// The fields of a [`Profile`], with each table as the list of its values.
#[derive(Serialize, Deserialize)]
struct Fields {
    period: Option<Period>,
    ledger: Ledger,
    main_mapping: Option<MappingId>,
    by_thread: bool,
    short_names: bool,
    comments: Vec<String>,
    meta: Meta,
    sample_types: Vec<SampleType>,
    folded_types: Vec<usize>,
    strings: Vec<String>,
    mappings: Vec<Mapping>,
    functions: Vec<Function>,
    frames: Vec<Frame>,
    stacks: Vec<Stack>,
    samples: Vec<(StackId, Labels)>,
    values: Vec<u64>,
}

/// The bytes of `profile`.
pub(crate) fn to_bytes(profile: &Profile) -> Vec<u8> {
    let fields = Fields {
        period: profile.period.clone(),
        ledger: profile.ledger.clone(),
        main_mapping: profile.main_mapping,
        by_thread: profile.by_thread,
        short_names: profile.short_names,
        comments: profile.comments.clone(),
        meta: profile.meta.clone(),
        sample_types: profile.sample_types.clone(),
        folded_types: profile.folded_types.clone(),
        strings: profile.strings.iter().map(|(_, s)| s.to_string()).collect(),
        mappings: items(&profile.mappings),
        functions: items(&profile.functions),
        frames: items(&profile.frames),
        stacks: items(&profile.stacks),
        samples: items(&profile.samples),
        values: profile.values.clone(),
    };
    postcard::to_stdvec(&fields).expect("plain data fits memory that grows")
}

/// The profile of which these are the bytes.
///
/// # Errors
/// When no profile has these bytes.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Profile, Damaged> {
    let fields = match postcard::take_from_bytes::<Fields>(bytes) {
        Ok((fields, [])) => fields,
        Ok(_) => return Err(Damaged("it goes on behind its end")),
        Err(_) => return Err(Damaged("its fields do not fit")),
    };
    check(&fields)?;
    Ok(Profile {
        period: fields.period,
        ledger: fields.ledger,
        main_mapping: fields.main_mapping,
        by_thread: fields.by_thread,
        short_names: fields.short_names,
        comments: fields.comments,
        meta: fields.meta,
        sample_types: fields.sample_types,
        folded_types: fields.folded_types,
        strings: table(fields.strings.iter().map(|text| Arc::from(text.as_str())))?,
        mappings: table(fields.mappings)?,
        functions: table(fields.functions)?,
        frames: table(fields.frames)?,
        stacks: table(fields.stacks)?,
        last_frames: Vec::new(),
        samples: table::<SampleIndex, _>(fields.samples)?,
        values: fields.values,
    })
}

fn items<H: Handle, T: Clone + Eq + std::hash::Hash>(table: &Table<H, T>) -> Vec<T> {
    table.iter().map(|(_, item)| item.clone()).collect()
}

/// A table with each value at the place it has in the list.
fn table<H: Handle, T: Clone + Eq + std::hash::Hash>(
    items: impl IntoIterator<Item = T>,
) -> Result<Table<H, T>, Damaged> {
    let mut table: Table<H, T> = Table::default();
    for item in items {
        let next = table.len();
        if table.intern(item).index() != next {
            return Err(Damaged("a table has a value twice"));
        }
    }
    Ok(table)
}

/// What [`Profile`]'s own methods hold to: every handle names something, and names are clean.
fn check(fields: &Fields) -> Result<(), Damaged> {
    let cleaned = |text: &String| clean(text) == text.as_str();
    let units = fields
        .folded_types
        .iter()
        .map(|&of| fields.sample_types.get(of));
    let mut units = units.map(|of| of.map(SampleType::unit));
    let first = units.next().flatten();
    let stacks = fields.stacks.iter().enumerate();
    for (holds, otherwise) in [
        (fields.strings.iter().all(cleaned), "a name is not clean"),
        (
            first.is_some() && units.all(|unit| unit == first),
            "no unit to fold by",
        ),
        (
            fields.main_mapping.is_none_or(|id| fields.has_mapping(id)),
            "no main mapping",
        ),
        (
            fields
                .mappings
                .iter()
                .all(|mapping| fields.has_string(mapping.name)),
            "no mapping name",
        ),
        (
            fields
                .functions
                .iter()
                .all(|function| fields.knows_function(function)),
            "no function name",
        ),
        (
            fields.frames.iter().all(|frame| fields.knows_frame(frame)),
            "no such place",
        ),
        (
            stacks
                .into_iter()
                .all(|(at, stack)| fields.knows_stack(at, stack)),
            "no such caller",
        ),
        (
            fields
                .samples
                .iter()
                .all(|sample| fields.knows_sample(sample)),
            "no such stack or name",
        ),
        (fields.has_all_values(), "values are missing"),
    ] {
        if !holds {
            return Err(Damaged(otherwise));
        }
    }
    Ok(())
}

impl Fields {
    fn has_string(&self, id: StringId) -> bool {
        id.index() < self.strings.len()
    }

    fn has_mapping(&self, id: MappingId) -> bool {
        id.index() < self.mappings.len()
    }

    fn has_function(&self, id: FunctionId) -> bool {
        id.index() < self.functions.len()
    }

    fn has_frame(&self, id: FrameId) -> bool {
        id.index() < self.frames.len()
    }

    fn knows_function(&self, function: &Function) -> bool {
        let names = [function.name, function.system_name];
        let mut names = names.into_iter().chain(function.file);
        names.all(|name| self.has_string(name))
    }

    fn knows_frame(&self, frame: &Frame) -> bool {
        let known = |line: &Line| self.has_function(line.function);
        frame.mapping.is_none_or(|id| self.has_mapping(id)) && frame.lines.iter().all(known)
    }

    /// A caller stands before what it called, so that every stack has a root.
    fn knows_stack(&self, at: usize, stack: &Stack) -> bool {
        stack.parent.is_none_or(|parent| parent.index() < at) && self.has_frame(stack.frame)
    }

    fn knows_sample(&self, (stack, labels): &(StackId, Labels)) -> bool {
        let wait = labels.wait.iter().flat_map(|wait: &WaitLabels| {
            let known = [
                Some(wait.state),
                Some(wait.cause),
                wait.waker,
                wait.interval,
            ];
            known.into_iter().flatten()
        });
        let names = [Some(labels.process), Some(labels.thread), labels.cgroup];
        let mut names = names.into_iter().flatten().chain(wait);
        stack.index() < self.stacks.len() && names.all(|name| self.has_string(name))
    }

    fn has_all_values(&self) -> bool {
        let values = self.samples.len().checked_mul(self.sample_types.len());
        values == Some(self.values.len())
    }
}

#[cfg(test)]
mod tests;
