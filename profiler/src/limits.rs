//! How many descriptors the recorder may have open: two for each CPU and event, and one for each
//! file that stacks name. That memory which it no longer needs is the machine's again, and that it can
//! do without what its rights are for.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Gives up what this thread may do beyond what its user may, for good.
///
/// # Errors
/// The kernel refuses it to nobody.
pub(crate) fn give_up_capabilities() -> io::Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, none)?)
}

/// Has large pieces of memory go back to the kernel when they are freed. The C library of GNU keeps
/// the more of them the larger they were: tens of MiB of each thread that has built an unwind table.
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE_BYTES: libc::c_int = 128 << 10;
        // What is small comes from the kernel in pieces of this size, and not a few pages at a time.
        const PIECE_BYTES: libc::c_int = 1 << 20;
        // SAFETY: the calls take two numbers each, and no other thread runs yet.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
            libc::mallopt(libc::M_TOP_PAD, PIECE_BYTES);
        }
    }
}

/// Keeps what is freed from here on for what follows: to finish a recording takes and frees many large
/// pieces one after the other, and fresh memory has to be cleared each time.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        // The most that it takes.
        const LARGE_BYTES: libc::c_int = 32 << 20;
        const PIECE_BYTES: libc::c_int = 16 << 20;
        // SAFETY: the calls take two numbers each; the C library reads them when it is asked for memory.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
            libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE_BYTES);
            libc::mallopt(libc::M_TOP_PAD, PIECE_BYTES);
        }
    }
}

/// Gives the kernel what was freed in small pieces, which the C library of GNU keeps for later: a window
/// takes many for a moment.
pub fn give_freed_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number, and looks at what is free under its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has few threads share what the C library of GNU keeps for each of them.
pub fn share_memory() {
    #[cfg(target_env = "gnu")]
    {
        const AREAS: libc::c_int = 2;
        // SAFETY: the call takes two numbers.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, AREAS) };
    }
}

/// The limit that was there before.
#[derive(Clone, Copy)]
pub struct Descriptors {
    before: libc::rlimit,
}

impl std::fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Descriptors")
            .field(&self.before.rlim_cur)
            .finish()
    }
}

impl Descriptors {
    /// Raises the limit as far as this process may.
    #[must_use]
    pub fn raise() -> Self {
        let mut before = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the call writes one limit.
        if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before) } == 0 {
            set(libc::rlimit {
                rlim_cur: before.rlim_max,
                ..before
            });
        }
        Self { before }
    }

    /// Sets what was there before, for a command: some programs go through all descriptors that
    /// they may have. Makes one system call.
    pub fn restore(self) {
        if self.before.rlim_max > 0 {
            set(self.before);
        }
    }
}

fn set(limit: libc::rlimit) {
    // SAFETY: the limit outlives the call. Where it is refused, the old one holds.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}
