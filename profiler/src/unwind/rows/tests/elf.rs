//! ELF files of a few thousand bytes, with call frame information written by hand.

use abi::unwind::Machine;

/// The file offset of the code; its address is [`BIAS`] more.
pub(super) const CODE: u32 = 0x1000;
const BIAS: u64 = 0x40_0000;
/// The address of `.eh_frame`.
const EH_FRAME: u64 = 0x80_0000;
const SECTION_NAMES: &[u8] = b"\0.eh_frame\0.plt\0.names\0.init\0";

/// An entry that functions share: `CFA = rsp + 8`, the return address at `CFA - 8`, pointers of
/// four bytes relative to themselves.
pub(super) fn cie(augmentation: &[u8], instructions: &[u8]) -> Vec<u8> {
    shared(augmentation, 16, &[&[0x0c, 7, 8, 0x90, 1], instructions])
}

/// The same of AArch64: `CFA = sp`, the return address in `x30`.
pub(super) fn link_cie(augmentation: &[u8]) -> Vec<u8> {
    shared(augmentation, 30, &[&[0x0c, 31, 0]])
}

fn shared(augmentation: &[u8], return_address: u8, instructions: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 1];
    body.extend(augmentation);
    body.extend([0, 1, 0x78, return_address, 1, 0x1b]);
    body.extend(instructions.concat());
    with_length(body)
}

/// The description of a function at an offset in the code. Its pointers are set by [`Elf::new`].
pub(super) fn fde(start: i32, length: i32, instructions: &[u8]) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0];
    body.extend(start.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.push(0);
    body.extend(instructions);
    with_length(body)
}

fn with_length(mut body: Vec<u8>) -> Vec<u8> {
    body.resize(body.len().next_multiple_of(4), 0);
    let mut entry = (body.len() as u32).to_le_bytes().to_vec();
    entry.append(&mut body);
    entry
}

/// A file in the making.
pub(super) struct Elf {
    pub(super) machine: Machine,
    eh_frame: Vec<u8>,
    pub(super) code: Vec<u8>,
    /// Offset in the code, and size.
    pub(super) plt: Option<(u64, u64)>,
    /// The same of `.init`.
    pub(super) init: Option<(u64, u64)>,
}

impl Elf {
    /// A file with these entries and code that does nothing.
    pub(super) fn new(entries: &[Vec<u8>]) -> Self {
        let mut eh_frame = Vec::new();
        let mut shared = 0;
        for entry in entries {
            let at = eh_frame.len();
            eh_frame.extend(entry);
            match entry.get(4) {
                Some(0) => shared = at,
                Some(1) => {
                    let to_shared = (at + 4 - shared) as u32;
                    eh_frame[at + 4..at + 8].copy_from_slice(&to_shared.to_le_bytes());
                    let start = i32::from_le_bytes(entry[8..12].try_into().unwrap());
                    let code = BIAS as i64 + i64::from(CODE);
                    let start = code + i64::from(start) - (EH_FRAME as i64 + at as i64 + 8);
                    eh_frame[at + 8..at + 12].copy_from_slice(&(start as i32).to_le_bytes());
                }
                _ => {}
            }
        }
        Elf {
            machine: Machine::X86_64,
            eh_frame,
            code: vec![0x90; 0x100],
            plt: None,
            init: None,
        }
    }

    /// The file: header, program header and section headers, then code, names and entries.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (plt_start, plt_size) = self.plt.unwrap_or_default();
        let (init_start, init_size) = self.init.unwrap_or_default();
        let names_start = u64::from(CODE) + self.code.len() as u64;
        let entries_start = names_start + SECTION_NAMES.len() as u64;
        let sections = [
            section(0, 0, 0, 0),
            section(1, EH_FRAME, entries_start, self.eh_frame.len() as u64),
            section(11, 0, u64::from(CODE) + plt_start, plt_size),
            section(16, 0, names_start, SECTION_NAMES.len() as u64),
            section(23, 0, u64::from(CODE) + init_start, init_size),
        ];
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        file.resize(16, 0);
        file.extend([3, 0]);
        file.extend(self.machine.elf.to_le_bytes());
        file.extend([1, 0, 0, 0]);
        file.extend(words(&[0, 64, 64 + 56]));
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 5, 0, 3, 0]);
        file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
        let start = u64::from(CODE);
        let size = self.code.len() as u64;
        file.extend(words(&[start, start + BIAS, 0, size, size, 0x1000]));
        file.extend(sections.concat());
        file.resize(CODE as usize, 0);
        file.extend(&self.code);
        file.extend(SECTION_NAMES);
        file.extend(&self.eh_frame);
        file
    }
}

fn section(name: u32, address: u64, start: u64, size: u64) -> Vec<u8> {
    let kind = u32::from(name != 0);
    let mut header = name.to_le_bytes().to_vec();
    header.extend(kind.to_le_bytes());
    header.extend(words(&[0, address, start, size, 0, 0, 0]));
    header
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
