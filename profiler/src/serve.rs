//! The page of a store: `timesink serve` shows one that others fill, and an agent its own. Records nothing.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::{Context, Result};
use output::web::{self, Router};

use crate::{
    cli::ServeArgs,
    query::open,
    report::{Signals, tell},
};

/// Answers until a signal asks for the end.
///
/// # Errors
/// When the store cannot be opened, or nothing can listen there.
pub fn run(args: &ServeArgs) -> Result<()> {
    let store = open(&args.store)?;
    let router = web::router(Arc::from(store), None, &args.hosts);
    answer(listen(args.listen)?, router, || {
        let mut signals = Signals::listen()?;
        Ok(async move {
            signals.next().await;
        })
    })
}

/// Listens, and tells where.
///
/// # Errors
/// When nothing can listen there.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    let listener = listener.with_context(|| {
        format!("failed to listen on `{address}`; `--listen` takes another address")
    })?;
    let address = listener.local_addr()?;
    tell(format_args!("timesink: the page is at http://{address}/\n"));
    if !address.ip().is_loopback() {
        tell(format_args!(
            "timesink: all who can connect to {address} can read the profiles; nothing asks for a password\n"
        ));
    }
    Ok(listener)
}

/// Answers until what `end` gives is ready.
///
/// # Errors
/// When nothing can be answered any more.
pub(crate) fn answer<End>(
    listener: TcpListener,
    router: Router,
    end: impl FnOnce() -> Result<End>,
) -> Result<()>
where
    End: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let end = end()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let served = web::serve(listener, router, end).await;
        served.context("failed to serve the page")
    });
    // A question that the store is still busy with must not hold up the end.
    runtime.shutdown_background();
    served
}
