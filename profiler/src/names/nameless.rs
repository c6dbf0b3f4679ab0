//! The reasons for which a place has no name.

use symbolizer::Miss;

use crate::jit::Unlisted;

/// Why a place has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Nameless {
    /// In no mapping, or in one that could not be read or numbered; the programs count which.
    NoFile,
    /// In memory without a file, and nothing lists code there.
    Anonymous,
    /// In memory without a file, and the JIT's map is not used.
    JitMapRefused,
    /// In memory without a file, of a process that was gone before its JIT's map was found.
    JitMapGone,
    /// In memory without a file, of a process that ran several programs.
    JitMapOfOtherProgram,
    /// The file could not be opened: it was gone, or its announcement was lost.
    FileGone,
    /// By the symbolizer's reason, as its place in [`Miss::ALL`].
    Miss(usize),
}

impl Nameless {
    /// The reason of the symbolizer.
    #[must_use]
    pub fn of(miss: Miss) -> Self {
        let place = Miss::ALL.iter().position(|&other| other == miss);
        Self::Miss(place.unwrap_or(0))
    }

    /// A few words for a table's row.
    #[must_use]
    pub fn name(self) -> String {
        let reason = match self {
            Self::NoFile => "no-file",
            Self::Anonymous => "anonymous-memory",
            Self::JitMapRefused => "jit-map-refused",
            Self::JitMapGone => "jit-map-gone",
            Self::JitMapOfOtherProgram => "jit-map-of-other-program",
            Self::FileGone => "file-gone",
            Self::Miss(place) => Miss::ALL[place].name(),
        };
        format!("unnamed: {reason}")
    }

    /// A sentence for the reader of a ledger.
    #[must_use]
    pub fn meaning(self) -> String {
        let reason = match self {
            Self::NoFile => {
                "the address lies in no mapping of a file that could be read".to_owned()
            }
            Self::Anonymous => {
                "the code lies in memory without a file, as a JIT's does, and the process has neither \
                 a perf map nor a jitdump"
                    .to_owned()
            }
            Self::JitMapRefused => {
                "the map in which the process's JIT lists its code is not used; a warning tells why"
                    .to_owned()
            }
            Self::JitMapGone => {
                "the process was gone before it was seen whether its JIT lists its code".to_owned()
            }
            Self::JitMapOfOtherProgram => {
                "the process ran several programs with a JIT, and in which of them this was is not known"
                    .to_owned()
            }
            Self::FileGone => "the file could not be opened any more".to_owned(),
            Self::Miss(place) => Miss::ALL[place].to_string(),
        };
        format!("frames of all stacks without a name: {reason}")
    }
}

impl From<Unlisted> for Nameless {
    fn from(unlisted: Unlisted) -> Self {
        match unlisted {
            Unlisted::NoMap => Self::Anonymous,
            Unlisted::Refused => Self::JitMapRefused,
            Unlisted::Gone => Self::JitMapGone,
            Unlisted::OtherProgram => Self::JitMapOfOtherProgram,
            Unlisted::Miss(place) => Self::Miss(place),
        }
    }
}
