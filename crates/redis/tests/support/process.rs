//! The example `redis_node` as a process.

use super::{PATIENCE, Page, Server, Source};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) struct Process {
    child: Child,
    addr: String,
}

/// `cargo test` has built it beside the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let target = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("a folder");
    target.join("examples").join("redis_node")
}

impl Process {
    pub(crate) fn start(server: &Server, lease: Duration) -> Process {
        let lease = lease.as_millis().to_string();
        let child = Command::new(example())
            .args([
                "--redis",
                server.addr(),
                "--port",
                "0",
                "--lease-ms",
                &lease,
            ])
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("the example");
        let mut line = String::new();
        let errors = child.stderr.take().expect("a pipe");
        BufReader::new(errors).read_line(&mut line).expect("a line");
        let addr = line
            .trim()
            .strip_prefix("listening on http://")
            .expect("its address");
        Process {
            addr: addr.to_owned(),
            child,
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("its own process");
        self.child.wait().expect("its own process");
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let len = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {len}\r\n\r\n",
            self.addr
        );
        stream.write_all((head + body).as_bytes()).expect("sent");
        stream
    }

    fn status(&self, method: &str, path: &str, body: &str) -> u16 {
        let mut line = [0; 12];
        self.ask(method, path, body)
            .read_exact(&mut line)
            .expect("a response");
        let line = std::str::from_utf8(&line).expect("text");
        line[9..].parse().expect("a status")
    }

    pub(crate) fn get(&self, path: &str) -> u16 {
        self.status("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> u16 {
        self.status("POST", path, body)
    }

    /// A stream of events.
    pub(crate) fn open(&self, path: &str) -> Page<TcpStream> {
        let stream = self.ask("GET", path, "");
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a socket");
        Page::new(stream)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

impl Source for TcpStream {
    fn more(&mut self) -> String {
        let mut buf = [0; 4096];
        match self.read(&mut buf) {
            Ok(count) => String::from_utf8_lossy(&buf[..count]).into_owned(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                String::new()
            }
            Err(error) => panic!("{error}"),
        }
    }
}
