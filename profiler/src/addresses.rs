//! How the addresses of this machine's programs are made up.

use abi::config::Addresses;

/// What the kernel tells each process, and how many bits an address has: that shows in the stack's,
/// which the kernel puts at the end of the memory that it gives without being asked for more.
#[must_use]
pub fn of_this_machine() -> Addresses {
    // SAFETY: the call reads what the kernel gave the process at its start.
    let page_bytes = unsafe { libc::getauxval(libc::AT_PAGESZ) };
    let on_stack = 0u8;
    from(page_bytes, (&raw const on_stack).addr() as u64)
}

fn from(page_bytes: u64, on_stack: u64) -> Addresses {
    Addresses {
        code_mask: u64::MAX >> on_stack.leading_zeros(),
        page_shift: page_bytes.trailing_zeros(),
        padding: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mask keeps every bit up to the highest that a stack's address has.
    #[test]
    fn masks_and_shifts() {
        for (page_bytes, on_stack, code_mask, page_shift) in [
            (4096, 0x7ffd_1234_5678, 0x7fff_ffff_ffff, 12),
            (16384, 0xffff_f7ff_e000, 0xffff_ffff_ffff, 14),
            (65536, 0x7f_f7ff_e000, 0x7f_ffff_ffff, 16),
        ] {
            let found = from(page_bytes, on_stack);
            assert_eq!((found.code_mask, found.page_shift), (code_mask, page_shift));
        }
    }

    /// This program's own code lies below the mask.
    #[test]
    fn own_code_has_no_other_bits() {
        let found = of_this_machine();
        let code = of_this_machine as fn() -> Addresses as usize as u64;
        assert_eq!(code & found.code_mask, code);
        assert!(found.page_shift >= 12);
    }
}
