//! OTLP over gRPC.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, profiles_service_client::ProfilesServiceClient,
};
use tokio::runtime::{self, Handle, Runtime};
use tonic::codec::CompressionEncoding;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::http::partial_success;
use super::message::requests;
use crate::export::destination::{Address, SinkOptions};
use crate::export::parts::Progress;
use crate::export::{SendError, Sink};
use crate::profile::Profile;

/// A server of OTLP profiles by gRPC.
#[derive(Debug)]
pub struct OtlpGrpc {
    name: String,
    options: SinkOptions,
    authorization: Option<AsciiMetadataValue>,
    client: ProfilesServiceClient<Channel>,
    progress: Progress,
    handle: Handle,
    /// Keeps the connection alive between two windows; there until this is dropped.
    runtime: Option<Runtime>,
}

impl OtlpGrpc {
    /// Connects when the first window is sent.
    pub(in crate::export) fn new(
        name: String,
        address: &Address,
        options: SinkOptions,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("timesink-grpc")
            .enable_all()
            .build()?;
        let mut endpoint = Endpoint::from_shared(address.url.clone())?
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout);
        if address.url.starts_with("https:") {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        let channel = {
            let _in_runtime = runtime.enter();
            endpoint.connect_lazy()
        };
        let authorization = address
            .authorization
            .as_deref()
            .map(str::parse)
            .transpose()?;
        Ok(Self {
            name,
            options,
            authorization,
            client: ProfilesServiceClient::new(channel)
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip),
            progress: Progress::default(),
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    fn export(&self, request: &ExportProfilesServiceRequest) -> Result<(), SendError> {
        let mut request = Request::new(request.clone());
        if let Some(value) = &self.authorization {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        let mut client = self.client.clone();
        // The channel's own limit ends when the headers of the answer have come.
        let limit = self.options.timeout;
        let answer = self
            .handle
            .block_on(async move { tokio::time::timeout(limit, client.export(request)).await });
        match answer {
            Ok(Ok(reply)) => partial_success(reply.into_inner().partial_success),
            Ok(Err(status)) => Err(failure(&status)),
            Err(_) => Err(SendError::later("no answer in time")),
        }
    }
}

impl Sink for OtlpGrpc {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, window: &Profile) -> Result<(), SendError> {
        let parts = requests(window, &self.options.extra);
        self.progress
            .send(window, &parts, |request| self.export(request))
    }
}

/// A runtime that is dropped waits for its threads, which panics where asynchronous tasks run.
impl Drop for OtlpGrpc {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Which codes are for another try says the
/// [specification](https://opentelemetry.io/docs/specs/otlp/#failures): `RESOURCE_EXHAUSTED` only where the
/// server says when.
fn failure(status: &Status) -> SendError {
    let after: Option<Duration> = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    let is_for_later = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        _ => false,
    };
    let reason = format!("{:?}: {}", status.code(), status.message());
    match is_for_later {
        true => SendError::Later { reason, after },
        false => SendError::Refused { reason },
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    /// Codes are sorted as the specification does, and the server's delay is kept.
    #[test]
    fn codes_tell_whether_to_try_again() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted] {
            let error = failure(&Status::new(code, "x"));
            assert!(
                matches!(error, SendError::Later { after: None, .. }),
                "{code:?}"
            );
        }
        for code in [
            Code::InvalidArgument,
            Code::Unimplemented,
            Code::ResourceExhausted,
            Code::Internal,
        ] {
            let error = failure(&Status::new(code, "x"));
            assert!(matches!(error, SendError::Refused { .. }), "{code:?}");
        }
        let delay = Duration::from_millis(1500);
        let details = ErrorDetails::with_retry_info(Some(delay));
        let busy = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        let expected = SendError::Later {
            reason: "ResourceExhausted: busy".to_owned(),
            after: Some(delay),
        };
        assert_eq!(failure(&busy), expected);
    }
}
