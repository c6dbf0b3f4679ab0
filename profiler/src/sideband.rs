//! What the kernel tells of its own accord: each executable file that a process maps, with its
//! path, and each BPF program that comes or goes. It names the files of processes, and the programs,
//! that are gone before anyone could look at them.
//!
//! One event that counts nothing is opened per CPU for its records alone (`perf_event_open(2)`,
//! "MMAP layout", `PERF_RECORD_MMAP2` and `PERF_RECORD_KSYMBOL`).

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use abi::records::FileIdentity;
use perf_event_open_sys::bindings as perf;
use symbolizer::KernelImage;

use crate::perf::{PerCpuEvent, online_cpus};

/// Pages of records per CPU, a power of two: 256 KiB hold some 2,000 mappings.
const DATA_PAGES: usize = 64;
/// `struct perf_event_header`: a `u32` type, a `u16` misc, a `u16` size.
const HEADER_BYTES: usize = 8;
/// A record's size is a `u16`.
const MAX_RECORD_BYTES: usize = 1 << 16;

/// A record of the side-band.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A process mapped this file as code.
    Mapped {
        /// The process.
        pid: u32,
        /// Which file.
        identity: FileIdentity,
        /// Where the process found it.
        path: PathBuf,
    },
    /// The kernel made this code, or is about to drop it.
    KernelCode(KernelImage),
    /// A process became another program.
    Executed {
        /// The process.
        pid: u32,
        /// When, on the monotonic clock.
        time_ns: u64,
    },
    /// So many records found no room.
    Lost(u64),
}

/// The records of all CPUs.
#[derive(Debug)]
pub struct Sideband {
    rings: Vec<Ring>,
}

impl Sideband {
    /// Opens it on every CPU that is online.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open() -> io::Result<Self> {
        let mut rings = Vec::new();
        for cpu in online_cpus()? {
            if let Some(event) = PerCpuEvent::open_for_mappings(cpu)? {
                rings.push(Ring::map(&event)?);
            }
        }
        Ok(Self { rings })
    }

    /// Takes all records that wait.
    pub fn drain(&mut self, mut take: impl FnMut(Told)) {
        for ring in &mut self.rings {
            ring.drain(|record| {
                if let Some(told) = decode(record) {
                    take(told);
                }
            });
        }
    }
}

/// The memory that the kernel shares with us for one event: a page of positions, then records. The
/// mapping keeps the event open.
#[derive(Debug)]
struct Ring {
    start: NonNull<u8>,
    page_bytes: usize,
    record: Vec<u8>,
}

// SAFETY: the mapping belongs to this value alone, and the kernel does not mind who reads it.
unsafe impl Send for Ring {}

impl Ring {
    fn map(event: &PerCpuEvent) -> io::Result<Self> {
        // SAFETY: the call has no preconditions.
        let page_bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .map_err(|_negative| io::Error::last_os_error())?;
        // SAFETY: a new mapping of an open descriptor; the answer is checked below.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page_bytes * (1 + DATA_PAGES),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self {
            start,
            page_bytes,
            record: Vec::new(),
        })
    }

    fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let header = self.start.cast::<perf::perf_event_mmap_page>().as_ptr();
        // SAFETY: the first page holds this structure; the kernel writes `data_head`, which it
        // wants read before the records (acquire), and we alone write `data_tail`, after them
        // (release).
        let (head, tail) = unsafe {
            (
                AtomicU64::from_ptr(&raw mut (*header).data_head),
                AtomicU64::from_ptr(&raw mut (*header).data_tail),
            )
        };
        let end = head.load(Ordering::Acquire);
        let mut at = tail.load(Ordering::Relaxed);
        while end.wrapping_sub(at) >= HEADER_BYTES as u64 {
            self.copy(at, HEADER_BYTES);
            let size = usize::from(u16::from_ne_bytes([self.record[6], self.record[7]]));
            if size < HEADER_BYTES {
                break;
            }
            self.copy(at, size);
            take(&self.record);
            at = at.wrapping_add(size as u64);
        }
        tail.store(end, Ordering::Release);
    }

    /// Copies what stands at a position, which may go round the end, into `record`.
    fn copy(&mut self, at: u64, bytes: usize) {
        let size = self.page_bytes * DATA_PAGES;
        let first = (at % size as u64) as usize;
        let bytes = bytes.min(MAX_RECORD_BYTES);
        let until_end = bytes.min(size - first);
        self.record.clear();
        // SAFETY: both pieces lie within the data pages, and the kernel does not write what has
        // not been given back by `data_tail`.
        unsafe {
            let data = self.start.as_ptr().add(self.page_bytes);
            self.record
                .extend_from_slice(std::slice::from_raw_parts(data.add(first), until_end));
            self.record
                .extend_from_slice(std::slice::from_raw_parts(data, bytes - until_end));
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `map` made, and nothing refers into it any more.
        unsafe {
            libc::munmap(
                self.start.as_ptr().cast(),
                self.page_bytes * (1 + DATA_PAGES),
            )
        };
    }
}

/// Decodes a record; `None` for those of other kinds and for memory without a file.
fn decode(record: &[u8]) -> Option<Told> {
    let long = |at: usize| {
        let bytes = record.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_ne_bytes(bytes))
    };
    let word = |at: usize| {
        let bytes = record.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    match word(0)? {
        perf::PERF_RECORD_LOST => Some(Told::Lost(long(16)?)),
        // pid, tid, comm, and the time of the record at its end
        perf::PERF_RECORD_COMM => {
            let is_exec = (word(4)? & perf::PERF_RECORD_MISC_COMM_EXEC) != 0;
            let (pid, time_ns) = (word(8)?, long(record.len().checked_sub(8)?)?);
            is_exec.then_some(Told::Executed { pid, time_ns })
        }
        // pid, tid, addr, len, pgoff, maj, min, ino, ino_generation, prot, flags, filename
        perf::PERF_RECORD_MMAP2 => {
            let (major, minor) = (word(40)?, word(44)?);
            let identity = FileIdentity {
                inode: long(48)?,
                device: (major << 20) | minor,
                generation: u32::try_from(long(56)?).ok()?,
            };
            let name = record.get(72..)?.split(|&byte| byte == 0).next()?;
            let is_file = identity.inode != 0 && name.starts_with(b"/");
            let path = PathBuf::from(OsString::from_vec(name.to_vec()));
            let pid = word(8)?;
            is_file.then_some(Told::Mapped {
                pid,
                identity,
                path,
            })
        }
        // addr, len, ksym_type, flags, name
        perf::PERF_RECORD_KSYMBOL => {
            let name = record.get(24..)?.split(|&byte| byte == 0).next()?;
            Some(Told::KernelCode(KernelImage {
                start: long(8)?,
                bytes: word(16)?.into(),
                name: String::from_utf8_lossy(name).into_owned(),
            }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mmap2(name: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(perf::PERF_RECORD_MMAP2.to_ne_bytes());
        record.extend([0; 36]);
        for word in [8u32, 1] {
            record.extend(word.to_ne_bytes());
        }
        for long in [77u64, 5, 0] {
            record.extend(long.to_ne_bytes());
        }
        record.extend(name);
        record
    }

    /// A file is told with its identity, other memory is not, and nothing cut short panics.
    #[test]
    fn a_mapped_file_is_told() {
        let identity = FileIdentity {
            inode: 77,
            device: (8 << 20) | 1,
            generation: 5,
        };
        let whole = mmap2(b"/bin/x\0\0");
        let told = Told::Mapped {
            pid: 0,
            identity,
            path: PathBuf::from("/bin/x"),
        };
        assert_eq!(decode(&whole), Some(told));
        assert_eq!(decode(&mmap2(b"[heap]\0")), None);
        for length in 0..72 {
            assert_eq!(decode(&whole[..length]), None);
        }
    }

    /// A program is told with its place and its name, and nothing cut short panics.
    #[test]
    fn a_program_is_told() {
        let mut record = Vec::new();
        record.extend(perf::PERF_RECORD_KSYMBOL.to_ne_bytes());
        record.extend([0; 4]);
        record.extend(0xffff_ffff_c000_0040_u64.to_ne_bytes());
        record.extend(100u32.to_ne_bytes());
        record.extend([1, 0, 0, 0]);
        record.extend(b"bpf_prog_1_x\0\0\0\0");
        let told = Told::KernelCode(KernelImage {
            start: 0xffff_ffff_c000_0040,
            bytes: 100,
            name: "bpf_prog_1_x".to_owned(),
        });
        assert_eq!(decode(&record), Some(told));
        for length in 0..24 {
            assert_eq!(decode(&record[..length]), None);
        }
    }
}
