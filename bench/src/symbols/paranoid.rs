//! The kernel's setting that samply asks for even where root would need none.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

const SETTING: &str = "/proc/sys/kernel/perf_event_paranoid";
/// The most that samply records with.
const MOST: i32 = 1;

/// Holds the setting low; it is put back with the end of the value.
#[derive(Debug)]
pub(super) struct Lowered {
    setting: PathBuf,
    before: Option<String>,
}

impl Lowered {
    /// Lowers it where it is higher.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub(super) fn new() -> Result<Self> {
        Self::lower(Path::new(SETTING))
    }

    fn lower(setting: &Path) -> Result<Self> {
        let name = setting.display();
        let found =
            fs::read_to_string(setting).with_context(|| format!("failed to read `{name}`"))?;
        let is_high = found.trim().parse::<i32>().is_ok_and(|level| level > MOST);
        if is_high {
            fs::write(setting, MOST.to_string())
                .with_context(|| format!("failed to write `{name}`"))?;
        }
        Ok(Self {
            setting: setting.to_owned(),
            before: is_high.then_some(found),
        })
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // What could be written once can be written again.
            drop(fs::write(&self.setting, before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The setting is low while the value lives, and then what it was; one that is low already stays.
    #[test]
    fn the_setting_is_put_back() {
        let setting = tempfile::NamedTempFile::new().unwrap();
        let now = || fs::read_to_string(setting.path()).unwrap();
        for (before, meanwhile) in [("2\n", "1"), ("3\n", "1"), ("1\n", "1\n"), ("-1\n", "-1\n")] {
            fs::write(setting.path(), before).unwrap();
            let lowered = Lowered::lower(setting.path()).unwrap();
            assert_eq!(now(), meanwhile);
            drop(lowered);
            assert_eq!(now(), before);
        }
    }
}
