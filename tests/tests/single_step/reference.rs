//! The reference: `tests/workloads/reference.c`, which asks libunwind.

use std::{ffi::CString, mem};

use tests::Workload;

use crate::process::{Traced, Words};

/// As in `reference.c`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) header: u64,
}

#[repr(C)]
struct Target {
    pid: libc::c_int,
    registers: *const u64,
    images: *const Image,
    image_count: u64,
}

type Walk = unsafe extern "C" fn(*const Target, *mut u64, libc::c_int) -> libc::c_int;

/// The library, loaded.
pub(crate) struct Reference {
    walk: Walk,
    _library: Workload,
}

const MOST_FRAMES: usize = 64;

impl Reference {
    pub(crate) fn build() -> Self {
        let flags = ["-shared", "-fPIC", "-lunwind-x86_64"];
        let library = Workload::without_frame_pointers("reference.c", "reference.so", &flags);
        let path = CString::new(library.path()).unwrap();
        // SAFETY: both names are C strings, and the library's initialization is that of libunwind.
        let walk = unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
            assert!(!handle.is_null(), "tests/install-tools brings libunwind");
            libc::dlsym(handle, c"reference_walk".as_ptr())
        };
        assert!(!walk.is_null());
        Self {
            // SAFETY: the library defines the function with this signature.
            walk: unsafe { mem::transmute::<*mut libc::c_void, Walk>(walk) },
            _library: library,
        }
    }

    /// The instruction pointers of the process's stack, leaf first.
    pub(crate) fn walk(&self, process: &Traced, registers: &Words, images: &[Image]) -> Vec<u64> {
        let target = Target {
            pid: process.pid(),
            registers: registers.0.as_ptr(),
            images: images.as_ptr(),
            image_count: images.len() as u64,
        };
        let mut addresses = vec![0; MOST_FRAMES];
        let most = MOST_FRAMES as libc::c_int;
        // SAFETY: all pointers are to memory of the lengths that are given.
        let count = unsafe { (self.walk)(&raw const target, addresses.as_mut_ptr(), most) };
        addresses.truncate(usize::try_from(count).unwrap());
        addresses
    }
}
