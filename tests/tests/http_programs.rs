//! The programs that people point at an agent's address: Go's pprof and Prometheus.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use output::{
    Store,
    web::{Live, Metric, MetricKind},
};
use tests::{Served, Window, request, tool};

/// No program takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// An agent of a machine on which `busy` takes a CPU, and `calm` a tenth of one, without end.
#[derive(Debug)]
struct Agent {
    store: Arc<dyn Store>,
    /// When the window that is being recorded began, in milliseconds from the Unix epoch.
    began: Mutex<i64>,
    is_well: AtomicBool,
}

impl Agent {
    fn new(store: &Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            began: Mutex::new(now_ms()),
            is_well: AtomicBool::new(true),
        })
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

impl Live for Agent {
    fn metrics(&self) -> Vec<Metric> {
        let lost = |cause: &str, value| Metric {
            name: "timesink_lost_samples_total",
            help: "Samples that were taken and are in no window, by cause.",
            kind: MetricKind::Counter,
            labels: vec![("cause", cause.to_owned())],
            value,
        };
        vec![lost("ring full", 3.0), lost("a \"quoted\\\" cause\n", 4.0)]
    }

    fn close_window(&self) -> Result<(), String> {
        let mut began = self.began.lock().unwrap();
        let end = now_ms();
        let mut window = Window::new(*began, (end - *began) / 1000 + 1);
        for slice in 0..u32::try_from((end - *began) / 100).unwrap() {
            window.add(("busy", 100), slice, &["main", "spin"], 100, 0);
            window.add(("calm", 200), slice, &["main", "rest"], 10, 90);
        }
        *began = end;
        self.store
            .append(&window.profile())
            .map_err(|error| error.to_string())
    }

    fn health(&self) -> Result<(), String> {
        let is_well = self.is_well.load(Ordering::Relaxed);
        is_well
            .then_some(())
            .ok_or_else(|| "the disk is full".to_owned())
    }
}

fn served() -> (Served, Arc<Agent>) {
    let mut made = None;
    let served = Served::with_agent([Window::new(1_764_100_000_000, 10).profile()], |store| {
        let agent = Agent::new(store);
        made = Some(Arc::clone(&agent));
        Some(agent)
    });
    (served, made.unwrap())
}

/// `go tool pprof http://…`, with nothing looked up on this machine.
fn go_pprof(url: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(tool("go"))
        .args([
            "tool",
            "pprof",
            "-symbolize=none",
            "-sample_index=cpu",
            "-top",
            url,
        ])
        .env("PPROF_TMPDIR", home.path())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Go's pprof takes the next second of the machine from the address that it takes it from in Go's programs.
#[test]
fn go_takes_a_profile_of_the_machine() {
    let (served, _agent) = served();
    let top = go_pprof(&format!(
        "http://{}/debug/pprof/profile?seconds=1",
        served.address()
    ));
    assert!(top.contains("spin") && top.contains("rest"), "{top}");
    let share = |name: &str| {
        let row = top.lines().find(|line| line.ends_with(name)).unwrap();
        let percent = row.split_whitespace().nth(1).unwrap().trim_end_matches('%');
        percent.parse::<f64>().unwrap()
    };
    assert_eq!(share("spin").round(), 91.0, "{top}");
    assert_eq!(share("rest").round(), 9.0, "{top}");
}

/// With a pid it takes that process alone.
#[test]
fn go_takes_a_profile_of_a_process() {
    let (served, _agent) = served();
    let top = go_pprof(&format!(
        "http://{}/debug/pprof/profile?seconds=1&pid=200",
        served.address()
    ));
    assert!(top.contains("rest") && !top.contains("spin"), "{top}");
}

/// What is in the answer is what happened while it was waited for, and nothing from before.
#[test]
fn a_profile_is_of_its_own_time() {
    let (served, agent) = served();
    *agent.began.lock().unwrap() -= 5000;
    let answer = served.get("/debug/pprof/profile?seconds=1&pid=100");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&answer.body).unwrap();
    let samples = tests::Pprof::read(file.path()).samples;
    let spun: u64 = samples.iter().map(|sample| sample.value("cpu")).sum();
    // Slices begin every 100 ms: of a second and what it takes to be woken there are at least 9, and
    // from the five seconds before there are none.
    assert!((900_000_000..5_000_000_000).contains(&spun), "{spun}");
}

/// Health is the agent's, in words where it is not well.
#[test]
fn health_is_told_in_words() {
    let (served, agent) = served();
    assert_eq!(served.get("/healthz").text(), "ok\n");
    agent.is_well.store(false, Ordering::Relaxed);
    let answer = served.get("/healthz");
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (503, Some("the disk is full"))
    );
}

/// Prometheus' own linter has nothing to say.
#[test]
fn promtool_finds_no_fault() {
    let (served, _agent) = served();
    let mut lint = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin
        .take()
        .unwrap()
        .write_all(&served.get("/metrics").body)
        .unwrap();
    let output = lint.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// A Prometheus that scrapes the page, on a port of its own.
struct Prometheus {
    child: Child,
    address: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: std::net::SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "scrape_configs:\n- job_name: timesink\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  \
             static_configs:\n  - targets: ['{target}']\n"
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        // The port is free until it is asked for again.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new(tool("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    /// The values of a query, once there are any.
    fn query(&self, query: &str) -> Vec<String> {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "Prometheus has no `{query}`");
            if std::net::TcpStream::connect(self.address).is_ok() {
                let path = format!("/api/v1/query?query={query}");
                let answer = request(self.address, "GET", &path, &["Host: localhost"]);
                let found = (answer.status == 200).then(|| answer.json());
                let found = found.map(|found| found["data"]["result"].as_array().unwrap().clone());
                if let Some(found) = found.filter(|found| !found.is_empty()) {
                    let values = found
                        .iter()
                        .map(|one| one["value"][1].as_str().unwrap().to_owned());
                    return values.collect();
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A real Prometheus finds the agent up and has its numbers, with their labels.
#[test]
fn prometheus_scrapes_it() {
    let (served, _agent) = served();
    let prometheus = Prometheus::start(served.address());
    assert_eq!(prometheus.query("up==1"), ["1"]);
    let lost = "timesink_lost_samples_total{cause=\"ring+full\"}";
    assert_eq!(prometheus.query(&lost.replace('"', "%22")), ["3"]);
    assert_eq!(prometheus.query("sum(timesink_lost_samples_total)"), ["7"]);
    assert_eq!(prometheus.query("timesink_store_windows"), ["1"]);
}
