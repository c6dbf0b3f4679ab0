//! Names for the running kernel and its vDSO.

mod common;

use std::io::Write;
use std::os::unix::fs::FileExt;

use common::{names, offset_of, resolve_all};
use symbolizer::{Detail, KernelNames, Miss};
use tempfile::NamedTempFile;

/// The address of a function by `/proc/kallsyms`; `None` if addresses are hidden, in which case
/// the test is skipped, unless it runs in CI.
#[expect(clippy::print_stderr, reason = "says why the test is skipped")]
fn kernel_address(function: &str) -> Option<u64> {
    let symbols = std::fs::read_to_string("/proc/kallsyms").expect("kallsyms is readable");
    let mut fields = symbols.lines().map(|line| line.split_ascii_whitespace());
    let address = fields.find_map(|mut fields| {
        let address = fields.next()?;
        (fields.nth(1)? == function).then(|| u64::from_str_radix(address, 16))
    });
    let address = address
        .expect("the kernel has the function")
        .expect("addresses are hexadecimal");
    if address == 0 {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to see kernel addresses"
        );
        eprintln!("skipped: /proc/kallsyms shows zeros to this user");
    }
    (address != 0).then_some(address)
}

/// An address within a kernel function resolves to it, in any order, and user space to nothing;
/// hidden addresses say that they are hidden.
#[test]
fn kernel_function() {
    let kernel = KernelNames::read();
    let Some(address) = kernel_address("vfs_read") else {
        assert_eq!(
            kernel.resolve(&[1 << 63]),
            [Err(Miss::KernelAddressesHidden)]
        );
        return;
    };
    let answers = kernel.resolve(&[address + 1, 0x7fff_0000_0000, address, 0]);
    assert_eq!(names(&answers[0]), ["vfs_read"]);
    assert_eq!(answers[1], Err(Miss::NotCovered));
    assert_eq!(names(&answers[2]), ["vfs_read"]);
    assert_eq!(answers[3], Err(Miss::NotCovered));
    assert_eq!(kernel.resolve(&[]), []);
}

/// The kernel's build id is the one that its notes hold.
#[test]
fn kernel_build_id() {
    let notes = std::fs::read("/sys/kernel/notes").unwrap();
    let id = symbolizer::kernel_build_id().unwrap();
    assert!(notes.windows(id.len()).any(|window| window == id));
}

/// The vDSO resolves the offset of its clock function, and its image is complete.
#[test]
fn vdso() {
    let image = symbolizer::vdso_image().unwrap();
    let mut copy = NamedTempFile::new().unwrap();
    copy.write_all(&image).unwrap();
    let offset = offset_of(copy.path(), "__vdso_clock_gettime");

    let file = symbolizer::vdso_file().unwrap();
    let mut content = vec![0; image.len()];
    file.read_exact_at(&mut content, 0).unwrap();
    assert_eq!(content, image);
    let answers = resolve_all(&file, &[offset], Detail::default());
    // Both names are at the same address, and either is right.
    assert!(["__vdso_clock_gettime", "clock_gettime"].contains(&names(&answers[0])[0]));
    assert!(symbolizer::build_id(&file).is_some());
}
