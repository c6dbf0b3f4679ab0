//! What a file has to name its code with, without reading it.

use crate::Description;

/// The best source of names that a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameSource {
    /// A whole symbol table.
    SymbolTable,
    /// A separate debug file.
    DebugFile,
    /// DWARF alone.
    Dwarf,
    /// A compressed symbol table of the functions that are not exported.
    MiniDebug,
    /// The functions that other files may call, and none of the others.
    DynamicSymbols,
    /// None at all.
    Nothing,
}

impl NameSource {
    /// Where names for a file's code come from.
    #[must_use]
    pub fn of(file: &Description, has_debug_file: bool) -> Self {
        if file.has_symtab {
            NameSource::SymbolTable
        } else if has_debug_file {
            NameSource::DebugFile
        } else if file.has_dwarf {
            NameSource::Dwarf
        } else if file.has_mini_debug {
            NameSource::MiniDebug
        } else if file.has_dynsym {
            NameSource::DynamicSymbols
        } else {
            NameSource::Nothing
        }
    }
}
