//! System calls that aya does not make.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Waits until every program that was running has ended. The programs run as RCU readers, and a
/// global memory barrier waits for all of those; on a kernel with `nohz_full` CPUs, which refuses
/// it, a time that no program takes stands in.
pub(super) fn wait_for_running_programs() {
    // SAFETY: the call takes no pointers.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if answer != 0 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// `BPF_MAP_DELETE_ELEM`; a key that is not there is as good as removed.
pub(super) fn remove_key<Key>(map: BorrowedFd<'_>, key: &Key) -> io::Result<()> {
    const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
    /// The part of `bpf_attr` for a map's elements: `linux/bpf.h`.
    #[repr(C)]
    struct Element {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut attributes = Element {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: std::ptr::from_ref(key) as u64,
        value: 0,
        flags: 0,
    };
    // SAFETY: the attributes are valid for the size that is given, and the key for the map's.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_DELETE_ELEM,
            &raw mut attributes,
            size_of::<Element>(),
        )
    };
    match io::Error::last_os_error() {
        error if answer != 0 && error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Entries of a map that are taken at a time.
const BATCH: usize = 1024;

/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH` until a hash map is empty: all of its entries. It goes from bucket to
/// bucket, and needs no search. Programs count under keys that live in the storage of tasks, and where
/// another CPU changes such a key while the kernel puts it in, its entry lies where no search finds it: a
/// walk from key to key would begin anew there, without an end.
///
/// # Safety
/// Keys and values are plain numbers, of the sizes that the map has.
pub(super) unsafe fn take_entries<Key: Copy, Value: Copy>(
    map: BorrowedFd<'_>,
) -> io::Result<Vec<(Key, Value)>> {
    const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_int = 25;
    /// `bpf_attr.batch`: `linux/bpf.h`.
    #[repr(C)]
    struct Batch {
        after: u64,
        reached: u64,
        keys: u64,
        values: u64,
        count: u32,
        map: u32,
        element_flags: u64,
        flags: u64,
    }
    let mut entries = Vec::new();
    let mut room = BATCH;
    let (mut after, mut reached) = (None::<u32>, 0u32);
    loop {
        let mut keys = Vec::<Key>::with_capacity(room);
        let mut values = Vec::<Value>::with_capacity(room);
        let mut attributes = Batch {
            after: after
                .as_ref()
                .map_or(0, |bucket| std::ptr::from_ref(bucket) as u64),
            reached: (&raw mut reached) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(room).map_err(io::Error::other)?,
            map: map.as_raw_fd().cast_unsigned(),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: the attributes are valid for the size that is given, there is room for as many keys and
        // values as the count says, and the number of a bucket has four bytes.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_AND_DELETE_BATCH,
                &raw mut attributes,
                size_of::<Batch>(),
            )
        };
        let error = (answer != 0).then(io::Error::last_os_error);
        let is_end = match error.as_ref().and_then(io::Error::raw_os_error) {
            None => false,
            Some(libc::ENOENT) => true,
            // One bucket has more than there is room for, and nothing was taken.
            Some(libc::ENOSPC) => {
                room *= 2;
                continue;
            }
            Some(code) => return Err(io::Error::from_raw_os_error(code)),
        };
        let taken = (attributes.count as usize).min(room);
        // SAFETY: the kernel has written so many, of plain numbers.
        unsafe {
            keys.set_len(taken);
            values.set_len(taken);
        }
        entries.extend(keys.into_iter().zip(values));
        if is_end {
            return Ok(entries);
        }
        after = Some(reached);
    }
}

/// `BPF_LINK_CREATE` for a perf event. aya attaches without a cookie, by which the program tells
/// one event from another.
pub(super) fn link_perf_event(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    const BPF_PERF_EVENT: u32 = 41;
    /// `bpf_attr.link_create`: `linux/bpf.h`.
    #[repr(C)]
    struct LinkCreate {
        program: i32,
        target: i32,
        attach_type: u32,
        flags: u32,
        cookie: u64,
    }
    let mut attributes = LinkCreate {
        program: program.as_raw_fd(),
        target: event.as_raw_fd(),
        attach_type: BPF_PERF_EVENT,
        flags: 0,
        cookie,
    };
    // SAFETY: the attributes are valid for the size that is given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_LINK_CREATE,
            &raw mut attributes,
            size_of::<LinkCreate>(),
        )
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
