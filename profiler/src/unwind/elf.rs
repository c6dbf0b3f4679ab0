//! What is read of an ELF file for its unwind table: segments of code, call frame information and
//! sections of code that often have none.

use abi::unwind::Machine;
use object::{
    Endianness,
    elf::{self, FileHeader64, PF_X, PT_LOAD, SHF_COMPRESSED},
    read::{
        ReadRef,
        elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable},
    },
};

use super::rows::Error;

/// The most call frame information of one file that is read; Chromium's has about 30 MB.
const MAX_CFI_BYTES: u64 = 256 << 20;
/// More segments of code than any linker makes.
const MAX_SEGMENTS: usize = 256;

/// A piece of the file that is mapped to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) address: u64,
    /// In the file, within its first 4 GiB.
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Segment {
    /// The file offset just behind the segment.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.size
    }
}

/// The place of a section of code.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Call frame information, as it is in the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cfi<'data> {
    /// `.eh_frame`, with the address to which its pointers are relative.
    EhFrame { bytes: &'data [u8], address: u64 },
    /// `.debug_frame`, with addresses.
    DebugFrame { bytes: &'data [u8] },
    /// Neither.
    None,
}

/// The parts of a file that its unwind table is made of.
#[derive(Debug)]
pub(super) struct Parts<'data> {
    /// In the order of their offsets.
    pub(super) segments: Vec<Segment>,
    pub(super) cfi: Cfi<'data>,
    /// By which procedures of other files are called.
    pub(super) plts: Vec<Piece>,
    /// `.init` and `.fini`.
    pub(super) init_fini: Vec<Piece>,
}

type Header = FileHeader64<Endianness>;

impl<'data> Parts<'data> {
    pub(super) fn read<R: ReadRef<'data>>(machine: &Machine, data: R) -> Result<Self, Error> {
        let header = Header::parse(data).map_err(|_not_elf| Error::NotElf)?;
        let endian = header.endian().map_err(|_not_elf| Error::NotElf)?;
        if endian != Endianness::Little || header.e_machine(endian).0 != machine.elf {
            return Err(Error::Foreign);
        }
        let length = data.len().map_err(|()| Error::Headers)?;
        let segments = header.program_headers(endian, data);
        let segments = segments.map_err(|_damage| Error::Headers)?;
        let mut parts = Parts {
            segments: code_segments(endian, segments, length),
            cfi: Cfi::None,
            plts: Vec::new(),
            init_fini: Vec::new(),
        };
        let sections = header.sections(endian, data);
        let sections = sections.map_err(|_damage| Error::Headers)?;
        parts.read_sections(endian, data, &sections)?;
        Ok(parts)
    }

    fn read_sections<R: ReadRef<'data>>(
        &mut self,
        endian: Endianness,
        data: R,
        sections: &SectionTable<'data, Header, R>,
    ) -> Result<(), Error> {
        for section in sections.iter() {
            // A name that cannot be read belongs to none of the sections that are looked for.
            let name = sections.section_name(endian, section).unwrap_or_default();
            match name {
                b".eh_frame" => {
                    let bytes = bytes_of(endian, data, section)?;
                    let address = section.sh_addr(endian);
                    if !bytes.is_empty() {
                        self.cfi = Cfi::EhFrame { bytes, address };
                    }
                }
                b".debug_frame" if !matches!(self.cfi, Cfi::EhFrame { .. }) => {
                    let bytes = bytes_of(endian, data, section)?;
                    if !bytes.is_empty() {
                        self.cfi = Cfi::DebugFrame { bytes };
                    }
                }
                b".plt" | b".plt.sec" | b".plt.got" | b".iplt" => {
                    self.plts.extend(piece_of(endian, section));
                }
                b".init" | b".fini" => self.init_fini.extend(piece_of(endian, section)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A section's place in the file, where it has one.
fn piece_of(endian: Endianness, section: &elf::SectionHeader64<Endianness>) -> Option<Piece> {
    let (offset, size) = section.file_range(endian)?;
    Some(Piece { offset, size })
}

/// A section's bytes; none where it is compressed or has none in this file.
fn bytes_of<'data, R: ReadRef<'data>>(
    endian: Endianness,
    data: R,
    section: &elf::SectionHeader64<Endianness>,
) -> Result<&'data [u8], Error> {
    if section.sh_flags(endian).contains(SHF_COMPRESSED) {
        return Ok(&[]);
    }
    if section.sh_size(endian) > MAX_CFI_BYTES {
        return Err(Error::TooLarge);
    }
    section.data(endian, data).map_err(|_damage| Error::Cfi)
}

/// The segments of code, cut to the file and to its first 4 GiB, without what two of them share:
/// rows are found by 32-bit file offsets.
fn code_segments(
    endian: Endianness,
    headers: &[elf::ProgramHeader64<Endianness>],
    length: u64,
) -> Vec<Segment> {
    let end = length.min(u64::from(u32::MAX));
    let is_code = |header: &&elf::ProgramHeader64<Endianness>| {
        header.p_type(endian) == PT_LOAD && header.p_flags(endian).contains(PF_X)
    };
    let code = headers.iter().filter(is_code).take(MAX_SEGMENTS);
    let mut segments: Vec<Segment> = code
        .map(|header| {
            let (offset, size) = header.file_range(endian);
            Segment {
                address: header.p_vaddr(endian),
                offset: offset.min(end),
                size: size.min(end - offset.min(end)),
            }
        })
        .collect();
    segments.sort_by_key(|segment| segment.offset);
    let mut covered = 0;
    segments.retain_mut(|segment| {
        let shared = covered.max(segment.offset) - segment.offset;
        segment.offset += shared;
        segment.address = segment.address.wrapping_add(shared);
        segment.size = segment.size.saturating_sub(shared);
        covered = covered.max(segment.end());
        segment.size > 0 && segment.address.checked_add(segment.size).is_some()
    });
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(
        flags: elf::ProgramFlags,
        offset: u64,
        size: u64,
    ) -> elf::ProgramHeader64<Endianness> {
        let little = Endianness::Little;
        elf::ProgramHeader64 {
            p_type: object::U32::new(little, PT_LOAD),
            p_flags: object::U32::new(little, flags),
            p_offset: object::U64::new(little, offset),
            p_vaddr: object::U64::new(little, offset.wrapping_add(0x1000)),
            p_paddr: object::U64::new(little, 0),
            p_filesz: object::U64::new(little, size),
            p_memsz: object::U64::new(little, size),
            p_align: object::U64::new(little, 0x1000),
        }
    }

    /// Segments come in order, without data, without what another has, and within the file.
    #[test]
    fn segments_are_cut_to_code_of_their_own() {
        let headers = [
            header(PF_X, 0x300, 0x100),
            header(PF_X, 0x100, 0x280),
            header(elf::PF_R, 0x500, 0x100),
            header(PF_X, 0x800, u64::MAX),
            header(PF_X, u64::MAX, u64::MAX),
        ];
        let segments = code_segments(Endianness::Little, &headers, 0x900);
        let ranges: Vec<_> = segments
            .iter()
            .map(|segment| (segment.offset, segment.end(), segment.address))
            .collect();
        assert_eq!(
            ranges,
            [
                (0x100, 0x380, 0x1100),
                (0x380, 0x400, 0x1380),
                (0x800, 0x900, 0x1800)
            ]
        );
    }
}
