//! What the kernel programs send through the ring buffer: each distinct stack once, and each file
//! when it is first seen in a stack. A record starts with its kind, a `u32`.

use crate::{MAX_KERNEL_FRAMES, MAX_USER_FRAMES, samples::StackHash};

/// The kinds of record.
pub mod kind {
    /// A [`super::StackHeader`] and its [`super::UserFrame`]s.
    pub const USER_STACK: u32 = 1;
    /// A [`super::StackHeader`] and its addresses, one `u64` each, leaf first.
    pub const KERNEL_STACK: u32 = 2;
    /// A [`super::FileSeen`].
    pub const FILE: u32 = 3;
    /// A [`crate::waits::ThreadTimes`].
    pub const THREAD: u32 = 4;
    /// A [`crate::waits::Waker`].
    pub const WAKER: u32 = 5;
}

/// What stands before the frames of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct StackHeader {
    /// [`kind::USER_STACK`] or [`kind::KERNEL_STACK`].
    pub kind: u32,
    /// How many frames follow.
    pub frames: u32,
    /// What the counts call this stack.
    pub hash: StackHash,
    /// A [`crate::reasons::StackEnd`].
    pub end: u32,
    /// The process in which the stack was first met; of a user stack only.
    pub pid: u32,
}

const _: () = assert!(size_of::<StackHeader>() == 32);

/// Where a user frame's code comes from. Numbers from [`file::FIRST`] on are files.
pub mod file {
    /// The address lies in no mapping; the offset is the address.
    pub const NO_MAPPING: u32 = 0;
    /// The mapping could not be read; the offset is the address.
    pub const UNREADABLE: u32 = 1;
    /// The file could not be given a number; the offset is that in the file.
    pub const TABLE_FULL: u32 = 2;
    /// Memory without a file (a JIT's code); the offset is the address.
    pub const ANONYMOUS: u32 = 3;
    /// The vdso; the offset is from its first byte.
    pub const VDSO: u32 = 4;
    /// The first number that is given to a file. CPU n gives out numbers from
    /// `FIRST + n · PER_CPU`.
    pub const FIRST: u32 = 16;
    /// How many numbers each CPU has to give.
    pub const PER_CPU: u32 = 1 << 20;
}

/// One frame of a user stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UserFrame {
    /// The file's number, or one of [`mod@file`]'s constants.
    pub file: u32,
    /// 1 where the offset is that of a return address, 0 where it is that of the instruction
    /// which was running.
    pub is_return: u32,
    /// Offset in the file, in bytes.
    pub offset: u64,
}

const _: () = assert!(size_of::<UserFrame>() == 16);

impl UserFrame {
    /// The offset to look up: a return address points behind the call, which may be the last
    /// instruction of its function, so one byte less lies within the call.
    #[must_use]
    pub const fn lookup_offset(&self) -> u64 {
        self.offset.saturating_sub(self.is_return as u64)
    }
}

/// What tells one file of the machine from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FileIdentity {
    /// `i_ino`
    pub inode: u64,
    /// `s_dev`, as the kernel packs it: major number in the upper 12 bits, minor in the lower 20.
    pub device: u32,
    /// `i_generation`, which tells apart the files that had this inode number one after another.
    pub generation: u32,
}

const _: () = assert!(size_of::<FileIdentity>() == 16);

impl FileIdentity {
    /// The device's major number.
    #[must_use]
    pub const fn major(&self) -> u32 {
        self.device >> 20
    }

    /// The device's minor number.
    #[must_use]
    pub const fn minor(&self) -> u32 {
        self.device & 0xf_ffff
    }
}

/// What the kernel calls a file that a process has open and maps. The two differ where a file system
/// stands before another, as overlayfs does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FileIdentities {
    /// Of the file that the mapping has: what stacks name.
    pub mapped: FileIdentity,
    /// Of the open file: what events of newer kernels tell of mappings.
    pub opened: FileIdentity,
}

const _: () = assert!(size_of::<FileIdentities>() == 32);

/// A file was found in a stack for the first time; here is one place where it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FileSeen {
    /// [`kind::FILE`].
    pub kind: u32,
    /// The number that frames call it by.
    pub file: u32,
    /// What file it is.
    pub identity: FileIdentity,
    /// Where the mapping starts in the process.
    pub start: u64,
    /// Where it ends, exclusive.
    pub end: u64,
    /// The process in which it is mapped.
    pub pid: u32,
    /// Always 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<FileSeen>() == 48);

/// The largest record, in bytes: a full user stack.
pub const MAX_RECORD_BYTES: usize =
    size_of::<StackHeader>() + MAX_USER_FRAMES * size_of::<UserFrame>();

const _: () = assert!(MAX_KERNEL_FRAMES * 8 < MAX_USER_FRAMES * size_of::<UserFrame>());
