use super::*;

fn name(state: State, functions: &str) -> String {
    let functions: Vec<&str> = functions.split(' ').collect();
    Cause::of(state, &functions).name.into_owned()
}

/// Stacks as kernels have them, leaf first, and what a person would say of each.
#[test]
fn stacks_tell_the_cause() {
    let blocked = [
        (
            "__schedule schedule futex_wait_queue __futex_wait futex_wait do_futex __x64_sys_futex",
            "futex",
        ),
        (
            "schedule schedule_hrtimeout_range_clock ep_poll do_epoll_wait __x64_sys_epoll_wait",
            "epoll",
        ),
        (
            "schedule poll_schedule_timeout.constprop.0 do_sys_poll __x64_sys_poll",
            "poll",
        ),
        (
            "schedule poll_schedule_timeout do_select core_sys_select __x64_sys_select",
            "select",
        ),
        (
            "schedule do_nanosleep hrtimer_nanosleep common_nsleep __arm64_sys_clock_nanosleep",
            "timer",
        ),
        ("schedule do_wait kernel_wait4 __x64_sys_wait4", "child"),
        (
            "schedule anon_pipe_read vfs_read ksys_read __x64_sys_read",
            "pipe read",
        ),
        (
            "schedule pipe_write vfs_write ksys_write __x64_sys_write",
            "pipe write",
        ),
        (
            "schedule_timeout wait_woken sk_wait_data tcp_recvmsg_locked tcp_recvmsg sock_recvmsg",
            "socket",
        ),
        (
            "schedule_timeout inet_csk_accept inet_accept do_accept __x64_sys_accept4",
            "socket accept",
        ),
        (
            "schedule_timeout wait_woken n_tty_read tty_read vfs_read __x64_sys_read",
            "tty",
        ),
        (
            "schedule do_sigtimedwait __x64_sys_rt_sigtimedwait",
            "signal",
        ),
        (
            "schedule something __x64_sys_keyctl do_syscall_64",
            "keyctl",
        ),
        ("schedule something", "unknown"),
    ];
    for (functions, expected) in blocked {
        assert_eq!(name(State::Blocked, functions), expected, "{functions}");
    }
    let disk = [
        (
            "io_schedule folio_wait_bit_common filemap_update_page filemap_read vfs_read",
            "page cache",
        ),
        (
            "io_schedule folio_wait_bit_common filemap_fault __do_fault handle_mm_fault exc_page_fault",
            "page fault",
        ),
        (
            "schedule rwsem_down_read_slowpath down_read do_user_addr_fault",
            "kernel lock",
        ),
        (
            "schedule jbd2_log_wait_commit ext4_sync_file vfs_fsync_range do_fsync",
            "fsync",
        ),
        ("io_schedule blk_mq_get_tag submit_bio_noacct", "disk"),
        (
            "io_schedule_timeout balance_dirty_pages balance_dirty_pages_ratelimited_flags",
            "write-back",
        ),
    ];
    for (functions, expected) in disk {
        assert_eq!(
            name(State::Uninterruptible, functions),
            expected,
            "{functions}"
        );
    }
    assert_eq!(
        name(State::Stopped, "schedule do_signal_stop get_signal"),
        "signal"
    );
    assert_eq!(name(State::Preempted, "schedule futex_wait"), "run queue");
    assert_eq!(name(State::Starting, ""), "run queue");
}

/// A kernel thread that sleeps has nothing to do, and one that waits for a disk has.
#[test]
fn kernel_threads_idle() {
    let stack = ["schedule", "worker_thread", "kthread", "ret_from_fork"];
    let cause = Cause::of(State::Blocked, &stack);
    assert_eq!(
        (&*cause.name, cause.nature),
        ("kernel thread idle", Nature::KernelIdle)
    );
    let stack = ["io_schedule", "submit_bio_wait", "jbd2_x", "kthread"];
    assert_eq!(Cause::of(State::Uninterruptible, &stack).name, "journal");
}

/// An interrupt is told from a fault and from a thread that sends to itself.
#[test]
fn interrupts_are_told() {
    assert!(is_interrupt(&[
        "hrtimer_wakeup",
        "asm_sysvec_apic_timer_interrupt"
    ]));
    assert!(!is_interrupt(&[
        "handle_softirqs",
        "__local_bh_enable_ip",
        "tcp_sendmsg"
    ]));
    assert!(!is_interrupt(&["exc_page_fault", "asm_exc_page_fault"]));
}
