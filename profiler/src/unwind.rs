//! Unwind tables: from an ELF file's call frame information to what the kernel programs search.
//!
//! ```text
//! file::read ──▶ rows::read ──▶ Rows ──pages::build──▶ Pages (for the kernel's maps)
//!                               ▲  │
//!                               │  ▼
//!                              cache (a file per build id)
//! ```
//!
//! All but `cache` and `file` is pure: bytes in, plain data out. Nothing here decides when a table is built,
//! loads it into the kernel or forgets it.

pub mod cache;
pub mod file;
pub mod pages;
pub mod rows;
pub mod rules;
pub mod vdso;

mod crt;
mod elf;
mod entries;
mod expressions;
mod gaps;
mod spans;
mod translate;

pub(crate) use gaps::MAX_SEARCHED_BYTES;
pub(crate) use spans::most_rows;
