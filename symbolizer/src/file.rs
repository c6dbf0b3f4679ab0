//! Names for the offsets of one ELF file.
//!
//! Three sources, the cheap ones first: the file's symbol table, the symbol table of the separate
//! debug file, and DWARF in either. DWARF is parsed only where lines or inlined functions are
//! asked for, or where the file has DWARF but no symbol table.
//!
//! blazesym would follow links from a file to separate debug files by itself, and open whatever
//! the link names: a FIFO there blocks for ever. So the DWARF of a file that has such a link is
//! not used, and the separate file is found here, by build id and in directories of root only.

use std::fs::File;
use std::os::fd::AsRawFd;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Builder, Input, Symbolizer};

use crate::answer::{Answers, ask, each_once};
use crate::elf::{Layout, build_id};
use crate::{Detail, Miss, Symbol};

/// Where distributions put separate debug files, by build id.
const DEBUG_DIRECTORIES: [&str; 2] = ["/usr/lib/debug/.build-id", "/lib/debug/.build-id"];

/// blazesym allocates what a compressed section says that it needs, and the process dies if that
/// is refused. DWARF beyond this is not used.
const MAX_DECOMPRESSED_BYTES: u64 = 1 << 30;

/// Names for `offsets` in an ELF file, in their order. Uses the separate debug file, if one is
/// installed.
///
/// The file is opened once more through `/proc/self/fd`, so that it may have been deleted or lie
/// in another mount namespace; the caller must still have the right to open it.
pub fn file(file: &File, offsets: &[u64], detail: Detail) -> Vec<Result<Symbol, Miss>> {
    file_with_debug(file, debug_file(file).as_ref(), offsets, detail)
}

/// As [`file()`], with the separate debug file given.
pub fn file_with_debug(
    file: &File,
    debug_file: Option<&File>,
    offsets: &[u64],
    detail: Detail,
) -> Vec<Result<Symbol, Miss>> {
    let layout = match Layout::read(file) {
        Ok(layout) => layout,
        Err(miss) => return vec![Err(miss); offsets.len()],
    };
    each_once(offsets, |offsets| {
        let mut lookup = Lookup::new(&layout, offsets);
        if layout.has_symbols {
            lookup.names(file);
        }
        if let Some(debug_file) = debug_file {
            lookup.names(debug_file);
        }
        if let Some(dwarf) = dwarf_source(file, &layout, debug_file, detail) {
            lookup.dwarf(dwarf, detail);
        }
        lookup.answers
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

/// The file whose DWARF is worth parsing, if any.
fn dwarf_source<'f>(
    file: &'f File,
    layout: &Layout,
    debug_file: Option<&'f File>,
    detail: Detail,
) -> Option<&'f File> {
    let is_worth = |layout: &Layout| {
        layout.has_dwarf
            && (detail.needs_dwarf() || !layout.has_symtab)
            && layout.decompressed_bytes <= MAX_DECOMPRESSED_BYTES
    };
    if is_worth(layout) && !layout.has_debug_links {
        return Some(file);
    }
    let debug_file = debug_file?;
    let debug_layout = Layout::read(debug_file).ok()?;
    is_worth(&debug_layout).then_some(debug_file)
}

/// What is known of each offset so far.
struct Lookup {
    /// Link-time addresses; an offset that is not loaded has none.
    addresses: Vec<Option<u64>>,
    answers: Answers,
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
        Lookup { addresses, answers }
    }

    /// Looks up what has no name yet in the symbol table of `source`.
    fn names(&mut self, source: &File) {
        let symbolizer = Symbolizer::builder()
            .enable_code_info(false)
            .enable_inlined_fns(false);
        self.look_up(source, symbolizer, false, |answer| answer.is_err());
    }

    /// Looks up in the DWARF of `source` what has no name yet, or all if lines or inlined
    /// functions are asked for.
    fn dwarf(&mut self, source: &File, detail: Detail) {
        let symbolizer = Symbolizer::builder()
            .enable_code_info(detail.needs_dwarf())
            .enable_inlined_fns(detail.inlines);
        self.look_up(source, symbolizer, true, |answer| {
            detail.needs_dwarf() || answer.is_err()
        });
        if !detail.lines {
            let symbols = self.answers.iter_mut().flatten();
            symbols
                .flat_map(|symbol| &mut symbol.functions)
                .for_each(|function| function.source = None);
        }
    }

    /// Asks blazesym for the addresses whose answer is `wanted`. Each call has its own
    /// symbolizer, as it caches by path, and `/proc/self/fd/N` is another file each time.
    fn look_up(
        &mut self,
        source: &File,
        symbolizer: Builder,
        debug_syms: bool,
        wanted: impl Fn(&Result<Symbol, Miss>) -> bool,
    ) {
        let (indices, addresses): (Vec<_>, Vec<_>) = (self.addresses.iter().enumerate())
            .filter(|&(index, _)| wanted(&self.answers[index]))
            .filter_map(|(index, address)| Some((index, (*address)?)))
            .unzip();
        if addresses.is_empty() {
            return;
        }
        let mut elf = Elf::new(format!("/proc/self/fd/{}", source.as_raw_fd()));
        elf.debug_syms = debug_syms;
        let symbolizer = symbolizer.enable_demangling(false).build();
        let answers = ask(
            &symbolizer,
            &Source::Elf(elf),
            Input::VirtOffset(&addresses),
        );
        for (index, answer) in indices.into_iter().zip(answers) {
            merge(&mut self.answers[index], answer);
        }
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
