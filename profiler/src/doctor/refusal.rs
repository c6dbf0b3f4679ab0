//! The first reason for which a recording would be refused, and how to mend it.

use super::{
    capabilities::{Capabilities, Capability},
    machine::Essentials,
};

/// The oldest kernel whose mappings are where the kernel programs look for them.
const OLDEST: (u32, u32) = (6, 1);
/// The architectures for which there are kernel programs.
const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// Why nothing can be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is so.
    pub why: String,
    /// What to do.
    pub mend: String,
}

impl Refusal {
    fn new(why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            mend: mend.into(),
        }
    }
}

/// Why a recording would be refused, if it would be.
#[must_use]
pub fn refusal(essentials: &Essentials) -> Option<Refusal> {
    by_kernel(essentials).or_else(|| by_rights(essentials))
}

fn by_kernel(essentials: &Essentials) -> Option<Refusal> {
    if !is_supported(essentials) {
        let (release, arch) = (&essentials.kernel_release, &essentials.arch);
        let why = format!("this kernel is Linux {release} on {arch}");
        return Some(Refusal::new(why, KERNEL));
    }
    if let Some(error) = essentials.btf.error() {
        let why = format!("the kernel's type information cannot be opened ({error})");
        return Some(Refusal::new(why, BTF));
    }
    let why = "kernel lockdown forbids BPF programs to read the kernel's memory";
    is_locked_down(essentials).then(|| Refusal::new(why, LOCKDOWN))
}

fn by_rights(essentials: &Essentials) -> Option<Refusal> {
    if !essentials.initial_user_namespace {
        let why = "this process runs in a user namespace, whose capabilities do not count for BPF";
        return Some(Refusal::new(why, USER_NAMESPACE));
    }
    let lacking = essentials.capabilities.lacking();
    if lacking.is_empty() {
        return None;
    }
    let names: Vec<&str> = lacking.iter().map(|capability| capability.name()).collect();
    let grant = grant(essentials);
    let mend = if essentials.uid == 0 {
        grant
    } else {
        format!("run it as root (sudo timesink …) or give the binary the capabilities: {grant}")
    };
    let why = format!("this process lacks {}", names.join(" and "));
    Some(Refusal::new(why, mend))
}

/// What mends an unsupported kernel.
pub(super) const KERNEL: &str = "timesink needs Linux 6.1 or later on x86_64 or aarch64";
/// What mends a kernel without type information.
pub(super) const BTF: &str = "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, and mount /sys";
/// What mends lockdown.
pub(super) const LOCKDOWN: &str = "boot with lockdown=integrity or without lockdown";
/// What mends a user namespace.
pub(super) const USER_NAMESPACE: &str =
    "run it on the host: rootless containers and unshare -U make user namespaces";
/// The capabilities that leave nothing degraded, as `setcap` takes them.
const GRANTED: &str =
    "cap_bpf,cap_perfmon,cap_checkpoint_restore,cap_sys_ptrace,cap_dac_read_search,cap_syslog+ep";

/// What gives this process its capabilities. Root that lacks them was deprived of them, and
/// `setcap` would not give them back.
pub(super) fn grant(essentials: &Essentials) -> String {
    if !essentials.initial_user_namespace {
        USER_NAMESPACE.to_owned()
    } else if essentials.uid == 0 {
        "let the container or service keep root's capabilities: docker run --privileged \
         --pid=host …"
            .to_owned()
    } else {
        format!("sudo setcap {GRANTED} {}", quoted(essentials))
    }
}

/// The binary's path as a shell takes it.
fn quoted(essentials: &Essentials) -> String {
    let path = &essentials.program;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(is_plain) {
        path.clone()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// The capabilities that the kernel honours: those of a user namespace are none to BPF and perf.
pub(super) fn honoured(essentials: &Essentials) -> Capabilities {
    if essentials.initial_user_namespace {
        essentials.capabilities
    } else {
        Capabilities::NONE
    }
}

/// Whether what the capability permits is permitted.
pub(super) fn may(essentials: &Essentials, capability: Capability) -> bool {
    honoured(essentials).granted_by(capability).is_some()
}

/// Whether the kernel is new enough, where its release tells, and of the right architecture.
pub(super) fn is_supported(essentials: &Essentials) -> bool {
    ARCHES.contains(&essentials.arch.as_str())
        && version(&essentials.kernel_release).is_none_or(|version| version >= OLDEST)
}

/// At the level `integrity` the programs load; only `confidentiality` closes the kernel's memory.
pub(super) fn is_locked_down(essentials: &Essentials) -> bool {
    essentials.lockdown.as_deref() == Some("confidentiality")
}

/// The first two numbers of a release such as `6.1.0-13-amd64` or `6.18-rc3`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    Some((major.parse().ok()?, rest[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        examples::{fails, good, unprivileged},
        findings::Report,
        machine::Machine,
    };

    /// Releases as kernels and distributions write them are compared by their numbers, and one that
    /// cannot be read is given a chance.
    #[test]
    fn versions_are_numbers() {
        for (release, expected, supported) in [
            ("6.1.0-13-amd64", Some((6, 1)), true),
            ("6.18-rc3", Some((6, 18)), true),
            ("5.19.0-427.el9.x86_64", Some((5, 19)), false),
            ("6.0.19", Some((6, 0)), false),
            ("10.0", Some((10, 0)), true),
            ("6", None, true),
            ("6.x", None, true),
            ("", None, true),
        ] {
            assert_eq!(version(release), expected, "{release}");
            let mut essentials = good().essentials;
            essentials.kernel_release = release.to_owned();
            assert_eq!(is_supported(&essentials), supported, "{release}");
        }
    }

    /// What is done to the good machine, and the words of the refusal that follows.
    type Case = (fn(&mut Machine), &'static [&'static str]);

    const REFUSALS: &[Case] = &[
        (
            |machine| machine.essentials.kernel_release = "5.10.0".to_owned(),
            &["Linux 5.10.0", "6.1 or later"],
        ),
        (
            |machine| machine.essentials.btf = fails("No such file or directory (os error 2)"),
            &["No such file", "CONFIG_DEBUG_INFO_BTF"],
        ),
        (
            |machine| machine.essentials.lockdown = Some("confidentiality".to_owned()),
            &["lockdown", "lockdown=integrity"],
        ),
        (
            |machine| machine.essentials.initial_user_namespace = false,
            &["user namespace", "on the host"],
        ),
        (
            |machine| *machine = unprivileged(),
            &[
                "lacks CAP_BPF and CAP_PERFMON",
                "sudo timesink …",
                "sudo setcap cap_bpf,cap_perfmon,",
                "+ep /usr/bin/timesink",
            ],
        ),
        (
            |machine| {
                machine.essentials.uid = 1000;
                machine.essentials.program = "/my bin/timesink".to_owned();
                machine.essentials.capabilities = Capabilities::NONE.with(Capability::Bpf);
            },
            &["lacks CAP_PERFMON", "+ep '/my bin/timesink'"],
        ),
        (
            |machine| machine.essentials.capabilities = Capabilities::NONE,
            &["lacks CAP_BPF and CAP_PERFMON", "docker run --privileged"],
        ),
    ];

    /// Each reason to refuse a recording has its own words and its own way out.
    #[test]
    fn refusals_say_why_and_what_to_do() {
        for (spoil, words) in REFUSALS {
            let mut machine = good();
            spoil(&mut machine);
            let refusal = refusal(&machine.essentials).unwrap();
            let text = format!("{}; {}", refusal.why, refusal.mend);
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
            assert!(!Report::of(machine).can_record, "{text}");
        }
    }

    /// Lockdown up to `integrity`, a kernel without lockdown and an unreadable release refuse nothing.
    #[test]
    fn what_does_not_matter_is_not_refused() {
        assert_eq!(refusal(&good().essentials), None);
        for level in [None, Some("integrity".to_owned())] {
            let mut machine = good();
            machine.essentials.lockdown = level;
            machine.essentials.kernel_release = "custom".to_owned();
            assert_eq!(refusal(&machine.essentials), None);
        }
    }
}
