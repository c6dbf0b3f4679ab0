//! The maps, all of them. User space sizes those whose need depends on the machine.

use abi::{
    MAX_KERNEL_FRAMES, MAX_USER_FRAMES, WAITS,
    config::Target,
    reasons::{Counters, EventState},
    records::{FileIdentities, FileIdentity, StackHeader, UserFrame, file},
    samples::{SampleCount, SampleKey, StackHash},
    tables::{Control, Table},
    unwind::{
        Registers, Rule,
        table::{Block, PageEntry},
    },
    waits::{WaitCount, WaitKey},
};
use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};

use crate::{
    mapping::{KnownFile, MapleNode, Mappings},
    registers,
    waits::Trail,
};

/// How many memory maps a CPU remembers mappings of, a power of two.
pub(crate) const REMEMBERED_SPACES: usize = 8;

/// How many mappings of each are remembered, a power of two.
pub(crate) const REMEMBERED_MAPPINGS: usize = 8;

/// How many files a CPU remembers the number and table of, a power of two.
pub(crate) const REMEMBERED_FILES: usize = 32;

/// Words of the stack that are read at a time, a power of two.
pub(crate) const WINDOW_WORDS: usize = 64;

/// How many slots the table of sent stacks has, a power of two.
pub(crate) const SENT_SLOTS: u32 = 1 << 16;

/// How many files have a table at a time.
pub(crate) const MAX_TABLES: u32 = 4096;

/// How many places in code a CPU remembers the rule of, a power of two.
pub(crate) const REMEMBERED_RULES: usize = 256;

/// The rule of a place in code, as it was found.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RememberedRule {
    /// The place's offset in its file; files of code are smaller than 4 GiB.
    pub(crate) offset: u32,
    /// 0 where nothing is remembered.
    pub(crate) table: u32,
    pub(crate) rule: Rule,
}

const _: () = assert!(size_of::<RememberedRule>() == 32);

/// How many general registers a leaf has, a power of two.
pub(crate) const LEAF_REGISTERS: usize = registers::MACHINE.last_general as usize + 1;

/// A user stack on its way to the ring.
#[repr(C)]
pub(crate) struct UserStack {
    pub(crate) header: StackHeader,
    pub(crate) frames: [UserFrame; MAX_USER_FRAMES],
}

/// A kernel stack on its way to the ring.
#[repr(C)]
pub(crate) struct KernelStack {
    pub(crate) header: StackHeader,
    pub(crate) addresses: [u64; MAX_KERNEL_FRAMES],
}

/// What one sample works with, too large for a program's stack of 512 bytes. The fields that each
/// sample touches come first.
#[repr(C)]
pub(crate) struct Scratch {
    /// 1 while a sample on this CPU uses the rest.
    pub(crate) busy: u32,
    /// Which of `spaces` was entered.
    pub(crate) space: u32,
    /// The walk's state: the frame that was reached, and whether its pc is a return address.
    pub(crate) registers: Registers,
    pub(crate) is_return: u32,
    /// 1 while the frame that was reached is the one that was running.
    pub(crate) is_leaf: u32,
    /// The leaf's general registers, by DWARF's numbers.
    pub(crate) leaf: [u64; LEAF_REGISTERS],
    /// A [`abi::reasons::StackEnd`].
    pub(crate) end: u32,
    /// 1 where a frame of the user stack lies in memory without a file.
    pub(crate) has_anonymous: u32,
    pub(crate) hash: StackHash,
    /// The running thread's memory map, an `mm_struct`.
    pub(crate) mm: u64,
    /// Which counters belong to the event.
    pub(crate) event: u32,
    /// Of [`Control`], when the first of `rules` was found.
    pub(crate) rules_version: u32,
    /// Where the words of `window` are on the user stack; 0 where none are.
    pub(crate) window_start: u64,
    pub(crate) window: [u64; WINDOW_WORDS],
    pub(crate) key: SampleKey,
    pub(crate) spaces: [Mappings; REMEMBERED_SPACES],
    pub(crate) files: [KnownFile; REMEMBERED_FILES],
    pub(crate) rules: [RememberedRule; REMEMBERED_RULES],
    pub(crate) user: UserStack,
    pub(crate) kernel: KernelStack,
    pub(crate) node: MapleNode,
    /// What the walk of a waiting thread's stack rested on.
    pub(crate) trail: Trail,
}

/// What a file is called in frames.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FileEntry {
    pub(crate) number: u32,
    /// 1 once user space was told.
    pub(crate) announced: u32,
}

impl FileEntry {
    /// That of a file for which there is no number.
    pub(crate) const NONE: Self = Self {
        number: file::TABLE_FULL,
        announced: 0,
    };
}

/// Spreads numbers over slots: 2^32 divided by the golden ratio.
const SPREAD: u32 = 0x9e37_79b9;

/// The slot for a number in a table with a power of two of them.
#[inline(always)]
pub(crate) fn slot(number: u32, slots: usize) -> usize {
    (number.wrapping_mul(SPREAD) >> 16) as usize & (slots - 1)
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(scratch::COUNT, 0);

/// Who uses which scratch of a CPU.
pub(crate) mod scratch {
    use super::{SCRATCH, Scratch};

    /// Samples.
    pub(crate) const SAMPLES: u32 = 0;
    /// The programs at the scheduler, which a sample may interrupt.
    pub(crate) const SCHEDULER: u32 = 1;
    /// The program that visits all threads, which may sleep.
    pub(crate) const THREADS: u32 = 2;
    /// How many there are.
    pub(super) const COUNT: u32 = 3;

    /// This CPU's scratch for a use, unless it is in use.
    #[inline(always)]
    pub(crate) fn hold(of: u32) -> Option<&'static mut Scratch> {
        let scratch = SCRATCH.get_ptr_mut(of)?;
        // SAFETY: the scratch is this CPU's own; `busy` keeps out what interrupts its use. Volatile,
        // so that the flag is written before and after all that it guards.
        unsafe {
            let busy = &raw mut (*scratch).busy;
            if busy.read_volatile() != 0 {
                return None;
            }
            busy.write_volatile(1);
            Some(&mut *scratch)
        }
    }
}

impl Scratch {
    /// Ends a use.
    #[inline(always)]
    pub(crate) fn release(&mut self) {
        // SAFETY: as where it began.
        unsafe { (&raw mut self.busy).write_volatile(0) };
    }
}

/// Indexed by event; behind them those of the programs that follow processes and waits.
#[map]
pub(crate) static EVENTS: PerCpuArray<EventState> = PerCpuArray::with_max_entries(WAITS + 1, 0);

#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static COUNTS_0: HashMap<SampleKey, SampleCount> = HashMap::with_max_entries(16384, 0);

#[map]
pub(crate) static COUNTS_1: HashMap<SampleKey, SampleCount> = HashMap::with_max_entries(16384, 0);

#[map]
pub(crate) static WAITS_0: HashMap<WaitKey, WaitCount> = HashMap::with_max_entries(1, 0);

#[map]
pub(crate) static WAITS_1: HashMap<WaitKey, WaitCount> = HashMap::with_max_entries(1, 0);

/// Where a new count of waits is made: it is too large for a program's stack.
#[map]
pub(crate) static NEW_WAIT: PerCpuArray<WaitCount> = PerCpuArray::with_max_entries(1, 0);

/// The key of a wait that goes on, for the program that visits all threads: it is too large for its stack.
#[map]
pub(crate) static TURNED: PerCpuArray<WaitKey> = PerCpuArray::with_max_entries(1, 0);

/// The wait of the thread that got the CPU last, where its stack is still to be taken.
#[map]
pub(crate) static PENDING: PerCpuArray<PendingWait> = PerCpuArray::with_max_entries(1, 0);

/// A wait that is over.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PendingWait {
    /// Whose it was; 0 is none.
    pub(crate) tid: u32,
    /// How many waits it stands for.
    pub(crate) weight: u32,
    pub(crate) asleep_ns: u64,
    pub(crate) queued_ns: u64,
}

/// The stacks that user space has, by the low bits of their hash. A slot holds the whole hash, and
/// the next stack that falls on it takes it over: the price is that a stack is sent again.
#[map]
pub(crate) static SENT: Array<StackHash> = Array::with_max_entries(SENT_SLOTS, 0);

/// Written by the sampling program only. A file that falls out gets a new number at its next
/// sight and is announced again.
#[map]
pub(crate) static FILES: LruHashMap<FileIdentity, FileEntry> =
    LruHashMap::with_max_entries(16384, 0);

/// The number of each file's unwind table, written by user space only.
#[map]
pub(crate) static TABLE_NUMBERS: HashMap<FileIdentity, u32> = HashMap::with_max_entries(16384, 0);

/// The tables, by their number.
#[map]
pub(crate) static TABLES: Array<Table> = Array::with_max_entries(MAX_TABLES, BPF_F_MMAPABLE);

/// The pages of all tables, those of one table side by side.
#[map]
pub(crate) static PAGES: Array<PageEntry> = Array::with_max_entries(1 << 10, BPF_F_MMAPABLE);

/// Blocks of rows, and of what leads to them.
#[map]
pub(crate) static BLOCKS: Array<Block> = Array::with_max_entries(1 << 10, BPF_F_MMAPABLE);

/// What rows refer to.
#[map]
pub(crate) static RULES: Array<Rule> = Array::with_max_entries(1 << 16, BPF_F_MMAPABLE);

/// How many file numbers each CPU has given out.
#[map]
pub(crate) static FILE_NUMBERS: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// The answer of `identify`.
#[map]
pub(crate) static IDENTITIES: Array<FileIdentities> = Array::with_max_entries(1, 0);

/// What `identify` works with: scratch is for samples, which may interrupt it.
#[map]
pub(crate) static IDENTITY_NODE: Array<MapleNode> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static TARGETS: HashMap<u32, Target> = HashMap::with_max_entries(1 << 14, 0);

/// Raised by each change of the targets, from 1.
#[map]
pub(crate) static TARGETS_VERSION: Array<u32> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// What user space wants at this moment.
#[inline(always)]
pub(crate) fn control() -> Control {
    CONTROL.get(0).copied().unwrap_or_default()
}

/// This CPU's counters of an event.
#[inline(always)]
pub(crate) fn counters(event: u32) -> Option<&'static mut Counters> {
    let state = EVENTS.get_ptr_mut(event)?;
    // SAFETY: the entry is this CPU's own and stays in place. Programs that interrupt each other
    // count for different events, and those that follow processes for the last entry.
    Some(unsafe { &mut (*state).counters })
}
