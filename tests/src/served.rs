//! A store with known windows and its page, on a free port of loopback; and HTTP as a program speaks it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use output::{Profile, Store, web};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The page of a store; it ends with the value.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    store: Arc<dyn Store>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Served {
    /// A store with these windows, and the agent that fills it, if there is one.
    #[must_use]
    pub fn start(windows: impl IntoIterator<Item = Profile>) -> Self {
        Self::with_agent(windows, |_| None)
    }

    /// As `start`, with an agent that is made for the store.
    #[must_use]
    pub fn with_agent(
        windows: impl IntoIterator<Item = Profile>,
        agent: impl FnOnce(&Arc<dyn Store>) -> Option<Arc<dyn web::Live>>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::from(output::open(folder.path().to_str().unwrap()).unwrap());
        for window in windows {
            store.append(&window).unwrap();
        }
        let names = ["profiles.example".to_owned()];
        let router = web::router(Arc::clone(&store), agent(&store), &names);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                // A test that failed says nothing more.
                let stopped = async { stopped.await.unwrap_or(()) };
                web::serve(listener, router, stopped).await.unwrap();
            });
        });
        Self {
            address,
            store,
            stop: Some(stop),
            server: Some(server),
            _folder: folder,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The answer to a request for a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        let host = format!("Host: {}", self.address);
        request(self.address, "GET", path, &[&host])
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let stop = self.stop.take().unwrap();
        let server = self.server.take().unwrap();
        if !thread::panicking() {
            stop.send(()).unwrap();
            server.join().unwrap();
        }
    }
}

/// An answer of an HTTP server.
#[derive(Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, if there is one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// The body, which is text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body, which is JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends one request, with headers that are written as they are given.
#[must_use]
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {}", String::from_utf8_lossy(&answer)));
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body }
}
