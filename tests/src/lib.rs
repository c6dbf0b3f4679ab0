//! What the integration tests and the benchmarks share: workloads with a truth of their own, and
//! the built timesink.
