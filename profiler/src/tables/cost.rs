//! How much memory it takes to build a file's table, by its headers. Readers find it out.

use std::fs::File;

use abi::unwind::table::{Block, PAGE_BITS, PageEntry};
use object::{
    Endianness,
    elf::{FileHeader64, PF_X, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader, SectionHeader},
};
use symbolizer::BoundedFile;

use crate::unwind::{MAX_SEARCHED_BYTES, most_rows, rows::Row};

/// What may be read of headers.
const HEADERS_BYTES: u64 = 16 << 20;
/// A function's description takes at least this.
const CFI_BYTES_PER_FUNCTION: usize = 24;
/// What a function takes beside its rows, and the row of the padding behind it.
const FUNCTION_BYTES: usize = 16 + size_of::<Row>();
/// What a thread that builds has at hand, and the gaps between functions that are searched.
const BASE_BYTES: usize = 256 << 10;

/// An upper bound of what building takes at a time: the call frame information, each row twice, and
/// the code that is searched; or, at the end, each row and its table, which is less but where rows
/// lie far apart.
pub(crate) fn of(file: &File) -> usize {
    let length = file.metadata().map_or(0, |data| data.len());
    let (cfi, code) = sizes(&BoundedFile::new(file, HEADERS_BYTES)).unwrap_or_default();
    let (cfi, code) = (cfi.min(length) as usize, code.min(length));
    let searched = if code <= MAX_SEARCHED_BYTES { code } else { 0 };
    let page_count = (length.min(1 << 32) >> PAGE_BITS) as usize + 1;
    BASE_BYTES
        + cfi
        + most_rows(cfi) * 2 * size_of::<Row>()
        + cfi / CFI_BYTES_PER_FUNCTION * FUNCTION_BYTES
        + searched as usize
        + page_count * (size_of::<Block>() + size_of::<PageEntry>())
}

/// What it takes to store rows in the cache: these and the bytes of the file, twice.
pub(super) fn of_storing(rows: usize) -> usize {
    rows * (size_of::<Row>() + 2 * 6)
}

/// The bytes of call frame information and of code.
fn sizes(data: &BoundedFile<'_>) -> object::read::Result<(u64, u64)> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?.iter();
    let code = segments
        .filter(|segment| segment.p_type(endian) == PT_LOAD)
        .filter(|segment| segment.p_flags(endian).contains(PF_X))
        .map(|segment| segment.p_filesz(endian));
    let code = code.fold(0, u64::saturating_add);
    let sections = header.sections(endian, data)?;
    let described = sections.iter().filter(|section| {
        let name = sections.section_name(endian, section).unwrap_or_default();
        name == b".eh_frame" || name == b".debug_frame"
    });
    let cfi = described.map(|section| section.sh_size(endian));
    Ok((cfi.fold(0, u64::saturating_add), code))
}
