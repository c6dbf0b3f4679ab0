//! The mapping that holds an address, from the kernel's own tree of mappings.
//!
//! `mm_struct.mm_mt` is a maple tree: nodes of 256 bytes with pivots (the last address of each
//! range) and slots (the ranges' children, or mappings). It is read without its lock, so an answer
//! counts only when the address lies in the mapping that was found.
//! Layout: `include/linux/maple_tree.h`, the same since the tree came in 6.1.
//!
//! What was found is kept from sample to sample, for a few memory maps, while they do not change:
//! their `mm_lock_seq` is raised by everything that changes a mapping. Kernels before 6.4 have none,
//! and there each sample looks anew.

use abi::{
    config::VMA_BYTES,
    records::{FileIdentity, file},
    tables::table,
};
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_probe_read_kernel};
use core::ffi::c_void;

use crate::{
    emit,
    kernel::{Object, config, read},
    maps::{
        FILE_NUMBERS, FILES, FileEntry, REMEMBERED_FILES, REMEMBERED_MAPPINGS, REMEMBERED_SPACES,
        Scratch, TABLE_NUMBERS, TABLES, control, slot,
    },
};

/// The parent pointer, then pivots and slots: 15 and 16, or 9 and 10 with gaps, by type.
#[repr(C)]
pub(crate) struct MapleNode {
    words: [u64; NODE_WORDS],
}

const NODE_WORDS: usize = VMA_BYTES / size_of::<u64>();

/// A mapping that this sample has met.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    /// Exclusive; 0 in the first where none is remembered.
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
    /// Not of the memory map, but of what is remembered with it; so is the epoch, in which the table
    /// of each mapping is marked as used.
    tables_version: u32,
    epoch: u32,
    padding: u32,
}

/// The mappings that were met lately in one memory map.
#[repr(C)]
pub(crate) struct Mappings {
    space: Space,
    /// How many there are.
    count: u32,
    /// Which was met last.
    last: u32,
    /// Which was replaced last, once all places were taken.
    replaced: u32,
    padding: u32,
    all: [Mapping; REMEMBERED_MAPPINGS],
}

impl Space {
    /// The present state of a thread's memory map, whose address is left in scratch.
    #[inline(always)]
    pub(crate) fn of(scratch: &mut Scratch, task: Object, leader: Object) -> Self {
        let control = control();
        let lock_seq = config!(offsets.mm_lock_seq);
        let mm = task.object(config!(offsets.task_mm));
        Self {
            mm: mm.address(&mut scratch.mm),
            start_ns: leader.field(config!(offsets.task_start_boottime)),
            exec_id: task.field(config!(offsets.task_self_exec_id)),
            lock_seq: if lock_seq == 0 || mm.is_null() {
                0
            } else {
                mm.field(lock_seq)
            },
            tables_version: control.tables_version,
            epoch: control.epoch,
            padding: 0,
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
pub(crate) fn enter(scratch: &mut Scratch, space: &Space) {
    scratch.space = slot((space.mm >> 6) as u32, REMEMBERED_SPACES) as u32;
    let known = mappings(scratch);
    if !space.is_still(&known.space) {
        known.space = *space;
        known.count = 0;
        known.last = 0;
        known.all[0].end = 0;
    }
}

/// Those of the memory map that was entered.
#[inline(always)]
fn mappings(scratch: &mut Scratch) -> &mut Mappings {
    &mut scratch.spaces[scratch.space as usize & (REMEMBERED_SPACES - 1)]
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

/// What functions answer that are called, which is by a number.
mod turn {
    pub(super) const DONE: u64 = 0;
    pub(super) const UNMAPPED: u64 = 1;
    pub(super) const UNREADABLE: u64 = 2;
}

pub(crate) enum Miss {
    Unmapped,
    Unreadable,
}

/// Which file, and where in it, an address of the running process comes from.
#[inline(always)]
pub(crate) fn locate(scratch: &mut Scratch, address: u64) -> Place {
    let last = last(scratch);
    if last.start <= address && address < last.end {
        return last.place(address);
    }
    match turn_to(scratch, address) {
        turn::DONE => self::last(scratch).place(address),
        turn::UNREADABLE => nowhere(file::UNREADABLE, address),
        _ => nowhere(file::NO_MAPPING, address),
    }
}

/// The mapping that was met last.
#[inline(always)]
fn last(scratch: &mut Scratch) -> &Mapping {
    let known = mappings(scratch);
    &known.all[known.last as usize & (REMEMBERED_MAPPINGS - 1)]
}

/// Makes the mapping that holds an address the one that was met last; one of [`turn`]'s numbers.
#[inline(never)]
fn turn_to(scratch: &mut Scratch, address: u64) -> u64 {
    let known = mappings(scratch);
    for slot in 0..REMEMBERED_MAPPINGS {
        if slot as u32 >= known.count {
            break;
        }
        let mapping = &known.all[slot];
        if mapping.start <= address && address < mapping.end {
            known.last = slot as u32;
            return turn::DONE;
        }
    }
    // The tree may be changing under the walk; a second look finds it at rest.
    match turn_by_tree(scratch, address) {
        turn::DONE => turn::DONE,
        _ => turn_by_tree(scratch, address),
    }
}

#[inline(never)]
fn turn_by_tree(scratch: &mut Scratch, address: u64) -> u64 {
    match find(scratch, address) {
        Ok(mapping) => {
            remember(mappings(scratch), &mapping);
            turn::DONE
        }
        Err(Miss::Unmapped) => turn::UNMAPPED,
        Err(Miss::Unreadable) => turn::UNREADABLE,
    }
}

#[inline(always)]
fn remember(known: &mut Mappings, mapping: &Mapping) {
    let place = if known.count < REMEMBERED_MAPPINGS as u32 {
        known.count += 1;
        known.count - 1
    } else {
        known.replaced += 1;
        known.replaced
    };
    known.last = place;
    known.all[place as usize & (REMEMBERED_MAPPINGS - 1)] = *mapping;
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
    let vma = lookup(scratch.mm, &mut scratch.node, address)?;
    // One read for all fields: the cache lines arrive together.
    copy(&mut scratch.node, vma, vma_bytes())?;
    let word = |offset: u32| scratch.node.words[offset as usize / 8 & (NODE_WORDS - 1)];
    let start = word(config!(offsets.vma_start));
    let end = word(config!(offsets.vma_end));
    if address < start || end <= address {
        return Err(Miss::Unreadable);
    }
    // What leads to memory that is no code was no return address.
    if word(config!(offsets.vma_flags)) & VM_EXEC == 0 {
        return Err(Miss::Unmapped);
    }
    let pages = word(config!(offsets.vma_pgoff));
    let backing = word(config!(offsets.vma_file));
    let (file, table, bias) = if backing != 0 {
        let identity = identify(backing).ok_or(Miss::Unreadable)?;
        let file = known_file(scratch, &identity, start, end);
        (
            file.entry.number,
            file.table,
            start.wrapping_sub(pages << (config!(addresses.page_shift) & 63)),
        )
    } else if read::<u64>(scratch.mm, config!(offsets.mm_vdso)) == Some(start) {
        (file::VDSO, control().vdso_table, start)
    } else {
        (file::ANONYMOUS, table::BY_FRAME_POINTER, 0)
    };
    mark_used(table);
    Ok(Mapping {
        start,
        end,
        bias,
        file,
        table,
    })
}

/// Tells user space that a table is in use in this epoch.
#[inline(always)]
fn mark_used(number: u32) {
    if let Some(table) = TABLES.get_ptr_mut(number) {
        // SAFETY: the entry stays in place; user space changes it when no program refers to it.
        unsafe { (*table).used = control().epoch };
    }
}

/// Descends to the entry for an address: a `vm_area_struct`.
#[inline(always)]
pub(crate) fn lookup(mm: u64, node: &mut MapleNode, address: u64) -> Result<u64, Miss> {
    let mut entry = read::<u64>(mm, config!(offsets.mm_tree_root)).ok_or(Miss::Unreadable)?;
    if entry & 3 != IS_NODE {
        return Err(Miss::Unreadable);
    }
    for _ in 0..MAX_HEIGHT {
        copy(node, entry & !NODE_BITS, size_of::<MapleNode>() as u32)?;
        let kind = (entry >> TYPE_SHIFT) & TYPE_MASK;
        entry = descend(node, kind, address);
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

/// As much of a `vm_area_struct` as holds the fields that are read.
#[inline(always)]
fn vma_bytes() -> u32 {
    let last = config!(offsets.vma_start)
        .max(config!(offsets.vma_end))
        .max(config!(offsets.vma_flags))
        .max(config!(offsets.vma_pgoff))
        .max(config!(offsets.vma_file));
    (last + size_of::<u64>() as u32).min(size_of::<MapleNode>() as u32)
}

#[inline(always)]
fn copy(into: &mut MapleNode, from: u64, bytes: u32) -> Result<(), Miss> {
    let into: *mut MapleNode = into;
    // SAFETY: a node has room for the bytes; the helper checks where they are.
    let failed =
        unsafe { bpf_probe_read_kernel(into.cast::<c_void>(), bytes, from as *const c_void) };
    if failed == 0 {
        Ok(())
    } else {
        Err(Miss::Unreadable)
    }
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
    node.words[(1 + pivots + slot) & (NODE_WORDS - 1)]
}

/// What tells an open file's inode from others.
#[inline(always)]
pub(crate) fn identify(backing: u64) -> Option<FileIdentity> {
    let inode = read::<u64>(backing, config!(offsets.file_inode))?;
    let superblock = read::<u64>(inode, config!(offsets.inode_sb))?;
    Some(FileIdentity {
        inode: read::<u64>(inode, config!(offsets.inode_ino))?,
        device: read::<u32>(superblock, config!(offsets.sb_dev))?,
        generation: read::<u32>(inode, config!(offsets.inode_generation))?,
    })
}

/// A file that was met lately.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KnownFile {
    identity: FileIdentity,
    entry: FileEntry,
    /// The number of its table.
    table: u32,
    /// Of [`abi::tables::Control`], when it was looked up.
    tables_version: u32,
}

/// A file's number and table, those of the last look where they still hold: a process that has just
/// started maps files of others.
#[inline(always)]
fn known_file(scratch: &mut Scratch, identity: &FileIdentity, start: u64, end: u64) -> KnownFile {
    let slot = slot(identity.inode as u32 ^ identity.device, REMEMBERED_FILES);
    let tables_version = control().tables_version;
    let known = scratch.files[slot];
    if known.identity == *identity
        && known.tables_version == tables_version
        && known.entry.announced != 0
    {
        return known;
    }
    // SAFETY: the number is read at once.
    let table = unsafe { TABLE_NUMBERS.get(identity) };
    let found = KnownFile {
        identity: *identity,
        entry: entry(scratch, identity, start, end),
        table: table.copied().unwrap_or(table::MISSING),
        tables_version,
    };
    scratch.files[slot] = found;
    found
}

/// A file's entry, a new one at first sight; sees to it that user space is told.
#[inline(always)]
fn entry(scratch: &Scratch, identity: &FileIdentity, start: u64, end: u64) -> FileEntry {
    let entry = match FILES.get_ptr_mut(identity) {
        Some(entry) => entry,
        None => match introduce(identity) {
            Some(entry) => entry,
            None => return FileEntry::NONE,
        },
    };
    // SAFETY: the entry stays readable until the program ends; two CPUs that announce a file at
    // once announce it twice, which user space takes as one.
    unsafe {
        if (*entry).announced == 0 {
            (*entry).announced = emit::file_seen(scratch, (*entry).number, identity, start, end);
        }
        *entry
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
