//! What `/proc` tells of processes, which decide how long it is: one with many mappings of long paths
//! fills hundreds of megabytes.

use std::{fs::File, io::Read};

/// How much is read of a file: 64,000 mappings have some 8 MB.
const MAX_BYTES: u64 = 16 << 20;

/// The text of a file in `/proc`, as far as it is read; `None` where it is not there.
pub(crate) fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
