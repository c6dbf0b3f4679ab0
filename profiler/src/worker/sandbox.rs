//! How a reader gives up its rights: first those that a user id and capabilities give, then those to
//! make system calls. What it still can is to read the files that it is handed, to use memory within
//! a limit, and to answer.

use std::{env::set_current_dir, io, process};

use rustix::{
    fs::Gid,
    process::{DumpableBehavior, Resource, Rlimit, Uid, chroot, set_dumpable_behavior, setrlimit},
    thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::job::MAX_FILES;
use crate::limits::give_up_capabilities;

/// Where a reader finds its files by the numbers of their descriptors: its working folder, the only
/// one that is left to it.
pub(super) const DESCRIPTORS: &str = ".";

/// User ids from here on belong to nobody: above those of people, services and containers as
/// distributions hand them out, and below 2^31.
const FIRST_USER: u32 = 0x7000_0000;
/// "nobody", where there is no such id, as in a user namespace.
const NOBODY: u32 = 65534;
/// Processor time after which the kernel ends a reader whose master is gone.
const CPU_SECONDS: u64 = 600;
/// A job's files, each opened once more, and what comes with every process.
const DESCRIPTORS_OPEN: u64 = 2 * MAX_FILES as u64 + 16;

/// What a reader calls for. Not among them: all that makes a process, a socket or a file, names a
/// file by more than a descriptor's number, or touches another process.
const CALLS: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_write,
];

/// Gives up all of it.
///
/// # Errors
/// Where the kernel refuses one of the steps that everybody may take.
pub(super) fn enter(memory_bytes: u64) -> io::Result<()> {
    set_current_dir("/proc/self/fd")?;
    leave_files_and_user()?;
    give_up_capabilities()?;
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    for (resource, most) in [
        (Resource::Data, memory_bytes),
        (Resource::Cpu, CPU_SECONDS),
        (Resource::Nofile, DESCRIPTORS_OPEN),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)?;
    }
    let program = filter().map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

/// Takes a user id of its own, and its working folder for its root. Only root can do both; another
/// user's reader is without capabilities from the start.
fn leave_files_and_user() -> io::Result<()> {
    let may_refuse = |result: rustix::io::Result<()>| match result {
        Err(rustix::io::Errno::PERM) => Ok(()),
        result => result,
    };
    // The working folder itself: from one outside of the root, `..` would lead to all files.
    may_refuse(chroot(DESCRIPTORS))?;
    may_refuse(set_thread_groups(&[]))?;
    let own = FIRST_USER + process::id();
    for id in [own, NOBODY] {
        let (group, user) = (Gid::from_raw(id), Uid::from_raw(id));
        let taken = set_thread_res_gid(group, group, group)
            .and_then(|()| set_thread_res_uid(user, user, user));
        if taken != Err(rustix::io::Errno::INVAL) {
            return Ok(may_refuse(taken)?);
        }
    }
    Ok(())
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let anyhow = CALLS.iter().map(|&call| (call, Vec::new()));
    // Read only, which is 0, and nothing that makes a file.
    let makes = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
    let is =
        |argument, how, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value);
    let without = |argument, bits| is(argument, SeccompCmpOp::MaskedEq(bits), 0);
    let code = libc::PROT_EXEC as u64;
    let (shared, anonymous) = (libc::MAP_SHARED as u64, libc::MAP_ANONYMOUS as u64);
    let guarded = [
        (
            libc::SYS_openat,
            vec![SeccompRule::new(vec![without(2, makes)?])?],
        ),
        // Memory that is shared and of no file would count against no limit.
        (
            libc::SYS_mmap,
            vec![
                SeccompRule::new(vec![without(2, code)?, without(3, shared)?])?,
                SeccompRule::new(vec![without(2, code)?, without(3, anonymous)?])?,
            ],
        ),
        (
            libc::SYS_mprotect,
            vec![SeccompRule::new(vec![without(2, code)?])?],
        ),
        // To end itself, by a signal to itself, and not to others of its user.
        (
            libc::SYS_tgkill,
            vec![SeccompRule::new(vec![is(
                0,
                SeccompCmpOp::Eq,
                process::id().into(),
            )?])?],
        ),
    ];
    let rules = anyhow.chain(guarded).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)?.try_into()
}
