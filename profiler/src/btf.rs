//! Where the fields of the kernel's structs are, from the type information (BTF) that the kernel
//! carries of itself. It answers "at which byte of which struct is this member" and nothing else.
//! Format: the kernel's `Documentation/bpf/btf.rst`.

use abi::config::{Offsets, VMA_BYTES};
use thiserror::Error;

/// Where the running kernel's type information is.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why an offset is not known.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The kernel offers no type information, or not to us.
    #[error(
        "failed to read `{VMLINUX}`: {0}; timesink needs a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    Unreadable(#[from] std::io::Error),
    /// The bytes are no BTF.
    #[error("failed to parse the kernel's BTF: {0}")]
    Malformed(&'static str),
    /// A field lies further behind the start of its struct than the programs read.
    #[error("failed to find the fields of `struct vm_area_struct` in its first {VMA_BYTES} bytes")]
    TooFar,
    /// This kernel's struct has no such member.
    #[error("failed to find `{member}` of `struct {name}` in the kernel's BTF")]
    NoMember {
        /// The struct.
        name: &'static str,
        /// The member, with dots between the levels.
        member: &'static str,
    },
}

/// The kinds of type that matter here, by their number in the format.
mod kind {
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
    pub(super) const INT: u32 = 1;
}

const MAGIC: u16 = 0xeb9f;
/// Structs nest a few levels deep; this bounds what a cycle could do.
const MAX_DEPTH: u32 = 8;

/// A parsed BTF blob.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Where each type starts; index 0 is `void`.
    types: Vec<usize>,
}

impl Btf {
    /// The running kernel's.
    ///
    /// # Errors
    /// Where the kernel has none or it is malformed.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(std::fs::read(VMLINUX)?)
    }

    /// Indexes a blob.
    ///
    /// # Errors
    /// Where it is not BTF of this machine's byte order, or cut short.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let mut btf = Self {
            bytes,
            strings: 0,
            types: vec![0],
        };
        let cut = BtfError::Malformed("it is cut short");
        let header = |at| btf.word(at);
        let (Some(length), Some(type_start), Some(type_bytes), Some(strings)) =
            (header(4), header(8), header(12), header(16))
        else {
            return Err(cut);
        };
        if btf.bytes.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err(BtfError::Malformed(
                "it does not start with its magic number",
            ));
        }
        let mut at = (length + type_start) as usize;
        let end = at + type_bytes as usize;
        btf.strings = (length + strings) as usize;
        while at < end {
            btf.types.push(at);
            let info = btf
                .word(at + 4)
                .ok_or(BtfError::Malformed("it is cut short"))?;
            at += 12 + extra_bytes(info);
        }
        Ok(btf)
    }

    /// The byte offset of a member, dots between the levels (`mm_mt.ma_root`).
    ///
    /// # Errors
    /// Where no struct of that name has the member.
    pub fn offset(&self, name: &'static str, member: &'static str) -> Result<u32, BtfError> {
        (1..self.types.len())
            .filter(|&id| {
                self.kind(id) == Some(kind::STRUCT) && self.name(self.types[id]) == name.as_bytes()
            })
            .find_map(|id| self.path(id, member))
            .ok_or(BtfError::NoMember { name, member })
    }

    fn path(&self, id: usize, path: &str) -> Option<u32> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let (offset, member) = self.member(id, first, 0)?;
        if rest.is_empty() {
            return Some(offset);
        }
        Some(offset + self.path(self.resolve(member)?, rest)?)
    }

    /// The offset and the type of a member, looked for in unnamed members too.
    fn member(&self, id: usize, wanted: &str, depth: u32) -> Option<(u32, usize)> {
        if depth > MAX_DEPTH {
            return None;
        }
        let start = *self.types.get(id)?;
        let info = self.word(start + 4)?;
        for index in 0..(info & 0xffff) as usize {
            let at = start + 12 + index * 12;
            let type_id = self.word(at + 4)? as usize;
            let position = self.word(at + 8)?;
            // With the flag, the upper 8 bits are a bit-field's width.
            let bits = if info >> 31 == 1 {
                position & 0xff_ffff
            } else {
                position
            };
            let name = self.name(at);
            if name == wanted.as_bytes() {
                return Some((bits / 8, type_id));
            }
            if name.is_empty()
                && let Some(inner) = self.resolve(type_id)
                && let Some((offset, member)) = self.member(inner, wanted, depth + 1)
            {
                return Some((bits / 8 + offset, member));
            }
        }
        None
    }

    /// The struct or union behind typedefs and qualifiers.
    fn resolve(&self, mut id: usize) -> Option<usize> {
        for _ in 0..MAX_DEPTH {
            match self.kind(id)? {
                kind::STRUCT | kind::UNION => return Some(id),
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = self.word(self.types[id] + 8)? as usize;
                }
                _ => return None,
            }
        }
        None
    }

    fn kind(&self, id: usize) -> Option<u32> {
        let start = self.types.get(id).filter(|_| id != 0)?;
        Some((self.word(start + 4)? >> 24) & 0x1f)
    }

    /// The name that the word at `at` points to.
    fn name(&self, at: usize) -> &[u8] {
        let start = self
            .word(at)
            .map_or(usize::MAX, |offset| self.strings + offset as usize);
        let rest = self.bytes.get(start..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }
}

/// How many bytes follow the 12 that each type has.
fn extra_bytes(info: u32) -> usize {
    let count = (info & 0xffff) as usize;
    match (info >> 24) & 0x1f {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
        kind::ENUM | kind::FUNC_PROTO => 8 * count,
        _ => 0,
    }
}

/// The offsets that the kernel programs need.
///
/// # Errors
/// Where the kernel has no BTF, or a field is not where it has been since 6.1.
pub fn offsets(btf: &Btf) -> Result<Offsets, BtfError> {
    let offsets = Offsets {
        task_mm: btf.offset("task_struct", "mm")?,
        task_files: btf.offset("task_struct", "files")?,
        task_pid: btf.offset("task_struct", "pid")?,
        task_tgid: btf.offset("task_struct", "tgid")?,
        task_comm: btf.offset("task_struct", "comm")?,
        task_group_leader: btf.offset("task_struct", "group_leader")?,
        task_start_boottime: btf.offset("task_struct", "start_boottime")?,
        task_self_exec_id: btf.offset("task_struct", "self_exec_id")?,
        task_state: btf.offset("task_struct", "__state")?,
        task_on_cpu: btf.offset("task_struct", "on_cpu")?,
        task_nvcsw: btf.offset("task_struct", "nvcsw")?,
        task_nivcsw: btf.offset("task_struct", "nivcsw")?,
        task_exec_runtime: btf.offset("task_struct", "se.sum_exec_runtime")?,
        task_last_arrival: btf
            .offset("task_struct", "sched_info.last_arrival")
            .unwrap_or(0),
        task_last_queued: btf
            .offset("task_struct", "sched_info.last_queued")
            .unwrap_or(0),
        task_run_delay: btf
            .offset("task_struct", "sched_info.run_delay")
            .unwrap_or(0),
        task_cgroups: btf.offset("task_struct", "cgroups")?,
        css_set_dfl_cgrp: btf.offset("css_set", "dfl_cgrp")?,
        cgroup_level: btf.offset("cgroup", "level")?,
        cgroup_ancestors: btf.offset("cgroup", "ancestors")?,
        cgroup_kn: btf.offset("cgroup", "kn")?,
        kernfs_node_id: btf.offset("kernfs_node", "id")?,
        mm_lock_seq: btf.offset("mm_struct", "mm_lock_seq").unwrap_or(0),
        mm_tree_root: btf.offset("mm_struct", "mm_mt.ma_root")?,
        mm_vdso: btf.offset("mm_struct", "context.vdso")?,
        vma_start: btf.offset("vm_area_struct", "vm_start")?,
        vma_end: btf.offset("vm_area_struct", "vm_end")?,
        vma_pgoff: btf.offset("vm_area_struct", "vm_pgoff")?,
        vma_flags: btf.offset("vm_area_struct", "vm_flags")?,
        vma_file: btf.offset("vm_area_struct", "vm_file")?,
        file_inode: btf.offset("file", "f_inode")?,
        files_fdt: btf.offset("files_struct", "fdt")?,
        fdtable_fd: btf.offset("fdtable", "fd")?,
        inode_ino: btf.offset("inode", "i_ino")?,
        inode_generation: btf.offset("inode", "i_generation")?,
        inode_sb: btf.offset("inode", "i_sb")?,
        sb_dev: btf.offset("super_block", "s_dev")?,
        padding: 0,
    };
    let vma = [
        offsets.vma_start,
        offsets.vma_end,
        offsets.vma_pgoff,
        offsets.vma_flags,
        offsets.vma_file,
    ];
    if vma
        .iter()
        .any(|&at| at as usize + size_of::<u64>() > VMA_BYTES)
    {
        return Err(BtfError::TooFar);
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_members_of_the_running_kernel_through_unnamed_levels() {
        let btf = Btf::of_kernel().unwrap();
        let found = offsets(&btf).unwrap();
        assert_ne!(found.task_mm, 0);
        assert!(found.task_pid + 4 == found.task_tgid);
        assert_ne!(found.mm_vdso, 0);
    }

    #[test]
    fn an_absent_member_is_named_in_the_error() {
        let btf = Btf::of_kernel().unwrap();
        let error = btf.offset("task_struct", "no_such_member").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`no_such_member` of `struct task_struct`")
        );
    }

    #[test]
    fn cut_and_foreign_bytes_are_errors() {
        assert!(Btf::parse(Vec::new()).is_err());
        assert!(Btf::parse(vec![0; 64]).is_err());
        let whole = std::fs::read(VMLINUX).unwrap();
        assert!(Btf::parse(whole[..whole.len() / 3].to_vec()).is_err());
    }
}
