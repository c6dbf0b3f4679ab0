//! Our way from registers to callers: the rows of the process's files, searched and stepped by as the
//! kernel programs do it.

use std::{collections::HashMap, fs};

use abi::unwind::{
    Caller, Machine, Registers, Rule, step,
    table::{PAGE_BITS, find},
};
use object::{
    Endianness,
    elf::{FileHeader64, PT_GNU_EH_FRAME, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader},
};
use profiler::unwind::{
    pages::{self, Pages},
    rows::{self, FileRows},
    rules::RuleSet,
};

use crate::{
    process::{Mapping, Traced, Words},
    reference::Image,
};

/// The tables of all that the process maps.
#[derive(Default)]
pub(crate) struct Tables {
    mappings: Vec<Mapping>,
    /// By path; none for a file that is walked by frame pointer.
    pages: HashMap<String, Option<Pages>>,
    /// By path, how far behind the file's first byte the reference's table is.
    headers: HashMap<String, u64>,
    images: Vec<Image>,
    rules: RuleSet,
}

impl Tables {
    /// Takes in what the process maps, where it is not known what is at an address.
    pub(crate) fn see(&mut self, process: &Traced, address: u64) {
        if self.mapping(address).is_some() {
            return;
        }
        self.mappings = process.mappings();
        for mapping in self.mappings.clone() {
            let is_vdso = mapping.path == "[vdso]";
            if self.pages.contains_key(&mapping.path) || !(is_vdso || mapping.path.starts_with('/'))
            {
                continue;
            }
            let bytes = if is_vdso {
                process.bytes(&mapping)
            } else {
                fs::read(&mapping.path).unwrap()
            };
            let pages = match rows::read(&Machine::NATIVE, bytes.as_slice()) {
                Ok(FileRows::Rows(rows, _)) => Some(pages::build(&rows, &mut self.rules)),
                _ => None,
            };
            self.pages.insert(mapping.path.clone(), pages);
            self.headers
                .insert(mapping.path, header(&bytes).unwrap_or(0));
        }
        let first = |path: &str| self.mappings.iter().find(|mapping| mapping.path == path);
        let images = self.mappings.iter().filter_map(|mapping| {
            let header = *self.headers.get(&mapping.path)?;
            Some(Image {
                start: mapping.start,
                end: mapping.end,
                header: first(&mapping.path)?.start + header,
            })
        });
        self.images = images.collect();
    }

    pub(crate) fn images(&self) -> &[Image] {
        &self.images
    }

    fn mapping(&self, address: u64) -> Option<&Mapping> {
        let inside = |mapping: &&Mapping| (mapping.start..mapping.end).contains(&address);
        self.mappings.iter().find(inside)
    }

    /// The rule for an address; none where nothing is mapped.
    fn rule(&self, address: u64) -> Option<Rule> {
        let mapping = self.mapping(address)?;
        let Some(Some(pages)) = self.pages.get(&mapping.path) else {
            return Some(Rule::frame_pointer(&Machine::NATIVE));
        };
        let offset = address - mapping.start + mapping.offset;
        let entry = pages.entry((offset >> PAGE_BITS) as u32);
        let block = |block: u32| pages.blocks.get(block as usize);
        let number = find(entry, offset as u16, block).unwrap();
        Some(self.rules.rules()[usize::from(number)])
    }

    /// The instruction pointers of the process's stack, leaf first.
    pub(crate) fn walk(&self, process: &Traced, registers: &Words) -> Vec<u64> {
        let mut at = Caller {
            registers: Registers {
                pc: registers.pc(),
                sp: registers.0[usize::from(Machine::NATIVE.stack_pointer)],
                fp: registers.0[usize::from(Machine::NATIVE.frame_pointer)],
                followed_at: Registers::OWN,
            },
            is_return: false,
        };
        let mut addresses = Vec::new();
        while let Some(rule) = self.rule(at.registers.pc - u64::from(at.is_return)) {
            addresses.push(at.registers.pc);
            let is_leaf = addresses.len() == 1;
            let leaf = |register: u8| {
                let is_own = is_leaf || register == Machine::NATIVE.followed;
                is_own.then(|| registers.0[usize::from(register)])
            };
            match step(&Machine::NATIVE, &at.registers, &rule, leaf, |address| {
                process.read(address)
            }) {
                Ok(caller) => at = caller,
                Err(_end) => break,
            }
        }
        addresses
    }

    /// Where the leaf is, and the first frames that differ.
    pub(crate) fn describe(&self, ours: &[u64], expected: &[u64]) -> String {
        let same = ours
            .iter()
            .zip(expected)
            .take_while(|(a, b)| a == b)
            .count();
        let place = |addresses: &[u64], index: usize| match addresses.get(index) {
            Some(&address) => self.place(address),
            None => "nothing".to_owned(),
        };
        format!(
            "in {}, behind {} frames, above {}: {} and not {}",
            place(ours, 0),
            same,
            place(ours, same.saturating_sub(1)),
            place(ours, same),
            place(expected, same),
        )
    }

    /// Such as `libc.so.6+0x1234`.
    fn place(&self, address: u64) -> String {
        match self.mapping(address) {
            Some(mapping) => {
                let name = mapping.path.rsplit('/').next().unwrap_or_default();
                format!("{name}+{:#x}", address - mapping.start + mapping.offset)
            }
            None => format!("{address:#x}"),
        }
    }
}

/// How far behind the first byte in memory the table of `.eh_frame_hdr` is.
fn header(bytes: &[u8]) -> Option<u64> {
    let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let address = |kind| {
        let mut found = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == kind);
        found.next().map(|segment| segment.p_vaddr(endian))
    };
    Some(address(PT_GNU_EH_FRAME)? - address(PT_LOAD)?)
}
