//! What to do about a missing name, for each reason.

use symbolizer::Miss;

use crate::names::Nameless;

/// Words for the reader of the table; `process` has the code, where that lies in no file, and servers may
/// have been asked for debug files.
pub(super) fn mend(reason: Nameless, process: &str, asked_servers: bool) -> String {
    match reason {
        Nameless::Anonymous => compiler(process),
        Nameless::NoFile => "the process left the mapping before it was read, or its stack is \
                             damaged"
            .to_owned(),
        Nameless::FileGone => "record the process while it runs, or keep the file until the \
                               recording has ended"
            .to_owned(),
        Nameless::JitMapRefused => {
            "the compiler's map of its code is not used; a warning tells why".to_owned()
        }
        Nameless::JitMapGone => {
            "the process ended before its compiler's map was found: record one \
                                 that runs longer"
                .to_owned()
        }
        Nameless::JitMapOfOtherProgram => {
            "the process became another program, and the time of these \
                                           waits is not known"
                .to_owned()
        }
        Nameless::Miss(place) => of_miss(Miss::ALL[place], asked_servers).to_owned(),
    }
}

const fn of_miss(miss: Miss, asked_servers: bool) -> &'static str {
    match miss {
        Miss::NoSymbols | Miss::NotCovered if asked_servers => {
            "stripped, if not of exported functions, and no server has more: install its debug \
             symbols (Debian: `find-dbgsym-packages FILE`), or do not strip it"
        }
        Miss::NoSymbols | Miss::NotCovered => {
            "stripped, if not of exported functions: install its debug symbols (Debian: \
             `find-dbgsym-packages FILE`), give `--debuginfod`, or do not strip it"
        }
        Miss::InvalidOffset => "the file was changed after it was mapped: start the process again",
        Miss::Unreadable => "it is no regular file, or may not be read",
        Miss::NotElf => "it is mapped as code and no ELF file, such as the cache of a compiler",
        Miss::ForeignElf => "it is an ELF file of another architecture",
        Miss::Malformed | Miss::ParserPanicked | Miss::ReaderDied => {
            "the file is damaged, or made to look so: install or build it again"
        }
        Miss::TimedOut => {
            "reading it took longer than it may: give `--no-inline`, or record when the machine is less busy"
        }
        Miss::TooMuchMemory => {
            "the file has more symbols than were read: give `--symbol-memory` more, or `--no-inline`"
        }
        Miss::CutShort => "the file was being written: record once it stays as it is",
        Miss::NotInJitMap => {
            "the compiler wrote code that its map does not list: its newest version may list more"
        }
        Miss::JitMapTooLong => "the compiler's map is longer than is read: start the process again",
        Miss::JitMapDamaged | Miss::JitMapForeign => {
            "the compiler's map is not what it should be: start the process again"
        }
        Miss::KernelAddressesHidden => {
            "run timesink as root or with CAP_SYSLOG; where it has that, `sysctl \
             kernel.kptr_restrict=1`"
        }
    }
}

/// How a compiler that writes code while it runs is told to write names as well.
fn compiler(process: &str) -> String {
    let flag = match process {
        _ if process.starts_with("node") => "start it with `node --perf-basic-prof`",
        _ if process.starts_with("python") => "start it with `python -X perf` (3.12 or later)",
        _ if process.starts_with("java") => {
            "start it with an agent that writes a perf map, such as libperf-jvmti.so"
        }
        _ if process.starts_with("dotnet") => "start it with `DOTNET_PerfMapEnabled=1`",
        _ => {
            "a JIT compiler wrote it: have it write a perf map (node: `--perf-basic-prof`, Python: \
             `-X perf`, Java: an agent, .NET: `DOTNET_PerfMapEnabled=1`)"
        }
    };
    flag.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reason has words of its own, and a compiler that is known by its process has its flag
    /// alone.
    #[test]
    fn each_reason_has_its_words() {
        for place in 0..Miss::ALL.len() {
            assert!(!mend(Nameless::Miss(place), "", false).is_empty());
        }
        let words = mend(Nameless::Anonymous, "node", false);
        assert!(words.contains("--perf-basic-prof") && !words.contains("Java"));
        let words = mend(Nameless::Anonymous, "wasmtime", false);
        assert!(words.contains("--perf-basic-prof") && words.contains("-X perf"));
    }
    /// Nobody is told to give an option that was given.
    #[test]
    fn servers_are_not_advised_to_who_asked_them() {
        for miss in [Miss::NoSymbols, Miss::NotCovered] {
            let words = |asked| of_miss(miss, asked);
            assert!(words(false).contains("--debuginfod") && words(false).contains("dbgsym"));
            assert!(!words(true).contains("--debuginfod") && words(true).contains("dbgsym"));
        }
    }
}
