//! Waiting for descriptors with the event loop.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use tokio::io::unix::AsyncFd;

/// Hands a descriptor, owned by `inner`, to the event loop.
///
/// # Errors
/// What the kernel answers.
pub(crate) fn watch<T: AsFd + AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a type that is `AsFd` keeps the descriptor open while it lives, and none that is
    // given here replaces it.
    unsafe { AsyncFd::register(inner) }.map_err(|error| error.into_parts().1)
}
