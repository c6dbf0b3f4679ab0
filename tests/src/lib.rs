//! What the integration tests share: the binary as a user runs it, programs that tell the truth
//! about themselves, and readers of what `timesink` writes.
//!
//! Nothing here knows the inside of `timesink`: its output is read as another program would.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "in a test a failure is the answer"
)]

mod agent;
mod binary;
mod browser;
mod cgroup;
mod damage;
mod folded;
mod jit;
mod ledger;
mod machine;
mod mounts;
mod pprof;
mod recorded;
mod served;
mod waits;
mod whole;
mod windows;
mod workload;

pub use agent::Agent;
pub use binary::{Run, Running, binary, release_binary, timesink};
pub use browser::Browser;
pub use cgroup::Cgroup;
pub use damage::{Counting, Random, bytes_taken, counted_alone, damage, try_seeds};
pub use folded::{Folded, FoldedStack};
pub use jit::JitRun;
pub use ledger::Ledger;
pub use machine::{Alone, alone, online_cpus, require_root, stolen_ns, tool};
pub use mounts::{Mounts, run_tool};
pub use pprof::{Pprof, PprofFrame, PprofLine, PprofSample};
pub use recorded::{Recorded, record, record_by_release, record_while};
pub use served::{Answer, Served, request};
pub use waits::ThreadRow;
pub use whole::{Whole, ends};
pub use windows::Window;
pub use workload::Workload;
