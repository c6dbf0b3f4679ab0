//! The kernel's setting that samply asks for even where root would need none.

use std::fs;

use anyhow::{Context, Result};

const SETTING: &str = "/proc/sys/kernel/perf_event_paranoid";
/// The most that samply records with.
const MOST: i32 = 1;

/// Holds the setting low; it is put back with the end of the value.
#[derive(Debug)]
pub(super) struct Lowered {
    before: Option<String>,
}

impl Lowered {
    /// Lowers it where it is higher.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub(super) fn new() -> Result<Self> {
        let found =
            fs::read_to_string(SETTING).with_context(|| format!("failed to read `{SETTING}`"))?;
        let is_high = found.trim().parse::<i32>().is_ok_and(|level| level > MOST);
        if is_high {
            fs::write(SETTING, MOST.to_string())
                .with_context(|| format!("failed to write `{SETTING}`"))?;
        }
        Ok(Self {
            before: is_high.then_some(found),
        })
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // What could be written once can be written again.
            drop(fs::write(SETTING, before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The setting is low while the value lives, and then what it was.
    #[test]
    fn the_setting_is_put_back() {
        let now = || fs::read_to_string(SETTING).unwrap();
        let before = now();
        let lowered = Lowered::new().unwrap();
        assert!(now().trim().parse::<i32>().unwrap() <= MOST);
        drop(lowered);
        assert_eq!(now(), before);
    }
}
