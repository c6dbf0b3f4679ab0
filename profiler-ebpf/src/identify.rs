//! What the sampling program calls a file, for user space, which has the file open and maps it to ask.

use abi::records::FileIdentities;

use crate::{
    kernel::{Object, config, read, this_task},
    mapping::{identify, lookup},
    maps::{IDENTITIES, IDENTITY_NODE},
};

/// Answers for the file that the running process maps at an address and has open as a descriptor.
/// Where that cannot be told, the answer is what user space left there.
#[inline(always)]
pub(crate) fn answer(address: u64, descriptor: u64) {
    if let Some(found) = identities(address, descriptor)
        && let Some(answer) = IDENTITIES.get_ptr_mut(0)
    {
        // SAFETY: user space asks one question at a time.
        unsafe { *answer = found };
    }
}

#[inline(always)]
fn identities(address: u64, descriptor: u64) -> Option<FileIdentities> {
    let node = IDENTITY_NODE.get_ptr_mut(0)?;
    let task = Object::of(this_task());
    let mm = task.field(config!(offsets.task_mm));
    // SAFETY: as above.
    let vma = lookup(mm, unsafe { &mut *node }, address).ok()?;
    let start = read::<u64>(vma, config!(offsets.vma_start))?;
    let end = read::<u64>(vma, config!(offsets.vma_end))?;
    if address < start || end <= address {
        return None;
    }
    let files = task.field(config!(offsets.task_files));
    let table = read(files, config!(offsets.files_fdt))?;
    let open = read::<u64>(table, config!(offsets.fdtable_fd))?;
    Some(FileIdentities {
        mapped: identify(read(vma, config!(offsets.vma_file))?)?,
        opened: identify(read(open.wrapping_add(descriptor << 3), 0)?)?,
    })
}
