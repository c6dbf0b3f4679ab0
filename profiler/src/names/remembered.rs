//! Names in memory, from one window to the next: what runs all the time is found at the same places
//! again and again.
//!
//! All of it is asked for in the same detail, and forgotten at once where it is too much.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::MetadataExt,
    sync::{Mutex, PoisonError},
};

use super::{cache::Located, read::Found};

/// How many places are kept: with names of a hundred bytes, some 20 MB.
const MAX_PLACES: usize = 1 << 16;

/// The names of earlier windows.
#[derive(Debug, Default)]
pub struct Remembered {
    files: Mutex<HashMap<Key, Known>>,
}

/// A file in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

#[derive(Debug, Default)]
struct Known {
    names: HashMap<u64, Located>,
    build_id: Option<Vec<u8>>,
    size_bytes: u64,
}

impl Remembered {
    /// What is known of the offsets of a file, and what `read` finds of the others.
    pub(super) fn names(
        &self,
        file: &File,
        offsets: &[u64],
        read: impl FnOnce(&[u64]) -> Found,
    ) -> Found {
        let Some(key) = Key::of(file) else {
            return read(offsets);
        };
        let unknown = self.unknown(&key, offsets);
        let read = (!unknown.is_empty()).then(|| read(&unknown));
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let places: usize = files.values().map(|known| known.names.len()).sum();
        if places > MAX_PLACES {
            files.retain(|other, _| *other == key);
        }
        let known = files.entry(key).or_default();
        let mut refused = Vec::new();
        if let Some(found) = read {
            known.names.extend(unknown.into_iter().zip(found.names));
            (known.build_id, known.size_bytes) = (found.build_id, found.size_bytes);
            refused = found.refused;
        }
        let name = |offset: &u64| known.names[offset].clone();
        Found {
            names: offsets.iter().map(name).collect(),
            build_id: known.build_id.clone(),
            size_bytes: known.size_bytes,
            refused,
        }
    }

    fn unknown(&self, key: &Key, offsets: &[u64]) -> Vec<u64> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let known = files.get(key);
        let is_unknown = |offset: &u64| known.is_none_or(|known| !known.names.contains_key(offset));
        offsets.iter().copied().filter(is_unknown).collect()
    }
}

impl Key {
    fn of(file: &File) -> Option<Self> {
        let found = file.metadata().ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use symbolizer::Miss;

    use super::*;

    fn found(offsets: &[u64]) -> Found {
        Found {
            names: vec![(Err(Miss::NoSymbols), None); offsets.len()],
            build_id: Some(vec![1]),
            size_bytes: 7,
            refused: Vec::new(),
        }
    }

    /// Each place is read once, until the file changes.
    #[test]
    fn places_are_read_once() {
        let remembered = Remembered::default();
        let mut file = tempfile::tempfile().unwrap();
        let mut asked = Vec::new();
        let mut look = |file: &File, offsets: &[u64]| {
            let found = remembered.names(file, offsets, |unknown| {
                asked.push(unknown.to_vec());
                found(unknown)
            });
            assert_eq!((found.names.len(), found.size_bytes), (offsets.len(), 7));
        };
        look(&file, &[1, 2]);
        look(&file, &[1, 2]);
        look(&file, &[2, 3]);
        file.write_all(b"changed").unwrap();
        look(&file, &[2]);
        assert_eq!(asked, [vec![1, 2], vec![3], vec![2]]);
    }
}
