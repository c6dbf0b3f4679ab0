//! Names for the offsets of one ELF file.
//!
//! Three sources, the cheap ones first: the file's symbol table, the symbol table of the separate
//! debug file, and DWARF in either. DWARF is parsed only where lines or inlined functions are
//! asked for, or where the file has DWARF but no symbol table.
//!
//! No other file is opened than those that are given: what a file names as its separate debug file
//! is for the caller to find.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolizer};
use serde::{Deserialize, Serialize};

use crate::answer::{Answers, ask, each_once};
use crate::dwarf::{self, DwarfFiles};
use crate::elf::Layout;
use crate::frames;
use crate::plt;
use crate::{Detail, Miss, Symbol};

/// An ELF file, and the files that belong to it, all open.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'f> {
    /// The file that runs.
    pub main: &'f File,
    /// Its separate debug file.
    pub debug: Option<&'f File>,
    /// What `dwz` moved out of the file that has the DWARF.
    pub supplementary: Option<&'f File>,
    /// The package of its split DWARF (`.dwp`).
    pub package: Option<&'f File>,
    /// Its split DWARF in single files (`.dwo`).
    pub units: &'f [File],
    /// The most bytes that compressed DWARF of one file may become. What claims more is not used.
    pub decompressed_bytes: u64,
}

impl<'f> Sources<'f> {
    /// A file alone.
    #[must_use]
    pub fn alone(main: &'f File) -> Self {
        Sources {
            main,
            debug: None,
            supplementary: None,
            package: None,
            units: &[],
            decompressed_bytes: 1 << 30,
        }
    }

    /// The file whose DWARF is worth parsing, if any.
    fn dwarf(&self, main: &Layout, detail: Detail) -> Option<DwarfFiles<'f>> {
        let is_worth = |layout: &Layout| {
            layout.has_dwarf
                && (detail.needs_dwarf() || !layout.has_symtab)
                && layout.decompressed_bytes <= self.decompressed_bytes
        };
        let main = if is_worth(main) {
            self.main
        } else {
            let debug = self.debug?;
            Layout::read(debug).ok().filter(is_worth).map(|_| debug)?
        };
        Some(DwarfFiles {
            main,
            supplementary: self.supplementary,
            package: self.package,
            units: self.units,
        })
    }
}

/// What was found of the offsets of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// One for each offset, in their order.
    pub answers: Vec<Result<Symbol, Miss>>,
    /// For each of them the offsets of the function in which it lies, as far as they are known: where it
    /// has a symbol by that, and else by the file's call frame information. All of it has one name,
    /// though not the same lines and inlined functions.
    pub functions: Vec<Option<Range<u64>>>,
    /// Parts of the DWARF that lie in files which were not given. With them, lines and inlined
    /// functions are told of more places.
    pub lacking: Vec<SplitUnit>,
}

/// A `.dwo` file, by what the DWARF of a program calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SplitUnit {
    /// The folder that the program was compiled in.
    pub folder: Vec<u8>,
    /// The path of the file, absolute or relative to the folder.
    pub name: Vec<u8>,
}

/// Names for `offsets` in an ELF file. Lines and inlined functions are told of those
/// that are `detailed`.
///
/// blazesym opens the file once more, by its descriptor's name in `descriptors`, which is a path to
/// `/proc/self/fd` that this process can follow; so the file may have been deleted or lie in another
/// mount namespace.
pub fn file(
    sources: Sources<'_>,
    descriptors: &str,
    offsets: &[u64],
    detail: Detail,
    detailed: impl Fn(u64) -> bool,
) -> Names {
    let layout = match Layout::read(sources.main) {
        Ok(layout) => layout,
        Err(miss) => {
            return Names {
                answers: vec![Err(miss); offsets.len()],
                functions: vec![None; offsets.len()],
                lacking: Vec::new(),
            };
        }
    };
    let mut lacking = Vec::new();
    let found = each_once(offsets, |offsets| {
        let mut lookup = Lookup::new(&layout, offsets);
        if layout.has_symbols {
            lookup.names(sources.main, descriptors);
        }
        if let Some(debug) = sources.debug {
            lookup.names(debug, descriptors);
        }
        if let Some(files) = sources.dwarf(&layout, detail) {
            lacking = lookup.dwarf(files, detail, |index| detailed(offsets[index]));
        }
        lookup.linkage(sources.main);
        lookup.frames(sources.main);
        let functions = lookup.functions(offsets);
        lookup.answers.into_iter().zip(functions).collect()
    });
    let (answers, functions) = found.into_iter().unzip();
    Names {
        answers,
        functions,
        lacking,
    }
}

/// What is known of each offset so far.
struct Lookup {
    /// Link-time addresses; an offset that is not loaded has none.
    addresses: Vec<Option<u64>>,
    answers: Answers,
    /// The link-time addresses of their functions.
    extents: Vec<Option<Range<u64>>>,
}

impl Lookup {
    fn new(layout: &Layout, offsets: &[u64]) -> Self {
        let addresses: Vec<_> = offsets
            .iter()
            .map(|&offset| layout.address(offset))
            .collect();
        let unknown = if layout.has_symbols {
            Miss::NotCovered
        } else {
            Miss::NoSymbols
        };
        let answers = addresses
            .iter()
            .map(|address| Err(address.map_or(Miss::InvalidOffset, |_| unknown)))
            .collect();
        Lookup {
            extents: vec![None; addresses.len()],
            addresses,
            answers,
        }
    }

    /// Looks up what has no name yet in the symbol table of `source`. Each call has its own
    /// symbolizer, as it caches by path, and a descriptor is another file each time.
    fn names(&mut self, source: &File, descriptors: &str) {
        let (indices, addresses) = self.wanted(|index| self.answers[index].is_err());
        if addresses.is_empty() {
            return;
        }
        let mut elf = Elf::new(format!("{descriptors}/{}", source.as_raw_fd()));
        elf.debug_syms = false;
        let symbolizer = Symbolizer::builder()
            .enable_code_info(false)
            .enable_inlined_fns(false)
            .enable_demangling(false)
            .build();
        let answers = ask(
            &symbolizer,
            &Source::Elf(elf),
            Input::VirtOffset(&addresses),
        );
        for (index, (answer, extent)) in indices.into_iter().zip(answers) {
            merge(&mut self.answers[index], answer);
            self.extents[index] = extent;
        }
    }

    /// Names entries of procedure linkage tables. What has a symbol there has that of something before
    /// the table, whose size is not known.
    fn linkage(&mut self, source: &File) {
        let (indices, addresses) = self.wanted(|index| self.extents[index].is_none());
        if addresses.is_empty() {
            return;
        }
        let found = plt::functions_at(source, &addresses);
        for (index, function) in indices.into_iter().zip(found) {
            if let Some(function) = function {
                let functions = vec![function];
                self.answers[index] = Ok(Symbol { functions });
            }
        }
    }

    /// Finds the functions of what has no name.
    fn frames(&mut self, source: &File) {
        let (indices, addresses) = self.wanted(|index| self.answers[index].is_err());
        if addresses.is_empty() {
            return;
        }
        let functions = frames::functions_at(source, &addresses);
        for (index, function) in indices.into_iter().zip(functions) {
            self.extents[index] = function;
        }
    }

    /// Extents as offsets in the file: as far from those that were asked for as in memory.
    fn functions(&self, offsets: &[u64]) -> Vec<Option<Range<u64>>> {
        let places = offsets.iter().zip(&self.addresses).zip(&self.extents);
        let function =
            |((&offset, address), extent): ((&u64, &Option<u64>), &Option<Range<u64>>)| {
                let (address, extent) = ((*address)?, extent.as_ref()?);
                let start = offset.checked_sub(address.checked_sub(extent.start)?)?;
                let end = offset.checked_add(extent.end.checked_sub(address)?)?;
                (offset < end).then_some(start..end)
            };
        places.map(function).collect()
    }

    /// Looks up in DWARF what has no name yet, and what is `detailed` if lines or inlined functions
    /// are asked for.
    fn dwarf(
        &mut self,
        files: DwarfFiles<'_>,
        detail: Detail,
        detailed: impl Fn(usize) -> bool,
    ) -> Vec<SplitUnit> {
        let (indices, addresses) = self.wanted(|index| {
            self.answers[index].is_err() || (detail.needs_dwarf() && detailed(index))
        });
        if addresses.is_empty() {
            return Vec::new();
        }
        let (known, lacking) = match dwarf::look_up(files, &addresses, detail) {
            Ok(found) => found,
            Err(miss) => (vec![Err(miss); addresses.len()], Vec::new()),
        };
        for (index, answer) in indices.into_iter().zip(known) {
            merge(&mut self.answers[index], answer);
        }
        lacking
    }

    /// The places and addresses of what is `wanted`, as far as it is loaded.
    fn wanted(&self, wanted: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<u64>) {
        (self.addresses.iter().enumerate())
            .filter(|&(index, _)| wanted(index))
            .filter_map(|(index, address)| Some((index, (*address)?)))
            .unzip()
    }
}

/// Adds what a further source says. The name stays that of the first source that has one, so that
/// it does not depend on the detail asked for.
fn merge(known: &mut Result<Symbol, Miss>, mut further: Result<Symbol, Miss>) {
    match (&mut *known, &mut further) {
        (Ok(known), Ok(further)) => {
            let outermost = further.functions.last_mut().zip(known.functions.pop());
            if let Some((further, known)) = outermost {
                further.name = known.name;
                further.system_name = known.system_name;
            }
        }
        (Ok(_), Err(_)) | (Err(_), Err(Miss::NoSymbols | Miss::NotCovered)) => return,
        (Err(_), Ok(_) | Err(_)) => {}
    }
    *known = further;
}
