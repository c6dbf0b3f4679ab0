//! What a thread waits for, told from how it left the CPU and the functions of its kernel stack.
//!
//! The kernel does not say why a thread sleeps. The function in which it does is of one subsystem,
//! and a few names stand for each. Where none of them is in the stack, the system call is the cause.

use std::borrow::Cow;

use abi::reasons::State;

/// What a wait is about, as far as that tells whether a thread has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nature {
    /// For something that others do, which may as well be to give the thread work.
    Work,
    /// For a time to come.
    Timer,
    /// Of a thread of the kernel that has nothing to do.
    KernelIdle,
    /// For anything else.
    Other,
}

/// What a thread waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A few words, such as `futex` or `page cache`.
    pub name: Cow<'static, str>,
    /// What that tells of idleness.
    pub nature: Nature,
}

impl Cause {
    const fn new(name: &'static str, nature: Nature) -> Self {
        Self {
            name: Cow::Borrowed(name),
            nature,
        }
    }

    /// The cause of a wait. `functions` are those of the kernel stack, leaf first.
    #[must_use]
    pub fn of(state: State, functions: &[&str]) -> Self {
        if matches!(state, State::Preempted | State::Starting) {
            return Self::run_queue();
        }
        let functions: Vec<&str> = functions.iter().copied().map(without_suffix).collect();
        let has = |names: &[&str]| {
            let mut found = functions.iter();
            found.any(|function| names.iter().any(|name| matches(name, function)))
        };
        if state == State::Blocked && has(KERNEL_THREAD) {
            return Self::new("kernel thread idle", Nature::KernelIdle);
        }
        let rule = RULES.iter().find(|rule| has(rule.functions));
        let call = || functions.iter().find_map(|function| system_call(function));
        match (rule, call()) {
            (Some(rule), _) => Self::new(rule.name, rule.nature),
            (None, Some(call)) => Self {
                name: Cow::Owned(call.to_owned()),
                nature: Nature::Other,
            },
            (None, None) if state == State::Stopped => Self::new("signal", Nature::Other),
            (None, None) => Self::new("unknown", Nature::Other),
        }
    }

    /// The cause of time in which a thread is ready.
    #[must_use]
    pub const fn run_queue() -> Self {
        Self::new("run queue", Nature::Other)
    }

    /// The cause of a wait of which no stack is known.
    #[must_use]
    pub const fn unknown() -> Self {
        Self::new("unknown", Nature::Other)
    }
}

/// A cause, and functions of which one is in the stack of a thread that waits for it. A name that
/// ends in `*` stands for all that begin so.
struct Rule {
    name: &'static str,
    nature: Nature,
    functions: &'static [&'static str],
}

const fn rule(name: &'static str, functions: &'static [&'static str]) -> Rule {
    Rule {
        name,
        nature: Nature::Other,
        functions,
    }
}

const fn rule_of(nature: Nature, name: &'static str, functions: &'static [&'static str]) -> Rule {
    Rule {
        name,
        nature,
        functions,
    }
}

/// In these every thread of the kernel begins, but for those that work for a process.
const KERNEL_THREAD: &[&str] = &["kthread", "kthreadd"];

/// The first rule that fits is taken: a lock that is waited for in a page fault comes before the page
/// fault, and that before the disk.
const RULES: &[Rule] = &[
    rule("tracer", &["ptrace_stop", "ptrace_notify"]),
    rule("signal", &["do_signal_stop", "do_jobctl_trap"]),
    rule(
        "freezer",
        &["__refrigerator", "do_freezer_trap", "cgroup_freezer*"],
    ),
    rule(
        "kernel lock",
        &[
            "__mutex_lock*",
            "rwsem_down_*",
            "percpu_rwsem_wait*",
            "__down_common",
            "___down_common",
            "rt_mutex_slowlock*",
            "__rt_mutex_slowlock*",
        ],
    ),
    rule("userfault", &["handle_userfault"]),
    rule(
        "memory reclaim",
        &[
            "try_to_free_*",
            "shrink_node*",
            "reclaim_throttle",
            "throttle_direct_reclaim",
            "mem_cgroup_handle_over_high",
        ],
    ),
    rule("write-back", &["balance_dirty_pages*"]),
    rule(
        "page fault",
        &[
            "handle_mm_fault",
            "do_user_addr_fault",
            "exc_page_fault",
            "do_page_fault",
            "do_mem_abort",
        ],
    ),
    rule_of(
        Nature::Work,
        "futex",
        &[
            "futex_wait*",
            "__futex_wait",
            "futex_lock_pi*",
            "futex_do_wait",
        ],
    ),
    rule_of(
        Nature::Work,
        "epoll",
        &["ep_poll", "do_epoll_wait*", "do_epoll_pwait*"],
    ),
    rule_of(Nature::Work, "poll", &["do_sys_poll", "do_poll"]),
    rule_of(Nature::Work, "select", &["do_select", "core_sys_select"]),
    rule_of(
        Nature::Work,
        "io_uring",
        &["io_cqring_wait", "io_wq_worker", "io_sq_thread"],
    ),
    rule_of(
        Nature::Timer,
        "timer",
        &[
            "do_nanosleep",
            "hrtimer_nanosleep*",
            "alarm_timer_nsleep",
            "timerfd_read*",
        ],
    ),
    rule(
        "child",
        &[
            "do_wait",
            "kernel_wait4",
            "kernel_waitid*",
            "wait_for_vfork_done",
        ],
    ),
    rule(
        "pipe read",
        &["pipe_read", "anon_pipe_read", "fifo_pipe_read"],
    ),
    rule(
        "pipe write",
        &["pipe_write", "anon_pipe_write", "fifo_pipe_write"],
    ),
    rule("pipe open", &["fifo_open", "wait_for_partner"]),
    rule(
        "tty",
        &[
            "n_tty_read",
            "n_tty_write",
            "tty_wait_until_sent",
            "tty_ioctl",
        ],
    ),
    rule_of(
        Nature::Work,
        "signal",
        &[
            "do_sigtimedwait",
            "sigsuspend",
            "__do_sys_pause",
            "__x64_sys_pause",
            "__arm64_sys_pause",
            "signalfd_read*",
        ],
    ),
    rule_of(Nature::Work, "eventfd", &["eventfd_read"]),
    rule_of(Nature::Work, "inotify", &["inotify_read", "fanotify_read"]),
    rule(
        "fuse",
        &[
            "request_wait_answer",
            "fuse_simple_request",
            "__fuse_simple_request",
        ],
    ),
    rule(
        "network disk",
        &[
            "rpc_wait_bit_killable",
            "nfs_*",
            "nfs4_*",
            "p9_client_rpc",
            "smb2_*",
            "ceph_*",
        ],
    ),
    rule_of(
        Nature::Work,
        "socket accept",
        &["inet_csk_accept", "unix_accept", "vsock_accept"],
    ),
    rule(
        "socket",
        &[
            "sk_wait_data",
            "sk_stream_wait_*",
            "sock_alloc_send_pskb",
            "unix_wait_for_peer",
            "unix_stream_*",
            "unix_dgram_*",
            "__skb_wait_for_more_packets",
            "__skb_recv_*",
            "inet_stream_connect",
            "inet_wait_for_connect",
            "__inet_stream_connect",
            "netlink_recvmsg",
            "wait_for_more_packets",
            "tcp_*",
            "udp_*",
            "vsock_*",
            "sock_recvmsg",
            "sock_sendmsg",
            "__sys_recvfrom",
            "__sys_sendto",
        ],
    ),
    rule("semaphore", &["do_semtimedop", "__do_semtimedop"]),
    rule_of(
        Nature::Work,
        "message queue",
        &["do_msgrcv", "do_msgsnd", "wq_sleep", "do_mq_*"],
    ),
    rule(
        "file lock",
        &[
            "flock_lock_inode_wait",
            "posix_lock_inode_wait",
            "locks_lock_inode_wait",
            "fcntl_setlk",
        ],
    ),
    rule("virtual CPU", &["kvm_vcpu_block", "kvm_vcpu_halt"]),
    rule("seccomp", &["seccomp_do_user_notification"]),
    rule(
        "fsync",
        &[
            "do_fsync",
            "vfs_fsync_range",
            "__do_sys_msync",
            "ksys_sync",
            "__do_sys_syncfs",
        ],
    ),
    rule(
        "write-back",
        &[
            "folio_wait_writeback*",
            "wait_on_page_writeback*",
            "__filemap_fdatawait_range",
        ],
    ),
    rule(
        "page cache",
        &[
            "folio_wait_bit*",
            "__folio_lock*",
            "folio_wait_*",
            "folio_put_wait_locked",
            "wait_on_page_bit*",
            "filemap_*",
            "page_cache_*",
        ],
    ),
    rule(
        "journal",
        &["jbd2_*", "wait_transaction_locked", "xfs_log_*", "xlog_*"],
    ),
    rule(
        "disk",
        &[
            "io_schedule*",
            "bit_wait_io*",
            "submit_bio_wait",
            "blk_*",
            "blkdev_*",
            "__wait_on_buffer",
            "iomap_dio_*",
            "__iomap_dio_*",
            "wait_for_completion_io*",
            "dio_await_*",
        ],
    ),
    rule(
        "rcu",
        &[
            "synchronize_rcu*",
            "__wait_rcu_gp",
            "rcu_barrier",
            "synchronize_srcu",
        ],
    ),
    rule("exit", &["coredump_*", "exit_mm*", "do_exit"]),
    rule(
        "kernel work",
        &[
            "wait_for_completion*",
            "flush_work",
            "__flush_work",
            "__flush_workqueue",
        ],
    ),
];

/// A name without what compilers add to that of a part or a copy of a function.
fn without_suffix(function: &str) -> &str {
    function.split('.').next().unwrap_or(function)
}

fn matches(name: &str, function: &str) -> bool {
    match name.strip_suffix('*') {
        Some(beginning) => function.starts_with(beginning),
        None => function == name,
    }
}

/// The system call of a function that stands at its beginning.
fn system_call(function: &str) -> Option<&str> {
    const BEGINNINGS: [&str; 5] = [
        "__x64_sys_",
        "__arm64_sys_",
        "__ia32_sys_",
        "__do_sys_",
        "__se_sys_",
    ];
    BEGINNINGS
        .iter()
        .find_map(|beginning| function.strip_prefix(beginning))
}

/// Whether a kernel stack is that of an interrupt on top of whatever ran, so that the running thread
/// has nothing to do with what was done in it. `functions` may be in any order.
#[must_use]
pub fn is_interrupt(functions: &[&str]) -> bool {
    const ENTRIES: &[&str] = &[
        "asm_sysvec_*",
        "sysvec_*",
        "__sysvec_*",
        "asm_common_interrupt",
        "common_interrupt",
        "irq_exit_rcu",
        "hrtimer_interrupt",
        "el0_interrupt",
        "el1_interrupt",
        "gic_handle_irq",
        "call_on_irq_stack",
    ];
    let mut functions = functions.iter();
    functions.any(|function| ENTRIES.iter().any(|name| matches(name, function)))
}

#[cfg(test)]
mod tests;
