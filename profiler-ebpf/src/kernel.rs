//! Reading kernel memory at the offsets that BTF gave.

use abi::config::{Addresses, Config, Offsets};
use aya_ebpf::{
    bindings::task_struct,
    helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task_btf},
};

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
        task_pid: 0,
        task_tgid: 0,
        task_comm: 0,
        task_group_leader: 0,
        task_start_boottime: 0,
        task_self_exec_id: 0,
        task_state: 0,
        task_on_cpu: 0,
        task_nvcsw: 0,
        task_nivcsw: 0,
        task_exec_runtime: 0,
        task_cgroups: 0,
        css_set_dfl_cgrp: 0,
        cgroup_level: 0,
        cgroup_ancestors: 0,
        cgroup_kn: 0,
        kernfs_node_id: 0,
        mm_tree_root: 0,
        mm_lock_seq: 0,
        mm_vdso: 0,
        vma_start: 0,
        vma_end: 0,
        vma_pgoff: 0,
        vma_flags: 0,
        vma_file: 0,
        file_inode: 0,
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

/// Reads a field of an object that the verifier knows, by a plain load. A pointer that is read so
/// leads to an object that it knows too, and what cannot be read is 0.
#[inline(always)]
pub(crate) fn field<T: Copy>(object: *const task_struct, offset: u32) -> T {
    // SAFETY: the verifier checks that the field lies within the object, and the kernel handles the
    // fault where the object is gone.
    unsafe { object.byte_add(offset as usize).cast::<T>().read_volatile() }
}

/// The running thread, as an object that the verifier knows.
#[inline(always)]
pub(crate) fn this_task() -> *mut task_struct {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task_btf() }
}
