//! How jobs and answers go through a socket: a length, a `u32`, and so many bytes of postcard
//! (<https://postcard.jamesmunns.com/wire-format>). The files of a job go with its length.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};

use super::job::MAX_FILES;

/// More than any job takes: millions of offsets.
const MAX_JOB_BYTES: u32 = 64 << 20;
const LENGTH_BYTES: usize = size_of::<u32>();

/// Sends a message with files.
pub(super) fn send(
    socket: &mut UnixStream,
    message: &impl Serialize,
    files: &[&File],
) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let descriptors: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let length = length.to_ne_bytes();
    let sent = retry_on_intr(|| {
        let buffers = [IoSlice::new(&length)];
        sendmsg(&*socket, &buffers, &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    if sent != LENGTH_BYTES {
        return Err(io::ErrorKind::WriteZero.into());
    }
    socket.write_all(&bytes)
}

/// Waits for a message with files; `None` where the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(
    socket: &mut UnixStream,
) -> io::Result<Option<(T, Vec<File>)>> {
    let mut length = [0; LENGTH_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        let mut buffers = [IoSliceMut::new(&mut length)];
        recvmsg(
            &*socket,
            &mut buffers,
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            files.extend(descriptors.map(File::from));
        }
    }
    match received.bytes {
        0 => Ok(None),
        LENGTH_BYTES => {
            let bytes = body(socket, u32::from_ne_bytes(length), MAX_JOB_BYTES, None)?;
            Ok(Some((decoded(&bytes)?, files)))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Waits so long for a message of so many bytes at the most, without files. What it becomes may take
/// some thirty times as much memory.
pub(super) fn receive_within<T: DeserializeOwned>(
    socket: &mut UnixStream,
    time: Duration,
    most_bytes: u32,
) -> io::Result<T> {
    let deadline = Instant::now() + time;
    let mut length = [0; LENGTH_BYTES];
    read_until(socket, &mut length, Some(deadline))?;
    let length = u32::from_ne_bytes(length);
    decoded(&body(socket, length, most_bytes, Some(deadline))?)
}

fn body(
    socket: &mut UnixStream,
    length: u32,
    most_bytes: u32,
    deadline: Option<Instant>,
) -> io::Result<Vec<u8>> {
    if length > most_bytes {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    read_until(socket, &mut bytes, deadline)?;
    Ok(bytes)
}

fn read_until(
    socket: &mut UnixStream,
    mut bytes: &mut [u8],
    deadline: Option<Instant>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(left))?;
        }
        match socket.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes = &mut bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use super::*;
    use crate::worker::job::{Answer, Job};

    /// A message arrives whole with its files, and the end of the other side is told from it.
    #[test]
    fn messages_carry_files() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        send(&mut here, &Job::Checksum, &[&file]).unwrap();
        drop(here);
        let (job, mut files): (Job, _) = receive(&mut there).unwrap().unwrap();
        let mut content = String::new();
        files.remove(0).read_to_string(&mut content).unwrap();
        assert_eq!((job, content.as_str()), (Job::Checksum, "content"));
        assert!(files.is_empty());
        assert!(receive::<Job>(&mut there).unwrap().is_none());
    }

    const MOST_BYTES: u32 = 1000;

    /// What is no message, is cut short, claims to be huge or never comes is an error.
    #[test]
    fn a_reader_is_not_trusted() {
        let answer = postcard::to_stdvec(&Answer::Checksum(Some(7))).unwrap();
        let whole = [&(answer.len() as u32).to_ne_bytes()[..], &answer].concat();
        let huge = (MOST_BYTES + 1).to_ne_bytes();
        let foreign = [&4_u32.to_ne_bytes()[..], &[0xff; 4]].concat();
        for (bytes, kind) in [
            (&whole[..whole.len() - 1], io::ErrorKind::UnexpectedEof),
            (&huge[..], io::ErrorKind::InvalidData),
            (&foreign[..], io::ErrorKind::InvalidData),
        ] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            here.write_all(bytes).unwrap();
            drop(here);
            let received = receive_within::<Answer>(&mut there, Duration::from_secs(5), MOST_BYTES);
            assert_eq!(received.unwrap_err().kind(), kind);
        }
        let (_here, mut there) = UnixStream::pair().unwrap();
        let received = receive_within::<Answer>(&mut there, Duration::from_millis(1), MOST_BYTES);
        assert_eq!(received.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
