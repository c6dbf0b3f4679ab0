//! Pyroscope's push API: pprof in the messages of
//! [`push/v1/push.proto`](https://github.com/grafana/pyroscope/blob/main/api/push/v1/push.proto), by the
//! [Connect protocol](https://connectrpc.com/docs/protocol) for one request and one answer.
//!
//! A series for each service and kind of profile: `process_cpu` for samples and their time, and one named
//! after its sample type for each of the others. The server makes a series of each set of labels that samples
//! have, and takes 5,000 of them, so ids and names of processes and threads are left out here, and what they
//! ran is added up. Sizes are kept within the
//! [server's defaults](https://github.com/grafana/pyroscope/blob/main/pkg/validation/limits.go); what is too
//! old for it (an hour, unless told otherwise) it refuses itself.

mod message;
mod part;

use prost::Message;

use super::destination::{Address, SinkOptions};
use super::http::{Client, Post, Reply};
use super::parts::Progress;
use super::{SendError, Sink};
use crate::profile::Profile;

/// The method, below the address that was given.
const PATH: &str = "/push.v1.PusherService/Push";
/// The most samples of a profile.
const MAX_SAMPLES: usize = 16_000;
/// The most uncompressed bytes of the profiles of a request. A profile may have 4 MiB, but the limit of the
/// rate lets no more than 2 MiB through at a time.
const MAX_BYTES: usize = 2 << 20;

/// A server of Pyroscope.
#[derive(Debug)]
pub struct Pyroscope {
    name: String,
    options: SinkOptions,
    client: Client,
    progress: Progress,
}

impl Pyroscope {
    /// Connects when the first window is sent.
    pub(super) fn new(name: String, address: &Address, options: SinkOptions) -> Self {
        Self {
            name,
            client: Client::new(address, PATH, &options),
            options,
            progress: Progress::default(),
        }
    }

    fn push(&self, request: &message::PushRequest) -> Result<(), SendError> {
        let reply = self.client.post(&Post {
            content_type: "application/proto",
            headers: &[("connect-protocol-version", "1")],
            body: &request.encode_to_vec(),
        })?;
        match reply.status {
            200 => Ok(()),
            _ => Err(failure(&reply)),
        }
    }
}

impl Sink for Pyroscope {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, window: &Profile) -> Result<(), SendError> {
        let parts = message::requests(window, &self.options.extra);
        self.progress
            .send(window, &parts, |request| self.push(request))
    }
}

/// Too many requests, no time and a fault of the server (but for a method that it does not have) pass.
fn failure(reply: &Reply) -> SendError {
    match reply.status {
        408 | 429 | 500 | 502.. => SendError::Later {
            reason: reply.to_string(),
            after: reply.retry_after,
        },
        _ => SendError::refused(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client did wrong is refused for good; what passes is tried again.
    #[test]
    fn statuses_tell_whether_to_try_again() {
        let reply = |status| Reply {
            status,
            retry_after: None,
            body: Vec::new(),
        };
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(
                matches!(failure(&reply(status)), SendError::Later { .. }),
                "{status}"
            );
        }
        for status in [204, 302, 400, 401, 403, 404, 413, 415, 501] {
            assert!(
                matches!(failure(&reply(status)), SendError::Refused { .. }),
                "{status}"
            );
        }
    }
}
