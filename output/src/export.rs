//! Sends closed windows to where people already keep profiles: OTLP, Pyroscope and ClickHouse.
//!
//! A [`Destination`] is what a user types and becomes a [`Sink`], which sends one window and says whether it
//! may be tried again. The [`Exporter`] owns a directory and a thread for each sink: every window is on disk
//! before it is sent and until it has been taken, so that neither a server that is away nor the end of this
//! process loses it. What does not fit the bound is dropped, oldest first, and counted.
//!
//! A window is sent at least once: it is sent again when the answer to the first time was lost. Of many
//! requests for one window those that were answered are not repeated, but by another process.

mod counters;
mod destination;
mod exporter;
mod http;
mod otlp;
mod parts;
mod pyroscope;
mod sender;
mod service;
mod spool;
mod store;

use std::fmt;
use std::time::Duration;

use crate::profile::Profile;

pub use counters::{Cause, Counters};
pub use destination::{Destination, DestinationError, Extra, SinkOptions, without_secret};
pub use exporter::{ExportError, Exporter, ExporterOptions};
pub use otlp::{OtlpGrpc, OtlpHttp};
pub use pyroscope::Pyroscope;
pub use store::{OpenStore, StoreSink};

/// Why a window was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody answered, or the answer was to come again.
    #[error("{reason}")]
    Later {
        /// What happened.
        reason: String,
        /// When the server wants to be asked again, if it said.
        after: Option<Duration>,
    },
    /// The server, or the format, will never take this window or a part of it; the rest was taken.
    #[error("{reason}")]
    Refused {
        /// What was said.
        reason: String,
    },
}

impl SendError {
    fn later(reason: impl fmt::Display) -> Self {
        Self::Later {
            reason: reason.to_string(),
            after: None,
        }
    }

    fn refused(reason: impl fmt::Display) -> Self {
        Self::Refused {
            reason: reason.to_string(),
        }
    }
}

/// Where windows are sent.
pub trait Sink: fmt::Debug + Send + Sync {
    /// The address, without what is secret: it names the sink in counters, and its part of the spool.
    fn name(&self) -> &str;

    /// Sends a window and waits for the answer, within the sink's limits on time. Not for a thread that runs
    /// asynchronous tasks.
    ///
    /// # Errors
    /// When the window was not taken, or not all of it.
    fn send(&self, window: &Profile) -> Result<(), SendError>;
}
