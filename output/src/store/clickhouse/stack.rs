//! Stacks by their ids.

use std::collections::HashMap;
use std::io;

use super::client::{Beside, Client};
use super::codes::Code;
use super::row_binary::{Reader, Rows};
use super::schema::{self, STACKS};
use super::sql::within_days;
use super::window::Id;
use crate::profile::{
    Frame, FrameId, FrameKind, Function, Line, Mapping, MappingId, MappingKind, Profile, StackId,
};
use crate::store::{Range, StoreError};

/// Stacks that are asked for at once.
const BATCH: usize = 1 << 14;
/// The frame of a stack that the store does not have, though it has samples of it.
const MISSING: &str = "[lost: stack not in the store]";

/// Puts the stacks with these ids into `profile`, in their order.
///
/// # Errors
/// When they cannot be read.
pub(super) fn read(
    client: &Client,
    range: Range,
    ids: &[Id],
    profile: &mut Profile,
) -> Result<Vec<StackId>, StoreError> {
    let sql = format!(
        "SELECT id, frame.kind, frame.address, frame.mapping_kind, frame.mapping, frame.build_id, \
         frame.size_bytes, frame.lines, line.function, line.system_name, line.file, line.start_line, \
         line.line FROM {} WHERE {} AND id IN ids LIMIT 1 BY id",
        schema::all(&client.address, STACKS),
        within_days(range),
    );
    let mut stacks: HashMap<Id, StackId> = HashMap::new();
    for batch in ids.chunks(BATCH) {
        let mut rows = Rows::default();
        batch.iter().for_each(|id| rows.fixed(id));
        let beside = Beside {
            name: "ids",
            structure: "id FixedString(16)",
            rows: &rows,
        };
        client.read_rows(&sql, &[beside], |row| {
            let id = row.fixed()?;
            let frames = frames(row, profile)?;
            let root_first: Vec<FrameId> = frames.into_iter().rev().collect();
            let stack = profile.intern_frames(&root_first);
            stacks.extend(stack.map(|stack| (id, stack)));
            Ok(())
        })?;
    }
    let missing = profile.synthetic(MISSING);
    let missing = profile.intern_stack(None, missing);
    let stack = |id| stacks.get(id).copied().unwrap_or(missing);
    Ok(ids.iter().map(stack).collect())
}

/// The frames of a row, leaf first.
fn frames(row: &mut Reader, profile: &mut Profile) -> io::Result<Vec<FrameId>> {
    let kinds = row.array(|row| FrameKind::from_code(row.u8()?))?;
    let addresses = row.array(Reader::u64)?;
    let mappings = mappings(row, profile)?;
    let counts = row.array(Reader::u32)?;
    let mut lines = lines(row, profile)?.into_iter();
    let frames = kinds.into_iter().zip(addresses).zip(mappings).zip(counts);
    let frames = frames.map(|(((kind, address), mapping), count)| {
        profile.intern_frame(Frame {
            mapping,
            address,
            kind,
            lines: lines.by_ref().take(count as usize).collect(),
        })
    });
    Ok(frames.collect())
}

fn mappings(row: &mut Reader, profile: &mut Profile) -> io::Result<Vec<Option<MappingId>>> {
    let kinds = row.array(|row| MappingKind::optional(row.u8()?))?;
    let names = row.array(Reader::string)?;
    let build_ids = row.array(Reader::bytes)?;
    let sizes = row.array(Reader::u64)?;
    let mappings = kinds.into_iter().zip(names).zip(build_ids).zip(sizes);
    let mappings = mappings.map(|(((kind, name), build_id), size_bytes)| {
        let mapping = Mapping {
            name: profile.intern_string(&name),
            build_id: (!build_id.is_empty()).then_some(build_id),
            kind: kind?,
            size_bytes,
        };
        Some(profile.intern_mapping(mapping))
    });
    Ok(mappings.collect())
}

fn lines(row: &mut Reader, profile: &mut Profile) -> io::Result<Vec<Line>> {
    let names = row.array(Reader::string)?;
    let system_names = row.array(Reader::string)?;
    let files = row.array(Reader::string)?;
    let start_lines = row.array(Reader::u32)?;
    let numbers = row.array(Reader::u32)?;
    let functions = names.iter().zip(system_names).zip(files).zip(start_lines);
    let lines = functions.zip(numbers);
    let lines = lines.map(|((((name, system_name), file), start_line), line)| {
        let function = Function {
            name: profile.intern_string(name),
            system_name: profile.intern_string(&system_name),
            file: (!file.is_empty()).then(|| profile.intern_string(&file)),
            start_line,
        };
        Line {
            function: profile.intern_function(function),
            line,
        }
    });
    Ok(lines.collect())
}
