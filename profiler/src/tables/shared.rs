//! An array map as memory of this process: the kernel programs see what is stored, without a system
//! call for each entry.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd, BorrowedFd},
};

use memmap2::{MmapOptions, MmapRaw};

/// The entries of an array map that was made with `BPF_F_MMAPABLE`.
#[derive(Debug)]
pub(super) struct SharedArray<T> {
    memory: MmapRaw,
    length: u32,
    entries: PhantomData<T>,
}

impl<T: Copy> SharedArray<T> {
    /// The kernel lays entries out at multiples of 8 bytes.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Maps all `length` entries.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn map(fd: BorrowedFd<'_>, length: u32) -> io::Result<Self> {
        let bytes = length as usize * Self::STRIDE;
        let memory = MmapOptions::new().len(bytes).map_raw(fd.as_raw_fd())?;
        Ok(Self {
            memory,
            length,
            entries: PhantomData,
        })
    }

    /// How many entries there are.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// Stores entries from `start` on.
    ///
    /// # Panics
    /// Where they do not fit.
    pub(super) fn store(&self, start: u32, entries: impl ExactSizeIterator<Item = T>) {
        let end = start as usize + entries.len();
        assert!(end <= self.length as usize, "the entries are in the array");
        for (index, entry) in (start as usize..).zip(entries) {
            // SAFETY: the place was checked to be in the mapping, and the alignment of `T` is at
            // most 8. The programs that read it meanwhile do not refer to it yet.
            unsafe { self.at(index).write_volatile(entry) };
        }
    }

    /// An entry.
    ///
    /// # Panics
    /// Where there is no such entry.
    pub(super) fn load(&self, index: u32) -> T {
        assert!(index < self.length, "the entry is in the array");
        // SAFETY: as above; the programs may write it, which at worst gives the value before.
        unsafe { self.at(index as usize).read_volatile() }
    }

    fn at(&self, index: usize) -> *mut T {
        self.memory
            .as_mut_ptr()
            .wrapping_add(index * Self::STRIDE)
            .cast()
    }
}
