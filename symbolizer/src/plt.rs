//! Names for the entries of procedure linkage tables, which have no symbols: that of the function to
//! which an entry leads, as `memcpy@plt`.
//!
//! The entries of `.plt`, behind those with which it begins, and of `.plt.sec` stand in the order of
//! the relocations in `.rela.plt` (System V ABI for x86-64 and AArch64, "Procedure Linkage Table").

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use memmap2::Mmap;
use object::{Object, ObjectSection, ObjectSymbol, ObjectSymbolTable, SymbolIndex};

use crate::Function;

/// What tells an entry from the function itself.
const SUFFIX: &str = "@plt";
/// What an entry takes, on both architectures.
const ENTRY_BYTES: u64 = 16;
/// What `.plt` begins with: the entry that calls the loader.
const HEADER_BYTES: u64 = if cfg!(target_arch = "aarch64") {
    32
} else {
    16
};
/// `Elf64_Rela`: an offset, the symbol in the upper half of the next word, an addend.
const RELOCATION_BYTES: usize = 24;

/// The name at each link-time address; `None` where it lies in no entry.
pub(crate) fn functions_at(file: &File, addresses: &[u64]) -> Vec<Option<Function>> {
    // SAFETY: the map is only read. That another process may write to the file, or cut it short, is
    // what this crate leaves to the process that calls.
    let found = unsafe { Mmap::map(file) }.ok().and_then(|map| {
        // object sees what a panic left half done no more: nothing of it outlives the call.
        catch_unwind(AssertUnwindSafe(|| search(&map, addresses))).ok()?
    });
    found.unwrap_or_else(|| vec![None; addresses.len()])
}

fn search(bytes: &[u8], addresses: &[u64]) -> Option<Vec<Option<Function>>> {
    let file = object::File::parse(bytes).ok()?;
    if !file.is_64() {
        return None;
    }
    let relocations = file.section_by_name(".rela.plt")?.data().ok()?;
    let symbols = file.dynamic_symbol_table()?;
    let tables = [(".plt", HEADER_BYTES), (".plt.sec", 0)];
    let tables = tables.map(|(name, header)| {
        let section = file.section_by_name(name)?;
        let end = section.address().checked_add(section.size())?;
        Some((section.address().checked_add(header)?, end))
    });
    let name = |&address: &u64| {
        let mut tables = tables.iter().flatten();
        let (start, _) = tables.find(|&&(start, end)| (start..end).contains(&address))?;
        let entry = usize::try_from((address - start) / ENTRY_BYTES).ok()?;
        let place = entry.checked_mul(RELOCATION_BYTES)?;
        let relocation = relocations.get(place..place.checked_add(RELOCATION_BYTES)?)?;
        let symbol = u32::from_ne_bytes(*relocation.get(12..16)?.first_chunk()?);
        let symbol = symbols.symbol_by_index(SymbolIndex(symbol as usize)).ok()?;
        let name = symbol.name().ok().filter(|name| !name.is_empty())?;
        let mut function = Function::new(name, None);
        // Put behind what is no version of a symbol.
        function.name.push_str(SUFFIX);
        function.system_name.push_str(SUFFIX);
        Some(function)
    };
    Some(addresses.iter().map(name).collect())
}
