//! The vDSO: code that the kernel maps into every process and that no path names.
//!
//! All processes of one class (64-bit, 32-bit) have the same image, so this process's own answers
//! for all of its class.

use std::fs::File;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::slice;

use object::NativeEndian;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader};

/// The kernel maps at least one page, and the headers are at its beginning.
const HEADER_BYTES: usize = 4096;

/// Larger than any vDSO; a bound for the case that its headers are misread.
const MAX_IMAGE_BYTES: u64 = 1 << 20;

/// The vDSO's ELF image as it is mapped in this process, or `None` if the kernel maps none.
pub fn vdso_image() -> Option<Vec<u8>> {
    // SAFETY: `getauxval` reads the process's auxiliary vector and takes any type.
    let address = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    if address == 0 {
        return None;
    }
    let start = address as *const u8;
    // SAFETY: `AT_SYSINFO_EHDR` is the address of the vDSO's ELF header. The kernel maps the image
    // by whole pages, readable, and for as long as the process lives.
    let headers = unsafe { slice::from_raw_parts(start, HEADER_BYTES) };
    let size = usize::try_from(image_size(headers)?).ok()?;
    // SAFETY: As above; the headers, which the kernel made, say that the image is this long.
    Some(unsafe { slice::from_raw_parts(start, size) }.to_vec())
}

/// The vDSO's image as a file in memory, to be given to [`file`](crate::file()).
pub fn vdso_file() -> Option<File> {
    let image = vdso_image()?;
    // SAFETY: The name is a C string; the call has no other effect than a new descriptor.
    let descriptor = unsafe { libc::memfd_create(c"vdso".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return None;
    }
    // SAFETY: The descriptor was just made and nothing else owns it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    file.write_all(&image).ok()?;
    Some(file)
}

/// `max(e_shoff + e_shnum * e_shentsize, p_offset + p_filesz for each segment)`.
fn image_size(headers: &[u8]) -> Option<u64> {
    let header = FileHeader64::<NativeEndian>::parse(headers).ok()?;
    let endian = NativeEndian;
    let sections = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    let sections_end = header.e_shoff(endian).checked_add(sections)?;
    let segments = header.program_headers(endian, headers).ok()?;
    let segments_end = segments.iter().map(|segment| {
        let (offset, size) = segment.file_range(endian);
        offset.saturating_add(size)
    });
    let size = segments_end.fold(sections_end, u64::max);
    (size <= MAX_IMAGE_BYTES).then_some(size)
}
