use super::{Finding, Report, State, findings};
use crate::doctor::{
    capabilities::{Capabilities, Capability},
    examples::{fails, good, unprivileged},
    machine::Machine,
    show,
};

fn without(capabilities: &[Capability]) -> Capabilities {
    let all = Capabilities::ALL;
    capabilities
        .iter()
        .fold(all, |set, &capability| set.without(capability))
}

fn finding(machine: &Machine, name: &str) -> Finding {
    let mut findings = findings(machine);
    let index = findings
        .iter()
        .position(|finding| finding.name == name)
        .unwrap();
    findings.swap_remove(index)
}

/// What is done to the good machine, the one finding that follows, its state, and a part of what
/// mends it.
type Case = (fn(&mut Machine), &'static str, State, &'static str);

const CASES: &[Case] = &[
    (
        |machine| machine.essentials.kernel_release = "5.15.0-91-generic".to_owned(),
        "kernel",
        State::Missing,
        "Linux 6.1 or later",
    ),
    (
        |machine| machine.essentials.arch = "riscv64".to_owned(),
        "kernel",
        State::Missing,
        "x86_64",
    ),
    (
        |machine| machine.essentials.btf = fails("No such file or directory (os error 2)"),
        "type information",
        State::Missing,
        "CONFIG_DEBUG_INFO_BTF=y",
    ),
    (
        |machine| machine.offsets = fails("failed to find `mm` of `struct task_struct`"),
        "type information",
        State::Missing,
        "boot another kernel",
    ),
    (
        |machine| machine.essentials.lockdown = Some("confidentiality".to_owned()),
        "lockdown",
        State::Missing,
        "lockdown=integrity",
    ),
    (
        |machine| machine.cpu_clock = fails("Function not implemented (os error 38)"),
        "cpu-clock event",
        State::Missing,
        "perf_event_open",
    ),
    (
        |machine| machine.kernel_programs = fails("Operation not permitted (os error 1)"),
        "kernel programs",
        State::Missing,
        "seccomp",
    ),
    (
        |machine| machine.wait_programs = fails("Invalid argument (os error 22)"),
        "off-CPU programs",
        State::Degraded,
        "report",
    ),
    (
        |machine| machine.initial_pid_namespace = false,
        "pid namespace",
        State::Degraded,
        "--pid=host",
    ),
    (
        |machine| machine.cycles = fails("No such file or directory (os error 2)"),
        "hardware counters",
        State::Degraded,
        "virtual PMU",
    ),
    (
        |machine| machine.settings.perf_event_max_sample_rate = Some(98),
        "sample rate",
        State::Degraded,
        "sysctl kernel.perf_event_max_sample_rate=100000",
    ),
    (
        |machine| {
            machine.settings.kptr_restrict = Some(2);
            machine.kernel_addresses = false;
        },
        "kernel addresses",
        State::Degraded,
        "sudo sysctl kernel.kptr_restrict=1",
    ),
    (
        |machine| machine.tracefs = None,
        "tracefs",
        State::Note,
        "mount -t tracefs tracefs /sys/kernel/tracing",
    ),
    (
        |machine| machine.settings.bpf_stats_enabled = Some(1),
        "bpf_stats_enabled",
        State::Note,
        "sysctl kernel.bpf_stats_enabled=0",
    ),
];

/// Each fault gives its own finding with what mends it, and leaves all others as they were; only
/// what is missing keeps a recording from working.
#[test]
fn each_fault_is_found_alone_and_can_be_mended() {
    let healthy = findings(&good());
    for &(spoil, name, state, mend) in CASES {
        let mut machine = good();
        spoil(&mut machine);
        let found = findings(&machine);
        for (now, before) in found.iter().zip(&healthy) {
            if now.name == name {
                assert_eq!(now.state, state, "{now:?}");
                assert!(now.mend.as_ref().unwrap().contains(mend), "{now:?}");
            } else {
                assert_eq!(now, before);
            }
        }
        let report = Report::of(machine);
        assert_eq!(report.can_record, state != State::Missing, "{name}");
        assert_eq!(report.verdict.contains("cannot record"), !report.can_record);
    }
}

/// A capability that is lacking, and that no wider one stands in for, has the state that trying
/// showed: two are required, four degrade.
#[test]
fn capabilities_are_required_or_degrade() {
    for (lacking, state) in [
        (&[Capability::Bpf][..], State::Ok),
        (&[Capability::Bpf, Capability::SysAdmin], State::Missing),
        (&[Capability::Perfmon], State::Ok),
        (&[Capability::Perfmon, Capability::SysAdmin], State::Missing),
        (&[Capability::CheckpointRestore], State::Ok),
        (
            &[Capability::CheckpointRestore, Capability::SysAdmin],
            State::Degraded,
        ),
        (&[Capability::SysPtrace], State::Degraded),
        (&[Capability::DacReadSearch], State::Ok),
        (
            &[Capability::DacReadSearch, Capability::DacOverride],
            State::Degraded,
        ),
    ] {
        let mut machine = good();
        machine.essentials.uid = 1000;
        machine.essentials.capabilities = without(lacking);
        let finding = finding(&machine, lacking[0].name());
        assert_eq!(finding.state, state, "{finding:?}");
        let is_mended = finding
            .mend
            .is_some_and(|mend| mend.starts_with("sudo setcap"));
        assert_eq!(is_mended, state != State::Ok);
    }
}

/// CAP_SYSLOG is asked for only where the addresses are hidden without it.
#[test]
fn syslog_is_needed_for_hidden_addresses_only() {
    let mut machine = good();
    machine.essentials.capabilities = without(&[Capability::Syslog]);
    assert_eq!(finding(&machine, "CAP_SYSLOG").state, State::Note);
    machine.kernel_addresses = false;
    for name in ["CAP_SYSLOG", "kernel addresses"] {
        assert_eq!(finding(&machine, name).state, State::Degraded);
    }
}

/// Full capabilities of a user namespace count as none, and `setcap` is not what mends it.
#[test]
fn a_user_namespace_makes_capabilities_void() {
    let mut machine = good();
    machine.essentials.initial_user_namespace = false;
    for name in ["user namespace", "CAP_BPF", "CAP_PERFMON"] {
        let finding = finding(&machine, name);
        assert_eq!(finding.state, State::Missing);
        assert!(finding.mend.unwrap().contains("on the host"));
    }
}

/// Whatever is missing, there is a line that says how to mend it; what is ok asks for nothing.
#[test]
fn what_is_not_ok_says_how_to_mend_it() {
    for finding in findings(&unprivileged()) {
        match finding.state {
            State::Ok => assert_eq!(finding.mend, None),
            State::Note => {}
            State::Degraded | State::Missing => assert!(finding.mend.is_some(), "{finding:?}"),
        }
    }
}

/// The whole text for a user without a capability: aligned, mended below, the verdict last. With
/// `BLESS=1` the file is rewritten.
#[test]
fn the_text_is_aligned_and_ends_with_the_verdict() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/doctor_unprivileged.txt"
    );
    let actual = show::text(&Report::of(unprivileged()));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(file).unwrap();
    assert_eq!(actual, expected, "{file} differs; BLESS=1 accepts");
}

/// The text of a good machine has a line for each finding and nothing to mend.
#[test]
fn a_good_machine_has_nothing_to_mend() {
    let report = Report::of(good());
    let text = show::text(&report);
    assert_eq!(text.lines().count(), report.findings.len() + 1);
    assert!(text.ends_with("\ntimesink can record on this machine\n"));
}
