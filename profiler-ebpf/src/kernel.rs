//! Reading kernel memory at the offsets that BTF gave.

use abi::config::{Addresses, Config, Offsets};
use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task};

/// Set by user space before loading.
#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    hash_seed: [0; 2],
    cgroup_id: 0,
    cgroup_level: 0,
    scope: 0,
    has_threads: 0,
    padding: 0,
    addresses: Addresses {
        code_mask: 0,
        page_shift: 0,
        padding: 0,
    },
    offsets: Offsets {
        task_mm: 0,
        task_files: 0,
        task_pid: 0,
        task_tgid: 0,
        task_comm: 0,
        task_group_leader: 0,
        task_start_boottime: 0,
        task_self_exec_id: 0,
        mm_tree_root: 0,
        mm_lock_seq: 0,
        mm_vdso: 0,
        vma_start: 0,
        vma_end: 0,
        vma_pgoff: 0,
        vma_flags: 0,
        vma_file: 0,
        file_inode: 0,
        files_fdt: 0,
        fdtable_fd: 0,
        inode_ino: 0,
        inode_generation: 0,
        inode_sb: 0,
        sb_dev: 0,
        padding: 0,
    },
};

/// One field of this recording's settings. Read for itself, since user space sets it after the
/// compiler has seen a constant, and since the whole would be copied at each use.
macro_rules! config {
    ($($field:tt)+) => {
        // SAFETY: the settings are plain numbers in a static.
        unsafe { (&raw const (*crate::kernel::settings()).$($field)+).read_volatile() }
    };
}
pub(crate) use config;

#[inline(always)]
pub(crate) fn settings() -> *const Config {
    &raw const CONFIG
}

/// Reads a kernel field; the address is plain arithmetic, so a bad one fails here and nowhere else.
#[inline(always)]
pub(crate) fn read<T: Copy>(object: u64, offset: u32) -> Option<T> {
    let address = object.wrapping_add(u64::from(offset));
    // SAFETY: the helper checks the address and fails where it cannot be read.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// The running thread's `task_struct`, as a number: the verifier refuses arithmetic with offsets
/// on a typed pointer.
#[inline(always)]
pub(crate) fn current_task() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}
