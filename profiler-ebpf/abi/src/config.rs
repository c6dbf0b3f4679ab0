//! What user space tells the kernel programs before they are loaded. It becomes read-only data,
//! which the verifier treats as constants.

/// Whose samples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scope {
    /// Every thread of the machine.
    Machine = 0,
    /// The processes and threads in the map of targets.
    Tasks = 1,
    /// The threads in one cgroup (version 2) and those below it.
    Cgroup = 2,
}

/// Byte offsets of the few kernel fields that are read, from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `task_struct.files`
    pub task_files: u32,
    /// `task_struct.pid`, which user space calls the thread id
    pub task_pid: u32,
    /// `task_struct.tgid`, which user space calls the process id
    pub task_tgid: u32,
    /// `task_struct.comm`
    pub task_comm: u32,
    /// `task_struct.group_leader`
    pub task_group_leader: u32,
    /// `task_struct.start_boottime`
    pub task_start_boottime: u32,
    /// `task_struct.self_exec_id`
    pub task_self_exec_id: u32,
    /// `task_struct.__state`
    pub task_state: u32,
    /// `task_struct.on_cpu`
    pub task_on_cpu: u32,
    /// `task_struct.nvcsw`
    pub task_nvcsw: u32,
    /// `task_struct.nivcsw`
    pub task_nivcsw: u32,
    /// `task_struct.se.sum_exec_runtime`
    pub task_exec_runtime: u32,
    /// `task_struct.sched_info.last_arrival`; 0 where the kernel has none (without `CONFIG_SCHED_INFO`)
    pub task_last_arrival: u32,
    /// `task_struct.sched_info.last_queued`; 0 where the kernel has none
    pub task_last_queued: u32,
    /// `task_struct.sched_info.run_delay`; 0 where the kernel has none
    pub task_run_delay: u32,
    /// `task_struct.cgroups`
    pub task_cgroups: u32,
    /// `css_set.dfl_cgrp`
    pub css_set_dfl_cgrp: u32,
    /// `cgroup.level`
    pub cgroup_level: u32,
    /// `cgroup.ancestors`
    pub cgroup_ancestors: u32,
    /// `cgroup.kn`
    pub cgroup_kn: u32,
    /// `kernfs_node.id`
    pub kernfs_node_id: u32,
    /// `mm_struct.mm_mt.ma_root`
    pub mm_tree_root: u32,
    /// `mm_struct.mm_lock_seq`; 0 where the kernel has none (before 6.4)
    pub mm_lock_seq: u32,
    /// `mm_struct.context.vdso`
    pub mm_vdso: u32,
    /// `vm_area_struct.vm_start`
    pub vma_start: u32,
    /// `vm_area_struct.vm_end`
    pub vma_end: u32,
    /// `vm_area_struct.vm_pgoff`
    pub vma_pgoff: u32,
    /// `vm_area_struct.vm_flags`
    pub vma_flags: u32,
    /// `vm_area_struct.vm_file`
    pub vma_file: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `files_struct.fdt`
    pub files_fdt: u32,
    /// `fdtable.fd`
    pub fdtable_fd: u32,
    /// `inode.i_ino`
    pub inode_ino: u32,
    /// `inode.i_generation`
    pub inode_generation: u32,
    /// `inode.i_sb`
    pub inode_sb: u32,
    /// `super_block.s_dev`
    pub sb_dev: u32,
    /// Always 0.
    pub padding: u32,
}

/// The first bytes of a `vm_area_struct`, in which its fields have to lie. A node of the kernel's
/// tree of mappings has as many, and both are read into the same place.
pub const VMA_BYTES: usize = 256;

/// How the machine's addresses are made up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Addresses {
    /// The bits that the address of user code can have.
    pub code_mask: u64,
    /// How many bits of an address count the bytes of a page.
    pub page_shift: u32,
    /// Always 0.
    pub padding: u32,
}

/// The settings of one recording.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Config {
    /// Starting values of the two halves of a stack's hash, random for each recording, so that
    /// nobody can prepare two stacks that collide.
    pub hash_seed: [u64; 2],
    /// The cgroup's id, where the scope is [`Scope::Cgroup`].
    pub cgroup_id: u64,
    /// The cgroup's depth below the root (the root's is 0).
    pub cgroup_level: u32,
    /// A [`Scope`].
    pub scope: u32,
    /// 1 where a target may be a single thread, 0 where all are processes.
    pub has_threads: u32,
    /// 1 where counts are kept apart by cgroup.
    pub with_cgroups: u32,
    /// The bits of [`crate::samples::SampleKey::moment`] that are kept of samples whose names do not
    /// depend on it; 0 where their times are not wanted.
    pub moment_mask: u32,
    /// Always 0.
    pub padding: u32,
    /// How addresses are made up.
    pub addresses: Addresses,
    /// Where the kernel's fields are.
    pub offsets: Offsets,
}

const _: () = assert!(size_of::<Offsets>() == 152);
const _: () = assert!(size_of::<Addresses>() == 16);
const _: () = assert!(size_of::<Config>() == 64 + size_of::<Offsets>());

/// The kind of a target in the map of targets, as bits, since one number can name both a process
/// and its first thread.
pub mod target {
    /// The number is a process id: all its threads and, from then on, its children.
    pub const PROCESS: u32 = 1;
    /// The number is a thread id.
    pub const THREAD: u32 = 2;
}

/// One process or thread whose samples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Target {
    /// Bits of [`target`].
    pub kind: u32,
    /// Always 0.
    pub padding: u32,
    /// When the process started, in nanoseconds since boot, so that the end of an earlier process
    /// with the same number does not remove this one; 0 where user space named the process.
    pub start_ns: u64,
}

const _: () = assert!(size_of::<Target>() == 16);
