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
    job::{Answer, Job, TABLE_KEY, TableCost},
    sandbox, wire,
};
use crate::{
    jit::Kind,
    limits::return_freed_memory,
    tables::cost,
    unwind::{self, cache, rows::FileRows},
};

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
        (Job::JitNames { kind, addresses }, [file, ..]) => Answer::JitNames(match kind {
            Kind::PerfMap => symbolizer::perf_map(file, addresses),
            Kind::Jitdump => symbolizer::jitdump(file, addresses),
        }),
        (Job::TableCost, [file, ..]) => Answer::TableCost(TableCost {
            bytes: cost::of(file),
            build_id: symbolizer::build_id(file),
        }),
        (Job::Table, [file, ..]) => Answer::Table(table(file)),
        (Job::Loading, [file, ..]) => Answer::Loading(symbolizer::loading(file)),
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

fn table(file: &File) -> Result<Vec<u8>, String> {
    match unwind::file::read(file) {
        Ok(FileRows::Rows(rows, _)) => Ok(cache::encode(TABLE_KEY, &rows)),
        Ok(FileRows::NoCfi) => Err("the file has no call frame information".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
