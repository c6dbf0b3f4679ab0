//! What an ELF file asks the loader for: the loader itself, libraries, and folders to look in.
//!
//! Where the loader would find them is not known here.

use std::fs::File;

use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DynamicTag, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use serde::{Deserialize, Serialize};

use crate::Miss;
use crate::bounded::{BoundedFile, HEADERS_BYTES};
use crate::elf::{Class, native_class};

/// More libraries than any program needs.
const MAX_LIBRARIES: usize = 1024;

/// What a file asks for, as it is in the file, which may have put anything there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loading {
    /// The path of the loader.
    pub loader: Option<Vec<u8>>,
    /// Names of libraries.
    pub libraries: Vec<Vec<u8>>,
    /// Lists of folders, divided by colons: `DT_RUNPATH` and `DT_RPATH`.
    pub folders: Vec<Vec<u8>>,
}

/// Reads what `file` asks for.
///
/// # Errors
/// Where it is no ELF file of this machine, or its headers are damaged.
pub fn loading(file: &File) -> Result<Loading, Miss> {
    let data = &BoundedFile::new(file, HEADERS_BYTES);
    let loading = match native_class(file)? {
        Class::Elf32 => parse::<FileHeader32<Endianness>>(data),
        Class::Elf64 => parse::<FileHeader64<Endianness>>(data),
    };
    loading.map_err(|_damage| Miss::Malformed)
}

fn parse<Elf: FileHeader<Endian = Endianness>>(
    data: &BoundedFile<'_>,
) -> object::read::Result<Loading> {
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let mut found = Loading::default();
    for segment in header.program_headers(endian, data)? {
        if let Ok(Some(loader)) = segment.interpreter(endian, data) {
            found.loader = Some(loader.to_vec());
        }
    }
    let sections = header.sections(endian, data)?;
    let Some((dynamic, link)) = sections.dynamic(endian, data)? else {
        return Ok(found);
    };
    let strings = sections.strings(endian, data, link)?;
    let texts = |tags: &[DynamicTag]| {
        let entries = dynamic
            .iter()
            .filter(|entry| tags.contains(&entry.tag(endian)));
        let texts = entries.filter_map(|entry| entry.string(endian, strings).ok());
        let texts = texts.take(MAX_LIBRARIES).map(<[u8]>::to_vec);
        texts.collect::<Vec<_>>()
    };
    found.libraries = texts(&[DT_NEEDED]);
    found.folders = texts(&[DT_RUNPATH]);
    found.folders.extend(texts(&[DT_RPATH]));
    Ok(found)
}
