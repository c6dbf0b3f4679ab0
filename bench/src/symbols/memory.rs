//! The memory of processes while they finish, read again and again.

use std::{collections::HashMap, fs};

use crate::usage;

/// The most that was seen.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Of all processes together at one moment: their resident pages, those of files included. What two
    /// of them share counts twice.
    pub(super) peak_bytes: u64,
    /// Of these the pages that are no file's, at the moment when there were most of them.
    pub(super) private_bytes: u64,
    /// The largest that each process had, as the kernel keeps it from its start on.
    marks: HashMap<u32, u64>,
}

impl Memory {
    /// Looks at a process and all that descend from it.
    pub(super) fn look(&mut self, root: u32) {
        let (mut resident, mut private) = (0, 0);
        for pid in usage::tree(root) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let bytes = |field| kib(&status, field).unwrap_or(0) * 1024;
            resident += bytes("VmRSS:");
            private += bytes("RssAnon:");
            let mark = self.marks.entry(pid).or_default();
            *mark = (*mark).max(bytes("VmHWM:"));
        }
        self.peak_bytes = self.peak_bytes.max(resident);
        self.private_bytes = self.private_bytes.max(private);
    }

    /// What the largest sizes of all processes add up to, though they were not had at one moment:
    /// nothing that was missed between two looks can be more.
    pub(super) fn bound_bytes(&self) -> u64 {
        self.marks.values().sum()
    }
}

fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this process takes is seen, and stays seen when it is given back.
    #[test]
    fn memory_is_seen() {
        let mut memory = Memory::default();
        let taken = vec![1_u8; 64 << 20];
        memory.look(std::process::id());
        drop(taken);
        memory.look(std::process::id());
        assert!(memory.private_bytes > 64 << 20);
        assert!(memory.private_bytes <= memory.peak_bytes);
        assert!(memory.peak_bytes <= memory.bound_bytes() + (1 << 20));
    }
}
