//! What the scheduler itself says of the time of each thread.

use std::{collections::HashMap, fs, path::Path};

/// The first two numbers of `/proc/PID/task/TID/schedstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// Time on a CPU, in nanoseconds; up to a tick old for a thread that runs.
    pub on_ns: u64,
    /// Time ready and waiting for a CPU, in nanoseconds.
    pub queued_ns: u64,
}

/// The figures of all threads, by thread id, at two moments.
#[derive(Clone, Debug, Default)]
pub struct Schedstats {
    /// When the recording began.
    pub before: HashMap<u32, Schedstat>,
    /// When it ended.
    pub after: HashMap<u32, Schedstat>,
}

impl Schedstats {
    /// What a thread that still lives did meanwhile. One that was not there before began from nothing.
    #[must_use]
    pub fn during(&self, tid: u32) -> Option<Schedstat> {
        let after = self.after.get(&tid)?;
        let before = self.before.get(&tid).copied().unwrap_or_default();
        Some(Schedstat {
            on_ns: after.on_ns.saturating_sub(before.on_ns),
            queued_ns: after.queued_ns.saturating_sub(before.queued_ns),
        })
    }
}

/// The figures of each thread of the machine; those of threads that end meanwhile are missing.
#[must_use]
pub fn of_all() -> HashMap<u32, Schedstat> {
    let mut all = HashMap::new();
    for (_, process) in numbered(Path::new("/proc")) {
        for (tid, thread) in numbered(&process.join("task")) {
            let text = fs::read_to_string(thread.join("schedstat"));
            all.extend(text.ok().as_deref().and_then(parse).map(|told| (tid, told)));
        }
    }
    all
}

/// The folders of a folder whose names are numbers.
fn numbered(folder: &Path) -> impl Iterator<Item = (u32, std::path::PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, entry.path()))
    })
}

/// `time on a CPU, time in the queue, time slices`, in nanoseconds and a count.
fn parse(text: &str) -> Option<Schedstat> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(Schedstat {
        on_ns: numbers.next()?.ok()?,
        queued_ns: numbers.next()?.ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two times are read, and nothing from what has another form.
    #[test]
    fn times_are_read() {
        let told = Schedstat {
            on_ns: 12,
            queued_ns: 34,
        };
        assert_eq!(parse("12 34 5\n"), Some(told));
        assert_eq!(parse("12\n"), None);
        assert_eq!(parse("a b c\n"), None);
    }

    /// This thread is among all, and has run.
    #[test]
    fn this_process_is_there() {
        let told = of_all();
        assert!(told[&std::process::id()].on_ns > 0);
    }
}
