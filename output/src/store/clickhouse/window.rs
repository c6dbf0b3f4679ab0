//! A window as rows of the tables.
//!
//! Knows the columns of `schema.sql` that are written, and no server.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::DAY_NS;
use super::codes::Code;
use super::row_binary::Rows;
use crate::cgroup;
use crate::profile::{
    Frame, FrameId, Labels, Line, Mapping, MappingId, Profile, Sample, StackId, StringId,
};
use crate::store::StoreError;

/// The first half of a SHA-256.
pub(super) type Id = [u8; 16];

/// The columns of each table, in the order in which they are written.
pub(super) const STACK_COLUMNS: &str = "(day, id, frame.kind, frame.address, frame.mapping_kind, frame.mapping, \
     frame.build_id, frame.size_bytes, frame.lines, line.function, line.system_name, line.file, \
     line.start_line, line.line)";
pub(super) const SAMPLE_COLUMNS: &str = "(day, copy, time_ns, host, process, pid, thread, tid, cgroup, container, \
     unit, waited, wait_state, wait_cause, wait_waker, wait_interval, wait_is_idle, type, type_unit, stack, \
     value)";
pub(super) const WINDOW_COLUMNS: &str = "(day, copy, id, host, begin_ns, end_ns, until_ns, slice_ns, title, command, \
     event, period_type, period_unit, period, main_kind, main_mapping, main_build_id, main_size_bytes, \
     by_thread, short_names, comments, type.name, type.unit, type.is_folded, ledger.kind, ledger.name, \
     ledger.count, ledger.meaning)";

/// A window, ready to be written.
pub(super) struct Window {
    /// The day on which it begins, from the Unix epoch.
    pub(super) day: u16,
    pub(super) begin_ns: i64,
    /// Equal for what is the same window, in whatever order it was put together.
    pub(super) id: Id,
    stacks: Vec<(Id, Rows)>,
    /// What comes after `day` and `copy`.
    samples: Vec<Rows>,
    /// What comes after `day`, `copy` and `id`.
    head: Rows,
}

impl Window {
    /// # Errors
    /// When its time cannot be: before 1970, after 2148, longer than a day, or ended before it began.
    pub(super) fn new(profile: &Profile) -> Result<Self, StoreError> {
        let time = Time::of(profile)?;
        let stacks = stacks(profile);
        let mut samples: Vec<Rows> = profile
            .samples()
            .flat_map(|sample| sample_rows(profile, &sample, &stacks[&sample.stack].0))
            .collect();
        samples.sort_unstable();
        let head = head(profile, &time);
        let mut hash = Sha256::new_with_prefix(head.bytes());
        samples.iter().for_each(|row| hash.update(row.bytes()));
        Ok(Self {
            day: time.day,
            begin_ns: time.begin_ns,
            id: half(hash),
            stacks: stacks.into_values().collect(),
            samples,
            head,
        })
    }

    /// The stacks by their ids.
    pub(super) fn stacks(&self) -> impl Iterator<Item = (&Id, &Rows)> {
        self.stacks.iter().map(|(id, row)| (id, row))
    }

    /// The rows of `samples`, for one copy.
    pub(super) fn sample_rows(&self, copy: u64) -> Rows {
        let mut rows = Rows::default();
        for sample in &self.samples {
            rows.u16(self.day);
            rows.u64(copy);
            rows.append(sample);
        }
        rows
    }

    /// The row of `windows`, for one copy.
    pub(super) fn window_row(&self, copy: u64) -> Rows {
        let mut row = Rows::default();
        row.u16(self.day);
        row.u64(copy);
        row.fixed(&self.id);
        row.append(&self.head);
        row
    }
}

/// When a window is; moments are nanoseconds from the Unix epoch.
struct Time {
    begin_ns: i64,
    end_ns: i64,
    /// After the beginning of its last sample.
    until_ns: i64,
    day: u16,
}

impl Time {
    fn of(profile: &Profile) -> Result<Self, StoreError> {
        let meta = profile.meta();
        let begin_ns = meta.time_nanos;
        let end_ns = begin_ns.saturating_add(meta.duration_nanos);
        let last_ns = profile
            .samples()
            .map(|sample| time_ns(profile, &sample.labels));
        let until_ns = last_ns.fold(begin_ns, i64::max).saturating_add(1);
        let until_ns = match meta.slice_ns {
            0 => until_ns,
            _ => until_ns.max(end_ns),
        };
        let is_short = |at_ns: i64| (0..=DAY_NS).contains(&at_ns.saturating_sub(begin_ns));
        match u16::try_from(begin_ns.div_euclid(DAY_NS)) {
            Ok(day) if is_short(end_ns) && is_short(until_ns) => Ok(Self {
                begin_ns,
                end_ns,
                until_ns,
                day,
            }),
            _ => Err(StoreError::Refused(format!(
                "failed to keep a window that begins {begin_ns} ns after 1970 and is {} ns long: one \
                 begins before 2149 and is at most a day long",
                meta.duration_nanos
            ))),
        }
    }
}

/// When a sample's slice begins, or the window where it has none.
fn time_ns(profile: &Profile, labels: &Labels) -> i64 {
    let meta = profile.meta();
    let since_ns = u64::from(labels.slice.unwrap_or(0)).saturating_mul(meta.slice_ns);
    meta.time_nanos.saturating_add_unsigned(since_ns)
}

fn half(hash: Sha256) -> Id {
    let mut id = Id::default();
    id.copy_from_slice(&hash.finalize()[..16]);
    id
}

/// Those that samples have, with their rows but for the day.
fn stacks(profile: &Profile) -> HashMap<StackId, (Id, Rows)> {
    let mut stacks = HashMap::new();
    for sample in profile.samples() {
        stacks.entry(sample.stack).or_insert_with(|| {
            let content = stack_content(profile, sample.stack);
            let id = half(Sha256::new_with_prefix(content.bytes()));
            let mut row = Rows::default();
            row.fixed(&id);
            row.append(&content);
            (id, row)
        });
    }
    stacks
}

fn stack_content(profile: &Profile, stack: StackId) -> Rows {
    let ids: Vec<FrameId> = profile.leaf_first(stack).collect();
    let frames: Vec<&Frame> = ids.iter().map(|&id| profile.frame(id)).collect();
    let lines: Vec<Line> = frames
        .iter()
        .flat_map(|frame| frame.lines.clone())
        .collect();
    let mut row = Rows::default();
    let text = |id: StringId| profile.text(id);
    let mapping = |frame: &Frame| frame.mapping.map(|id| profile.mapping(id));
    row.array(&frames, |row, frame| row.u8(frame.kind.code()));
    row.array(&frames, |row, frame| row.u64(frame.address));
    let kind = |of: Option<&Mapping>| of.map_or(0, |mapping| mapping.kind.code());
    row.array(&frames, |row, frame| row.u8(kind(mapping(frame))));
    let name = |of: Option<&Mapping>| of.map_or("", |mapping| text(mapping.name));
    row.array(&frames, |row, frame| row.string(name(mapping(frame))));
    row.array(&frames, |row, frame| row.string(build_id(mapping(frame))));
    let size = |of: Option<&Mapping>| of.map_or(0, |mapping| mapping.size_bytes);
    row.array(&frames, |row, frame| row.u64(size(mapping(frame))));
    row.array(&frames, |row, frame| row.u32(frame.lines.len() as u32));
    let function = |line: &Line| profile.function(line.function);
    row.array(&lines, |row, line| row.string(text(function(line).name)));
    row.array(&lines, |row, line| {
        row.string(text(function(line).system_name))
    });
    row.array(&lines, |row, line| {
        row.string(function(line).file.map_or("", text))
    });
    row.array(&lines, |row, line| row.u32(function(line).start_line));
    row.array(&lines, |row, line| row.u32(line.line));
    row
}

fn build_id(mapping: Option<&Mapping>) -> &[u8] {
    mapping
        .and_then(|mapping| mapping.build_id.as_deref())
        .unwrap_or_default()
}

/// One row for each value that is not 0.
fn sample_rows(profile: &Profile, sample: &Sample<'_>, stack: &Id) -> Vec<Rows> {
    let labels = label_columns(profile, &sample.labels);
    let types = profile.sample_types().iter().zip(sample.values);
    let types = types.filter(|&(_, &value)| value > 0);
    types
        .map(|(sample_type, &value)| {
            let mut row = Rows::default();
            row.append(&labels);
            row.string(sample_type.name());
            row.u8(sample_type.unit().code());
            row.fixed(stack);
            row.u64(value);
            row
        })
        .collect()
}

fn label_columns(profile: &Profile, labels: &Labels) -> Rows {
    let text = |id: StringId| profile.text(id);
    let cgroup = labels.cgroup.map_or("", text);
    let mut row = Rows::default();
    row.i64(time_ns(profile, labels));
    row.string(&profile.meta().host);
    row.string(text(labels.process));
    row.u32(labels.pid);
    row.string(text(labels.thread));
    row.u32(labels.tid);
    row.string(cgroup);
    row.string(cgroup::container(cgroup).unwrap_or_default());
    row.string(cgroup::unit(cgroup).unwrap_or_default());
    let wait = labels.wait;
    row.u8(u8::from(wait.is_some()));
    row.string(wait.map_or("", |wait| text(wait.state)));
    row.string(wait.map_or("", |wait| text(wait.cause)));
    row.string(wait.and_then(|wait| wait.waker).map_or("", text));
    row.string(wait.and_then(|wait| wait.interval).map_or("", text));
    row.u8(u8::from(wait.is_some_and(|wait| wait.is_idle)));
    row
}

fn head(profile: &Profile, time: &Time) -> Rows {
    let meta = profile.meta();
    let mut row = Rows::default();
    row.string(&meta.host);
    row.i64(time.begin_ns);
    row.i64(time.end_ns);
    row.i64(time.until_ns);
    row.u64(meta.slice_ns);
    row.string(&meta.title);
    row.string(&meta.command);
    row.string(&meta.event);
    put_period(&mut row, profile);
    put_main_mapping(&mut row, profile, profile.main_mapping);
    row.u8(u8::from(profile.by_thread));
    row.u8(u8::from(profile.short_names));
    row.array(profile.comments(), |row, comment| row.string(comment));
    let types = profile.sample_types();
    row.array(types, |row, of| row.string(of.name()));
    row.array(types, |row, of| row.u8(of.unit().code()));
    let places: Vec<usize> = (0..types.len()).collect();
    row.array(&places, |row, place| {
        row.u8(u8::from(profile.folded_types().contains(place)));
    });
    let ledger = profile.ledger.rows();
    row.array(ledger, |row, of| row.u8(of.kind.code()));
    row.array(ledger, |row, of| row.string(&of.name));
    row.array(ledger, |row, of| row.u64(of.count));
    row.array(ledger, |row, of| row.string(&of.meaning));
    row
}

fn put_period(row: &mut Rows, profile: &Profile) {
    let period = profile.period.as_ref();
    row.string(period.map_or("", |period| period.of.name()));
    row.u8(period.map_or(1, |period| period.of.unit().code()));
    row.u64(period.map_or(0, |period| period.value));
}

fn put_main_mapping(row: &mut Rows, profile: &Profile, main: Option<MappingId>) {
    let main = main.map(|id| profile.mapping(id));
    row.u8(main.map_or(0, |mapping| mapping.kind.code()));
    row.string(main.map_or("", |mapping| profile.text(mapping.name)));
    row.string(build_id(main));
    row.u64(main.map_or(0, |mapping| mapping.size_bytes));
}
