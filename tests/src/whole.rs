//! How many user stacks are whole: begin where a thread began.

use std::{collections::BTreeMap, fmt, fs};

use crate::{Pprof, PprofFrame, PprofSample};

/// The functions in which a thread begins; the loader's `_start` runs on into `_dl_start_user`.
const ENTRIES: &[&str] = &[
    "_start",
    "_dl_start_user",
    "clone",
    "__clone",
    "clone3",
    "__clone3",
];
/// What stands before the stack of a wait.
const STATES: &[&str] = &[
    "[on-CPU]",
    "[blocked]",
    "[uninterruptible]",
    "[stopped]",
    "[runnable]",
    "[preempted]",
    "[starting]",
    "[idle]",
];
/// The code of a program's entry, in bytes, which calls into libc and never returns.
const ENTRY_BYTES: u64 = 64;
/// Where ELF's header has the address of the entry.
const ENTRY_OFFSET: usize = 24;

/// User samples, and which of them are whole.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    /// Samples with a user stack.
    pub user: u64,
    /// Of those, the ones that begin where a thread began.
    pub whole: u64,
    /// The others, by the two outermost frames.
    pub others: BTreeMap<String, u64>,
}

impl Whole {
    /// Counts the samples that are wanted.
    #[must_use]
    pub fn of(profile: &Pprof, wanted: impl Fn(&PprofSample) -> bool) -> Self {
        Self::weighted(profile, |sample| match wanted(sample) {
            true => sample.samples,
            false => 0,
        })
    }

    /// Adds up what samples weigh.
    #[must_use]
    pub fn weighted(profile: &Pprof, weight: impl Fn(&PprofSample) -> u64) -> Self {
        let mut counted = Self::default();
        let mut entries = BTreeMap::new();
        for sample in &profile.samples {
            let weight = weight(sample);
            let user = sample.frames.iter().rev();
            let user = user.skip_while(|frame| STATES.contains(&frame.function.as_str()));
            let user: Vec<_> = user.take_while(|frame| !frame.is_kernel()).collect();
            let Some(root) = user.first().filter(|_| weight > 0) else {
                continue;
            };
            if root.function.starts_with("[lost") {
                continue;
            }
            counted.user += weight;
            if is_entry(root, &mut entries) {
                counted.whole += weight;
            } else {
                let names: Vec<_> = user.iter().take(2).map(|frame| &*frame.function).collect();
                *counted.others.entry(names.join(";")).or_default() += weight;
            }
        }
        counted
    }

    /// The whole ones in percent of all.
    #[must_use]
    pub fn percent(&self) -> f64 {
        100.0 * self.whole as f64 / self.user as f64
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:6} user samples, {:6.2} % whole",
            self.user,
            self.percent()
        )
    }
}

/// Why walks ended elsewhere than at the outermost frame, as the ledger on standard error has it: `3
/// no unwind row, 1 no progress`.
#[must_use]
pub fn ends(stderr: &str) -> String {
    let ends = stderr.lines().filter_map(|line| {
        let (count, rest) = line.trim_start().split_once("  ")?;
        let (name, meaning) = rest.split_once("  ")?;
        let is_end = meaning
            .trim_start()
            .starts_with("user stacks that ended so");
        let is_whole = ["outermost frame", "no user stack"].contains(&name);
        (is_end && !is_whole && count != "0").then(|| format!("{count} {name}"))
    });
    ends.collect::<Vec<_>>().join(", ")
}

/// A program without symbols has its entry where its header says.
fn is_entry(frame: &PprofFrame, entries: &mut BTreeMap<String, Option<u64>>) -> bool {
    if ENTRIES.contains(&frame.function.as_str()) {
        return true;
    }
    let Some((_, offset)) = frame.function.rsplit_once("+0x") else {
        return false;
    };
    let entry = entries
        .entry(frame.module.clone())
        .or_insert_with(|| entry_address(&frame.module));
    let offset = u64::from_str_radix(offset, 16).ok();
    let past = offset
        .zip(*entry)
        .and_then(|(at, entry)| at.checked_sub(entry));
    past.is_some_and(|past| past < ENTRY_BYTES)
}

fn entry_address(path: &str) -> Option<u64> {
    let bytes = fs::read(path).ok()?;
    let (address, _) = bytes.get(ENTRY_OFFSET..)?.split_first_chunk()?;
    Some(u64::from_le_bytes(*address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(frames: &[(&str, &str)]) -> PprofSample {
        let frames = frames.iter().map(|(function, module)| PprofFrame {
            function: (*function).to_owned(),
            module: (*module).to_owned(),
            ..PprofFrame::default()
        });
        PprofSample {
            process: "p".to_owned(),
            frames: frames.collect(),
            samples: 10,
            ..PprofSample::default()
        }
    }

    /// A stack is whole where it begins in an entry, known by its name or by the program's header.
    #[test]
    fn whole_stacks_begin_in_an_entry() {
        let entry = entry_address("/bin/true").unwrap();
        let stripped = format!("true+{:#x}", entry + 32);
        let behind = format!("true+{:#x}", entry + 200);
        let profile = Pprof {
            samples: vec![
                sample(&[("main", "a"), ("_start", "a")]),
                sample(&[("work", "a"), ("__clone3", "libc.so.6")]),
                sample(&[("f", "/bin/true"), (&stripped, "/bin/true")]),
                sample(&[("f", "/bin/true"), (&behind, "/bin/true")]),
                sample(&[("work", "a"), ("[incomplete]", "")]),
                sample(&[("[lost: ring full]", "")]),
                sample(&[("schedule", "[kernel]")]),
            ],
            duration_ns: 1,
            comments: Vec::new(),
        };
        let whole = Whole::of(&profile, |_| true);
        assert_eq!((whole.user, whole.whole), (50, 30));
        let others: Vec<_> = whole.others.keys().cloned().collect();
        let stderr = " 12  outermost frame  user stacks that ended so: x\n  1  no progress      user stacks that ended so: y\n";
        assert_eq!(ends(stderr), "1 no progress");
        assert_eq!(
            others,
            ["[incomplete];work".to_owned(), format!("{behind};f")]
        );
    }
}
