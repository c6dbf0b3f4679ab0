//! Which waits are idleness, told by behaviour: a pool's thread that waits for work, a loop that waits
//! for a time to come, a kernel thread.
//!
//! The kernel does not know whether a thread that sleeps has nothing to do or is kept from doing it.
//! What tells is that it spends nearly all of its time in one place, and came back there several times.

use std::collections::{HashMap, HashSet};

use abi::samples::StackHash;
use output::FrameId;

use crate::cause::Nature;

/// The percentage of a thread's time that waits with one stack take up where it is idle.
pub const IDLE_PERCENT: u64 = 95;
/// How many such waits it takes: a thread that waits once, for all of the recording, may be stuck.
pub const IDLE_TIMES: u64 = 3;
/// How many frames from the leaf on may be of a lock.
pub const LOCK_FRAMES: usize = 4;

/// A process and one of its threads.
pub type Thread = (u32, u32);
/// The innermost frame that is not the C library's, the kernel stack, and what the cause tells of
/// idleness. How the innermost frame was come to does not count: stacks are cut short where the unwind
/// table of a file is new.
pub type Place = (Option<FrameId>, StackHash, Nature);

/// Waits of one thread in one place.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Whose.
    pub thread: Thread,
    /// Where.
    pub place: Place,
    /// The whole user stack.
    pub user: StackHash,
    /// How many.
    pub times: u64,
    /// How long all of them were.
    pub asleep_ns: u64,
    /// Whether one of them had begun before the recording.
    pub is_seeded: bool,
}

impl Seen {
    const fn in_process(&self) -> (u32, Place, StackHash) {
        (self.thread.0, self.place, self.user)
    }
}

/// The places in which threads are idle. `thread_ns` is how long each thread was there; one that is
/// not in it was there for `whole_ns`.
#[must_use]
pub fn find(
    seen: &[Seen],
    thread_ns: &HashMap<Thread, u64>,
    whole_ns: u64,
) -> HashSet<(Thread, Place)> {
    let mut sums: HashMap<(Thread, Place), Sum> = HashMap::new();
    let mut older: HashSet<Thread> = HashSet::new();
    for seen in seen {
        if seen.is_seeded {
            older.insert(seen.thread);
        }
        let sum = sums.entry((seen.thread, seen.place)).or_default();
        sum.times += seen.times;
        sum.asleep_ns += seen.asleep_ns;
    }
    let may_idle = |thread: Thread, (_, _, nature): Place, sum: &Sum| {
        let whole = thread_ns.get(&thread).copied().unwrap_or(whole_ns);
        let fills = u128::from(sum.asleep_ns) * 100 >= u128::from(whole) * u128::from(IDLE_PERCENT);
        let counts = thread.0 != thread.1 || older.contains(&thread);
        matches!(nature, Nature::Work | Nature::Timer) && fills && counts
    };
    let surely = sums.iter().filter(|&(&(thread, place), sum)| {
        let comes_back = sum.times >= IDLE_TIMES;
        place.2 == Nature::KernelIdle || (comes_back && may_idle(thread, place, sum))
    });
    let mut idle: HashSet<_> = surely.map(|(&found, _)| found).collect();
    // An interpreter waits for everything in one function, so others are known by the whole stack.
    let pools: HashSet<(u32, Place, StackHash)> = seen
        .iter()
        .filter(|seen| idle.contains(&(seen.thread, seen.place)))
        .map(Seen::in_process)
        .collect();
    let others = seen.iter().filter(|seen| {
        let sum = sums.get(&(seen.thread, seen.place));
        pools.contains(&seen.in_process())
            && sum.is_some_and(|sum| may_idle(seen.thread, seen.place, sum))
    });
    idle.extend(others.map(|seen| (seen.thread, seen.place)));
    idle
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    times: u64,
    asleep_ns: u64,
}

/// Whether a function waits for a lock: who waits for one has something to do. Only the part of the name
/// before parameters counts, as a condition variable takes its lock as one.
#[must_use]
pub fn is_lock(function: &str) -> bool {
    const LOCKS: &[&str] = &[
        "lll_lock",
        "mutex_lock",
        "mutex::lock",
        "rwlock",
        "lock_slow",
        "lock_contended",
        "take_gil",
        "spin_lock",
        "locksema",
        "lock2",
    ];
    let name = function.split(['(', '<']).next().unwrap_or(function);
    let name = name.to_ascii_lowercase();
    LOCKS.iter().any(|lock| name.contains(lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    const KERNEL: StackHash = StackHash { low: 7, high: 1 };

    fn place(nature: Nature) -> Place {
        (None, KERNEL, nature)
    }

    fn seen(tid: u32, times: u64, asleep_ns: u64) -> Seen {
        Seen {
            thread: (1, tid),
            place: place(Nature::Work),
            user: StackHash::NONE,
            times,
            asleep_ns,
            is_seeded: false,
        }
    }

    fn is_idle(all: &[Seen], one: &Seen) -> bool {
        find(all, &HashMap::new(), SECOND).contains(&(one.thread, one.place))
    }

    /// A thread idles where it is nearly always, came back several times, and waits for what may be
    /// work or a time.
    #[test]
    fn a_pool_is_idle() {
        let pool = seen(2, 3, SECOND / 100 * 96);
        assert!(is_idle(&[pool], &pool));
        let busy = seen(2, 300, SECOND / 100 * 94);
        assert!(!is_idle(&[busy], &busy));
        let stuck = seen(2, 1, SECOND);
        assert!(!is_idle(&[stuck], &stuck));
        let lock = Seen {
            place: place(Nature::Other),
            ..pool
        };
        assert!(!is_idle(&[lock], &lock));
        let timer = Seen {
            place: place(Nature::Timer),
            ..pool
        };
        assert!(is_idle(&[timer], &timer));
    }

    /// Waits that differ in their ends only are of one place, and a thread's own time is the whole.
    #[test]
    fn waits_of_one_place_add_up() {
        let parts = [seen(2, 2, SECOND / 2), seen(2, 1, SECOND / 2)];
        assert!(is_idle(&parts, &parts[0]));
        let late = seen(2, 5, SECOND / 10);
        assert!(!is_idle(&[late], &late));
        let times = HashMap::from([(late.thread, SECOND / 10)]);
        assert!(find(&[late], &times, SECOND).contains(&(late.thread, late.place)));
    }

    /// A thread of a pool that never gets any work is known by the others of the same process.
    #[test]
    fn a_pool_is_known_by_one_thread() {
        let (worker, never) = (seen(2, 5, SECOND), seen(3, 1, SECOND));
        assert!(is_idle(&[worker, never], &never));
        let elsewhere = Seen {
            thread: (9, 10),
            ..never
        };
        assert!(!is_idle(&[worker, elsewhere], &elsewhere));
        let otherwise = Seen {
            user: KERNEL,
            ..never
        };
        assert!(!is_idle(&[worker, otherwise], &otherwise));
    }

    /// What a program's first thread waits for is what its user waits for, unless it was there before.
    #[test]
    fn a_first_thread_idles_in_a_server_only() {
        let first = seen(1, 50, SECOND);
        assert!(!is_idle(&[first], &first));
        let server = Seen {
            is_seeded: true,
            ..first
        };
        assert!(is_idle(&[server], &server));
    }

    /// A kernel thread has nothing to do whenever it sleeps.
    #[test]
    fn kernel_threads_idle() {
        let thread = Seen {
            place: place(Nature::KernelIdle),
            ..seen(1, 1, 5)
        };
        assert!(is_idle(&[thread], &thread));
    }

    /// Locks are known by name, conditions that take one as a parameter are not locks.
    #[test]
    fn locks_have_names() {
        for lock in [
            "__lll_lock_wait",
            "___pthread_mutex_lock",
            "parking_lot::raw_mutex::RawMutex::lock_slow",
            "std::sys::sync::mutex::futex::Mutex::lock_contended",
            "take_gil",
        ] {
            assert!(is_lock(lock), "{lock}");
        }
        for other in [
            "pthread_cond_wait",
            "std::condition_variable::wait(std::unique_lock<std::mutex>&)",
            "sem_wait",
            "clock_nanosleep",
        ] {
            assert!(!is_lock(other), "{other}");
        }
    }
}
