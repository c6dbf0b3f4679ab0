//! What a file has to name its code with, without reading it.

use std::fs::File;

use crate::Miss;
use crate::elf::{Layout, build_id};

/// Where distributions put separate debug files, by build id.
const DEBUG_DIRECTORIES: [&str; 2] = ["/usr/lib/debug/.build-id", "/lib/debug/.build-id"];

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

/// The separate debug file of an ELF file, as distributions install them: by build id, below
/// `/usr/lib/debug` or `/lib/debug`.
pub fn debug_file(file: &File) -> Option<File> {
    let id = build_id(file)?;
    let (first, rest) = id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    DEBUG_DIRECTORIES.iter().find_map(|directory| {
        let debug_file = File::open(format!("{directory}/{first:02x}/{rest}.debug")).ok()?;
        (build_id(&debug_file)? == id).then_some(debug_file)
    })
}
