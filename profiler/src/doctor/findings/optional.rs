//! The facts that degrade a recording, or are only worth knowing.

use super::{Finding, State};
use crate::doctor::{
    capabilities::Capability,
    machine::{Essentials, Machine},
    refusal::{grant, honoured, may},
};
use crate::sampling::DEFAULT_HZ;

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let essentials = &machine.essentials;
    vec![
        capability(
            essentials,
            Capability::CheckpointRestore,
            "opens the files that processes map, for names of functions",
            "functions of processes have no names: the files that they map cannot be opened",
        ),
        capability(
            essentials,
            Capability::SysPtrace,
            "reads what processes of other users map",
            "functions of other users' processes show as [unknown]",
        ),
        capability(
            essentials,
            Capability::DacReadSearch,
            "reads files of other users and what their processes map",
            "functions of other users' processes show as [unknown]",
        ),
        syslog(machine),
        kernel_addresses(machine),
        pid_namespace(machine),
        off_cpu(machine),
        wait_sampling(machine),
        hardware_counters(machine),
        sample_rate(machine),
        paranoid(machine),
        unprivileged_bpf(machine),
        memlock(machine),
        tracefs(machine),
        bpf_stats(machine),
    ]
}

/// Says where a wider capability is held in place of the one that is asked for.
pub(super) fn held_as(capability: Capability, held: Capability) -> String {
    if held == capability {
        "held".to_owned()
    } else {
        format!("lacking, but {} is held", held.name())
    }
}

/// Says how a capability is not held.
pub(super) fn not_held(essentials: &Essentials) -> &'static str {
    if essentials.initial_user_namespace {
        "lacking"
    } else {
        "at most held in a user namespace"
    }
}

fn capability(
    essentials: &Essentials,
    capability: Capability,
    with: &str,
    without: &str,
) -> Finding {
    let name = capability.name();
    match honoured(essentials).granted_by(capability) {
        Some(held) => Finding::new(name, held_as(capability, held), with),
        None => Finding::new(name, not_held(essentials), without)
            .but(State::Degraded, grant(essentials)),
    }
}

fn syslog(machine: &Machine) -> Finding {
    let name = Capability::Syslog.name();
    if may(&machine.essentials, Capability::Syslog) {
        Finding::new(name, "held", "shows kernel addresses")
    } else if machine.kernel_addresses {
        Finding::new(
            name,
            not_held(&machine.essentials),
            "kernel addresses are shown without it",
        )
        .noted()
    } else {
        Finding::new(
            name,
            not_held(&machine.essentials),
            "kernel addresses are hidden",
        )
        .but(State::Degraded, grant(&machine.essentials))
    }
}

fn kernel_addresses(machine: &Machine) -> Finding {
    let name = "kernel addresses";
    let restrict = machine.settings.kptr_restrict;
    let setting = shown(restrict);
    if machine.kernel_addresses {
        let found = format!("shown (kernel.kptr_restrict={setting})");
        return Finding::new(name, found, "kernel functions have names");
    }
    let found = format!("hidden (kernel.kptr_restrict={setting})");
    let mend = match restrict {
        Some(0 | 1) => grant(&machine.essentials),
        _ => "sudo sysctl kernel.kptr_restrict=1".to_owned(),
    };
    Finding::new(name, found, "kernel functions show as [unknown]").but(State::Degraded, mend)
}

fn off_cpu(machine: &Machine) -> Finding {
    let name = "off-CPU programs";
    match machine.wait_programs.error() {
        None => Finding::new(name, "load and attach", "--off-cpu and --wall work"),
        Some(error) => Finding::new(name, error, "--off-cpu and --wall do not work").but(
            State::Degraded,
            "mend what is missing above; if nothing is, report this kernel's release and this line",
        ),
    }
}

fn wait_sampling(machine: &Machine) -> Finding {
    let name = "stacks at the end of waits";
    match machine.wait_sampling.error() {
        None => Finding::new(name, "can be taken", "--wait-period and --min-block work"),
        Some(error) => Finding::new(
            name,
            error,
            "--wait-period and --min-block do not work, and where threads switch often --off-cpu costs more",
        )
        .noted(),
    }
}

fn pid_namespace(machine: &Machine) -> Finding {
    let name = "pid namespace";
    if machine.initial_pid_namespace {
        return Finding::new(name, "the initial one", "process ids are the machine's");
    }
    let means = "-p and -t name other processes than meant, and functions have no names";
    Finding::new(name, "not the initial one", means).but(
        State::Degraded,
        "run it on the host, or in a container with its pid namespace: docker run --pid=host …",
    )
}

fn hardware_counters(machine: &Machine) -> Finding {
    let name = "hardware counters";
    let Some(error) = machine.cycles.error() else {
        return Finding::new(name, "cycles opens", "hardware events can be sampled");
    };
    let mend = if may(&machine.essentials, Capability::Perfmon) {
        "in a virtual machine, switch on its virtual PMU (QEMU: -cpu host,pmu=on)".to_owned()
    } else {
        grant(&machine.essentials)
    };
    let found = format!("cycles does not open: {error}");
    Finding::new(name, found, "only software events such as cpu-clock").but(State::Degraded, mend)
}

fn sample_rate(machine: &Machine) -> Finding {
    let name = "sample rate";
    let settings = &machine.settings;
    let Some(rate) = settings.perf_event_max_sample_rate else {
        return Finding::new(name, "unknown", "the kernel names no limit").noted();
    };
    let found = format!("at most {rate} Hz on each CPU");
    if u64::try_from(rate).unwrap_or(0) < DEFAULT_HZ {
        let means = format!("too little for the {DEFAULT_HZ} Hz of a recording without -F");
        let mend = "sudo sysctl kernel.perf_event_max_sample_rate=100000";
        return Finding::new(name, found, means).but(State::Degraded, mend);
    }
    let means = match settings.perf_cpu_time_max_percent {
        Some(percent @ 1..=99) => {
            format!("the kernel lowers it where sampling takes over {percent} % of a CPU")
        }
        _ => "the kernel does not lower it".to_owned(),
    };
    Finding::new(name, found, means)
}

fn paranoid(machine: &Machine) -> Finding {
    let found = shown(machine.settings.perf_event_paranoid);
    if may(&machine.essentials, Capability::Perfmon) {
        return Finding::new("perf_event_paranoid", found, "CAP_PERFMON stands above it");
    }
    let means = "to lower it does not stand in for CAP_PERFMON";
    Finding::new("perf_event_paranoid", found, means).noted()
}

fn unprivileged_bpf(machine: &Machine) -> Finding {
    let name = "unprivileged_bpf_disabled";
    let found = shown(machine.settings.unprivileged_bpf_disabled);
    if may(&machine.essentials, Capability::Bpf) {
        return Finding::new(name, found, "CAP_BPF stands above it");
    }
    Finding::new(name, found, "to set it to 0 does not stand in for CAP_BPF").noted()
}

fn memlock(machine: &Machine) -> Finding {
    let found = machine.memlock_bytes.map_or_else(
        || "unlimited".to_owned(),
        |bytes| format!("{} KiB", bytes / 1024),
    );
    let means = "does not matter: since Linux 5.11 BPF memory is charged to the cgroup";
    Finding::new("locked memory", found, means).noted()
}

fn tracefs(machine: &Machine) -> Finding {
    if let Some(place) = &machine.tracefs {
        let found = format!("mounted on {place}");
        return Finding::new("tracefs", found, "tracepoints have names");
    }
    let means = "tracepoints cannot be looked up by name; nothing else needs it";
    Finding::new("tracefs", "not mounted", means).but(
        State::Note,
        "sudo mount -t tracefs tracefs /sys/kernel/tracing",
    )
}

fn bpf_stats(machine: &Machine) -> Finding {
    let setting = machine.settings.bpf_stats_enabled;
    let means = match setting {
        Some(1) => "the kernel times each run of a BPF program, which makes samples dearer",
        _ => "the kernel does not time BPF programs",
    };
    let finding = Finding::new("bpf_stats_enabled", shown(setting), means);
    match setting {
        Some(1) => finding.but(State::Note, "sudo sysctl kernel.bpf_stats_enabled=0"),
        _ => finding,
    }
}

/// A setting's value, where the kernel has it.
fn shown(setting: Option<i64>) -> String {
    setting.map_or_else(|| "absent".to_owned(), |value| value.to_string())
}
