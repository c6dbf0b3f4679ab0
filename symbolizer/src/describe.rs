//! What an ELF file says of itself: which tables it has and which other files it names.
//!
//! No symbol and no DWARF is read, and no other file is opened. A description is plain data: the
//! file may be read in one process and the files that it names be looked for in another.

use std::fs::File;
use std::os::unix::fs::FileExt;

use object::elf::{FileHeader32, FileHeader64, SHT_NOBITS};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{Endian, Endianness};
use serde::{Deserialize, Serialize};

use crate::Miss;
use crate::bounded::{BoundedFile, HEADERS_BYTES};
use crate::elf::{Class, build_id_among, native_class};

/// Paths are shorter, and a build id or a checksum follows.
const MAX_LINK_BYTES: u64 = 8192;
/// More than the checksum of any debug file is worth waiting for.
const MAX_CHECKSUM_BYTES: u64 = 4 << 30;

/// What an ELF file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its build id.
    pub build_id: Option<Vec<u8>>,
    /// The file that holds its debug information, by name.
    pub debug_link: Option<DebugLink>,
    /// The file that holds debug information which it has in common with others (`dwz`).
    pub alt_link: Option<AltLink>,
    /// Has `.symtab`: all functions.
    pub has_symtab: bool,
    /// Has `.dynsym`: the functions that other files may call.
    pub has_dynsym: bool,
    /// Has `.gnu_debugdata`: a compressed symbol table of the other functions.
    pub has_mini_debug: bool,
    /// Has `.debug_info`.
    pub has_dwarf: bool,
    /// May have parts of its DWARF in `.dwo` files or a package of them: there is `.debug_addr`,
    /// which such parts need, and which compilers also write where nothing is split.
    pub may_be_split: bool,
    /// Is a package of `.dwo` files itself: there is `.debug_cu_index`.
    pub is_package: bool,
}

/// `.gnu_debuglink`: a name without a folder, and the CRC-32 of the file that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugLink {
    /// As it is in the file, which may have put anything there.
    pub name: Vec<u8>,
    /// As [`crc32`] counts it.
    pub crc32: u32,
}

/// `.gnu_debugaltlink`: a path, relative to the file that names it or absolute, and a build id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AltLink {
    /// As it is in the file, which may have put anything there.
    pub path: Vec<u8>,
    /// The build id of that file.
    pub build_id: Vec<u8>,
}

impl Description {
    /// Whether any function may have a name by the file alone.
    #[must_use]
    pub fn has_symbols(&self) -> bool {
        self.has_symtab || self.has_dynsym || self.has_mini_debug
    }
}

/// Reads what `file` says of itself.
///
/// # Errors
/// Where it is no ELF file of this machine, or its headers are damaged.
pub fn describe(file: &File) -> Result<Description, Miss> {
    let data = &BoundedFile::new(file, HEADERS_BYTES);
    let description = match native_class(file)? {
        Class::Elf32 => parse::<FileHeader32<Endianness>>(data),
        Class::Elf64 => parse::<FileHeader64<Endianness>>(data),
    };
    description.map_err(|_damage| Miss::Malformed)
}

fn parse<Elf: FileHeader<Endian = Endianness>>(
    data: &BoundedFile<'_>,
) -> object::read::Result<Description> {
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let mut found = Description::default();
    let segments = header.program_headers(endian, data)?.iter();
    // Damaged notes cost the build id, and nothing else.
    found.build_id = segments
        .filter_map(|segment| segment.notes(endian, data).ok()?)
        .find_map(|notes| build_id_among(notes, endian));
    let sections = header.sections(endian, data)?;
    for section in sections.iter() {
        // What a separate debug file leaves out is there without its bytes.
        if section.sh_type(endian) == SHT_NOBITS {
            continue;
        }
        let link = || {
            let is_short = section.sh_size(endian).into() <= MAX_LINK_BYTES;
            is_short.then(|| section.data(endian, data).ok()).flatten()
        };
        match sections.section_name(endian, section)? {
            b".symtab" => found.has_symtab = true,
            b".dynsym" => found.has_dynsym = true,
            b".gnu_debugdata" => found.has_mini_debug = true,
            b".debug_info" => found.has_dwarf = true,
            b".debug_addr" => found.may_be_split = true,
            b".debug_cu_index" => found.is_package = true,
            b".gnu_debuglink" => {
                found.debug_link = link().and_then(|bytes| debug_link(bytes, endian));
            }
            b".gnu_debugaltlink" => found.alt_link = link().and_then(alt_link),
            _ => {}
        }
        // The segments of a debug file may say where the notes were before it was one.
        if found.build_id.is_none()
            && let Ok(Some(notes)) = section.notes(endian, data)
        {
            found.build_id = build_id_among(notes, endian);
        }
    }
    Ok(found)
}

/// The name, a zero, zeros up to a multiple of four bytes, and the checksum.
fn debug_link(bytes: &[u8], endian: Endianness) -> Option<DebugLink> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    let checksum = bytes.get((end + 1).next_multiple_of(4)..)?.first_chunk()?;
    Some(DebugLink {
        name: bytes[..end].to_vec(),
        crc32: endian.read_u32(*checksum),
    })
}

/// The path, a zero, and the build id.
fn alt_link(bytes: &[u8]) -> Option<AltLink> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some(AltLink {
        path: bytes[..end].to_vec(),
        build_id: bytes[end + 1..].to_vec(),
    })
}

/// The CRC-32 of a whole file, as `.gnu_debuglink` has it; `None` where the file cannot be read, is
/// too large, or grows meanwhile.
#[must_use]
pub fn crc32(file: &File) -> Option<u32> {
    let end = file.metadata().ok()?.len();
    if end > MAX_CHECKSUM_BYTES {
        return None;
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    let mut position = 0;
    loop {
        match file.read_at(&mut buffer, position).ok()? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                position += count as u64;
            }
        }
        if position > end {
            return None;
        }
    }
    Some(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link is read with its padding; one cut short is none.
    #[test]
    fn links_are_read() {
        let bytes = b"abcd\0\0\0\0\x78\x56\x34\x12";
        let link = debug_link(bytes, Endianness::Little).unwrap();
        assert_eq!((&link.name[..], link.crc32), (&b"abcd"[..], 0x1234_5678));
        for length in 0..bytes.len() {
            assert_eq!(debug_link(&bytes[..length], Endianness::Little), None);
        }
        let link = alt_link(b"/usr/lib/debug/.dwz/x\0\x01\x02").unwrap();
        assert_eq!(link.path, b"/usr/lib/debug/.dwz/x");
        assert_eq!(link.build_id, [1, 2]);
        assert_eq!(alt_link(b"no end"), None);
    }
}
