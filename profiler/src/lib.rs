//! timesink: samples stacks in the kernel and writes where the time goes.

pub mod bpf;
pub mod btf;
pub mod cli;
pub mod events;
pub mod perf;
