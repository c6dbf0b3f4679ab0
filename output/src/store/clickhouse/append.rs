//! Writing a window: once to one server.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::client::{Client, Failure};
use super::row_binary::Rows;
use super::schema::{self, SAMPLES, STACKS, WINDOWS};
use super::window::{Id, SAMPLE_COLUMNS, STACK_COLUMNS, WINDOW_COLUMNS, Window};
use crate::profile::Profile;
use crate::store::StoreError;

/// How many stacks are remembered as sent: 16 MiB of them. With more, all are sent again.
const MAX_SENT: usize = 1 << 20;
/// For how long the windows of a machine go to the same server.
const TURN_NS: i64 = 3_600_000_000_000;

/// Stacks that a server has for one day.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The day, and how often tables had been made by then.
    of: (u16, u64),
    stacks: HashSet<Id>,
}

/// Writes a window to the first server that takes it.
///
/// Servers take turns, so that a cluster shares the work however few machines write to it.
///
/// # Errors
/// When none took it.
pub(super) fn append(
    client: &Client,
    sent: &Mutex<Sent>,
    profile: &Profile,
) -> Result<(), StoreError> {
    let window = Window::new(profile)?;
    let hosts = &client.address.hosts;
    let first = turn(&profile.meta().host, window.begin_ns) % hosts.len();
    let mut refused = None;
    for host in hosts.iter().cycle().skip(first).take(hosts.len()) {
        match append_at(client, host, sent, &window) {
            Ok(()) => return Ok(()),
            Err(failure) => refused = Some(failure.at(host, "write to")),
        }
    }
    Err(refused.expect("an address has a host"))
}

/// Whose turn it is: another's each hour, and for each machine in another hour.
fn turn(host: &str, at_ns: i64) -> usize {
    let of_host = host
        .bytes()
        .fold(0_usize, |sum, byte| sum.wrapping_add(byte.into()));
    let of_time = usize::try_from(at_ns / TURN_NS).unwrap_or(0);
    of_host.wrapping_add(of_time)
}

/// The row of the window comes last: without it nothing of the others counts.
fn append_at(
    client: &Client,
    host: &str,
    sent: &Mutex<Sent>,
    window: &Window,
) -> Result<(), Failure> {
    let copy = random();
    send_stacks(client, host, sent, window)?;
    let samples = window.sample_rows(copy);
    insert(client, host, SAMPLES, SAMPLE_COLUMNS, &samples)?;
    // Once more, for the case that only the samples found that there were no tables.
    send_stacks(client, host, sent, window)?;
    insert(
        client,
        host,
        WINDOWS,
        WINDOW_COLUMNS,
        &window.window_row(copy),
    )
}

/// Sends the stacks that were not sent yet.
fn send_stacks(
    client: &Client,
    host: &str,
    sent: &Mutex<Sent>,
    window: &Window,
) -> Result<(), Failure> {
    let (mut rows, mut new) = (Rows::default(), Vec::new());
    let since = (window.day, client.made());
    {
        let sent = locked(sent, since);
        for (id, row) in window.stacks().filter(|(id, _)| !sent.stacks.contains(*id)) {
            rows.u16(window.day);
            rows.append(row);
            new.push(*id);
        }
    }
    insert(client, host, STACKS, STACK_COLUMNS, &rows)?;
    // Where the tables were made by this, they have these stacks and no others.
    locked(sent, (window.day, client.made())).stacks.extend(new);
    Ok(())
}

/// Sends all stacks again.
pub(super) fn forget(sent: &Mutex<Sent>) {
    *sent.lock().unwrap_or_else(PoisonError::into_inner) = Sent::default();
}

/// What was sent for a day and since tables were made.
fn locked(sent: &Mutex<Sent>, of: (u16, u64)) -> MutexGuard<'_, Sent> {
    let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    if sent.of != of || sent.stacks.len() > MAX_SENT {
        *sent = Sent {
            of,
            stacks: HashSet::new(),
        };
    }
    sent
}

fn insert(
    client: &Client,
    host: &str,
    table: &str,
    columns: &str,
    rows: &Rows,
) -> Result<(), Failure> {
    if rows.bytes().is_empty() {
        return Ok(());
    }
    let table = schema::local(&client.address, table);
    client.insert(host, &format!("{table} {columns}"), rows)
}

/// A number that no other copy has: the standard library seeds its hash tables by chance.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
