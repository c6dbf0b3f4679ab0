//! A store, such as ClickHouse, as a sink.

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Mutex;

use super::counters::lock;
use super::{SendError, Sink};
use crate::profile::Profile;
use crate::store::{Store, StoreError};

/// Opens the store at an address.
pub type OpenStore = fn(&str) -> Result<Box<dyn Store>, StoreError>;

/// A store that is opened when the first window is sent, and again as long as it cannot be.
///
/// A store knows a window that it has already, so that sending it twice is no harm there. Labels for
/// everything that is sent have no place in a store.
pub struct StoreSink {
    name: String,
    url: String,
    open: OpenStore,
    store: Mutex<Option<Box<dyn Store>>>,
}

impl StoreSink {
    /// A sink called `name` for the store that `open` finds at `url`.
    pub fn new(name: String, url: String, open: OpenStore) -> Self {
        Self {
            name,
            url,
            open,
            store: Mutex::new(None),
        }
    }
}

impl Sink for StoreSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, window: &Profile) -> Result<(), SendError> {
        let mut opened = lock(&self.store);
        let store = match opened.take() {
            Some(store) => store,
            None => (self.open)(&self.url).map_err(failure)?,
        };
        opened.insert(store).append(window).map_err(failure)
    }
}

/// The name.
impl fmt::Debug for StoreSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreSink").field(&self.name).finish()
    }
}

/// What an engine says may pass; what a store refuses does not.
fn failure(error: StoreError) -> SendError {
    match error {
        StoreError::Refused(_) => SendError::refused(error),
        _ => SendError::later(with_sources(&error)),
    }
}

/// An error and why, on one line.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").expect("a string takes what is written to it");
        source = error.source();
    }
    text
}
