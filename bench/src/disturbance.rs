//! Whether other work on the machine got in the way, which makes figures incomparable: a tick that
//! hits a process other than the target costs a profiler next to nothing.

use crate::{recording::Run, scenario::Load};

/// The least share of the most CPU time that the program got in a recording, to be got in each.
const EVEN_SHARE: f64 = 0.9;
/// The cores that the two threads of the chains take where they can.
const CHAINS_CORES: f64 = 2.0;
/// Cores that a machine without work may be busy with.
const QUIET_CORES: f64 = 0.1;

/// A line that tells of other work, where there was some.
pub(crate) fn warning(load: Load, runs: &[&Run]) -> Option<String> {
    let (values, what): (Vec<f64>, _) = match load {
        Load::Chains | Load::Mixture => {
            let got = runs.iter().filter_map(|run| run.target_cores);
            (got.collect(), "the program got")
        }
        Load::Nothing => {
            let busy = runs.iter().map(|run| run.machine_cores);
            (busy.collect(), "the machine was busy with")
        }
    };
    let least = values.iter().copied().reduce(f64::min)?;
    let most = values.iter().copied().reduce(f64::max)?;
    let is_even = match load {
        Load::Chains => least >= EVEN_SHARE * most.max(CHAINS_CORES),
        Load::Mixture => least >= EVEN_SHARE * most,
        Load::Nothing => most <= QUIET_CORES,
    };
    (!is_even).then(|| {
        format!("disturbed by other work: {what} {least:.2} to {most:.2} cores; measure again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(target: Option<f64>, machine_cores: f64) -> Run {
        Run {
            target_cores: target,
            machine_cores,
            ..Run::default()
        }
    }

    /// A program that did not get its CPUs, or not evenly, was disturbed.
    #[test]
    fn an_uneven_share_is_a_disturbance() {
        let (full, half) = (run(Some(1.98), 2.0), run(Some(1.0), 2.0));
        assert_eq!(warning(Load::Chains, &[&full, &full]), None);
        let said = warning(Load::Chains, &[&full, &half]).unwrap();
        assert!(said.contains("1.00 to 1.98 cores"), "{said}");
        assert!(warning(Load::Chains, &[&half, &half]).is_some());
        assert_eq!(warning(Load::Mixture, &[&half, &half]), None);
        assert!(warning(Load::Mixture, &[&half, &full]).is_some());
    }

    /// Without a load, any work of the machine is a disturbance.
    #[test]
    fn a_busy_machine_is_not_quiet() {
        assert_eq!(warning(Load::Nothing, &[&run(None, 0.05)]), None);
        assert!(warning(Load::Nothing, &[&run(None, 0.05), &run(None, 0.5)]).is_some());
        assert_eq!(warning(Load::Nothing, &[]), None);
    }
}
