//! What was read of the machine: facts only, no judgement.

use std::collections::BTreeMap;

use serde::Serialize;

use super::capabilities::Capabilities;

/// How something went that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    /// It worked.
    Works,
    /// It did not, and this is what the kernel or the parser said.
    Fails(String),
}

impl Attempt {
    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Works => None,
            Self::Fails(error) => Some(error),
        }
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Attempt {
    /// An error in one line, with its causes where it shows them.
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Works,
            Err(error) => Self::Fails(format!("{error:#}")),
        }
    }
}

/// What decides whether anything can be recorded, and is quick to read.
#[derive(Clone, Debug, Serialize)]
pub struct Essentials {
    /// As `uname -r` prints it.
    pub kernel_release: String,
    /// As `uname -m` prints it.
    pub arch: String,
    /// The effective user.
    pub uid: u32,
    /// The path of the running binary.
    pub program: String,
    /// This process's effective ones.
    pub capabilities: Capabilities,
    /// Whether the capabilities are those of the machine and not of a user namespace.
    pub initial_user_namespace: bool,
    /// Opening the kernel's type information.
    pub btf: Attempt,
    /// The level of kernel lockdown; `None` where the kernel has no lockdown.
    pub lockdown: Option<String>,
}

/// `kernel.*` settings by their sysctl names; `None` where the kernel has no such setting.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// Who may open perf events without `CAP_PERFMON`: -1 all, 2 only for user code.
    pub perf_event_paranoid: Option<i64>,
    /// 0 lets everybody load some kinds of BPF programs.
    pub unprivileged_bpf_disabled: Option<i64>,
    /// Hz on each CPU.
    pub perf_event_max_sample_rate: Option<i64>,
    /// Percent of CPU time that sampling interrupts may take; 0 and 100 stand for no limit.
    pub perf_cpu_time_max_percent: Option<i64>,
    /// Who sees kernel addresses: 1 only with `CAP_SYSLOG`, 2 nobody.
    pub kptr_restrict: Option<i64>,
    /// 1 where the kernel times every run of a BPF program.
    pub bpf_stats_enabled: Option<i64>,
}

/// All that is looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// What decides whether anything can be recorded.
    #[serde(flatten)]
    pub essentials: Essentials,
    /// The numbers of the CPUs that are online.
    pub online_cpus: Vec<u32>,
    /// Finding every field that the kernel programs read in the kernel's type information.
    pub offsets: Attempt,
    /// Loading and attaching the kernel programs of a recording, on every CPU, without starting.
    pub kernel_programs: Attempt,
    /// Loading and attaching those of a recording of waits (`--off-cpu`, `--wall`).
    pub wait_programs: Attempt,
    /// Taking stacks at the end of waits (`--wait-period`, `--min-block`).
    pub wait_sampling: Attempt,
    /// Instructions that the kernel's verifier went through for each kernel program; empty where
    /// they do not load.
    pub verified_instructions: BTreeMap<String, u32>,
    /// Opening the event `cpu-clock` on every CPU.
    pub cpu_clock: Attempt,
    /// Opening the event `cycles` on one CPU.
    pub cycles: Attempt,
    /// Settings of the kernel.
    pub settings: Settings,
    /// Whether `/proc/kallsyms` shows this process addresses in place of zeros.
    pub kernel_addresses: bool,
    /// Whether process ids here are those that the kernel programs see.
    pub initial_pid_namespace: bool,
    /// How much memory this process may lock, in bytes; `None` where there is no limit.
    pub memlock_bytes: Option<u64>,
    /// Where tracefs is mounted.
    pub tracefs: Option<String>,
}
