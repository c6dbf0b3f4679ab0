//! Where the code of the loaded BPF programs is, of which the kernel's list of symbols has the names
//! but no sizes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::programs::loaded_programs;
use symbolizer::KernelImage;

/// Functions of one program; the kernel takes no more (`BPF_MAX_SUBPROGS`).
const MAX_FUNCTIONS: usize = 256;

/// The code of every program that is loaded, a piece for each function, without names. Empty where
/// the kernel hides its addresses.
#[must_use]
pub fn images() -> Vec<KernelImage> {
    let programs = loaded_programs().filter_map(Result::ok);
    let images = programs.filter_map(|program| of_program(program.fd().ok()?.as_fd()));
    images.flatten().collect()
}

/// `bpf_attr.info`: `linux/bpf.h`.
#[repr(C)]
struct GetInfo {
    program: u32,
    info_bytes: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`, which aya does not show: `linux/bpf.h`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    before: [u64; 13],
    starts_count: u32,
    sizes_count: u32,
    starts: u64,
    sizes: u64,
}

fn of_program(program: BorrowedFd<'_>) -> Option<Vec<KernelImage>> {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    let mut starts = [0u64; MAX_FUNCTIONS];
    let mut sizes = [0u32; MAX_FUNCTIONS];
    let mut info = ProgramInfo {
        starts_count: MAX_FUNCTIONS as u32,
        sizes_count: MAX_FUNCTIONS as u32,
        starts: starts.as_mut_ptr() as u64,
        sizes: sizes.as_mut_ptr() as u64,
        ..ProgramInfo::default()
    };
    let mut attributes = GetInfo {
        program: program.as_raw_fd().cast_unsigned(),
        info_bytes: size_of::<ProgramInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the attributes are valid for the size that is given, the info for its own, and the
    // kernel writes at most as many starts and sizes as their counts say.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut attributes,
            size_of::<GetInfo>(),
        )
    };
    let count = info.starts_count.min(info.sizes_count) as usize;
    let pieces = starts.into_iter().zip(sizes).take(count);
    let images = pieces.filter(|&(start, _)| start != 0);
    (answer == 0).then(|| {
        images
            .map(|(start, bytes)| KernelImage {
                start,
                bytes: bytes.into(),
                name: String::new(),
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bpf::Identifier,
        btf::{self, Btf},
    };

    /// A program of our own is among them, where the kernel's list has its name.
    #[test]
    fn loaded_programs_have_places() {
        let offsets = btf::offsets(&Btf::of_kernel().unwrap()).unwrap();
        let _loaded = Identifier::load(&offsets).unwrap();
        let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
        let ours = symbols
            .lines()
            .filter(|line| line.contains("_identify\t[bpf]"));
        let starts: Vec<_> = ours
            .map(|line| u64::from_str_radix(&line[..16], 16).unwrap())
            .collect();
        assert!(!starts.is_empty());
        let images = images();
        for start in starts {
            let image = images.iter().find(|image| image.start == start);
            assert!(image.is_some_and(|image| (16..1 << 20).contains(&image.bytes)));
        }
    }
}
