//! The one list of outcomes: how a run of a program ended, why a stack stopped, why a frame has no
//! file. Each has a number that is never reused, a short name and a sentence; the kernel counts by
//! number, the ledger and the documentation take the words from here.

/// Defines an enum whose variants are numbered from 0 and carry a name and a sentence.
macro_rules! reasons {
    ($(#[$doc:meta])* $enum:ident { $($variant:ident = $number:literal, $name:literal, $meaning:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $enum {
            $(#[doc = $meaning] $variant = $number,)+
        }

        impl $enum {
            /// Every variant, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The variant with this number, or `None` where the number is not in the list.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// A few words for a table's row.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// A sentence for the reader of a ledger.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

reasons! {
    /// How one run of the sampling program ended. Each run ends in exactly one of these.
    Outcome {
        Sampled = 0, "sampled", "a thread of the target was running and its stacks were counted";
        Idle = 1, "idle", "the CPU was idle";
        Elsewhere = 2, "other processes", "a thread outside the target was running";
        ScratchBusy = 3, "scratch busy", "one event interrupted the handling of another on this CPU";
        CountMapFull = 4, "count map full", "the map of counts had no room for a new stack";
    }
}

reasons! {
    /// Why the walk up a stack stopped.
    StackEnd {
        Outermost = 0, "outermost frame", "the outermost frame was reached";
        Truncated = 1, "truncated", "the stack is deeper than the frames that one sample holds";
        Unreadable = 2, "stack unreadable", "the next frame lies in stack memory that could not be read";
        NoFramePointer = 3, "no frame pointer", "the code does not keep a frame pointer, so the next frame is unknown";
        Compat32 = 4, "32-bit task", "the thread runs 32-bit code, whose stacks are not walked";
        NoUserStack = 5, "no user stack", "a kernel thread, or one that is exiting, has no user stack";
        NoUnwindRow = 6, "no unwind row", "no row of the file's unwind table covers the address";
        TableMissing = 7, "table not loaded", "the file's unwind table is not loaded yet";
        UnsupportedRule = 8, "unsupported rule", "the unwind table describes the frame in a way that is not understood";
        RegisterUnknown = 9, "register unknown", "the row needs a register whose value is not known in this frame";
        NoProgress = 10, "no progress", "the row leads to a caller that does not lie further up the stack";
    }
}

reasons! {
    /// Something that the programs wanted to remember and could not, or a frame without a file.
    Miss {
        NoMapping = 0, "no mapping", "frames whose address lies in no mapping of the process";
        TreeUnreadable = 1, "mapping unreadable", "frames whose mapping was being changed while it was read";
        FileTableFull = 2, "file table full", "frames whose file could not be given a number";
        FileUnannounced = 3, "file announcement delayed", "announcements of a file put off because the ring was full";
        StackUnsent = 4, "stack sending delayed", "stacks put off to their next sample because the ring was full";
        TargetMapFull = 5, "target map full", "child processes that could not be followed";
        ThreadRefused = 6, "thread not watched", "threads for which the kernel gave no memory to keep their times";
        WaiterMoved = 7, "wait without a stack", "waits whose stack was to be taken at their end and was not";
        AccountUnsent = 8, "thread account not sent", "threads that ended while the ring was full: their waits are counted, their times on a CPU are not known";
        SwitchUnseen = 9, "switch not seen", "times that a thread got or left a CPU and the kernel did not tell: it ran as long as its own account says, and when is not known";
    }
}

reasons! {
    /// How a thread was while it did not run.
    State {
        Blocked = 0, "blocked", "asleep until something happens, or a signal";
        Uninterruptible = 1, "uninterruptible", "asleep in the kernel where no signal wakes it, mostly for a disk";
        Stopped = 2, "stopped", "stopped by a signal or a tracer";
        Preempted = 3, "preempted", "ready to run, while another thread had the CPU";
        Starting = 4, "starting", "created and not run yet";
    }
}

impl StackEnd {
    /// Whether every frame of the stack is known to be there.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Outermost | Self::NoUserStack)
    }
}

/// The counters of one event on one CPU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Counters {
    /// Runs of the sampling program, by [`Outcome`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// User stacks that were walked, by [`StackEnd`].
    pub ends: [u64; StackEnd::ALL.len()],
    /// Misses, by [`Miss`].
    pub misses: [u64; Miss::ALL.len()],
}

/// Whether a thread or process that ran lately on a CPU is a target, so that those which go on
/// running are not looked up at each sample.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Verdict {
    /// Process id (upper half) and thread id; the process id alone where no target is a thread.
    pub thread: u64,
    /// The version of the targets to which it belongs; 0 is none.
    pub version: u32,
    /// 1 where it is a target.
    pub wanted: u32,
}

/// What the programs keep of one event on one CPU, side by side since each sample touches it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct EventState {
    /// For the next samples, by the number of the thread or process.
    pub verdicts: [Verdict; VERDICTS],
    /// For the ledger.
    pub counters: Counters,
}

/// How many verdicts are kept, a power of two: those of one cache line.
pub const VERDICTS: usize = 4;

const _: () = assert!(size_of::<EventState>() == 16 * VERDICTS + size_of::<Counters>());

const _: () = assert!(
    size_of::<Counters>() == 8 * (Outcome::ALL.len() + StackEnd::ALL.len() + Miss::ALL.len())
);

impl Counters {
    /// All counts zero.
    pub const ZERO: Self = Self {
        outcomes: [0; Outcome::ALL.len()],
        ends: [0; StackEnd::ALL.len()],
        misses: [0; Miss::ALL.len()],
    };

    /// Adds another CPU's counts.
    pub fn add(&mut self, other: &Self) {
        let sum = |into: &mut [u64], from: &[u64]| {
            for (total, count) in into.iter_mut().zip(from) {
                *total += count;
            }
        };
        sum(&mut self.outcomes, &other.outcomes);
        sum(&mut self.ends, &other.ends);
        sum(&mut self.misses, &other.misses);
    }

    /// What was counted since an earlier look at the same counters.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        let take = |from: &mut [u64], earlier: &[u64]| {
            for (count, before) in from.iter_mut().zip(earlier) {
                *count = count.saturating_sub(*before);
            }
        };
        take(&mut since.outcomes, &earlier.outcomes);
        take(&mut since.ends, &earlier.ends);
        take(&mut since.misses, &earlier.misses);
        since
    }
}
