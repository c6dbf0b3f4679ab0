//! A reader, seen from itself.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use super::{
    job::{Answer, Job},
    sandbox, wire,
};
use crate::limits::return_freed_memory;

/// The first descriptor that is not one of the standard three.
const FIRST_INHERITED: libc::c_uint = 3;

/// Gives up all rights, then does one job after the other until nobody asks any more.
///
/// # Errors
/// Where a right cannot be given up, or the socket, which is standard input, is none.
pub fn serve(memory_bytes: u64) -> io::Result<()> {
    // What whoever started the profiler left open is not for a reader.
    // SAFETY: nothing is open yet of which this process knows.
    if unsafe { libc::close_range(FIRST_INHERITED, libc::c_uint::MAX, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let mut socket = UnixStream::from(socket);
    return_freed_memory();
    sandbox::enter(memory_bytes)?;
    while let Some((job, files)) = wire::receive(&mut socket)? {
        let answer = done(&job, &files, memory_bytes);
        drop(files);
        wire::send(&mut socket, &answer, &[])?;
    }
    Ok(())
}

fn done(job: &Job, files: &[File], memory_bytes: u64) -> Answer {
    match (job, files) {
        (_, []) => Answer::Nothing,
        (Job::Describe, [file, ..]) => Answer::Description(symbolizer::describe(file)),
        (Job::Checksum, [file, ..]) => Answer::Checksum(symbolizer::crc32(file)),
        (
            Job::Names {
                offsets,
                detailed,
                detail,
                given,
            },
            files,
        ) => {
            // Half, since what is decompressed has to be parsed too.
            let Some(sources) = given.sources(files, memory_bytes / 2) else {
                return Answer::Nothing;
            };
            let is_detailed = |offset: u64| detailed.binary_search(&offset).is_ok();
            Answer::Names(symbolizer::file(
                sources,
                sandbox::DESCRIPTORS,
                offsets,
                *detail,
                is_detailed,
            ))
        }
    }
}
