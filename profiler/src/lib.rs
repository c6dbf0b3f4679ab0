//! timesink: samples stacks in the kernel and writes where the time goes.

pub mod bpf;
pub mod btf;
pub mod cli;
pub mod decode;
pub mod events;
pub mod files;
pub mod perf;
pub mod record;
pub mod resolve;
