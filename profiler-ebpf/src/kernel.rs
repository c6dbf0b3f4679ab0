//! Reading kernel memory at the offsets that BTF gave.

use core::ffi::c_void;

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
    with_cgroups: 0,
    moment_mask: 0,
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
        task_state: 0,
        task_on_cpu: 0,
        task_nvcsw: 0,
        task_nivcsw: 0,
        task_exec_runtime: 0,
        task_last_arrival: 0,
        task_last_queued: 0,
        task_run_delay: 0,
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

/// An object of the kernel whose type the verifier knows. Its fields are read by plain loads, where
/// [`read`] is the call of a helper; a load from a bad address gives 0.
#[derive(Clone, Copy)]
pub(crate) struct Object(*const c_void);

impl Object {
    /// A thread's `task_struct`.
    #[inline(always)]
    pub(crate) fn of(task: *const task_struct) -> Self {
        Self(task.cast())
    }

    /// A number in the object.
    #[inline(always)]
    pub(crate) fn field<T: Copy>(self, offset: u32) -> T {
        let field = self.0.wrapping_byte_add(offset as usize).cast::<T>();
        // SAFETY: the verifier refuses the program where there is no such field.
        unsafe { field.read_volatile() }
    }

    /// The object that a pointer in this one leads to.
    #[inline(always)]
    pub(crate) fn object(self, offset: u32) -> Self {
        Self(self.field(offset))
    }

    /// Whether the pointer that was followed leads nowhere.
    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Leaves the object's address in a map. What is read from there is a number, with which the
    /// verifier lets programs reckon.
    #[inline(always)]
    pub(crate) fn address(self, place: &mut u64) -> u64 {
        number(place, self.0)
    }
}

/// An address as a number, with which the verifier lets programs reckon: what has been in a map is one.
#[inline(always)]
pub(crate) fn number(through: &mut u64, address: *const c_void) -> u64 {
    let through: *mut u64 = through;
    // SAFETY: the place is valid; volatile, so that it is read again.
    unsafe {
        through.write_volatile(address as u64);
        through.read_volatile()
    }
}

/// The running thread, as an object that the verifier knows.
#[inline(always)]
pub(crate) fn this_task() -> *mut task_struct {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task_btf() }
}
