//! ELF headers: segments, section names and the build id.
//!
//! Symbols and DWARF are not read here.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::elf::{ELF_NOTE_GNU, FileHeader32, FileHeader64, NT_GNU_BUILD_ID, PT_LOAD};
use object::read::elf::{
    CompressionHeader, FileHeader, NoteIterator, ProgramHeader, SectionHeader,
};
use object::{Endianness, FileKind};

use crate::Miss;
use crate::bounded::{BoundedFile, HEADERS_BYTES};

/// `e_ident[EI_DATA]` of this machine's files.
const NATIVE_ORDER: u8 = if cfg!(target_endian = "little") { 1 } else { 2 };

/// Linkers write 8, 16, 20 or 32 bytes.
const MAX_BUILD_ID_BYTES: usize = 64;

/// The build id of an ELF file: the descriptor of its GNU build id note, found by the program
/// headers, as section headers may be stripped.
pub fn build_id(file: &File) -> Option<Vec<u8>> {
    let data = &BoundedFile::new(file, HEADERS_BYTES);
    match FileKind::parse(data).ok()? {
        FileKind::Elf32 => build_id_of::<FileHeader32<Endianness>>(data),
        FileKind::Elf64 => build_id_of::<FileHeader64<Endianness>>(data),
        _ => None,
    }
}

fn build_id_of<Elf: FileHeader<Endian = Endianness>>(data: &BoundedFile<'_>) -> Option<Vec<u8>> {
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    segments.iter().find_map(|segment| {
        let notes = segment.notes(endian, data).ok()??;
        build_id_among(notes, endian)
    })
}

/// The build id among notes.
pub(crate) fn build_id_among<Elf: FileHeader>(
    mut notes: NoteIterator<'_, Elf>,
    endian: Elf::Endian,
) -> Option<Vec<u8>> {
    while let Ok(Some(note)) = notes.next() {
        let id = note.desc();
        let is_build_id = note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID;
        if is_build_id && (1..=MAX_BUILD_ID_BYTES).contains(&id.len()) {
            return Some(id.to_vec());
        }
    }
    None
}

/// The size of an ELF file's addresses.
pub(crate) enum Class {
    Elf32,
    Elf64,
}

/// Whether `file` is an ELF file of this machine, by its first bytes. Byte order matters because
/// blazesym does not look at it.
pub(crate) fn native_class(file: &File) -> Result<Class, Miss> {
    // What is not a regular file may block, or do something, when it is opened once more.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Miss::Unreadable);
    }
    let mut ident = [0; 6];
    match file.read_exact_at(&mut ident, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Miss::NotElf),
        Err(_) => return Err(Miss::Unreadable),
    }
    match ident {
        [0x7f, b'E', b'L', b'F', class, order] if order == NATIVE_ORDER => match class {
            1 => Ok(Class::Elf32),
            2 => Ok(Class::Elf64),
            _ => Err(Miss::ForeignElf),
        },
        [0x7f, b'E', b'L', b'F', ..] => Err(Miss::ForeignElf),
        _ => Err(Miss::NotElf),
    }
}

/// Where a file's bytes are loaded and which tables it has.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    segments: Vec<Segment>,
    /// Has `.symtab`.
    pub(crate) has_symtab: bool,
    /// Has `.symtab` or `.dynsym` or, compressed, `.gnu_debugdata`.
    pub(crate) has_symbols: bool,
    /// Has `.debug_info`.
    pub(crate) has_dwarf: bool,
    /// The sum of the sizes that compressed sections claim to have when decompressed.
    pub(crate) decompressed_bytes: u64,
}

#[derive(Debug)]
struct Segment {
    file_range: Range<u64>,
    address: u64,
}

impl Layout {
    /// Reads the headers of `file`.
    pub(crate) fn read(file: &File) -> Result<Self, Miss> {
        let class = native_class(file)?;
        let data = &BoundedFile::new(file, HEADERS_BYTES);
        let layout = match class {
            Class::Elf32 => Self::parse::<FileHeader32<Endianness>>(data),
            Class::Elf64 => Self::parse::<FileHeader64<Endianness>>(data),
        };
        layout.map_err(|_damage| Miss::Malformed)
    }

    fn parse<Elf: FileHeader<Endian = Endianness>>(
        data: &BoundedFile<'_>,
    ) -> object::read::Result<Self> {
        let header = Elf::parse(data)?;
        let endian = header.endian()?;
        let mut layout = Layout::default();
        for segment in header.program_headers(endian, data)? {
            let (start, size) = segment.file_range(endian);
            if segment.p_type(endian) == PT_LOAD {
                layout.segments.push(Segment {
                    file_range: start..start.saturating_add(size),
                    address: segment.p_vaddr(endian).into(),
                });
            }
        }
        let sections = header.sections(endian, data)?;
        for section in sections.iter() {
            layout.note_section(sections.section_name(endian, section)?);
            let decompressed = match section.compression(endian, data) {
                Ok(Some((compression, ..))) => compression.ch_size(endian).into(),
                Ok(None) => 0,
                Err(_damage) => u64::MAX,
            };
            layout.decompressed_bytes = layout.decompressed_bytes.saturating_add(decompressed);
        }
        Ok(layout)
    }

    fn note_section(&mut self, name: &[u8]) {
        match name {
            b".symtab" => (self.has_symtab, self.has_symbols) = (true, true),
            b".dynsym" | b".gnu_debugdata" => self.has_symbols = true,
            b".debug_info" => self.has_dwarf = true,
            _ => {}
        }
    }

    /// The link-time address of a file offset: `offset - p_offset + p_vaddr`.
    pub(crate) fn address(&self, offset: u64) -> Option<u64> {
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.file_range.contains(&offset))?;
        segment
            .address
            .checked_add(offset - segment.file_range.start)
    }
}
