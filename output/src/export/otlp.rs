//! OTLP profiles: the [alpha format](https://github.com/open-telemetry/opentelemetry-proto), package
//! `v1development`, over gRPC and HTTP.
//!
//! A resource for each service, and for each of them one profile per sample type. Samples of the first event
//! are `samples/count` with period `cpu/nanoseconds`, from which readers have the CPU time, so that it is
//! sent apart only where it is something else than samples times period. Other types have an empty period.
//! Slices of a window are added up: receivers differ in what they make of several values of a sample.

mod dictionary;
mod grpc;
mod http;
mod message;

pub use self::grpc::OtlpGrpc;
pub use self::http::OtlpHttp;

/// The largest request, uncompressed: what a gRPC server takes unless told otherwise, and the collector too.
const MAX_BYTES: usize = 4 << 20;
