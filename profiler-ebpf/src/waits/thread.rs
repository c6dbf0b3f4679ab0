//! What is kept of each watched thread, in the kernel's storage for tasks.

use abi::{
    FOLLOWING,
    reasons::{Miss, State},
    records::kind,
    samples::StackHash,
    waits::{ThreadTimes, WaitKey, queued_since},
};
use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, BPF_RB_NO_WAKEUP, task_struct},
    helpers::generated::bpf_task_storage_get,
    macros::btf_map,
};
use core::{ffi::c_void, ptr};

use super::{repeat::Repeats, stacks::Stacks};
use crate::{
    atomic,
    kernel::{Object, config},
    maps::{PendingWait, RING, counters},
};

/// What a thread is doing.
pub(crate) mod phase {
    /// Nothing is known yet.
    pub(crate) const NEW: u32 = 0;
    /// It runs.
    pub(crate) const RUNNING: u32 = 1;
    /// It sleeps or waits for a CPU.
    pub(crate) const AWAY: u32 = 2;
    /// Its account is closed.
    pub(crate) const CLOSED: u32 = 3;
}

/// A watched thread.
#[repr(C)]
pub(crate) struct Thread {
    /// From when on it has been running or away. Taken by [`Thread::until`] or [`Thread::until_if`], so
    /// that each piece of time is counted by one program.
    pub(crate) since_ns: u64,
    /// When it was woken; 0 while it was not.
    pub(crate) woken_ns: u64,
    /// When it got the CPU last; 0 where that is not known.
    pub(crate) entered_ns: u64,
    /// How long it had run by the scheduler's own account when that was last taken in: as it left the CPU,
    /// mostly.
    pub(crate) exec_ns: u64,
    /// How long it had been in queues for a CPU by that account then.
    pub(crate) delay_ns: u64,
    /// When it had got the CPU by that account.
    pub(crate) arrived_ns: u64,
    /// One of [`phase`]'s.
    pub(crate) phase: u32,
    /// A [`abi::reasons::StackEnd`]: how the walk of its user stack ended.
    pub(crate) end: u32,
    /// What its present wait counts as.
    pub(crate) key: WaitKey,
    /// All its time up to `since_ns`.
    pub(crate) times: Times,
    /// By what its stacks are known again.
    pub(crate) repeats: Repeats,
}

/// The sums of a thread's [`ThreadTimes`].
#[repr(C)]
pub(crate) struct Times {
    pub(crate) began_ns: u64,
    pub(crate) on_ns: u64,
    pub(crate) asleep_ns: u64,
    pub(crate) queued_ns: u64,
    pub(crate) preempted_ns: u64,
    pub(crate) switches: u64,
    pub(crate) wakeups_missed: u64,
}

/// How long a wait was.
pub(crate) struct Wait {
    pub(crate) asleep_ns: u64,
    pub(crate) queued_ns: u64,
}

impl Wait {
    /// As a wait that stands for no other.
    #[inline(always)]
    pub(crate) const fn alone(&self, tid: u32) -> PendingWait {
        PendingWait {
            tid,
            weight: 1,
            asleep_ns: self.asleep_ns,
            queued_ns: self.queued_ns,
        }
    }
}

/// Whether a thread that waits in this state waits for a CPU and for nothing else.
#[inline(always)]
pub(crate) const fn is_ready(state: u32) -> bool {
    state >= State::Preempted as u32
}

impl Thread {
    /// Takes in with what stacks it waits.
    #[inline(always)]
    pub(crate) fn take(&mut self, stacks: &Stacks) {
        self.key.user = stacks.user;
        self.key.kernel = stacks.kernel;
        self.end = stacks.end;
    }

    /// What the thread has been doing ends now, or is counted up to now: the answer is since when.
    #[inline(always)]
    pub(crate) fn until(&mut self, now: u64) -> u64 {
        atomic::swap(&mut self.since_ns, now)
    }

    /// Since when it has been doing what it does; what is read of the thread after this goes with the
    /// answer, if [`Self::until_if`] finds that it still holds.
    #[inline(always)]
    pub(crate) fn since(&mut self) -> u64 {
        atomic::read(&mut self.since_ns)
    }

    /// As [`Self::until`], where nobody else has done so since the thread was looked at.
    #[inline(always)]
    pub(crate) fn until_if(&mut self, since: u64, now: u64) -> bool {
        atomic::swap_if(&mut self.since_ns, since, now)
    }

    /// A wait of this thread that ends now, of which the part from `since` on is not counted yet.
    #[inline(always)]
    pub(crate) fn wait(&mut self, task: *const task_struct, since: u64, now: u64) -> Wait {
        let is_ready = is_ready(self.key.state);
        if is_ready || self.woken_ns == 0 {
            self.key.waker = StackHash::NONE;
        }
        if !is_ready && self.woken_ns == 0 {
            self.times.wakeups_missed += 1;
            self.woken_ns = self.queued_since(task, now);
        }
        self.part(self.key.state, self.woken_ns, since, now)
    }

    /// Since when the thread, which gets a CPU now, is in the queue for one by the scheduler's own account;
    /// 0 where it keeps none.
    #[inline(always)]
    fn queued_since(&self, task: *const task_struct, now: u64) -> u64 {
        if config!(offsets.task_last_queued) == 0 {
            return 0;
        }
        let before = (self.entered_ns, self.arrived_ns);
        let queued_ns: u64 = Object::of(task).field(config!(offsets.task_last_queued));
        let delayed_ns = delay_ns(task).saturating_sub(self.delay_ns);
        queued_since(now, before, queued_ns, delayed_ns)
    }

    /// Takes in what the scheduler's own account says of the thread now, for what comes.
    #[inline(always)]
    pub(crate) fn take_account(&mut self, task: *const task_struct) {
        self.exec_ns = exec_ns(task);
        if config!(offsets.task_last_queued) != 0 {
            self.delay_ns = delay_ns(task);
            self.arrived_ns = Object::of(task).field(config!(offsets.task_last_arrival));
        }
    }

    /// The part from `since` to now of a wait in this state, added to the thread's times.
    #[inline(always)]
    pub(crate) fn part(&mut self, state: u32, woken_ns: u64, since: u64, now: u64) -> Wait {
        let away_ns = now.saturating_sub(since);
        let asleep_ns = if is_ready(state) {
            0
        } else if woken_ns == 0 {
            away_ns
        } else {
            // Clocks of two CPUs may differ a little: what counts is that the parts add up.
            woken_ns.saturating_sub(since).min(away_ns)
        };
        let wait = Wait {
            asleep_ns,
            queued_ns: away_ns - asleep_ns,
        };
        if state == State::Preempted as u32 {
            self.times.preempted_ns += away_ns;
        }
        self.times.asleep_ns += wait.asleep_ns;
        self.times.queued_ns += wait.queued_ns;
        wait
    }

    /// The account of the thread at the end of the recording or its own.
    #[inline(always)]
    pub(crate) fn account(&self, has_ended: bool, now: u64) -> ThreadTimes {
        ThreadTimes {
            kind: kind::THREAD,
            has_ended: u32::from(has_ended),
            pid: self.key.pid,
            tid: self.key.tid,
            thread: self.key.thread,
            process: self.key.process,
            began_ns: self.times.began_ns,
            ended_ns: now,
            on_ns: self.times.on_ns,
            asleep_ns: self.times.asleep_ns,
            queued_ns: self.times.queued_ns,
            preempted_ns: self.times.preempted_ns,
            switches: self.times.switches,
            wakeups_missed: self.times.wakeups_missed,
        }
    }

    /// The thread has ended: its account is sent.
    #[inline(always)]
    pub(crate) fn end(&mut self, now: u64) {
        self.phase = phase::CLOSED;
        // Written right there: it would take a fifth of the program's stack.
        let Some(mut account) = RING.reserve::<ThreadTimes>(0) else {
            miss(Miss::AccountUnsent);
            return;
        };
        account.write(self.account(true, now));
        account.submit(u64::from(BPF_RB_NO_WAKEUP));
    }
}

/// The layout by which the loader makes the map: task storage has no entries of its own.
#[repr(C)]
pub(crate) struct Storage {
    r#type: *const [i32; 29],
    key: *const i32,
    value: *const Thread,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: nothing is ever read from it here; the kernel's map stands behind it.
unsafe impl Sync for Storage {}

#[btf_map]
static THREADS: Storage = Storage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

#[inline(always)]
fn storage(task: *mut task_struct, flags: u64) -> Option<&'static mut Thread> {
    // SAFETY: the verifier sees to it that the task is one; the entry lives as long as the task.
    unsafe {
        let map = (&raw const THREADS).cast_mut().cast::<c_void>();
        bpf_task_storage_get(map, task, ptr::null_mut(), flags)
            .cast::<Thread>()
            .as_mut()
    }
}

/// How long a thread has run by the scheduler's own account, up to its last tick or switch.
#[inline(always)]
pub(crate) fn exec_ns(task: *const task_struct) -> u64 {
    Object::of(task).field(config!(offsets.task_exec_runtime))
}

/// How long a thread has been in queues for a CPU, those that it has left, by the scheduler's own account.
#[inline(always)]
fn delay_ns(task: *const task_struct) -> u64 {
    Object::of(task).field(config!(offsets.task_run_delay))
}

/// What a thread is about to wait for, or waits for; 0 where it runs or is ready to.
#[inline(always)]
pub(crate) fn state(task: *const task_struct) -> u32 {
    Object::of(task).field(config!(offsets.task_state))
}

/// What is kept of a thread, if it is watched.
#[inline(always)]
pub(crate) fn of(task: *mut task_struct) -> Option<&'static mut Thread> {
    storage(task, 0)
}

/// Begins to watch a thread, or finds that it is watched.
#[inline(always)]
pub(crate) fn watch(task: *mut task_struct) -> Option<&'static mut Thread> {
    let thread = storage(task, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE));
    if thread.is_none() {
        miss(Miss::ThreadRefused);
    }
    thread
}

#[inline(always)]
pub(crate) fn miss(miss: Miss) {
    if let Some(counters) = counters(FOLLOWING) {
        counters.misses[miss as usize] += 1;
    }
}
