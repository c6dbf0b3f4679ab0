//! The page's HTTP: who is answered, with what, and what is refused.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{io::Write, path::Path, thread};

use serde_json::{Value, json};
use tests::{Folded, Pprof, Running, Served, Window, request};

/// When the first window begins, in milliseconds from the Unix epoch.
const BEGIN: i64 = 1_764_100_000_000;

/// Two windows of 10 s one after the other, and one more after a gap of as long.
fn served() -> Served {
    let mut first = Window::new(BEGIN, 10);
    first.add(("app", 10), 0, &["main", "hot"], 50, 0);
    first.add(("app", 10), 15, &["main", "hot", "k_read"], 30, 20);
    first.add(("other", 11), 99, &["main"], 20, 0);
    let mut second = Window::new(BEGIN + 10_000, 10);
    second.add(("app", 10), 3, &["main", "hot"], 100, 0);
    second.add(("app", 10), 3, &["[lost: ring full]"], 10, 0);
    let mut third = Window::new(BEGIN + 30_000, 10);
    third.add(("app", 10), 0, &["main", "cold"], 70, 0);
    Served::start([first, second, third].map(Window::profile))
}

/// `/api/…` for a part of time, in milliseconds from the first window's beginning.
fn path(address: &str, from: i64, to: i64, more: &str) -> String {
    format!(
        "/api/{address}?from={}&to={}{more}",
        BEGIN + from,
        BEGIN + to
    )
}

fn answer(served: &Served, path: &str) -> Value {
    let answer = served.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Only names of the machine itself, and those that it was told, are answered: others, which a page could
/// make resolve to this address, are not.
#[test]
fn other_names_are_refused() {
    let served = served();
    let port = served.address().port();
    for path in [
        "/",
        "/page/main.js",
        "/api/store",
        "/metrics",
        "/healthz",
        "/nowhere",
    ] {
        let status = |host: &str| {
            let host = format!("Host: {host}");
            request(served.address(), "GET", path, &[&host]).status
        };
        let expected = if path == "/nowhere" { 404 } else { 200 };
        for host in ["localhost", "127.0.0.1:1", "[::1]:4041", "Profiles.Example"] {
            assert_eq!(status(host), expected, "{host}{path}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", ""] {
            assert_eq!(status(&format!("{host}:{port}")), 403, "{host}{path}");
        }
    }
    let both = ["Host: localhost", "Host: evil.example"];
    assert_eq!(request(served.address(), "GET", "/", &both).status, 403);
}

/// Another site cannot make a browser ask, but a link may lead to the page; nothing is written.
#[test]
fn only_the_page_itself_asks() {
    let served = served();
    let ask = |method: &str, path: &str, header: &str| {
        request(served.address(), method, path, &["Host: localhost", header]).status
    };
    for site in ["cross-site", "same-site"] {
        let header = format!("Sec-Fetch-Site: {site}");
        assert_eq!(ask("GET", "/", &header), 200, "{site}");
        for path in ["/api/store", "/metrics", "/debug/pprof/profile?seconds=1"] {
            assert_eq!(ask("GET", path, &header), 403, "{site}{path}");
        }
    }
    assert_eq!(ask("GET", "/api/store", "Sec-Fetch-Site: same-origin"), 200);
    assert_eq!(ask("HEAD", "/api/store", "Accept: */*"), 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        assert_eq!(
            ask(method, "/api/store", "Origin: http://evil.example"),
            405,
            "{method}"
        );
    }
}

/// Every answer forbids a browser all but the page's own files, and none allows another site to read it.
#[test]
fn every_answer_has_the_policy() {
    let served = served();
    let download = path("download", 0, 10_000, "&format=svg");
    for path in [
        "/",
        "/page/main.js",
        "/api/store",
        "/api/types",
        &download,
        "/nowhere",
    ] {
        let answer = served.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{policy}"
        );
        for word in ["unsafe", "*", "http"] {
            assert!(!policy.contains(word), "{policy}");
        }
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

/// What makes no sense is answered with a status and a sentence, and so is what is too much.
#[test]
fn nonsense_is_answered_in_words() {
    let served = served();
    let cases = [
        ("/api/types".to_owned(), 400, "`from` and `to`"),
        ("/api/types?from=1&to=1".to_owned(), 400, "not after"),
        ("/api/types?from=-1&to=1".to_owned(), 400, "whole number"),
        ("/api/types?from=1&to=1e9".to_owned(), 400, "whole number"),
        ("/api/types?from=1&to=2&to=3".to_owned(), 400, "given twice"),
        (
            "/api/types?from=1&to=99999999999999999999".to_owned(),
            400,
            "whole number",
        ),
        ("/api/store?x=1".to_owned(), 400, "`x`"),
        (path("types", 0, 1, "&proces=app"), 400, "`proces`"),
        (path("values", 0, 1, ""), 400, "`label`"),
        (path("values", 0, 1, "&label=shoe"), 400, "process"),
        (path("timeline", 0, 10_000, ""), 400, "`step`"),
        (path("timeline", 0, 10_000, "&step=0"), 400, "`step`"),
        (path("timeline", 0, 10_000, "&step=1"), 400, "6000 steps"),
        (
            path("timeline", 0, 10_000, "&step=1000&top=1000"),
            400,
            "`top`",
        ),
        (
            path("timeline", 0, 10_000, "&step=1000&by=shoe"),
            400,
            "process",
        ),
        (
            path("timeline", 0, 10_000, "&step=1000&type=shoe"),
            400,
            "off_cpu",
        ),
        (path("profile", 0, 10_000, "&type=shoe"), 400, "off_cpu"),
        (path("profile", 0, 10_000, "&base_from=1"), 400, "`base_to`"),
        (path("profile", 20_000, 30_000, ""), 404, "no window"),
        (
            path("profile", 0, 10_000, "&base_from=1&base_to=2"),
            404,
            "no window",
        ),
        (path("download", 0, 10_000, ""), 400, "folded"),
        (path("download", 0, 10_000, "&format=exe"), 400, "folded"),
        (
            format!("/api/store?{}=1", "x".repeat(2000)),
            400,
            "too long",
        ),
        ("/debug/pprof/profile?seconds=0".to_owned(), 400, "3600"),
        ("/debug/pprof/profile?seconds=3601".to_owned(), 400, "3600"),
        ("/debug/pprof/profile?seconds=1".to_owned(), 404, "no agent"),
        ("/page/../Cargo.toml".to_owned(), 404, "no such"),
        ("/page/%2e%2e%2fCargo.toml".to_owned(), 404, "no such"),
    ];
    for (path, status, words) in cases {
        let answer = served.get(&path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let body = answer.json();
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(words), "{path}: {error}");
    }
}

/// A timeline has the sums of each step, the rest of its rows in one, and says of what there are windows.
#[test]
fn a_timeline_adds_up() {
    let served = served();
    let found = answer(
        &served,
        &path("timeline", 0, 40_000, "&step=10000&by=process&top=1"),
    );
    assert_eq!(
        found["type"],
        json!({ "name": "cpu", "unit": "nanoseconds" })
    );
    let rows = json!([{ "value": "app", "sums": [80_000_000, 110_000_000, 0, 70_000_000] }]);
    assert_eq!(found["rows"], rows);
    assert_eq!(
        found["others"],
        json!({ "count": 1, "sums": [20_000_000, 0, 0, 0] })
    );
    assert_eq!(
        found["covered"],
        json!([[BEGIN, BEGIN + 20_000], [BEGIN + 30_000, BEGIN + 40_000]])
    );

    let found = answer(
        &served,
        &path("timeline", 1500, 1700, "&step=100&process=app&type=off_cpu"),
    );
    assert_eq!(found["rows"][0]["sums"], json!([20_000_000, 0]));
}

/// The profile of a range has its samples and no others, in the tree and in the table, with the account of
/// what was lost; the flame graph has callers before what they call.
#[test]
fn a_profile_holds_its_range() {
    let served = served();
    let found = answer(&served, &path("profile", 0, 20_000, "&process=app"));
    assert_eq!(found["tree"]["total"], json!([190_000_000, 0]));
    let row = |name: &str| {
        let rows = found["functions"]["rows"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    assert_eq!(row("hot")["own"], json!([150_000_000, 0]));
    assert_eq!(row("hot")["total"], json!([180_000_000, 0]));
    assert_eq!(row("k_read")["kind"], "kernel");
    assert_eq!(row("[lost: ring full]")["kind"], "synthetic");
    let ledger = &found["sides"][0]["ledger"];
    assert_eq!(ledger["lost"], 20);
    assert!(
        ledger["summary"]
            .as_str()
            .unwrap()
            .starts_with("2000 expected, 1980 got")
    );

    let slice = answer(&served, &path("profile", 1500, 1600, ""));
    assert_eq!(slice["tree"]["total"], json!([30_000_000, 0]));
    for (at, frame) in found["tree"]["frames"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        assert!(frame[0].as_i64().unwrap() < i64::try_from(at).unwrap());
    }
}

/// Two ranges share one tree and one table.
#[test]
fn two_ranges_are_compared() {
    let served = served();
    let base = format!("&base_from={}&base_to={}", BEGIN + 30_000, BEGIN + 40_000);
    let found = answer(&served, &path("profile", 10_000, 20_000, &base));
    assert_eq!(found["tree"]["total"], json!([110_000_000, 70_000_000]));
    let rows = found["functions"]["rows"].as_array().unwrap();
    let own = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap()["own"].clone();
    assert_eq!(own("hot"), json!([100_000_000, 0]));
    assert_eq!(own("cold"), json!([0, 70_000_000]));
    assert_eq!(found["sides"].as_array().unwrap().len(), 2);
}

/// Labels have the values that are there, within filters.
#[test]
fn labels_have_values() {
    let served = served();
    let values = |more: &str| answer(&served, &path("values", 0, 40_000, more))["values"].clone();
    assert_eq!(values("&label=process"), json!(["app", "other"]));
    assert_eq!(values("&label=pid&process=other"), json!(["11"]));
    assert_eq!(values("&label=host"), json!(["test-host"]));
}

/// A range comes as a file in each format, with the same sum, under a name that no type can break.
#[test]
fn a_range_is_a_file() {
    let served = served();
    let download = |more: &str| {
        let answer = served.get(&path("download", 0, 20_000, more));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    };
    let folded = download("&format=folded&type=cpu&process=app");
    assert_eq!(Folded::parse(folded.text()).total(), 190_000_000);
    let name = format!(
        "attachment; filename=\"timesink-cpu-{BEGIN}-{}.folded\"",
        BEGIN + 20_000
    );
    assert_eq!(folded.header("content-disposition"), Some(name.as_str()));

    let pprof = download("&format=pprof");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&pprof.body).unwrap();
    let read = Pprof::read(file.path());
    let sum: u64 = read.samples.iter().map(|sample| sample.value("cpu")).sum();
    assert_eq!(sum, 210_000_000);

    let svg = download("&format=svg&type=off_cpu");
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    assert!(svg.text().trim_end().ends_with("</svg>"));
}

/// Many questions at once are all answered.
#[test]
fn many_ask_at_once() {
    let served = served();
    let paths = [
        path("profile", 0, 40_000, ""),
        path("timeline", 0, 40_000, "&step=100"),
        "/metrics".to_owned(),
    ];
    thread::scope(|scope| {
        for at in 0..48 {
            let (served, path) = (&served, &paths[at % paths.len()]);
            scope.spawn(move || assert_eq!(served.get(path).status, 200, "{path}"));
        }
    });
}

/// `timesink serve` tells where it listens, answers, and ends when it is told to.
#[test]
fn the_command_serves_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    output::open(store)
        .unwrap()
        .append(&Window::new(BEGIN, 10).profile())
        .unwrap();
    let arguments = [
        "serve",
        "--store",
        store,
        "--listen",
        "127.0.0.1:0",
        "--host",
        "a.example",
    ];
    let mut running = Running::start(&arguments);
    let line = running.wait_for("the page is at http://");
    let address = line
        .trim_start_matches("timesink: the page is at http://")
        .trim_end_matches('/');
    let answer = request(
        address.parse().unwrap(),
        "GET",
        "/api/store",
        &["Host: a.example"],
    );
    assert_eq!(answer.json()["windows"], 1);
    running.signal(libc::SIGTERM);
    let run = running.finish();
    assert!(run.status.success(), "{}", run.stderr);
}

/// A store that cannot be opened, and an address that is taken, end the command with words.
#[test]
fn the_command_says_what_is_wrong() {
    let served = served();
    let taken = served.address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let run = tests::timesink(&["serve", "--store", store, "--listen", &taken]);
    assert_eq!(run.status.code(), Some(1));
    assert!(
        run.stderr
            .contains(&format!("failed to listen on `{taken}`")),
        "{}",
        run.stderr
    );
    let run = tests::timesink(&["serve", "--store", "shoe://x"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stderr.contains("`shoe://x`"), "{}", run.stderr);
}

/// The files of others in the page are those that were published, and the page has no script and no style
/// in its markup.
#[test]
fn the_page_is_made_of_its_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../output/page");
    let sums = std::fs::read_to_string(folder.join("vendor/README.md")).unwrap();
    let mut checked = 0;
    for row in sums.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('`').collect();
        let bytes = std::fs::read(folder.join("vendor").join(cells[1])).unwrap();
        assert_eq!(sha256(&bytes), cells[cells.len() - 2], "{}", cells[1]);
        checked += 1;
    }
    assert_eq!(checked, 3);
    let html = std::fs::read_to_string(folder.join("index.html")).unwrap();
    for inline in [
        "<style",
        "style=",
        " onclick",
        " onload",
        "javascript:",
        "<script>",
        "http:",
        "https:",
    ] {
        assert!(!html.contains(inline), "{inline}");
    }
}

/// Every file that is there is served, with the type by which a browser takes it.
#[test]
fn all_files_are_served() {
    let served = served();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../output/page");
    let files = ["", "vendor"].map(|part| std::fs::read_dir(folder.join(part)).unwrap());
    for file in files.into_iter().flatten().map(|file| file.unwrap().path()) {
        let name = file
            .strip_prefix(&folder)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let expected = match file.extension().and_then(|end| end.to_str()) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("html") => "text/html; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("LICENSE") => "text/plain; charset=utf-8",
            _ => continue,
        };
        let answer = served.get(&format!("/page/{name}"));
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.header("content-type"), Some(expected), "{name}");
        assert!(answer.body == std::fs::read(&file).unwrap(), "{name}");
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let sum = sha2::Sha256::digest(bytes);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}
