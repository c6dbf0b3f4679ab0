//! Why there is no name.

use serde::{Deserialize, Serialize};

/// Why an offset or address has no name. A value in the place of the name: one bad offset costs
/// no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, Serialize, Deserialize)]
pub enum Miss {
    /// The file is stripped and no separate debug file was found.
    #[error("the file has no symbol table")]
    NoSymbols,
    /// There are symbols, but none at this place.
    #[error("no symbol covers the address")]
    NotCovered,
    /// No segment loads this part of the file.
    #[error("the file offset belongs to no loaded segment")]
    InvalidOffset,
    /// Not a regular file, or the kernel refuses to let it be read.
    #[error("failed to read the file, or it is not a regular file")]
    Unreadable,
    /// The file does not begin as an ELF file does.
    #[error("the file is not an ELF file")]
    NotElf,
    /// An ELF file of another byte order or of an unknown class.
    #[error("the ELF file is of a byte order or class that this machine does not run")]
    ForeignElf,
    /// The headers or tables contradict themselves, or the file is cut off.
    #[error("the ELF file is damaged")]
    Malformed,
    /// The parser panicked, which is an error in the parser that the file provoked.
    #[error("the ELF file made the parser fail")]
    ParserPanicked,
    /// Reading the file took longer than it may.
    #[error("reading the file took longer than it may")]
    TimedOut,
    /// Reading the file takes more memory than it may.
    #[error("reading the file takes more memory than it may have")]
    TooMuchMemory,
    /// The file was truncated while it was mapped.
    #[error("the file was cut short while it was read")]
    CutShort,
    /// The process that read the file died of it.
    #[error("the process that read the file died of it")]
    ReaderDied,
    /// `/proc/kallsyms` shows zeros to this process.
    #[error(
        "the kernel hides its addresses from whom lacks CAP_SYSLOG, and by kernel.kptr_restrict 2"
    )]
    KernelAddressesHidden,
    /// A JIT's map was read and has no such code.
    #[error("the JIT's map lists no code at the address")]
    NotInJitMap,
    /// A JIT's map was read up to a bound, and has no such code as far as that.
    #[error(
        "the JIT's map is too long to be read to its end, and lists no code at the address before"
    )]
    JitMapTooLong,
    /// The sizes in a jitdump contradict themselves.
    #[error("the jitdump is damaged before it lists code at the address")]
    JitMapDamaged,
    /// A jitdump of another version or byte order.
    #[error("the jitdump is of another version or byte order")]
    JitMapForeign,
}

impl Miss {
    /// Every reason, for counters and their documentation.
    pub const ALL: [Miss; 17] = [
        Miss::NoSymbols,
        Miss::NotCovered,
        Miss::InvalidOffset,
        Miss::Unreadable,
        Miss::NotElf,
        Miss::ForeignElf,
        Miss::Malformed,
        Miss::ParserPanicked,
        Miss::TimedOut,
        Miss::TooMuchMemory,
        Miss::CutShort,
        Miss::ReaderDied,
        Miss::KernelAddressesHidden,
        Miss::NotInJitMap,
        Miss::JitMapTooLong,
        Miss::JitMapDamaged,
        Miss::JitMapForeign,
    ];

    /// A short name that stays the same from version to version.
    pub fn name(self) -> &'static str {
        match self {
            Miss::NoSymbols => "no-symbols",
            Miss::NotCovered => "not-covered",
            Miss::InvalidOffset => "invalid-offset",
            Miss::Unreadable => "unreadable",
            Miss::NotElf => "not-elf",
            Miss::ForeignElf => "foreign-elf",
            Miss::Malformed => "malformed",
            Miss::ParserPanicked => "parser-panicked",
            Miss::TimedOut => "timed-out",
            Miss::TooMuchMemory => "too-much-memory",
            Miss::CutShort => "cut-short",
            Miss::ReaderDied => "reader-died",
            Miss::KernelAddressesHidden => "kernel-addresses-hidden",
            Miss::NotInJitMap => "not-in-jit-map",
            Miss::JitMapTooLong => "jit-map-too-long",
            Miss::JitMapDamaged => "jit-map-damaged",
            Miss::JitMapForeign => "jit-map-foreign",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reason has its own name and its own sentence.
    #[test]
    fn names_and_sentences_differ() {
        let mut names: Vec<_> = Miss::ALL.iter().map(|miss| miss.name()).collect();
        let mut sentences: Vec<_> = Miss::ALL.iter().map(Miss::to_string).collect();
        names.sort_unstable();
        names.dedup();
        sentences.sort_unstable();
        sentences.dedup();
        assert_eq!(
            (names.len(), sentences.len()),
            (Miss::ALL.len(), Miss::ALL.len())
        );
    }
}
