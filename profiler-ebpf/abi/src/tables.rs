//! What user space tells the programs of unwind tables, besides the rows themselves: which file has
//! which table, and where a table's pages are.

/// The number of a file's table. Numbers from [`table::FIRST`] on are places in the array of
/// [`Table`]s.
pub mod table {
    /// The file's table is not loaded yet.
    pub const MISSING: u32 = 0;
    /// The file has no call frame information, so its code is walked by frame pointer.
    pub const BY_FRAME_POINTER: u32 = 1;
    /// The first number that stands for a table.
    pub const FIRST: u32 = 2;
}

/// Where the pages of a table are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Table {
    /// The place of the table's first entry in the array of pages.
    pub first_page: u32,
    /// Which 64 KiB of the file, from 0, that entry is for.
    pub first_offset: u32,
    /// How many entries there are; code before and beyond them has no rows.
    pub pages: u32,
    /// The [`Control::epoch`] in which a frame of the file was last walked.
    pub used: u32,
}

const _: () = assert!(size_of::<Table>() == 16);

/// What is done to each thread that is visited.
pub mod visit {
    /// Its watching begins.
    pub const BEGIN: u32 = 0;
    /// Its stack is taken again if it waits and its stack lacks what was not loaded when it was taken.
    pub const AGAIN: u32 = 1;
    /// Its account is closed.
    pub const END: u32 = 2;
    /// What it has been doing is counted up to this moment, and goes on from there.
    pub const TURN: u32 = 3;
}

/// What user space changes while the programs run. It is the only writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Control {
    /// Which of the two maps of counts is written, 0 or 1.
    pub active_counts: u32,
    /// Raised whenever a file gets or loses a table.
    pub tables_version: u32,
    /// Raised from time to time, to tell tables in use from others.
    pub epoch: u32,
    /// The number of the vdso's table.
    pub vdso_table: u32,
    /// 1 while waits are watched.
    pub waits: u32,
    /// What the program that visits all threads does: one of [`visit`]'s.
    pub visit: u32,
    /// When the watching of waits stopped, on the monotonic clock.
    pub stopped_ns: u64,
    /// Of a wait shorter than this a stack is taken with a probability of its length divided by
    /// this; 0 takes the stack of each.
    pub wait_period_ns: u64,
    /// Waits shorter than this are counted without a stack.
    pub shortest_wait_ns: u64,
    /// The bits of [`crate::samples::SampleKey::moment`] that are kept: with fewer, more samples share
    /// a count.
    pub moment_mask: u32,
    /// Always 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<Control>() == 56);

impl Control {
    /// Whether the stack of each wait is taken, which is done when it begins; else the stacks of
    /// some are taken when they end.
    #[must_use]
    #[inline(always)]
    pub const fn takes_every_stack(&self) -> bool {
        self.wait_period_ns == 0 && self.shortest_wait_ns == 0
    }
}
