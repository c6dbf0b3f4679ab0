//! timesink: samples stacks in the kernel and writes where the time goes.

pub mod account;
pub mod addresses;
pub mod bpf;
pub mod btf;
pub mod cli;
pub mod code_files;
pub mod collected;
pub mod command;
pub mod decode;
pub mod doctor;
pub mod events;
pub mod files;
pub mod finish;
pub mod idle;
pub mod limits;
pub mod names;
pub mod outputs;
pub mod perf;
pub mod record;
pub mod report;
pub mod resolve;
pub mod sampling;
pub mod sideband;
pub mod tables;
pub mod targets;
pub mod unwind;
mod watch;
