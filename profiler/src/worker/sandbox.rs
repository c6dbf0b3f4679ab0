//! How a reader gives up its rights: first those that a user id and capabilities give, then those to
//! make system calls. What it still can is to read the files that it is handed, to use memory within
//! a limit, and to answer.

use std::{env::set_current_dir, io, process};

use super::job::MAX_FILES;

use rustix::{
    fs::Gid,
    process::{DumpableBehavior, Resource, Rlimit, Uid, chroot, set_dumpable_behavior, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

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
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
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

/// Takes a user id of its own, and a folder in which there is nothing for its root. Only root can do
/// both; another user's reader is without capabilities from the start.
fn leave_files_and_user() -> io::Result<()> {
    let may_refuse = |result: rustix::io::Result<()>| match result {
        Err(rustix::io::Errno::PERM) => Ok(()),
        result => result,
    };
    // The descriptions of its own descriptors: no name in there leads anywhere else.
    may_refuse(chroot("/proc/self/fdinfo"))?;
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
    let without = |argument, bits| {
        let is_zero = SeccompCmpOp::MaskedEq(bits);
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is_zero, 0)?;
        SeccompRule::new(vec![condition])
    };
    let code = libc::PROT_EXEC as u64;
    let guarded = [
        (libc::SYS_openat, vec![without(2, makes)?]),
        (libc::SYS_mmap, vec![without(2, code)?]),
        (libc::SYS_mprotect, vec![without(2, code)?]),
        // To end itself, by a signal to itself, and not to anybody else: it may signal those of its
        // own user id only, of which there are none.
        (libc::SYS_tgkill, Vec::new()),
    ];
    let rules = anyhow.chain(guarded).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)?.try_into()
}
