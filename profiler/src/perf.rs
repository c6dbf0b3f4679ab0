//! Perf events: one for each CPU that is online, counted from the moment they are enabled.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd},
};

use perf_event_open_sys::{self as sys, bindings as perf};

use crate::events::Event;

/// When a sample is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// This many times a second on each CPU.
    Hz(u64),
    /// Each time this many events have happened.
    Period(u64),
}

/// One event on one CPU.
#[derive(Debug)]
pub struct PerCpuEvent {
    file: File,
}

impl PerCpuEvent {
    /// Opens an event on a CPU, switched off. A CPU that went offline gives `None`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open(event: &Event, rate: Rate, cpu: u32) -> io::Result<Option<Self>> {
        let mut attributes = attributes(event.kind, event.config);
        attributes.set_disabled(1);
        match rate {
            Rate::Hz(hz) => {
                attributes.set_freq(1);
                attributes.__bindgen_anon_1.sample_freq = hz;
            }
            Rate::Period(period) => attributes.__bindgen_anon_1.sample_period = period,
        }
        Self::open_with(attributes, cpu)
    }

    /// Opens an event that counts nothing and reports each executable mapping, and the code that the
    /// kernel makes while it runs.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open_for_mappings(cpu: u32) -> io::Result<Option<Self>> {
        let config = u64::from(perf::PERF_COUNT_SW_DUMMY);
        let mut attributes = attributes(perf::PERF_TYPE_SOFTWARE, config);
        attributes.set_mmap(1);
        attributes.set_mmap2(1);
        attributes.set_ksymbol(1);
        // When a process becomes another program, by the clock of the programs.
        attributes.set_comm(1);
        attributes.set_comm_exec(1);
        attributes.set_sample_id_all(1);
        attributes.sample_type = u64::from(perf::PERF_SAMPLE_TIME);
        attributes.set_use_clockid(1);
        attributes.clockid = libc::CLOCK_MONOTONIC;
        Self::open_with(attributes, cpu)
    }

    fn open_with(mut attributes: perf::perf_event_attr, cpu: u32) -> io::Result<Option<Self>> {
        let cpu = i32::try_from(cpu).map_err(io::Error::other)?;
        let flags = libc::c_ulong::from(perf::PERF_FLAG_FD_CLOEXEC);
        // SAFETY: the attributes are initialized and outlive the call.
        let fd = unsafe { sys::perf_event_open(&raw mut attributes, -1, cpu, -1, flags) };
        if fd >= 0 {
            // SAFETY: the kernel has just given this descriptor to us alone.
            let file = unsafe { File::from_raw_fd(fd) };
            return Ok(Some(Self { file }));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            error => Err(error),
        }
    }

    /// Starts counting.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is that of a perf event.
        checked(unsafe { sys::ioctls::ENABLE(self.file.as_raw_fd(), 0) })
    }

    /// Stops counting; once it returns, the sampling program runs for this event no more.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn disable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is that of a perf event.
        checked(unsafe { sys::ioctls::DISABLE(self.file.as_raw_fd(), 0) })
    }

    /// How much was counted, in the event's own unit.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn count(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        (&self.file).read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

fn attributes(kind: u32, config: u64) -> perf::perf_event_attr {
    perf::perf_event_attr {
        type_: kind,
        size: u32::try_from(size_of::<perf::perf_event_attr>()).unwrap_or(u32::MAX),
        config,
        ..Default::default()
    }
}

impl AsFd for PerCpuEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn checked(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The CPUs that are online; their numbers may have gaps.
///
/// # Errors
/// Where the kernel's list cannot be read.
pub fn online_cpus() -> io::Result<Vec<u32>> {
    aya::util::online_cpus().map_err(|(path, error)| {
        io::Error::new(error.kind(), format!("failed to read `{path}`: {error}"))
    })
}
