//! `timesink serve`: the page of a store that others fill. Records nothing.

use std::sync::Arc;

use anyhow::{Context, Result};
use output::web;
use tokio::net::TcpListener;

use crate::{
    cli::ServeArgs,
    report::{Signals, tell},
};

/// Answers until a signal asks for the end.
///
/// # Errors
/// When the store cannot be opened, or nothing can listen there.
pub fn run(args: &ServeArgs) -> Result<()> {
    let store = output::open(&args.store)
        .with_context(|| format!("failed to open the store `{}`", args.store))?;
    let router = web::router(Arc::from(store), None, &args.hosts);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let listener = listen(args).await?;
        web::serve(listener, router, async move { signals.next().await })
            .await
            .context("failed to serve the page")
    });
    // A question that the store is still busy with must not hold up the end.
    runtime.shutdown_background();
    served
}

/// Listens, and tells where.
async fn listen(args: &ServeArgs) -> Result<TcpListener> {
    let address = args.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on `{address}`"))?;
    let address = listener.local_addr()?;
    tell(format_args!("timesink: the page is at http://{address}/\n"));
    if !address.ip().is_loopback() {
        tell(format_args!(
            "timesink: all who can connect to {address} can read the profiles; nothing asks for a password\n"
        ));
    }
    Ok(listener)
}
