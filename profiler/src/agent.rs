//! `timesink agent`: the whole machine, all the time, in windows that go to a store.
//!
//! Three threads: one records and cuts windows, one finds names and keeps windows, one serves the page.
//! None of them waits for another: what one cannot take is lost, and counted.

pub mod budget;
pub mod health;
mod keeper;
pub mod memory;
mod recorder;
pub mod settings;
mod usage;

use std::{ffi::OsString, sync::Arc, thread, time::Duration};

use anyhow::{Context, Result};
use output::{Destination, Exporter, ExporterOptions, Retention, SinkOptions, Store, web};
use tokio::sync::{mpsc::unbounded_channel, oneshot};

use crate::{
    cli::AgentArgs,
    doctor,
    limits::{Descriptors, return_freed_memory, share_memory},
    query::open,
    report::{Asked, Signals, tell},
    serve::{answer, listen},
};
use health::Health;
use keeper::{Keeper, Places};

/// How long the end waits for servers.
const LAST_SENDS: Duration = Duration::from_secs(5);

/// Records until a signal asks for the end. `words` are those of the command line behind `agent`.
///
/// # Errors
/// Where the settings make no sense, the store or the port cannot be used, or the kernel refuses what it
/// takes.
pub fn run(words: &[OsString]) -> Result<()> {
    let mut args = settings::of(words)?;
    doctor::require_privileges()?;
    return_freed_memory();
    share_memory();
    let _limit = Descriptors::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut before = None;
        loop {
            match (once(&args, &mut signals).await, before.take()) {
                (Ok(Asked::Stop), _) => return Ok(()),
                (Ok(Asked::Reload), _) => match settings::of(words) {
                    Ok(read) => before = Some(std::mem::replace(&mut args, read)),
                    Err(error) => refused(&error),
                },
                (Err(error), Some(last)) => {
                    refused(&error);
                    args = last;
                }
                (Err(error), None) => return Err(error),
            }
        }
    })
}

/// Settings that were read again are not used.
fn refused(error: &anyhow::Error) {
    tell(format_args!(
        "timesink: warning: {error:#}; the settings stay as they were\n"
    ));
}

/// Records with the same settings, until a signal asks for something else.
async fn once(args: &AgentArgs, signals: &mut Signals) -> Result<Asked> {
    let (close, mut closes) = unbounded_channel();
    let store: Arc<dyn Store> = Arc::from(open(&args.store)?);
    let exporter = exporter(args)?.map(Arc::new);
    let health = Arc::new(Health::new(args.window, close, exporter.clone()));
    let page = match args.no_listen {
        true => None,
        false => Some(Page::serve(args, &store, &health)?),
    };
    let store = (!is_server(&args.store)).then_some(store);
    if let Some(store) = &store {
        // What keeps the store from being written is told now, not with the first window.
        store
            .tidy(keeper::now_ns(), retention(args))
            .with_context(|| format!("failed to use the store `{}`", args.store))?;
    }
    let places = Places {
        store,
        exporter: exporter.clone(),
        retention: retention(args),
    };
    let mut keeper = Keeper::start(places, Arc::clone(&health))?;
    let asked = recorder::record(args, signals, &mut closes, &mut keeper, &health).await;
    keeper.end();
    if let Some(page) = page {
        page.end();
    }
    drop(health);
    if let Some(exporter) = exporter.and_then(Arc::into_inner) {
        exporter.flush(LAST_SENDS);
    }
    asked
}

fn is_server(store: &str) -> bool {
    store.contains("://")
}

fn retention(args: &AgentArgs) -> Retention {
    Retention {
        age_ns: i64::try_from(args.keep.as_nanos()).unwrap_or(i64::MAX),
        bytes: u64::try_from(args.keep_bytes).unwrap_or(u64::MAX),
    }
}

/// Who sends windows away, where they are to be sent: a store that is a server gets its windows that way
/// too, so that they wait on disk while it is away.
fn exporter(args: &AgentArgs) -> Result<Option<Exporter>> {
    let mut options = SinkOptions::default();
    for label in &args.labels {
        options.extra.add(label)?;
    }
    let store = is_server(&args.store).then_some(&args.store);
    let sinks = store.into_iter().chain(&args.exports).map(|url| {
        let destination: Destination = url.parse()?;
        Ok(destination.sink(&options)?)
    });
    let sinks = sinks.collect::<Result<Vec<_>>>()?;
    if sinks.is_empty() {
        return Ok(None);
    }
    let options = ExporterOptions {
        bound_bytes: u64::try_from(args.spool_bytes)?,
        ..ExporterOptions::new(args.spool.clone())
    };
    Ok(Some(Exporter::start(sinks, &options)?))
}

/// The page, on a thread of its own: whoever reads it does not hold up what is recorded.
struct Page {
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Page {
    fn serve(args: &AgentArgs, store: &Arc<dyn Store>, health: &Arc<Health>) -> Result<Self> {
        let listener = listen(args.listen)?;
        let live = Arc::clone(health) as Arc<dyn web::Live>;
        let router = web::router(Arc::clone(store), Some(live), &args.hosts);
        let (end, ended) = oneshot::channel::<()>();
        let serve = move || {
            let end = || {
                Ok(async {
                    // It ends by a word or with its sender.
                    let _ = ended.await;
                })
            };
            if let Err(error) = answer(listener, router, end) {
                tell(format_args!("timesink: warning: {error:#}\n"));
            }
        };
        let thread = thread::Builder::new().name("timesink-page".to_owned());
        let thread = thread.spawn(serve).context("failed to start a thread")?;
        Ok(Self { end, thread })
    }

    fn end(self) {
        drop(self.end);
        // A thread that panicked has told so.
        let _ = self.thread.join();
    }
}
