//! What a file has to name its code with, without reading it.

use std::fs::File;

use crate::elf::Layout;
use crate::{Miss, debug_file};

/// The best source of names that a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameSource {
    /// A whole symbol table.
    SymbolTable,
    /// A separate debug file that is installed.
    DebugFile,
    /// DWARF alone.
    Dwarf,
    /// The functions that other files may call, and none of the others.
    DynamicSymbols,
    /// None at all.
    Nothing,
}

/// Where names for a file's code come from.
///
/// # Errors
/// Where the file is no ELF file of this machine, or is damaged.
pub fn name_source(file: &File) -> Result<NameSource, Miss> {
    let layout = Layout::read(file)?;
    Ok(if layout.has_symtab {
        NameSource::SymbolTable
    } else if debug_file(file).is_some() {
        NameSource::DebugFile
    } else if layout.has_dwarf && !layout.has_debug_links {
        NameSource::Dwarf
    } else if layout.has_symbols {
        NameSource::DynamicSymbols
    } else {
        NameSource::Nothing
    })
}
