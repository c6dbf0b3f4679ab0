//! The entries of a section of call frame information, one after the other.
//!
//! The chain of lengths is followed here and not by gimli's iterator, which stops at the first
//! damaged entry and at the first terminator; where tools have put several sections together there
//! are terminators in the middle.

use std::collections::HashMap;

use abi::unwind::Machine;
use gimli::{
    BaseAddresses, CommonInformationEntry, DebugFrame, EhFrame, EndianSlice, FrameDescriptionEntry,
    LittleEndian, UnwindSection, Vendor,
};

pub(super) type Reader<'data> = EndianSlice<'data, LittleEndian>;
pub(super) type Fde<'data> = FrameDescriptionEntry<Reader<'data>>;
type Cie<'data> = CommonInformationEntry<Reader<'data>>;

/// How many entries that others share are kept at hand; files have a few dozen.
const MAX_SHARED: usize = 1024;

/// An entry that could not be read, or not to its end.
#[derive(Debug)]
pub(super) struct Damaged;

/// Reads the description of one function after the other.
pub(super) struct Entries<'data, Section> {
    pub(super) section: Section,
    pub(super) bases: BaseAddresses,
    bytes: &'data [u8],
    offset: usize,
    shared: HashMap<usize, Cie<'data>>,
}

impl<'data> Entries<'data, EhFrame<Reader<'data>>> {
    /// The entries of `.eh_frame`, which is loaded at `address`.
    pub(super) fn of_eh_frame(machine: &Machine, bytes: &'data [u8], address: u64) -> Self {
        let bases = BaseAddresses::default().set_eh_frame(address);
        let mut section = EhFrame::new(bytes, LittleEndian);
        section.set_vendor(vendor(machine));
        Self::new(section, bases, bytes)
    }
}

impl<'data> Entries<'data, DebugFrame<Reader<'data>>> {
    /// The entries of `.debug_frame`.
    pub(super) fn of_debug_frame(machine: &Machine, bytes: &'data [u8]) -> Self {
        let mut section = DebugFrame::new(bytes, LittleEndian);
        section.set_address_size(8);
        section.set_vendor(vendor(machine));
        Self::new(section, BaseAddresses::default(), bytes)
    }
}

impl<'data, Section: UnwindSection<Reader<'data>>> Entries<'data, Section> {
    fn new(section: Section, bases: BaseAddresses, bytes: &'data [u8]) -> Self {
        Entries {
            section,
            bases,
            bytes,
            offset: 0,
            shared: HashMap::new(),
        }
    }

    /// The next function's description.
    pub(super) fn next_fde(&mut self) -> Option<Result<Fde<'data>, Damaged>> {
        while self.offset < self.bytes.len() {
            let start = self.offset;
            match entry_end(self.bytes, start) {
                Some(Entry::Terminator(end)) => self.offset = end,
                Some(Entry::Whole(end)) => {
                    self.offset = end;
                    match self.fde_at(start) {
                        Ok(Some(fde)) => return Some(Ok(fde)),
                        Ok(None) => {}
                        Err(damaged) => return Some(Err(damaged)),
                    }
                }
                None => {
                    self.offset = self.bytes.len();
                    return Some(Err(Damaged));
                }
            }
        }
        None
    }

    /// `None` where the entry is one that functions share.
    fn fde_at(&mut self, start: usize) -> Result<Option<Fde<'data>>, Damaged> {
        let partial = self
            .section
            .partial_fde_from_offset(&self.bases, start.into());
        let partial = match partial {
            Ok(partial) => partial,
            Err(gimli::Error::NotCiePointer(_)) => return Ok(None),
            Err(_damage) => return Err(Damaged),
        };
        let shared = &mut self.shared;
        let fde = partial.parse(|section, bases, offset| {
            let key = gimli::UnwindOffset::into(offset);
            if let Some(cie) = shared.get(&key) {
                return Ok(cie.clone());
            }
            let cie = section.cie_from_offset(bases, offset)?;
            if shared.len() >= MAX_SHARED {
                shared.clear();
            }
            shared.insert(key, cie.clone());
            Ok(cie)
        });
        fde.map(Some).map_err(|_damage| Damaged)
    }
}

/// Whose instructions there may be besides DWARF's: AArch64 has one that says that the return address
/// is signed.
fn vendor(machine: &Machine) -> Vendor {
    match *machine {
        Machine::AARCH64 => Vendor::AArch64,
        _ => Vendor::Default,
    }
}

enum Entry {
    /// A length of 0, up to this offset.
    Terminator(usize),
    /// An entry that ends at this offset.
    Whole(usize),
}

/// Where the entry at an offset ends; `None` where that lies outside the section.
fn entry_end(bytes: &[u8], start: usize) -> Option<Entry> {
    let rest = bytes.get(start..)?;
    let (length, body) = match rest.first_chunk()? {
        [0, 0, 0, 0] => return Some(Entry::Terminator(start + 4)),
        [0xff, 0xff, 0xff, 0xff] => (u64::from_le_bytes(*rest.get(4..)?.first_chunk()?), 12),
        &length => (u64::from(u32::from_le_bytes(length)), 4),
    };
    let end = usize::try_from(length).ok()?.checked_add(start + body)?;
    (end <= bytes.len()).then_some(Entry::Whole(end))
}
