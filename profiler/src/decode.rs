//! From the bytes of the ring to records: a pure function that never panics.

use abi::{
    COMM_BYTES,
    records::{FileIdentity, FileSeen, StackHeader, UserFrame, kind},
    samples::StackHash,
    waits::{ThreadTimes, Waker},
};

/// A record of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A user stack, leaf first, and the process in which it was met.
    UserStack(StackHash, Stack<UserFrame>, u32),
    /// A kernel stack, leaf first.
    KernelStack(StackHash, Stack<u64>),
    /// A file seen for the first time.
    File(FileSeen),
    /// All the time of a thread that has ended.
    Thread(ThreadTimes),
    /// Who woke threads.
    Waker(Waker),
}

/// The frames of a stack and why they end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack<Frame> {
    /// Leaf first.
    pub frames: Vec<Frame>,
    /// A [`abi::reasons::StackEnd`] by number.
    pub end: u32,
}

/// Decodes one record; `None` where it is cut short or of an unknown kind.
#[must_use]
pub fn record(bytes: &[u8]) -> Option<Record> {
    match word(bytes, 0)? {
        kind::USER_STACK => {
            let (hash, end, frames) = stack(bytes, size_of::<UserFrame>())?;
            let frames = frames
                .map(|frame| {
                    Some(UserFrame {
                        file: word(frame, 0)?,
                        is_return: word(frame, 4)?,
                        offset: long(frame, 8)?,
                    })
                })
                .collect::<Option<_>>()?;
            let pid = word(bytes, 28)?;
            Some(Record::UserStack(hash, Stack { frames, end }, pid))
        }
        kind::KERNEL_STACK => {
            let (hash, end, frames) = stack(bytes, size_of::<u64>())?;
            let frames = frames.map(|frame| long(frame, 0)).collect::<Option<_>>()?;
            Some(Record::KernelStack(hash, Stack { frames, end }))
        }
        kind::FILE => file(bytes).map(Record::File),
        kind::THREAD => thread(bytes).map(Record::Thread),
        kind::WAKER => waker(bytes).map(Record::Waker),
        _ => None,
    }
}

fn stack(
    bytes: &[u8],
    frame_bytes: usize,
) -> Option<(StackHash, u32, std::slice::ChunksExact<'_, u8>)> {
    let header = size_of::<StackHeader>();
    let length = (word(bytes, 4)? as usize).checked_mul(frame_bytes)?;
    let frames = bytes.get(header..header.checked_add(length)?)?;
    Some((
        hash(bytes, 8)?,
        word(bytes, 24)?,
        frames.chunks_exact(frame_bytes),
    ))
}

fn file(bytes: &[u8]) -> Option<FileSeen> {
    Some(FileSeen {
        kind: kind::FILE,
        file: word(bytes, 4)?,
        identity: FileIdentity {
            inode: long(bytes, 8)?,
            device: word(bytes, 16)?,
            generation: word(bytes, 20)?,
        },
        start: long(bytes, 24)?,
        end: long(bytes, 32)?,
        pid: word(bytes, 40)?,
        padding: 0,
    })
}

/// Decodes all the time of a thread; `None` where it is cut short.
#[must_use]
pub fn thread(bytes: &[u8]) -> Option<ThreadTimes> {
    Some(ThreadTimes {
        kind: kind::THREAD,
        has_ended: word(bytes, 4)?,
        pid: word(bytes, 8)?,
        tid: word(bytes, 12)?,
        thread: name(bytes, 16)?,
        process: name(bytes, 32)?,
        began_ns: long(bytes, 48)?,
        ended_ns: long(bytes, 56)?,
        on_ns: long(bytes, 64)?,
        asleep_ns: long(bytes, 72)?,
        queued_ns: long(bytes, 80)?,
        preempted_ns: long(bytes, 88)?,
        switches: long(bytes, 96)?,
        wakeups_missed: long(bytes, 104)?,
    })
}

fn waker(bytes: &[u8]) -> Option<Waker> {
    Some(Waker {
        kind: kind::WAKER,
        padding: 0,
        hash: hash(bytes, 8)?,
        user: hash(bytes, 24)?,
        kernel: hash(bytes, 40)?,
        pid: word(bytes, 56)?,
        tid: word(bytes, 60)?,
        thread: name(bytes, 64)?,
        process: name(bytes, 80)?,
    })
}

fn hash(bytes: &[u8], at: usize) -> Option<StackHash> {
    Some(StackHash {
        low: long(bytes, at)?,
        high: long(bytes, at + 8)?,
    })
}

fn name(bytes: &[u8], at: usize) -> Option<[u8; COMM_BYTES]> {
    bytes.get(at..at + COMM_BYTES)?.try_into().ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user stack of one frame, as the kernel lays it out.
    fn user_stack() -> Vec<u8> {
        let words: [u32; 12] = [kind::USER_STACK, 1, 7, 0, 8, 0, 1, 99, 16, 1, 0x40, 0];
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_stack_keeps_its_hash_end_and_frames() {
        let frame = UserFrame {
            file: 16,
            is_return: 1,
            offset: 0x40,
        };
        let stack = Stack {
            frames: vec![frame],
            end: 1,
        };
        let hash = StackHash { low: 7, high: 8 };
        assert_eq!(
            record(&user_stack()),
            Some(Record::UserStack(hash, stack, 99))
        );
        assert_eq!(frame.lookup_offset(), 0x3f);
    }

    #[test]
    fn cut_and_unknown_records_are_none() {
        let whole = user_stack();
        for length in 0..whole.len() {
            assert_eq!(record(&whole[..length]), None, "{length} bytes");
        }
        let mut lying = whole;
        lying[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(record(&lying), None);
        assert_eq!(record(&[9; 64]), None);
    }
}
