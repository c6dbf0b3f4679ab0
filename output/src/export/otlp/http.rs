//! OTLP over HTTP, as gzipped protobuf.

use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use prost::Message;

use super::message::requests;
use crate::export::destination::{Address, SinkOptions};
use crate::export::http::{Client, Post, Reply, gzip};
use crate::export::parts::Progress;
use crate::export::{SendError, Sink};
use crate::profile::Profile;

/// Where servers take profiles, below the address that was given.
const PATH: &str = "/v1development/profiles";

/// A server of OTLP profiles by HTTP.
#[derive(Debug)]
pub struct OtlpHttp {
    name: String,
    options: SinkOptions,
    client: Client,
    progress: Progress,
}

impl OtlpHttp {
    /// Connects when the first window is sent.
    pub(in crate::export) fn new(name: String, address: &Address, options: SinkOptions) -> Self {
        Self {
            name,
            client: Client::new(address, PATH, &options),
            options,
            progress: Progress::default(),
        }
    }

    fn export(&self, request: &ExportProfilesServiceRequest) -> Result<(), SendError> {
        let reply = self.client.post(&Post {
            content_type: "application/x-protobuf",
            headers: &[("content-encoding", "gzip")],
            body: &gzip(&request.encode_to_vec()),
        })?;
        if !reply.is_success() {
            return Err(failure(&reply));
        }
        match ExportProfilesServiceResponse::decode(reply.body.as_slice()) {
            Ok(response) => partial_success(response.partial_success),
            // The status says that the window was taken, and a retry would add it a second time.
            Err(_) => Ok(()),
        }
    }
}

impl Sink for OtlpHttp {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, window: &Profile) -> Result<(), SendError> {
        let parts = requests(window, &self.options.extra);
        self.progress
            .send(window, &parts, |request| self.export(request))
    }
}

/// Which answers are for another try says the
/// [specification](https://opentelemetry.io/docs/specs/otlp/#failures-1): these four, and no other.
fn failure(reply: &Reply) -> SendError {
    match reply.status {
        429 | 502 | 503 | 504 => SendError::Later {
            reason: reply.to_string(),
            after: reply.retry_after,
        },
        _ => SendError::refused(reply),
    }
}

/// What a server has rejected of a request it otherwise took; it must not be sent again.
pub(super) fn partial_success(
    partial: Option<ExportProfilesPartialSuccess>,
) -> Result<(), SendError> {
    match partial {
        Some(partial) if partial.rejected_profiles > 0 => Err(SendError::refused(format_args!(
            "{} profiles: {}",
            partial.rejected_profiles, partial.error_message
        ))),
        _ => Ok(()),
    }
}
