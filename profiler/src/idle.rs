//! How long each CPU has been idle, by the scheduler's own account.

use std::{collections::HashMap, fs, io};

/// Nanoseconds since boot in which each CPU had nothing to do, by the CPU's number.
///
/// # Errors
/// Where `/proc/stat` cannot be read.
pub fn idle_ns() -> io::Result<HashMap<u32, u64>> {
    // SAFETY: the call has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let ticks = u64::try_from(ticks).ok().filter(|&ticks| ticks > 0);
    Ok(parse(
        &fs::read_to_string("/proc/stat")?,
        ticks.unwrap_or(100),
    ))
}

/// The lines `cpuN user nice system idle iowait …` of `proc_stat(5)`, in ticks of the clock.
/// Waiting for a disk is idling too.
fn parse(text: &str, ticks_per_second: u64) -> HashMap<u32, u64> {
    let parse_line = |line: &str| {
        let mut fields = line.split(' ').filter(|field| !field.is_empty());
        let cpu = fields.next()?.strip_prefix("cpu")?.parse().ok()?;
        let mut ticks = fields.skip(3).map(|field| field.parse::<u64>().ok());
        let idle = ticks.next()?? + ticks.next()??;
        Some((cpu, idle * (1_000_000_000 / ticks_per_second)))
    };
    text.lines().filter_map(parse_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle and disk waits count, by CPU; the sum over all CPUs is no CPU.
    #[test]
    fn each_cpu_has_its_idle_time() {
        let text = "cpu  1 2 3 400 5 6 7\ncpu0 1 2 3 100 5 6 7\ncpu3 1 2 3 300 0 6\nintr 5\n";
        let expected = HashMap::from([(0, 1_050_000_000), (3, 3_000_000_000)]);
        assert_eq!(parse(text, 100), expected);
    }
}
