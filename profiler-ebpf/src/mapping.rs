//! The mapping that holds an address, from the kernel's own tree of mappings.
//!
//! `mm_struct.mm_mt` is a maple tree: nodes of 256 bytes with pivots (the last address of each
//! range) and slots (the ranges' children, or mappings). It is read without its lock, so an answer
//! counts only when the address lies in the mapping that was found.
//! Layout: `include/linux/maple_tree.h`, the same since the tree came in 6.1.
//!
//! What was found is kept from sample to sample while the memory map does not change: its
//! `mm_lock_seq` is raised by everything that changes a mapping. Kernels before 6.4 have none, and
//! there each sample looks anew.

use abi::{
    records::{FileIdentity, file},
    tables::table,
};
use aya_ebpf::{
    bindings::{BPF_NOEXIST, task_struct},
    helpers::generated::bpf_probe_read_kernel,
};
use core::ffi::c_void;

use crate::{
    emit,
    kernel::{config, field, read},
    maps::{FILE_NUMBERS, FILES, FileEntry, REMEMBERED_MAPPINGS, Scratch, TABLE_NUMBERS, control},
};

/// The parent pointer, then pivots and slots: 15 and 16, or 9 and 10 with gaps, by type.
#[repr(C)]
pub(crate) struct MapleNode {
    words: [u64; 32],
}

/// A mapping that this sample has met.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    /// Exclusive; 0 where nothing is remembered.
    pub(crate) end: u64,
    /// What an address of the mapping is reduced by to give the offset in its file.
    pub(crate) bias: u64,
    /// A file's number, or one of [`file`]'s constants.
    pub(crate) file: u32,
    /// The number of the file's unwind table.
    pub(crate) table: u32,
}

/// Where an address of the running process comes from.
pub(crate) struct Place {
    /// A file's number, or one of [`file`]'s constants.
    pub(crate) file: u32,
    /// The number of the file's unwind table.
    pub(crate) table: u32,
    /// The offset in the file, or the address where there is none.
    pub(crate) offset: u64,
}

impl Mapping {
    #[inline(always)]
    fn place(&self, address: u64) -> Place {
        Place {
            file: self.file,
            table: self.table,
            offset: address.wrapping_sub(self.bias),
        }
    }
}

/// A state of one memory map: equal ones have equal mappings. The address of an `mm_struct` is
/// used again, by another process or by the same one after `exec`, which the rest tells apart.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    mm: u64,
    /// When the process started, in nanoseconds since boot.
    start_ns: u64,
    /// Raised by each `exec`.
    exec_id: u64,
    lock_seq: u32,
    /// Not of the memory map, but of what is remembered with it.
    tables_version: u32,
}

impl Space {
    /// The present state of a thread's memory map.
    #[inline(always)]
    pub(crate) fn of(task: *const task_struct, leader: *const task_struct) -> Self {
        let mm: *const task_struct = field(task, config!(offsets.task_mm));
        Self {
            mm: mm as u64,
            start_ns: field(leader, config!(offsets.task_start_boottime)),
            exec_id: field(task, config!(offsets.task_self_exec_id)),
            lock_seq: field(mm, config!(offsets.mm_lock_seq)),
            tables_version: control().tables_version,
        }
    }

    /// Whether there is a memory map at all.
    #[inline(always)]
    pub(crate) const fn is_some(&self) -> bool {
        self.mm != 0
    }

    /// Whether this is the state in which something was remembered.
    #[inline(always)]
    pub(crate) fn is_still(&self, remembered: &Self) -> bool {
        config!(offsets.mm_lock_seq) != 0 && self == remembered
    }
}

/// Takes in that the addresses to be looked up are of this memory map.
#[inline(always)]
pub(crate) fn enter(scratch: &mut Scratch, space: Space) {
    scratch.mm = space.mm;
    if space.is_still(&scratch.space) {
        return;
    }
    scratch.space = space;
    for mapping in &mut scratch.mappings {
        mapping.end = 0;
    }
}

/// The bits of a node's address that hold its type and flags.
const NODE_BITS: u64 = 0xff;
/// The lowest two bits of the root where it is a node; entries below the root have other flags.
const IS_NODE: u64 = 2;
const TYPE_SHIFT: u64 = 3;
const TYPE_MASK: u64 = 0xf;
/// Types below this one are leaves.
const TYPE_RANGE_64: u64 = 2;
/// The type whose pivots are followed by gaps: 9 pivots, the slots from word 10 on.
const TYPE_ARANGE_64: u64 = 3;
/// A tree of this height holds more mappings than a process may have.
const MAX_HEIGHT: usize = 6;
/// `VM_EXEC` of `linux/mm.h`.
const VM_EXEC: u64 = 4;

enum Miss {
    Unmapped,
    Unreadable,
}

/// Which file, and where in it, an address of the running process comes from.
#[inline(always)]
pub(crate) fn locate(scratch: &mut Scratch, address: u64) -> Place {
    let last = &scratch.mappings[scratch.last_mapping as usize & (REMEMBERED_MAPPINGS - 1)];
    if last.start <= address && address < last.end {
        return last.place(address);
    }
    for slot in 0..REMEMBERED_MAPPINGS {
        let mapping = &scratch.mappings[slot];
        if mapping.start <= address && address < mapping.end {
            scratch.last_mapping = slot as u32;
            return mapping.place(address);
        }
    }
    // The tree may be changing under the walk; a second look finds it at rest.
    let found = find(scratch, address).or_else(|_| find(scratch, address));
    match found {
        Ok(mapping) => {
            let slot = scratch.next_mapping as usize & (REMEMBERED_MAPPINGS - 1);
            scratch.mappings[slot] = mapping;
            scratch.next_mapping = slot as u32 + 1;
            scratch.last_mapping = slot as u32;
            mapping.place(address)
        }
        Err(Miss::Unmapped) => nowhere(file::NO_MAPPING, address),
        Err(Miss::Unreadable) => nowhere(file::UNREADABLE, address),
    }
}

#[inline(always)]
fn nowhere(file: u32, address: u64) -> Place {
    Place {
        file,
        table: table::MISSING,
        offset: address,
    }
}

#[inline(always)]
fn find(scratch: &mut Scratch, address: u64) -> Result<Mapping, Miss> {
    let vma = lookup(scratch, address)?;
    let start = read::<u64>(vma, config!(offsets.vma_start)).ok_or(Miss::Unreadable)?;
    let end = read::<u64>(vma, config!(offsets.vma_end)).ok_or(Miss::Unreadable)?;
    if address < start || end <= address {
        return Err(Miss::Unreadable);
    }
    // What leads to memory that is no code was no return address.
    let flags = read::<u64>(vma, config!(offsets.vma_flags)).ok_or(Miss::Unreadable)?;
    if flags & VM_EXEC == 0 {
        return Err(Miss::Unmapped);
    }
    let backing = read::<u64>(vma, config!(offsets.vma_file)).ok_or(Miss::Unreadable)?;
    let (file, table, bias) = if backing != 0 {
        let pages = read::<u64>(vma, config!(offsets.vma_pgoff)).ok_or(Miss::Unreadable)?;
        let identity = identify(backing).ok_or(Miss::Unreadable)?;
        let number = number(scratch, &identity, start, end);
        // SAFETY: the number is read at once.
        let table = unsafe { TABLE_NUMBERS.get(&identity) };
        let table = table.copied().unwrap_or(table::MISSING);
        (
            number,
            table,
            start.wrapping_sub(pages << (config!(addresses.page_shift) & 63)),
        )
    } else if read::<u64>(scratch.mm, config!(offsets.mm_vdso)) == Some(start) {
        (file::VDSO, control().vdso_table, start)
    } else {
        (file::ANONYMOUS, table::BY_FRAME_POINTER, 0)
    };
    Ok(Mapping {
        start,
        end,
        bias,
        file,
        table,
    })
}

/// Descends to the entry for an address: a `vm_area_struct`.
#[inline(always)]
fn lookup(scratch: &mut Scratch, address: u64) -> Result<u64, Miss> {
    let mut entry =
        read::<u64>(scratch.mm, config!(offsets.mm_tree_root)).ok_or(Miss::Unreadable)?;
    if entry & 3 != IS_NODE {
        return Err(Miss::Unreadable);
    }
    for _ in 0..MAX_HEIGHT {
        let node = &raw mut scratch.node;
        // SAFETY: the helper writes exactly one node into scratch, or fails.
        let failed = unsafe {
            bpf_probe_read_kernel(
                node.cast::<c_void>(),
                size_of::<MapleNode>() as u32,
                (entry & !NODE_BITS) as *const c_void,
            )
        };
        if failed != 0 {
            return Err(Miss::Unreadable);
        }
        let kind = (entry >> TYPE_SHIFT) & TYPE_MASK;
        entry = descend(&scratch.node, kind, address);
        if kind < TYPE_RANGE_64 {
            return if entry == 0 {
                Err(Miss::Unmapped)
            } else {
                Ok(entry)
            };
        }
    }
    Err(Miss::Unreadable)
}

/// The slot of the first range that ends at or behind the address.
#[inline(always)]
fn descend(node: &MapleNode, kind: u64, address: u64) -> u64 {
    let pivots = if kind == TYPE_ARANGE_64 { 9 } else { 15 };
    let mut slot = 0;
    while slot < 15 {
        if slot >= pivots {
            break;
        }
        let pivot = node.words[1 + slot];
        // An unused pivot is 0: the slot before it reaches to the end of the node's range.
        if (pivot == 0 && slot > 0) || address <= pivot {
            break;
        }
        slot += 1;
    }
    node.words[(1 + pivots + slot) & 31]
}

#[inline(always)]
fn identify(backing: u64) -> Option<FileIdentity> {
    let inode = read::<u64>(backing, config!(offsets.file_inode))?;
    let superblock = read::<u64>(inode, config!(offsets.inode_sb))?;
    Some(FileIdentity {
        inode: read::<u64>(inode, config!(offsets.inode_ino))?,
        device: read::<u32>(superblock, config!(offsets.sb_dev))?,
        generation: read::<u32>(inode, config!(offsets.inode_generation))?,
    })
}

/// A file's number, a new one at first sight; sees to it that user space is told.
#[inline(always)]
fn number(scratch: &Scratch, identity: &FileIdentity, start: u64, end: u64) -> u32 {
    let entry = match FILES.get_ptr_mut(identity) {
        Some(entry) => entry,
        None => match introduce(identity) {
            Some(entry) => entry,
            None => return file::TABLE_FULL,
        },
    };
    // SAFETY: the entry stays readable until the program ends; two CPUs that announce a file at
    // once announce it twice, which user space takes as one.
    unsafe {
        if (*entry).announced == 0 {
            (*entry).announced = emit::file_seen(scratch, (*entry).number, identity, start, end);
        }
        (*entry).number
    }
}

#[inline(always)]
fn introduce(identity: &FileIdentity) -> Option<*mut FileEntry> {
    let given = FILE_NUMBERS.get_ptr_mut(0)?;
    // SAFETY: the counter is this CPU's own, and samples on one CPU do not nest.
    let count = unsafe { *given };
    if count >= file::PER_CPU {
        return None;
    }
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { aya_ebpf::helpers::generated::bpf_get_smp_processor_id() };
    let entry = FileEntry {
        number: file::FIRST + cpu * file::PER_CPU + count,
        announced: 0,
    };
    // Where another CPU was first, its entry is the one that is found below.
    if FILES
        .insert(identity, &entry, u64::from(BPF_NOEXIST))
        .is_ok()
    {
        // SAFETY: as above.
        unsafe { *given = count + 1 };
    }
    FILES.get_ptr_mut(identity)
}
