//! The plain data of requests and answers.

use serde::{Deserialize, Serialize};

use crate::demangle::{demangle, system_name};

/// What an offset or address resolves to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Symbol {
    /// The function that holds the instruction and those it is inlined into, innermost first.
    /// Never empty; more than one only when inlined functions were asked for.
    pub functions: Vec<Function>,
}

/// One function of a [`Symbol`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Function {
    /// The name as its source language writes it.
    pub name: String,
    /// The name as the linker knows it, without a symbol version.
    pub system_name: String,
    /// Where in the source the instruction is; for a function that others are inlined into, where
    /// it calls the next inner one.
    pub source: Option<SourceLine>,
}

impl Function {
    /// A function by its name in a symbol table or in DWARF.
    pub(crate) fn new(linkage_name: &str, source: Option<SourceLine>) -> Self {
        Function {
            name: demangle(linkage_name),
            system_name: system_name(linkage_name),
            source,
        }
    }
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceLine {
    /// The path of the source file as the compiler recorded it.
    pub file: String,
    /// The line, counted from 1; 0 is unknown.
    pub line: u32,
}

/// How much to tell beyond the function's name. Either field makes DWARF be parsed, which for a
/// large binary costs hundreds of megabytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Detail {
    /// Fill in [`Function::source`].
    pub lines: bool,
    /// Report inlined functions.
    pub inlines: bool,
}

impl Detail {
    /// Whether DWARF is needed.
    pub(crate) fn needs_dwarf(self) -> bool {
        self.lines || self.inlines
    }
}
