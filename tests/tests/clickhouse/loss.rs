//! A server that is away for some seconds, and writers that do not give up.

use std::{thread, time::Duration};

use output::{Profile, StoreError};

use crate::servers::Cluster;
use crate::suite::windows::{Random, SECOND_NS, START_NS, window};
use crate::{assert_has, everything, store};

/// Machines that write, and how many windows each writes.
const HOSTS: [&str; 3] = ["one", "two", "three"];
const WINDOWS: i64 = 60;
/// After how long the next window follows, and a refused one is tried again.
const BETWEEN: Duration = Duration::from_millis(100);
/// How long a server is away.
const AWAY: Duration = Duration::from_secs(3);

/// Some windows a minute, so that servers take their turns.
fn windows_of(host: &str) -> Vec<Profile> {
    let mut random = Random(host.len() as u64);
    let starts = (0..WINDOWS).map(|number| START_NS + number * 130 * SECOND_NS);
    starts
        .map(|start| window(&mut random, host, start, false))
        .collect()
}

/// Appends each window until it is kept, as a spool does.
fn write(url: &str, host: &str) {
    let store = store(url);
    for window in windows_of(host) {
        while store.append(&window).is_err() {
            thread::sleep(BETWEEN);
        }
        thread::sleep(BETWEEN);
    }
}

/// Three machines write on while one server and then the other is away, each killed in the middle of it.
/// Meanwhile every question is refused with the reason; afterwards all numbers are right.
#[test]
fn nothing_is_lost_or_doubled() {
    let mut cluster = Cluster::start();
    let url = cluster.url("x");
    assert!(store(&url).query(&everything()).unwrap().is_none());
    thread::scope(|scope| {
        for host in HOSTS {
            let url = &url;
            scope.spawn(move || write(url, host));
        }
        for server in 0..2 {
            thread::sleep(AWAY / 2);
            cluster.servers[server].kill();
            let error = store(&url).query(&everything()).unwrap_err();
            assert!(error.to_string().contains("is away"), "{error}");
            thread::sleep(AWAY);
            cluster.servers[server].start();
        }
    });
    let windows: Vec<Profile> = HOSTS.into_iter().flat_map(windows_of).collect();
    assert_has(&*store(&url), &windows);
}

/// Without any server, appending and asking say where none answers.
#[test]
fn without_servers_errors_say_so() {
    let mut cluster = Cluster::start();
    let store = store(&cluster.url("x"));
    cluster.servers.iter_mut().for_each(|server| server.kill());
    let window = window(&mut Random(1), "one", START_NS, false);
    let appended = store.append(&window).unwrap_err();
    let asked = store.query(&everything()).unwrap_err();
    for error in [appended, asked] {
        assert!(matches!(error, StoreError::Engine { .. }), "{error}");
        assert!(error.to_string().contains("at `127.0.0.1:"), "{error}");
    }
}
