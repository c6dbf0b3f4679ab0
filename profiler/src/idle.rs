//! How long each CPU has been away from all tasks, by the scheduler's own account.

use std::{collections::HashMap, fs, io};

/// Time since boot in which a CPU ran no task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Away {
    /// Nanoseconds in which it had nothing to do.
    pub idle_ns: u64,
    /// Nanoseconds in which the host of a virtual machine ran something else in its place. The
    /// clocks of tasks stand still meanwhile.
    pub stolen_ns: u64,
}

impl Away {
    /// What has come since an earlier look.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            idle_ns: self.idle_ns.saturating_sub(earlier.idle_ns),
            stolen_ns: self.stolen_ns.saturating_sub(earlier.stolen_ns),
        }
    }
}

/// How long each CPU has been away, by the CPU's number.
///
/// # Errors
/// Where `/proc/stat` cannot be read.
pub fn away() -> io::Result<HashMap<u32, Away>> {
    // SAFETY: the call has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let ticks = u64::try_from(ticks).ok().filter(|&ticks| ticks > 0);
    Ok(parse(
        &fs::read_to_string("/proc/stat")?,
        ticks.unwrap_or(100),
    ))
}

/// The lines `cpuN user nice system idle iowait irq softirq steal …` of `proc_stat(5)`, in ticks of
/// the clock. Waiting for a disk is idling too.
fn parse(text: &str, ticks_per_second: u64) -> HashMap<u32, Away> {
    let tick_ns = 1_000_000_000 / ticks_per_second;
    let parse_line = |line: &str| {
        let mut fields = line.split(' ').filter(|field| !field.is_empty());
        let cpu = fields.next()?.strip_prefix("cpu")?.parse().ok()?;
        let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        let away = Away {
            idle_ns: (ticks.get(3)? + ticks.get(4)?) * tick_ns,
            stolen_ns: ticks.get(7).copied().unwrap_or(0) * tick_ns,
        };
        Some((cpu, away))
    };
    text.lines().filter_map(parse_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle and disk waits count, stolen time does apart, by CPU; the sum over all CPUs is no CPU.
    #[test]
    fn each_cpu_has_its_times() {
        let text = "cpu  1 2 3 400 5 6 7 8\ncpu0 1 2 3 100 5 6 7 9 1\ncpu3 1 2 3 300 0 6\nintr 5\n";
        let away = |idle_ns, stolen_ns| Away { idle_ns, stolen_ns };
        let first = away(1_050_000_000, 90_000_000);
        let expected = HashMap::from([(0, first), (3, away(3_000_000_000, 0))]);
        assert_eq!(parse(text, 100), expected);
        assert_eq!(
            first.since(away(50_000_000, 100_000_000)),
            away(1_000_000_000, 0)
        );
    }
}
