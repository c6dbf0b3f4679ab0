//! Gives each mapping a range of addresses of its own.
//!
//! A profile of many processes knows code by its place in a file, while pprof knows it by an address in
//! one address space. So each file gets a made-up range as long as the file, `file_offset` 0, and
//!
//! ```text
//! address = memory_start + offset in the file
//! ```
//!
//! from which pprof finds the offset again. The kernel keeps its own addresses.

use std::collections::HashMap;
use std::ops::Range;

use crate::profile::{Frame, MappingId, MappingKind, Profile};

/// Ranges start at multiples of this, and at least this far apart: pprof merges mappings that touch.
const ALIGN: u64 = 1 << 21;
/// The longest range, which is more than the largest file of ext4. A sparse file can claim 2^63 bytes
/// and would leave no addresses to others; what lies beyond this gets the last address of the range.
const MAX_BYTES: u64 = 1 << 44;
const PAGE: u64 = 1 << 12;

/// The order of mappings and the range of each.
#[derive(Debug)]
pub(super) struct Layout {
    /// The main program, other files, then the kernel.
    pub(super) order: Vec<MappingId>,
    ranges: HashMap<MappingId, Range<u64>>,
}

impl Layout {
    pub(super) fn new(profile: &Profile) -> Self {
        let is_kernel = |id: &MappingId| profile.mapping(*id).kind == MappingKind::Kernel;
        let mut order: Vec<MappingId> = profile.mappings().map(|(id, _)| id).collect();
        order.sort_by_key(|id| (is_kernel(id), Some(*id) != profile.main_mapping));

        let used = used_addresses(profile);
        let mut start = ALIGN;
        let mut ranges = HashMap::new();
        for &id in &order {
            let used = used.get(&id).cloned().unwrap_or_default();
            let range = if is_kernel(&id) {
                whole_pages(used)
            } else {
                let range = file_range(start, profile.mapping(id).size_bytes.max(used.end));
                let next = range.end.saturating_add(ALIGN);
                start = next.checked_next_multiple_of(ALIGN).unwrap_or(u64::MAX);
                range
            };
            ranges.insert(id, range);
        }
        Self { order, ranges }
    }

    pub(super) fn range(&self, id: MappingId) -> Range<u64> {
        self.ranges[&id].clone()
    }

    /// The made-up address of a frame in a file; any other address as it is.
    pub(super) fn address(&self, profile: &Profile, frame: &Frame) -> u64 {
        match frame.mapping {
            Some(id) if profile.mapping(id).kind != MappingKind::Kernel => {
                let Range { start, end } = self.ranges[&id];
                start.saturating_add(frame.address).min(end - 1)
            }
            _ => frame.address,
        }
    }
}

/// Never empty, nor longer than [`MAX_BYTES`].
fn file_range(start: u64, bytes: u64) -> Range<u64> {
    let bytes = bytes.clamp(1, MAX_BYTES).next_multiple_of(PAGE);
    start..start.saturating_add(bytes)
}

fn whole_pages(range: Range<u64>) -> Range<u64> {
    let end = range.end.checked_next_multiple_of(PAGE);
    range.start / PAGE * PAGE..end.unwrap_or(u64::MAX)
}

/// The addresses that frames have in each mapping. A hidden kernel address is 0 and does not count.
fn used_addresses(profile: &Profile) -> HashMap<MappingId, Range<u64>> {
    let mut used: HashMap<MappingId, Range<u64>> = HashMap::new();
    for (_, frame) in profile.frames() {
        let Some(id) = frame.mapping.filter(|_| frame.address > 0) else {
            continue;
        };
        let end = frame.address.saturating_add(1);
        let range = used.entry(id).or_insert(frame.address..end);
        *range = range.start.min(frame.address)..range.end.max(end);
    }
    used
}
