//! The capabilities of a process that matter to a recording, by name. Which of them is needed for
//! what was found by trying: docs/doctor.md has the table.

use serde::{Serialize, Serializer};

/// A capability, with its bit in the kernel's masks (`linux/capability.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "capabilities(7) says what each of them is")]
pub enum Capability {
    DacOverride = 1,
    DacReadSearch = 2,
    SysPtrace = 19,
    SysAdmin = 21,
    SysResource = 24,
    Syslog = 34,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

impl Capability {
    /// All that are looked at.
    pub const ALL: [Self; 9] = [
        Self::Bpf,
        Self::Perfmon,
        Self::CheckpointRestore,
        Self::SysPtrace,
        Self::DacReadSearch,
        Self::Syslog,
        Self::SysAdmin,
        Self::SysResource,
        Self::DacOverride,
    ];
    /// Those without which nothing can be recorded.
    pub const REQUIRED: [Self; 2] = [Self::Bpf, Self::Perfmon];

    /// As the kernel's headers and manuals write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::Syslog => "CAP_SYSLOG",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
            Self::CheckpointRestore => "CAP_CHECKPOINT_RESTORE",
        }
    }

    /// The wider capability that the kernel takes in its place.
    const fn wider(self) -> Option<Self> {
        match self {
            Self::Bpf | Self::Perfmon | Self::CheckpointRestore => Some(Self::SysAdmin),
            Self::DacReadSearch => Some(Self::DacOverride),
            _ => None,
        }
    }
}

/// A set of capabilities, as the kernel's mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// Every capability that there is or will be.
    pub const ALL: Self = Self(u64::MAX);

    /// The effective set in the text of `/proc/PID/status`.
    #[must_use]
    pub fn from_status(status: &str) -> Option<Self> {
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(mask.trim(), 16).ok().map(Self)
    }

    /// This set and one more.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// This set and one less.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability as u8))
    }

    /// Whether the capability itself is in the set.
    #[must_use]
    pub const fn holds(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    /// The member of the set that permits what the capability permits: itself or a wider one.
    #[must_use]
    pub fn granted_by(self, capability: Capability) -> Option<Capability> {
        let wider = capability.wider();
        [Some(capability), wider]
            .into_iter()
            .flatten()
            .find(|&candidate| self.holds(candidate))
    }

    /// Those that nothing can be recorded without and that nothing in the set stands in for.
    #[must_use]
    pub fn lacking(self) -> Vec<Capability> {
        let mut required = Capability::REQUIRED.to_vec();
        required.retain(|&capability| self.granted_by(capability).is_none());
        required
    }
}

/// As the names of those that are looked at.
impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let held = Capability::ALL
            .iter()
            .filter(|&&capability| self.holds(capability));
        serializer.collect_seq(held.map(|capability| capability.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The effective mask is taken from among the others, and its bits are the kernel's.
    #[test]
    fn the_effective_mask_is_parsed() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n\
                      CapEff:\t000001c000080000\nCapBnd:\t000001ffffffffff\n";
        let found = Capabilities::from_status(status).unwrap();
        let held = Capability::ALL.map(|capability| found.holds(capability));
        let expected = [
            Capability::Bpf,
            Capability::Perfmon,
            Capability::CheckpointRestore,
            Capability::SysPtrace,
        ];
        assert_eq!(
            held,
            Capability::ALL.map(|capability| expected.contains(&capability))
        );
    }

    /// A status without the line, or with no hexadecimal number in it, gives no set.
    #[test]
    fn a_status_without_a_mask_is_none() {
        for status in [
            "",
            "CapPrm:\t000001ffffffffff\n",
            "CapEff:\t\n",
            "CapEff:\txyz\n",
            "CapEff:\t10000000000000000\n",
        ] {
            assert_eq!(Capabilities::from_status(status), None, "{status:?}");
        }
    }

    /// CAP_SYS_ADMIN stands in for the required ones and not for CAP_SYSLOG or CAP_SYS_PTRACE.
    #[test]
    fn wider_capabilities_stand_in() {
        let admin = Capabilities::NONE.with(Capability::SysAdmin);
        assert_eq!(admin.lacking(), []);
        assert_eq!(
            admin.granted_by(Capability::CheckpointRestore),
            Some(Capability::SysAdmin)
        );
        assert_eq!(admin.granted_by(Capability::Syslog), None);
        assert_eq!(admin.granted_by(Capability::SysPtrace), None);
        let bpf = Capabilities::NONE.with(Capability::Bpf);
        assert_eq!(bpf.lacking(), [Capability::Perfmon]);
        assert_eq!(Capabilities::NONE.lacking(), Capability::REQUIRED);
    }

    /// In JSON a set is the names of what is held.
    #[test]
    fn a_set_serializes_as_names() {
        let set = Capabilities::NONE
            .with(Capability::Bpf)
            .with(Capability::SysAdmin);
        assert_eq!(
            serde_json::to_string(&set).unwrap(),
            r#"["CAP_BPF","CAP_SYS_ADMIN"]"#
        );
    }
}
