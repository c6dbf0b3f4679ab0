//! The web page of a store, and its HTTP interface: docs/http.md.
//!
//! Only reads. It answers those who ask for it by a name of its own ([`router`]), with pages that load
//! nothing from elsewhere. It neither records, which is an agent's work behind [`Live`], nor keeps anything.

mod api;
mod ask;
mod debug;
mod functions;
mod guard;
mod live;
mod metrics;
mod page;
mod refusal;
mod site;
mod tree;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::store::Store;
use guard::{Names, guard};
use refusal::Refusal;
use site::Site;

pub use axum::Router;
pub use live::{Live, Metric, MetricKind};

/// How long requests that are being answered may hold up the end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// All that is answered about a store, and about the agent that fills it where there is one.
///
/// It is asked for as `localhost`, `127.0.0.1` or `[::1]`, or by one of `names`, with any port. Whoever asks
/// by another name is refused, since a web page of others could otherwise read the answers.
pub fn router(store: Arc<dyn Store>, live: Option<Arc<dyn Live>>, names: &[String]) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{*path}", get(page::file))
        .route("/api/store", get(api::store))
        .route("/api/types", get(api::types))
        .route("/api/values", get(api::values))
        .route("/api/timeline", get(api::timeline))
        .route("/api/profile", get(api::profile))
        .route("/api/download", get(api::download))
        .route("/metrics", get(debug::metrics))
        .route("/healthz", get(debug::healthz))
        .route("/debug/pprof/", get(debug::index))
        .route("/debug/pprof/profile", get(debug::profile))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is no such page"))
        .with_state(Site::new(store, live))
        .layer(from_fn_with_state(Names::new(names), guard))
}

/// Answers requests until `shutdown` is ready; those that are being answered then have five seconds more.
///
/// # Errors
/// When no connection can be accepted any more.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (said, mut ending) = watch::channel(());
    let shutdown = async move {
        shutdown.await;
        // Nobody listens where the server has failed.
        let _ = said.send(());
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown);
    tokio::select! {
        served = served => served,
        () = async {
            // It fails when the server has ended, of which the other branch tells.
            let _ = ending.changed().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        } => Ok(()),
    }
}
