//! A headless Chromium, driven by the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>) that
//! `chromedriver` speaks: JSON over HTTP.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tool;

/// No answer of the driver takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one window; it ends with the value.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    _said: BufReader<ChildStdout>,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, said, port) = start_driver();
        let answer = request(port, "POST", "/session", &capabilities(profile.path()));
        let session = answer["sessionId"].as_str();
        let session = session.unwrap_or_else(|| panic!("no session: {answer}"));
        Self {
            session: format!("/session/{session}"),
            driver,
            _said: said,
            port,
            _profile: profile,
        }
    }

    /// Shows a file.
    pub fn open(&self, file: &Path) {
        let url = format!("file://{}", file.display());
        self.command("url", &json!({ "url": url }));
    }

    /// Shows an address.
    pub fn visit(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Makes the page so wide and high, in pixels, as on a telephone if need be.
    pub fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        self.await_frame();
    }

    /// Asks the page for its dark or its light colours.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [feature] }),
        );
        self.await_frame();
    }

    /// Keeps files that are downloaded in a folder.
    pub fn download_to(&self, folder: &Path) {
        let place = json!({ "behavior": "allow", "downloadPath": folder });
        self.devtools("Browser.setDownloadBehavior", &place);
    }

    /// Presses and lets go of keys, one after the other, while others are held. A key is a character, or
    /// one of those that the protocol gives a code point of its own to.
    pub fn keys(&self, held: &[char], keys: &[char]) {
        let event = |kind: &'static str| move |key: &char| json!({ "type": kind, "value": key });
        let down = held.iter().map(event("keyDown"));
        let typed = keys
            .iter()
            .flat_map(|key| [event("keyDown")(key), event("keyUp")(key)]);
        let up = held.iter().map(event("keyUp"));
        let actions: Vec<Value> = down.chain(typed).chain(up).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("actions", &json!({ "actions": [keyboard] }));
    }

    /// Moves the mouse to the first place, in pixels from the corner of the window, and with its button
    /// pressed through the others.
    pub fn drag(&self, places: &[(f64, f64)]) {
        let moved = |&(x, y): &(f64, f64)| {
            let [x, y] = [x, y].map(|place| place.round() as i64);
            json!({ "type": "pointerMove", "duration": 0, "x": x, "y": y })
        };
        let button = |kind: &str| json!({ "type": kind, "button": 0 });
        let mut actions = vec![moved(&places[0]), button("pointerDown")];
        actions.extend(places[1..].iter().map(moved));
        actions.push(button("pointerUp"));
        let mouse = json!({ "type": "pointer", "id": "mouse", "actions": actions });
        self.command("actions", &json!({ "actions": [mouse] }));
    }

    /// The window as a picture, in PNG, in a file of the build's folder for people to look at.
    pub fn picture(&self, name: &str) {
        let answer = request(
            self.port,
            "GET",
            &format!("{}/screenshot", self.session),
            &json!({}),
        );
        let folder = std::env::current_exe().unwrap();
        let folder = folder
            .ancestors()
            .nth(2)
            .unwrap()
            .with_file_name("pictures");
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = BASE64_STANDARD.decode(answer.as_str().unwrap());
        std::fs::write(folder.join(name), bytes.unwrap()).unwrap();
    }

    /// The addresses that the page has loaded something from, or tried to.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let names = "performance.getEntriesByType('resource').map((entry) => entry.name)";
        let names = self.run(&format!("return {names}"));
        serde_json::from_value(names).unwrap()
    }

    /// Runs the body of a function in the page and gives what it returns.
    #[must_use]
    pub fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Clicks, with the mouse, on what an XPath expression finds.
    pub fn click(&self, xpath: &str) {
        let wanted = json!({ "using": "xpath", "value": xpath });
        let found = self.command("element", &wanted);
        let element = found.as_object().and_then(|found| found.values().next());
        let element = element.and_then(Value::as_str).unwrap();
        self.command(&format!("element/{element}/click"), &json!({}));
    }

    /// The errors that scripts and the parser have reported since the last call.
    #[must_use]
    pub fn errors(&self) -> Vec<Value> {
        let log = self.command("se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().unwrap().iter();
        entries
            .filter(|entry| entry["level"] == "SEVERE")
            .cloned()
            .collect()
    }

    /// Waits until the page has been drawn anew, and has been told of its new form.
    fn await_frame(&self) {
        let frame = "requestAnimationFrame(() => requestAnimationFrame(() => done(true)))";
        let _ = self.run(&format!("return new Promise((done) => {frame})"));
    }

    fn devtools(&self, name: &str, parameters: &Value) {
        self.command(
            "goog/cdp/execute",
            &json!({ "cmd": name, "params": parameters }),
        );
    }

    fn command(&self, name: &str, body: &Value) -> Value {
        request(self.port, "POST", &format!("{}/{name}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            request(self.port, "DELETE", &self.session, &json!({}));
        }
        let group = libc::pid_t::try_from(self.driver.id()).unwrap();
        // SAFETY: the call takes no pointers; the driver was not waited for, so the number is its.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        self.driver.wait().unwrap();
    }
}

/// The driver takes a port that is free in IPv6 and says which; where another has that port in IPv4, it
/// ends, and is started once more. Its browser is in its process group.
fn start_driver() -> (Child, BufReader<ChildStdout>, u16) {
    loop {
        let mut driver = Command::new(tool("chromedriver"))
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(driver.stdout.take().unwrap());
        match port_of(&mut said) {
            Ok(port) => return (driver, said, port),
            Err(words) => {
                driver.wait().unwrap();
                let is_chance = words.contains("port not available");
                assert!(is_chance, "chromedriver ended: {words}");
            }
        }
    }
}

/// The port that the driver says it listens on; else all that it said before it ended.
fn port_of(said: &mut impl BufRead) -> Result<u16, String> {
    let mut words = String::new();
    loop {
        let mut line = String::new();
        if said.read_line(&mut line).unwrap() == 0 {
            return Err(words);
        }
        if let Some((_, port)) = line.trim_end().split_once("started successfully on port ") {
            return Ok(port.trim_end_matches('.').parse().unwrap());
        }
        words.push_str(&line);
    }
}

/// Without a sandbox, which root cannot have, and without a word to the network.
fn capabilities(profile: &Path) -> Value {
    let profile = format!("--user-data-dir={}", profile.display());
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:loggingPrefs": { "browser": "ALL" },
        "goog:chromeOptions": { "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=1300,1000", profile,
        ]},
    }}})
}

/// One request to the driver and the `value` of its answer.
fn request(port: u16, method: &str, path: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let answer = read_answer(BufReader::new(stream));
    let value = serde_json::from_slice::<Value>(&answer).unwrap()["value"].take();
    assert!(value.get("error").is_none(), "{method} {path}: {value}");
    value
}

/// The body of an HTTP answer, by the length that its head gives.
fn read_answer(mut stream: impl BufRead) -> Vec<u8> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    body
}
