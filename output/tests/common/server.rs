//! A server of HTTP that answers as it is told, and remembers what it got.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, more headers (each with its end of line), and a body.
    Reply(u16, &'static str, &'static str),
    /// Nothing, with the connection open.
    Hang,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// With lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A server on loopback, until the test ends.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A server with these answers for the first requests, and 200 for the others.
    pub(crate) fn start(answers: &[Answer]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), answers)
    }

    /// The same at an address that is free.
    pub(crate) fn start_at(address: SocketAddr, answers: &[Answer]) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
        };
        let answers = Arc::new(Mutex::new(VecDeque::from(answers.to_vec())));
        let received = Arc::clone(&server.received);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, received) = (Arc::clone(&answers), Arc::clone(&received));
                thread::spawn(move || serve(&stream.unwrap(), &answers, &received));
            }
        });
        server
    }

    /// An address at which nobody listens.
    pub(crate) fn nowhere() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap()
    }

    pub(crate) fn received(&self) -> Vec<Request> {
        self.received.lock().unwrap().clone()
    }
}

/// Request after request, until the client is gone.
fn serve(
    stream: &TcpStream,
    answers: &Mutex<VecDeque<Answer>>,
    received: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        received.lock().unwrap().push(request);
        let answer = answers.lock().unwrap().pop_front();
        match answer.unwrap_or(Answer::Reply(200, "", "")) {
            Answer::Reply(status, headers, body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n");
                (&*stream).write_all((head + body).as_bytes())?;
            }
            Answer::Hang => loop {
                thread::sleep(Duration::from_secs(60));
            },
        }
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let request = Request {
        path,
        headers,
        body: Vec::new(),
    };
    let mut body = vec![0; request.header("content-length").unwrap().parse().unwrap()];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { body, ..request }))
}
