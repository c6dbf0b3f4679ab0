//! Three agents that record this machine into two shards, one of which and then both are away for a while.

use std::{env, thread::sleep, time::Duration};

use output::{Label, Matcher, Query, Range, Store, TimelineOf};
use tests::{Agent, alone, require_root};

use crate::{servers::Cluster, store, suite::expected};

/// The machines, which are this one by three names.
const HOSTS: [&str; 3] = ["one", "two", "three"];
/// How long one shard is away in seconds, without `CLICKHOUSE_AWAY_SECONDS`; both are for half of it.
const AWAY_SECONDS: u64 = 8;
/// How often it is asked whether all was sent.
const POLL: Duration = Duration::from_millis(200);

fn away() -> Duration {
    let seconds = env::var("CLICKHOUSE_AWAY_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(AWAY_SECONDS))
}

/// What every agent kept for itself is what the cluster has of it: nothing is lost and nothing counts
/// twice, in windows that were closed before, while and after servers were killed.
#[test]
fn the_cluster_has_all_windows_of_agents() {
    if !require_root() {
        return;
    }
    let _alone = alone();
    let mut cluster = Cluster::start();
    let url = cluster.url("x");
    let agents = HOSTS.map(|host| Agent::start_as(host, &["--off-cpu", "--export", &url]));
    agents.iter().for_each(|agent| agent.wait_for_windows(2.0));
    cluster.servers[0].kill();
    sleep(away());
    cluster.servers[1].kill();
    sleep(away() / 2);
    assert!(agents.iter().all(|agent| unsent(agent) > 0.0));
    cluster.servers.iter_mut().for_each(|server| server.start());
    for agent in &agents {
        while unsent(agent) > 0.0 {
            sleep(POLL);
        }
    }
    let cluster = store(&url);
    let ended = agents.map(Agent::end);
    let mut windows = 0;
    for (host, (run, folder)) in HOSTS.iter().zip(&ended) {
        assert!(run.status.success(), "{}", run.stderr);
        let own = store(folder.path().to_str().unwrap());
        windows += own.kept().unwrap().windows;
        assert_agree(&*own, &*cluster, host);
    }
    assert_eq!(cluster.kept().unwrap().windows, windows);
}

/// Bytes of windows that wait for the cluster.
fn unsent(agent: &Agent) -> f64 {
    agent.metric("timesink_export_spool_bytes")
}

/// Whether two stores answer the same questions about a machine in the same way.
fn assert_agree(own: &dyn Store, cluster: &dyn Store, host: &str) {
    let kept = own.kept().unwrap();
    let query = Query {
        range: Range {
            from_ns: kept.oldest_ns.unwrap(),
            to_ns: kept.newest_ns.unwrap(),
        },
        matchers: vec![Matcher {
            label: Label::Host,
            value: host.to_owned(),
        }],
    };
    let [here, there] = [own, cluster].map(|store| store.query(&query).unwrap().unwrap());
    let samples = expected::samples_of(&here);
    assert!(!samples.is_empty());
    assert!(samples == expected::samples_of(&there), "{host}");
    assert_eq!(expected::rows_of([&here]), expected::rows_of([&there]));
    for sample_type in ["cpu", "wall"] {
        let of = TimelineOf {
            sample_type,
            by: Some(Label::Process),
            step_ns: Agent::WINDOW_NS / 4,
        };
        let [here, there] = [own, cluster].map(|store| store.timeline(&query, &of).unwrap());
        assert_eq!(here, there, "{host}");
    }
    let [here, there] = [own, cluster].map(|store| store.values(&query, Label::Pid).unwrap());
    assert_eq!(here, there, "{host}");
}
