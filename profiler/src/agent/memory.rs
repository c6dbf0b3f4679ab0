//! What an agent has of the machine's memory.
//!
//! Pages of files do not count: the kernel takes those of the program back when it needs them, and those of
//! BPF maps are in the maps already. Files in memory do, which are the copies of files that others serve.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt};

/// What `st_blocks` of `stat(2)` counts in.
const BLOCK_BYTES: u64 = 512;

/// Bytes, by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In this process.
    pub agent: u64,
    /// In those that read files for it.
    pub readers: u64,
    /// In its BPF maps.
    pub kernel: u64,
}

impl Memory {
    /// At this moment.
    #[must_use]
    pub fn now() -> Self {
        Self {
            agent: own_bytes("self") + copied_bytes(),
            readers: children().iter().map(|pid| own_bytes(pid)).sum(),
            kernel: map_bytes(),
        }
    }

    /// All of it.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.agent + self.readers + self.kernel
    }
}

/// What is no file's, by `RssAnon` of `proc_pid_status(5)`; 0 where the process has ended.
fn own_bytes(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Of the files in memory that are open; several descriptors may lead to one.
fn copied_bytes() -> u64 {
    let folder = fs::read_dir("/proc/self/fd").into_iter().flatten();
    let files = folder.filter_map(|entry| {
        let path = entry.ok()?.path();
        let link = fs::read_link(&path).ok()?;
        let is_in_memory = link.as_os_str().as_encoded_bytes().starts_with(b"/memfd:");
        let data = is_in_memory.then(|| fs::metadata(path))?.ok()?;
        Some((data.ino(), data.blocks() * BLOCK_BYTES))
    });
    files.collect::<HashMap<u64, u64>>().values().sum()
}

/// The children of all threads, by `proc_tid_children(5)`.
fn children() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let lists = threads.filter_map(|thread| {
        let list = thread.ok()?.path().join("children");
        fs::read_to_string(list).ok()
    });
    let lists: Vec<String> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    pids.map(str::to_owned).collect()
}

/// By `memlock` of the maps' descriptors; two may lead to the same map.
fn map_bytes() -> u64 {
    let folder = fs::read_dir("/proc/self/fdinfo").into_iter().flatten();
    let infos = folder.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let maps = infos.filter_map(|info| {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        Some((field("map_id:")?, field("memlock:")?))
    });
    let maps: HashMap<u64, u64> = maps.collect();
    maps.values().sum()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What a process has grown by is in the sum.
    #[test]
    fn growth_is_seen() {
        const BYTES: usize = 64 << 20;
        let before = Memory::now();
        let grown = std::hint::black_box(vec![1_u8; BYTES]);
        let now = Memory::now();
        assert!(
            now.all() > before.all() + BYTES as u64 / 2,
            "{before:?} {now:?}"
        );
        drop(grown);
    }

    /// So is a copy of a file, once for all descriptors that lead to it.
    #[test]
    fn copies_are_seen() {
        const BYTES: usize = 4 << 20;
        let mut copy = crate::copies::memory(std::path::Path::new("copied")).unwrap();
        let before = copied_bytes();
        copy.write_all(&vec![1; BYTES]).unwrap();
        let _again = copy.try_clone().unwrap();
        assert_eq!(copied_bytes() - before, BYTES as u64);
    }
}
