//! Machines to judge in tests.

use std::collections::BTreeMap;

use super::{
    capabilities::Capabilities,
    machine::{Attempt, Essentials, Machine, Settings},
};

/// A machine on which nothing is to be mended.
pub(super) fn good() -> Machine {
    Machine {
        essentials: Essentials {
            kernel_release: "6.12.9-amd64".to_owned(),
            arch: "x86_64".to_owned(),
            uid: 0,
            program: "/usr/bin/timesink".to_owned(),
            capabilities: Capabilities::ALL,
            initial_user_namespace: true,
            btf: Attempt::Works,
            lockdown: Some("none".to_owned()),
        },
        online_cpus: vec![0, 1, 2, 5],
        offsets: Attempt::Works,
        kernel_programs: Attempt::Works,
        wait_programs: Attempt::Works,
        wait_sampling: Attempt::Works,
        verified_instructions: BTreeMap::from([("on_cpu".to_owned(), 20_000)]),
        cpu_clock: Attempt::Works,
        cycles: Attempt::Works,
        settings: Settings {
            perf_event_paranoid: Some(2),
            unprivileged_bpf_disabled: Some(2),
            perf_event_max_sample_rate: Some(100_000),
            perf_cpu_time_max_percent: Some(25),
            kptr_restrict: Some(0),
            bpf_stats_enabled: Some(0),
        },
        kernel_addresses: true,
        initial_pid_namespace: true,
        memlock_bytes: Some(8 << 20),
        tracefs: Some("/sys/kernel/tracing".to_owned()),
    }
}

/// The same machine, seen by a user without a capability.
pub(super) fn unprivileged() -> Machine {
    let mut machine = good();
    machine.essentials.uid = 1000;
    machine.essentials.capabilities = Capabilities::NONE;
    machine.kernel_programs = fails("Operation not permitted (os error 1)");
    machine.wait_programs = machine.kernel_programs.clone();
    machine.wait_sampling = machine.kernel_programs.clone();
    machine.verified_instructions = BTreeMap::new();
    machine.cpu_clock = fails("Permission denied (os error 13)");
    machine.cycles = machine.cpu_clock.clone();
    machine.kernel_addresses = false;
    machine
}

pub(super) fn fails(error: &str) -> Attempt {
    Attempt::Fails(error.to_owned())
}
