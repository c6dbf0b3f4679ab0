//! What is measured: on whom, how fast, how long, how often.

use std::time::Duration;

use clap::ValueEnum;

use crate::depths;

/// The scenarios by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// One process of two busy threads, at 999 Hz
    FramePointers,
    /// Stacks of 12 and of 40 frames, at 99 and 999 Hz: the cost of a sample and of a frame
    StackDepths,
    /// The whole machine at 99 Hz while several processes are busy
    WholeMachine,
    /// The same at 999 Hz
    WholeMachineFast,
    /// The whole machine at 99 Hz while nothing runs
    QuietMachine,
    /// The unwind table of the largest library that is installed, built without a cache
    LargeTable,
    /// Waits of two processes that hand a byte to and fro on one CPU
    PingPong,
    /// From the end of what was recorded to the picture: large libraries and much debug information
    Symbols,
    /// A generated day of one busy core in the store: its size, and the time of questions
    Store,
    /// The agent for an hour, among processes that come and go, libraries too, and busy threads
    Soak,
    /// How often `timesink diff` finds one function that takes 10 % longer, and nothing else
    Diff,
}

/// What keeps the machine busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Two threads with deep stacks, as many as the smallest of machines has CPUs.
    Chains,
    /// The same, short commands in a loop, and an interpreter.
    Mixture,
    /// Nothing, or processes that go with the measurement.
    Nothing,
}

/// One row of measurements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: Name,
    pub(crate) load: Load,
    /// The whole machine, or only the process of the chains.
    pub(crate) whole_machine: bool,
    /// Samples a second on each CPU; 0 where waits are recorded.
    pub(crate) hz: u32,
    /// How long each profiler records; 0 where it does until its command ends.
    pub(crate) duration: Duration,
    /// How often each profiler has its turn.
    pub(crate) rounds: u32,
    /// Whether it shows that all of it works rather than measure much.
    pub(crate) quick: bool,
}

impl Scenario {
    /// The scenario of a name; a quick one is short and has one round.
    pub(crate) fn new(name: Name, quick: bool) -> Self {
        let (load, whole_machine, hz, seconds) = match name {
            Name::FramePointers => (Load::Chains, false, 999, 8),
            Name::StackDepths => (Load::Chains, false, 999, 3),
            Name::WholeMachine => (Load::Mixture, true, 99, 10),
            Name::WholeMachineFast => (Load::Mixture, true, 999, 8),
            Name::QuietMachine => (Load::Nothing, true, 99, 10),
            Name::LargeTable => (Load::Nothing, false, 99, 1),
            Name::PingPong => (Load::Nothing, false, 0, 3),
            Name::Symbols => (Load::Nothing, false, 999, 0),
            Name::Store => (Load::Nothing, true, 0, 0),
            Name::Soak => (Load::Nothing, true, 19, 3600),
            Name::Diff => (Load::Nothing, false, 19_999, 0),
        };
        let rounds = match name {
            Name::StackDepths | Name::Store => 5,
            Name::Diff => 100,
            _ => 3,
        };
        Self {
            name,
            load,
            whole_machine,
            hz,
            duration: Duration::from_secs(if quick { seconds.min(2) } else { seconds }),
            rounds: if quick { 1 } else { rounds },
            quick,
        }
    }

    /// The name as typed.
    pub(crate) fn title(&self) -> &'static str {
        match self.name {
            Name::FramePointers => "frame-pointers",
            Name::StackDepths => "stack-depths",
            Name::WholeMachine => "whole-machine",
            Name::WholeMachineFast => "whole-machine-fast",
            Name::QuietMachine => "quiet-machine",
            Name::PingPong => "ping-pong",
            Name::LargeTable => "large-table",
            Name::Symbols => "symbols",
            Name::Store => "store",
            Name::Soak => "soak",
            Name::Diff => "diff",
        }
    }

    /// Samples a second on each CPU, all that there are.
    pub(crate) fn rates(&self) -> String {
        match self.name {
            Name::StackDepths => depths::RATES.map(|hz| hz.to_string()).join(" and "),
            _ => self.hz.to_string(),
        }
    }

    /// What happens in it, in a few words.
    pub(crate) fn meaning(&self) -> &'static str {
        match self.name {
            Name::FramePointers => "one process of two busy threads with frame pointers",
            Name::StackDepths => "two busy threads without frame pointers, with them for the peer",
            Name::WholeMachine | Name::WholeMachineFast => {
                "the whole machine, with several busy processes"
            }
            Name::QuietMachine => "the whole machine, with nothing to do",
            Name::LargeTable => "a process that maps the largest libLLVM, not cached",
            Name::PingPong => "two processes that hand a byte to and fro on one CPU",
            Name::Symbols => "from the end of a command to the picture of it",
            Name::Store => "a generated day of one busy core, kept and asked for",
            Name::Soak => "the agent, as long as it takes to see that nothing grows",
            Name::Diff => "a program of eight functions, one of which takes 10 % longer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that the command line takes are those that the tables show.
    #[test]
    fn titles_are_the_typed_names() {
        for name in Name::value_variants() {
            let typed = name.to_possible_value().unwrap();
            assert_eq!(typed.get_name(), Scenario::new(*name, false).title());
        }
    }

    /// A quick run differs in time and rounds and in nothing else.
    #[test]
    fn quick_keeps_the_rate() {
        let (full, quick) = (
            Scenario::new(Name::FramePointers, false),
            Scenario::new(Name::FramePointers, true),
        );
        assert_eq!((full.rounds, quick.rounds), (3, 1));
        assert!(quick.duration < full.duration);
        assert_eq!((full.hz, full.load), (quick.hz, quick.load));
    }
}
