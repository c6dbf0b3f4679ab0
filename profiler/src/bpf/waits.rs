//! The programs at the scheduler: attaching them, beginning with the threads that are there, and
//! closing the account of each.

use std::{io::Read, time::Duration};

use abi::{tables::visit, waits::ThreadTimes};
use anyhow::{Context, Result};
use aya::{
    Btf,
    programs::{BtfTracePoint, FExit, Iter},
};

use super::{Programs, program, wait_for_running_programs};
use crate::{clock::monotonic_ns, decode};

/// How waits are recorded.
#[derive(Clone, Copy, Debug)]
pub struct WaitSettings {
    /// Whether the stacks of those who wake threads are taken.
    pub wakers: bool,
    /// Waits shorter than this get no stack.
    pub shortest: Duration,
    /// Waits shorter than this get a stack by chance; zero where all get one.
    pub period: Duration,
}

impl Programs {
    /// Loads and attaches the programs that watch threads; they do nothing yet.
    ///
    /// # Errors
    /// Where the kernel refuses a program.
    pub fn prepare_waits(&mut self, settings: WaitSettings) -> Result<()> {
        let btf = Btf::from_sys_fs().context("failed to read the kernel's BTF")?;
        for (name, tracepoint) in [
            ("thread_switched", "sched_switch"),
            ("thread_woken", "sched_wakeup"),
            ("thread_created", "sched_wakeup_new"),
            ("process_executed", "sched_process_exec"),
            ("thread_waking", "sched_waking"),
        ] {
            if name == "thread_waking" && !settings.wakers {
                continue;
            }
            let watcher: &mut BtfTracePoint = program(&mut self.ebpf, name)?.try_into()?;
            watcher
                .load(tracepoint, &btf)
                .and_then(|()| watcher.attach())
                .with_context(|| format!("failed to attach to the tracepoint `{tracepoint}`"))?;
        }
        let visitor: &mut Iter = program(&mut self.ebpf, "each_thread")?.try_into()?;
        visitor
            .load("task", &btf)
            .context("failed to load the program that visits all threads")?;
        self.control.shortest_wait_ns = nanoseconds(settings.shortest);
        self.set_wait_period(settings.period)
    }

    /// Begins to watch the threads of the targets, those that are away from the CPU already
    /// included.
    ///
    /// # Errors
    /// Where the kernel does not let the threads be visited.
    pub fn begin_waits(&mut self) -> Result<()> {
        self.control.waits = 1;
        self.visit_threads(visit::BEGIN).map(drop)
    }

    /// Takes the stacks of waiting threads again that lack what was not loaded when they were taken.
    ///
    /// # Errors
    /// Where the kernel does not let the threads be visited.
    pub fn walk_waiting_again(&mut self) -> Result<()> {
        self.visit_threads(visit::AGAIN).map(drop)
    }

    /// From here on the stacks of waits that are shorter than this are taken by chance.
    ///
    /// # Errors
    /// Where the kernel refuses the program that takes a stack at the end of a wait.
    pub fn set_wait_period(&mut self, period: Duration) -> Result<()> {
        self.control.wait_period_ns = nanoseconds(period);
        let at_end = !self.control.takes_every_stack();
        if at_end && !self.takes_stacks_at_end {
            self.attach_to_ends()?;
            self.takes_stacks_at_end = true;
        }
        self.set_control()
    }

    /// Attaches to the end of waits: a tracepoint from 6.16 on, and the end of a function before.
    fn attach_to_ends(&mut self) -> Result<()> {
        let btf = Btf::from_sys_fs().context("failed to read the kernel's BTF")?;
        let watcher: &mut BtfTracePoint = program(&mut self.ebpf, "wait_ended")?.try_into()?;
        let attached = watcher
            .load("sched_exit_tp", &btf)
            .and_then(|()| watcher.attach());
        if attached.is_ok() {
            return Ok(());
        }
        let watcher: &mut FExit = program(&mut self.ebpf, "schedule_returned")?.try_into()?;
        watcher
            .load("schedule", &btf)
            .and_then(|()| watcher.attach())
            .map(drop)
            .context(
                "failed to attach to the end of the kernel's `schedule`: it takes a kernel from \
                 6.16 on, or one with CONFIG_FUNCTION_TRACER (arm64: from 6.4 on). Without \
                 `--wait-period` and `--min-block` it is not needed",
            )
    }

    /// Ends all waits that go on, and gives the accounts of the threads that still live.
    ///
    /// # Errors
    /// Where the kernel does not let the threads be visited.
    pub fn stop_waits(&mut self) -> Result<Vec<ThreadTimes>> {
        self.control.stopped_ns = monotonic_ns();
        self.control.waits = 0;
        self.set_control()?;
        wait_for_running_programs();
        Ok(times(&self.visit_threads(visit::END)?))
    }

    /// Counts what each thread has been doing up to now, and gives the accounts of those that live.
    ///
    /// # Errors
    /// Where the kernel does not let the threads be visited.
    pub fn turn_waits(&mut self) -> Result<Vec<ThreadTimes>> {
        Ok(times(&self.visit_threads(visit::TURN)?))
    }

    /// Runs the visiting program for each thread of the machine, and gives what it wrote.
    fn visit_threads(&mut self, what: u32) -> Result<Vec<u8>> {
        self.control.visit = what;
        self.set_control()?;
        let visitor: &mut Iter = program(&mut self.ebpf, "each_thread")?.try_into()?;
        let mut written = Vec::new();
        let link = visitor.attach().context(NOT_VISITED)?;
        let mut file = visitor.take_link(link)?.into_file().context(NOT_VISITED)?;
        file.read_to_end(&mut written).context(NOT_VISITED)?;
        Ok(written)
    }
}

fn times(bytes: &[u8]) -> Vec<ThreadTimes> {
    let records = bytes.chunks_exact(size_of::<ThreadTimes>());
    records.filter_map(decode::thread).collect()
}

const NOT_VISITED: &str = "failed to visit the threads of the machine";

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
