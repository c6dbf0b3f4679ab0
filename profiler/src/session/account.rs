//! What is told beside what was collected, when a session is cut.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use abi::reasons::Counters;

use crate::{
    account::EventAccount,
    collected::Collected,
    record::{Recorded, Stop},
    sampling::Sampling,
    tables::TableCounts,
    watching::Waits,
    worker::Workers,
};

/// What became of all that was to be counted.
pub(super) struct Account {
    pub(super) events: Vec<(Sampling, EventAccount)>,
    pub(super) processes: Counters,
    pub(super) tables: TableCounts,
    pub(super) waits: Option<Waits>,
    pub(super) started: SystemTime,
    pub(super) duration: Duration,
    pub(super) workers: Arc<Workers>,
}

impl Account {
    /// Together with what was collected.
    pub(super) fn with(self, collected: Collected) -> Recorded {
        Recorded {
            collected,
            events: self.events,
            processes: self.processes,
            tables: self.tables,
            waits: self.waits,
            schedstats: None,
            started: self.started,
            duration: self.duration,
            stop: Stop::Time,
            workers: self.workers,
        }
    }
}
