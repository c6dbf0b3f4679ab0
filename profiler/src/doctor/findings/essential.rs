//! The facts without which nothing can be recorded.

use super::{Finding, State};
use crate::doctor::{
    capabilities::Capability,
    machine::{Attempt, Essentials, Machine},
    refusal,
};

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let essentials = &machine.essentials;
    let mut findings = vec![
        kernel(essentials),
        type_information(machine),
        lockdown(essentials),
        user_namespace(essentials),
    ];
    findings.extend(
        Capability::REQUIRED
            .iter()
            .map(|&capability| required(essentials, capability)),
    );
    findings.push(cpu_clock(machine));
    let is_explained = findings
        .iter()
        .any(|finding| finding.state == State::Missing);
    findings.push(kernel_programs(machine, is_explained));
    findings
}

fn kernel(essentials: &Essentials) -> Finding {
    let found = format!("Linux {} on {}", essentials.kernel_release, essentials.arch);
    if refusal::is_supported(essentials) {
        return Finding::new("kernel", found, "supported");
    }
    Finding::new("kernel", found, "the kernel programs do not fit it")
        .but(State::Missing, refusal::KERNEL)
}

fn type_information(machine: &Machine) -> Finding {
    let name = "type information";
    match (&machine.essentials.btf, &machine.offsets) {
        (Attempt::Fails(error), _) => {
            Finding::new(name, error, "the kernel's structs cannot be read")
                .but(State::Missing, refusal::BTF)
        }
        (_, Attempt::Fails(error)) => Finding::new(
            name,
            error,
            "this kernel's structs are not as the kernel programs know them",
        )
        .but(
            State::Missing,
            "boot another kernel, and report this one's release and this line",
        ),
        _ => Finding::new(name, "readable", "every field that is needed was found"),
    }
}

fn lockdown(essentials: &Essentials) -> Finding {
    let found = essentials.lockdown.as_deref().unwrap_or("absent");
    if refusal::is_locked_down(essentials) {
        let means = "BPF programs may not read the kernel's memory";
        return Finding::new("lockdown", found, means).but(State::Missing, refusal::LOCKDOWN);
    }
    Finding::new(
        "lockdown",
        found,
        "BPF programs may read the kernel's memory",
    )
}

fn user_namespace(essentials: &Essentials) -> Finding {
    let name = "user namespace";
    if essentials.initial_user_namespace {
        return Finding::new(name, "the initial one", "capabilities count");
    }
    let means = "its capabilities do not count for BPF and perf events";
    Finding::new(name, "not the initial one", means).but(State::Missing, refusal::USER_NAMESPACE)
}

fn required(essentials: &Essentials, capability: Capability) -> Finding {
    let what = match capability {
        Capability::Bpf => "kernel programs and their maps",
        _ => "perf events, and kernel programs that read the kernel's memory",
    };
    match refusal::honoured(essentials).granted_by(capability) {
        Some(held) => Finding::new(
            capability.name(),
            super::optional::held_as(capability, held),
            format!("permits {what}"),
        ),
        None => Finding::new(
            capability.name(),
            super::optional::not_held(essentials),
            format!("needed for {what}; no setting stands in for it"),
        )
        .but(State::Missing, refusal::grant(essentials)),
    }
}

fn cpu_clock(machine: &Machine) -> Finding {
    let name = "cpu-clock event";
    let cpus = machine.online_cpus.len();
    match machine.cpu_clock.error() {
        None => Finding::new(
            name,
            format!("opens on {cpus} of {cpus} online CPUs"),
            "every CPU can be sampled",
        ),
        Some(error) => Finding::new(name, error, "CPUs cannot be sampled").but(
            State::Missing,
            if refusal::may(&machine.essentials, Capability::Perfmon) {
                "permit the system call perf_event_open, which a seccomp filter of containers and \
                 services may refuse"
                    .to_owned()
            } else {
                refusal::grant(&machine.essentials)
            },
        ),
    }
}

/// The attempt that counts, whatever the other facts say.
fn kernel_programs(machine: &Machine, is_explained: bool) -> Finding {
    let name = "kernel programs";
    match machine.kernel_programs.error() {
        None => Finding::new(name, "load and attach", "a recording can start"),
        Some(error) => Finding::new(name, error, "a recording cannot start").but(
            State::Missing,
            if is_explained {
                "mend what is missing above, then run this again"
            } else {
                "permit the system call bpf, which a seccomp filter or a security module may \
                 refuse (see the kernel's log: dmesg)"
            },
        ),
    }
}
