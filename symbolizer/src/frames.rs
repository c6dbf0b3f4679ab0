//! Where functions begin and end by their call frame information, which stripped files have too.
//!
//! Only the table that linkers make for searching (`.eh_frame_hdr`) and the entries that it leads to
//! are read.

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, UnwindSection};
use memmap2::Mmap;
use object::{Object, ObjectSection};

/// The function that covers each link-time address; `None` where none is known to.
pub(crate) fn functions_at(file: &File, addresses: &[u64]) -> Vec<Option<Range<u64>>> {
    // SAFETY: the map is only read. That another process may write to the file, or cut it short, is
    // what this crate leaves to the process that calls.
    let found = unsafe { Mmap::map(file) }.ok().and_then(|map| {
        // gimli sees what a panic left half done no more: nothing of it outlives the call.
        catch_unwind(AssertUnwindSafe(|| search(&map, addresses))).ok()?
    });
    found.unwrap_or_else(|| vec![None; addresses.len()])
}

fn search(bytes: &[u8], addresses: &[u64]) -> Option<Vec<Option<Range<u64>>>> {
    let file = object::File::parse(bytes).ok()?;
    let section = |name| {
        let section = file.section_by_name(name)?;
        Some((section.data().ok()?, section.address()))
    };
    let (table, table_address) = section(".eh_frame_hdr")?;
    let (frames, frames_address) = section(".eh_frame")?;
    let text = file.section_by_name(".text");
    let bases = BaseAddresses::default()
        .set_eh_frame_hdr(table_address)
        .set_eh_frame(frames_address)
        .set_text(text.map_or(0, |text| text.address()));
    let address_bytes = if file.is_64() { 8 } else { 4 };
    let header = EhFrameHdr::from(EndianSlice::new(table, NativeEndian));
    let header = header.parse(&bases, address_bytes).ok()?;
    let table = header.table()?;
    let mut frames = EhFrame::from(EndianSlice::new(frames, NativeEndian));
    frames.set_address_size(address_bytes);
    let function = |&address: &u64| {
        let cie = EhFrame::cie_from_offset;
        let entry = table.fde_for_address(&frames, &bases, address, cie).ok()?;
        let start = entry.initial_address();
        Some(start..start.checked_add(entry.len())?)
    };
    Some(addresses.iter().map(function).collect())
}
