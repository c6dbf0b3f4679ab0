//! Inlined functions and source lines from DWARF, by addr2line: units are parsed where an address
//! lies in them, and no others.
//!
//! Does not look for files: the supplementary file, to which `dwz` moves what several files share, and
//! those of split DWARF are given, open. addr2line and not blazesym, which would open whatever
//! the links of a file name, and reads none of them from where it is told.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use addr2line::{Context, Frame, FrameIter, LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{DwarfFileType, DwarfPackageSections, DwarfSections, EndianSlice, RunTimeEndian};
use memmap2::{Mmap, UncheckedAdvice};
use object::{Object, ObjectSection};

use crate::answer::Answers;
use crate::file::SplitUnit;
use crate::{Detail, Function, Miss, SourceLine, Symbol};

/// More functions than are inlined into each other at one place.
const MAX_DEPTH: usize = 256;
/// After so many addresses the pages of the file that were read are given back: they are in the
/// page cache, and else a file of a gigabyte would be in memory as a whole.
const ADDRESSES_BETWEEN_RELEASES: usize = 128;

/// The files that hold the DWARF of one program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DwarfFiles<'f> {
    /// With `.debug_info`.
    pub(crate) main: &'f File,
    /// What `.gnu_debugaltlink` or `.debug_sup` names.
    pub(crate) supplementary: Option<&'f File>,
    /// A `.dwp`.
    pub(crate) package: Option<&'f File>,
    /// `.dwo` files.
    pub(crate) units: &'f [File],
}

type Reader<'d> = EndianSlice<'d, RunTimeEndian>;
type Package<'d> = gimli::DwarfPackage<Reader<'d>>;
type Bytes<'d> = Cow<'d, [u8]>;

/// The functions at each link-time address, and the `.dwo` files that are not among those given.
///
/// # Errors
/// Where the file cannot be read or its headers contradict themselves.
pub(crate) fn look_up(
    files: DwarfFiles<'_>,
    addresses: &[u64],
    detail: Detail,
) -> Result<(Answers, Vec<SplitUnit>), Miss> {
    let maps = [Some(files.main), files.supplementary, files.package];
    let [main, supplementary, package] = maps.map(|file| file.map(map).transpose());
    let main = main?.ok_or(Miss::Unreadable)?;
    // What one of the others lacks costs what it would tell, and no more.
    let (supplementary, package) = (supplementary.unwrap_or(None), package.unwrap_or(None));
    let units: Vec<Mmap> = files
        .units
        .iter()
        .filter_map(|file| map(file).ok())
        .collect();
    // addr2line and gimli see what a panic left half done no more: both are dropped here.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let maps = Maps {
            main: &main,
            supplementary: supplementary.as_ref(),
            package: package.as_ref(),
            units: &units,
        };
        maps.look_up(addresses, detail)
    }));
    looked.unwrap_or(Err(Miss::ParserPanicked))
}

fn map(file: &File) -> Result<Mmap, Miss> {
    // SAFETY: the map is only read. That another process may write to the file, or cut it short, is
    // what this crate leaves to the process that calls.
    unsafe { Mmap::map(file) }.map_err(|_refused| Miss::Unreadable)
}

/// The mapped files.
#[derive(Clone, Copy)]
struct Maps<'m> {
    main: &'m Mmap,
    supplementary: Option<&'m Mmap>,
    package: Option<&'m Mmap>,
    units: &'m [Mmap],
}

impl Maps<'_> {
    fn look_up(self, addresses: &[u64], detail: Detail) -> Result<(Answers, Vec<SplitUnit>), Miss> {
        let main = object::File::parse(self.main.as_ref()).map_err(|_damage| Miss::Malformed)?;
        let endian = endianness(&main);
        let sections = DwarfSections::load(|id| section(&main, Some(id.name())))?;
        let supplementary = self.supplementary.and_then(|map| {
            let file = object::File::parse(map.as_ref()).ok()?;
            DwarfSections::load(|id| section(&file, Some(id.name()))).ok()
        });
        let package = self.package.and_then(|map| {
            let file = object::File::parse(map.as_ref()).ok()?;
            DwarfPackageSections::load(|id| section(&file, id.dwo_name())).ok()
        });
        let units = self.units.iter().filter_map(|map| {
            let file = object::File::parse(map.as_ref()).ok()?;
            DwarfSections::load(|id| section(&file, id.dwo_name())).ok()
        });
        let units: Vec<DwarfSections<Bytes<'_>>> = units.collect();
        let borrow = |bytes| slice(bytes, endian);
        let package = package
            .as_ref()
            .and_then(|sections| sections.borrow(borrow, EndianSlice::new(&[], endian)).ok());
        let units = units
            .iter()
            .filter_map(|sections| unit(sections.borrow(borrow)));
        let mut split = Split {
            package,
            units: units.collect(),
            lacking: Vec::new(),
        };
        let dwarf = sections.borrow_with_sup(supplementary.as_ref(), borrow);
        let context = Context::from_dwarf(dwarf).map_err(|_damage| Miss::Malformed)?;
        self.release();
        let mut answers = Vec::with_capacity(addresses.len());
        for (index, &address) in addresses.iter().enumerate() {
            let functions = functions(&context, &mut split, address, detail);
            answers.push(
                functions.map_or(Err(Miss::NotCovered), |functions| Ok(Symbol { functions })),
            );
            if index % ADDRESSES_BETWEEN_RELEASES == ADDRESSES_BETWEEN_RELEASES - 1 {
                self.release();
            }
        }
        Ok((answers, split.lacking))
    }

    /// Gives back the pages that were read; they come again where they are needed.
    fn release(self) {
        for map in [Some(self.main), self.supplementary, self.package]
            .into_iter()
            .flatten()
        {
            // SAFETY: the map is shared with the page cache and never written to, so that nothing
            // is lost with its pages. Where the kernel refuses, they stay.
            let _kept = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
        }
    }
}

fn slice<'d>(bytes: &'d Bytes<'_>, endian: RunTimeEndian) -> Reader<'d> {
    EndianSlice::new(bytes, endian)
}

fn endianness(file: &object::File<'_>) -> RunTimeEndian {
    if file.is_little_endian() {
        RunTimeEndian::Little
    } else {
        RunTimeEndian::Big
    }
}

/// A section's bytes, decompressed where they have to be; none where there is no such section.
fn section<'d>(file: &object::File<'d>, name: Option<&str>) -> Result<Bytes<'d>, Malformed> {
    let section = name.and_then(|name| file.section_by_name(name));
    section.map_or(Ok(Cow::Borrowed(&[])), |section| {
        section.uncompressed_data().map_err(|_damage| Malformed)
    })
}

/// gimli wants errors that its own can become.
struct Malformed;

impl From<gimli::Error> for Malformed {
    fn from(_damage: gimli::Error) -> Self {
        Self
    }
}

impl From<Malformed> for Miss {
    fn from(_damage: Malformed) -> Self {
        Miss::Malformed
    }
}

fn functions<'d>(
    context: &Context<Reader<'d>>,
    split: &mut Split<'d>,
    address: u64,
    detail: Detail,
) -> Option<Vec<Function>> {
    let frames = resumed(context.find_frames(address), split).ok()?;
    let mut functions = named(frames, detail);
    if !detail.inlines {
        // The line is that of the instruction, whatever it was inlined from.
        let source = functions.first_mut()?.source.take();
        functions.drain(..functions.len() - 1);
        functions[0].source = source;
    }
    (!functions.is_empty()).then_some(functions)
}

fn named(mut frames: FrameIter<'_, Reader<'_>>, detail: Detail) -> Vec<Function> {
    let mut functions = Vec::new();
    while let Ok(Some(frame)) = frames.next()
        && functions.len() < MAX_DEPTH
    {
        let source = detail.lines.then(|| line_of(&frame)).flatten();
        let Some(name) = frame.function else { continue };
        if let Ok(name) = name.raw_name() {
            functions.push(Function::new(&name, source));
        }
    }
    functions
}

fn line_of(frame: &Frame<'_, Reader<'_>>) -> Option<SourceLine> {
    let place = frame.location.as_ref()?;
    Some(SourceLine {
        file: place.file?.to_owned(),
        line: place.line.unwrap_or(0),
    })
}

/// The outcome of a lookup, with the split units that it asks for.
fn resumed<'d, L: LookupContinuation<Buf = Reader<'d>>>(
    mut result: LookupResult<L>,
    split: &mut Split<'d>,
) -> L::Output {
    loop {
        match result {
            LookupResult::Output(output) => return output,
            LookupResult::Load { load, continuation } => {
                result = continuation.resume(split.unit(&load));
            }
        }
    }
}

/// DWARF that is not in the program's own file.
struct Split<'d> {
    package: Option<Package<'d>>,
    units: HashMap<u64, gimli::Dwarf<Reader<'d>>>,
    lacking: Vec<SplitUnit>,
}

impl<'d> Split<'d> {
    fn unit(&mut self, load: &SplitDwarfLoad<Reader<'d>>) -> Option<Arc<gimli::Dwarf<Reader<'d>>>> {
        let packed = self.package.as_ref();
        let packed = packed.and_then(|package| package.find_cu(load.dwo_id, &load.parent).ok()?);
        let found = packed.or_else(|| {
            let mut unit = self.units.remove(&load.dwo_id.0)?;
            unit.make_dwo(&load.parent);
            Some(unit)
        });
        if found.is_none() {
            let text = |text: Option<Reader<'d>>| text.map_or(Vec::new(), |text| text.to_vec());
            self.lacking.push(SplitUnit {
                folder: text(load.comp_dir),
                name: text(load.path),
            });
        }
        found.map(Arc::new)
    }
}

/// The unit in a `.dwo` file, by its id.
fn unit(mut file: gimli::Dwarf<Reader<'_>>) -> Option<(u64, gimli::Dwarf<Reader<'_>>)> {
    file.file_type = DwarfFileType::Dwo;
    let mut headers = file.units();
    while let Ok(Some(header)) = headers.next() {
        let id = file.unit(header).ok().and_then(|unit| unit.dwo_id);
        if let Some(id) = id {
            return Some((id.0, file));
        }
    }
    None
}
