//! Names for file offsets in ELF files, for addresses in the running kernel, and for code that a JIT
//! lists in a perf map or a jitdump.
//!
//! A request is an open file, offsets and a [`Detail`]; an answer is, per offset, a [`Symbol`] or
//! the reason why there is none, a [`Miss`]. Both are plain data and nothing is kept between two
//! calls of [`file()`], so the call can move to another process as it is.
//!
//! This crate does not find out which file a process has mapped where, does not cache answers,
//! and does not clean names for a terminal or a markup language.
//!
//! Files may be hostile. Headers are read here within a byte budget; symbol tables and DWARF are
//! read by [`blazesym`], which maps the file into memory. Three things are therefore left to the
//! process that calls: a limit on memory, a limit on time, and surviving SIGBUS when a file is
//! truncated while it is mapped.

mod answer;
mod bounded;
mod demangle;
mod describe;
mod dwarf;
mod elf;
mod file;
mod frames;
mod jit;
mod jitdump;
mod kernel;
mod loading;
mod miss;
mod perf_map;
mod plt;
mod short;
mod sources;
mod symbol;
mod vdso;
mod window;

pub use bounded::BoundedFile;
pub use demangle::demangle;
pub use describe::{AltLink, DebugLink, Description, crc32, describe};
pub use elf::build_id;
pub use file::{Names, Sources, SplitUnit, file};
pub use jit::{JitName, JitNames};
pub use jitdump::jitdump;
pub use kernel::{KernelImage, KernelNames, kernel_build_id};
pub use loading::{Loading, loading};
pub use miss::Miss;
pub use perf_map::perf_map;
pub use short::short_name;
pub use sources::NameSource;
pub use symbol::{Detail, Function, SourceLine, Symbol};
pub use vdso::{vdso_file, vdso_image};
