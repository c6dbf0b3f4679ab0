//! What all answers are made from, and how many may be made at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::store::Store;

use super::live::Live;
use super::refusal::Refusal;

/// How many questions the store is asked at a time. A profile of a machine's day can take hundreds of
/// megabytes while it is added up.
const AT_A_TIME: usize = 4;

/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many requests may wait for the end of a profile at a time.
const WAITING: usize = 16;

/// The store, and the agent where there is one.
#[derive(Clone, Debug)]
pub(super) struct Site {
    store: Arc<dyn Store>,
    live: Option<Arc<dyn Live>>,
    turns: Arc<Semaphore>,
    pub(super) waiting: Arc<Semaphore>,
}

impl Site {
    pub(super) fn new(store: Arc<dyn Store>, live: Option<Arc<dyn Live>>) -> Self {
        Self {
            store,
            live,
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// The store, for what is quick.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The agent that fills the store.
    pub(super) fn live(&self) -> Option<Arc<dyn Live>> {
        self.live.clone()
    }

    /// Asks the store, and makes the answer, on a thread that may wait. A question whose asker has gone
    /// keeps its turn until it is answered.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Store) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turns = Arc::clone(&self.turns).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, turns).await else {
            return Err(Refusal::unavailable("the store is busy; ask again later"));
        };
        let store = Arc::clone(&self.store);
        waiting(move || {
            let _turn = turn;
            question(&*store)
        })
        .await
    }
}

/// Runs what may wait where it holds up nothing else.
pub(super) async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refusal::failed(&error)))
}
