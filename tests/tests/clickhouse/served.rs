//! `timesink serve` of a cluster: the page of the fleet, with the answers of the store of one machine.

use std::{net::SocketAddr, process::Command, thread::sleep, time::Duration};

use tests::{Browser, Running, binary, request};

use crate::{
    append_all,
    servers::Cluster,
    store,
    suite::windows::{MINUTE_NS, START_NS, all},
};

const NS_PER_MS: i64 = 1_000_000;
/// How often the page is asked whether it is there, and after how long each time.
const TRIES: u32 = 1200;
const WAIT: Duration = Duration::from_millis(50);

/// A page of a store, served by the program.
fn serve(url: &str) -> (Running, SocketAddr) {
    let mut command = Command::new(binary());
    command.args(["serve", "--store", url, "--listen", "127.0.0.1:0"]);
    let mut running = Running::spawn(command);
    let said = running.wait_for("the page is at http://");
    let address = said.rsplit_once("http://").unwrap().1.trim_end_matches('/');
    let address = address.parse().unwrap();
    (running, address)
}

/// What the page asks of a cluster has the answers of a folder with the same windows, and a browser shows
/// both machines.
#[test]
fn the_page_shows_the_fleet() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let (fleet, folder) = (cluster.url("x"), folder.path().to_str().unwrap());
    for url in [&*fleet, folder] {
        append_all(&*store(url), &all());
    }
    let (of_fleet, fleet) = serve(&fleet);
    let (of_folder, folder) = serve(folder);
    let from = START_NS / NS_PER_MS;
    let to = (START_NS + 90 * MINUTE_NS) / NS_PER_MS;
    for path in [
        "types?",
        "values?label=host&",
        "values?label=process&host=two&",
        "timeline?type=cpu&by=host&step=60000&",
        "timeline?type=cpu&by=process&step=600000&host=one&",
        "download?format=folded&type=cpu&process=nginx&",
        "download?format=folded&type=samples&",
    ] {
        let path = format!("/api/{path}from={from}&to={to}");
        let ask = |address| {
            let answer = request(address, "GET", &path, &["Host: localhost"]);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            answer.text().to_owned()
        };
        assert_eq!(ask(fleet), ask(folder), "{path}");
    }
    let browser = Browser::start();
    browser.resize(1400, 1000);
    browser.visit(&format!("http://{fleet}/#view={from}-{to}&by=host"));
    let is_shown = || browser.run("return document.documentElement.dataset.state") == "shown";
    let shown = (0..TRIES).any(|_| {
        sleep(WAIT);
        is_shown()
    });
    let text = browser.run("return document.body.innerText");
    let text = text.as_str().unwrap();
    assert!(shown, "{text}");
    for host in ["one", "two"] {
        assert!(
            text.lines().any(|line| line.trim() == host),
            "{host}: {text}"
        );
    }
    assert!(browser.errors().is_empty(), "{:?}", browser.errors());
    browser.picture("fleet.png");
    for running in [of_fleet, of_folder] {
        running.signal(libc::SIGTERM);
        assert!(running.finish().status.success());
    }
}
