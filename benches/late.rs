//! How long others wait while handlers are slow; see benches/README.md.
//!
//! One worker, eight clients with responses that take a second each, again and again, and four that request
//! one thing after the other and note how long each response took. The three ways take turns.

#![allow(
    clippy::disallowed_methods,
    reason = "the work of this program is to wait"
)]

use peregrine::{Config, Done, Request, Response, Server, from_fn};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SLOW_CLIENTS: usize = 8;
const FAST_CLIENTS: usize = 4;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const SLEEP: Duration = Duration::from_secs(1);

fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    match req.path() {
        "/deferred" => {
            let (done, responder) = res.defer();
            thread::spawn(move || {
                thread::sleep(SLEEP);
                responder.send(|res| res.text("slow"))
            });
            done
        }
        "/offloaded" => res.offload(req, |_, res| {
            thread::sleep(SLEEP);
            res.text("slow")
        }),
        _ => res.text("fast"),
    }
}

/// Sends one request after the other, until it is told to stop. Returns how long each took.
fn ask(addr: SocketAddr, path: &str, stop: &AtomicBool) -> Vec<Duration> {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut buffer, mut took) = ([0; 1024], Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let from = Instant::now();
        stream.write_all(request.as_bytes()).expect("sent");
        let n = stream.read(&mut buffer).expect("received");
        took.push(from.elapsed());
        let answer = &buffer[..n];
        // Small enough to come in one piece.
        let is_whole = answer.ends_with(b"fast") || answer.ends_with(b"slow");
        assert!(answer.starts_with(b"HTTP/1.1 200 ") && is_whole);
    }
    took
}

/// What the fast clients see while the slow ones ask for `slow`, or nothing.
fn round(addr: SocketAddr, slow: Option<&'static str>) -> Vec<Duration> {
    let stop = Arc::new(AtomicBool::new(false));
    let client = |path: &'static str| {
        let stop = stop.clone();
        thread::spawn(move || ask(addr, path, &stop))
    };
    let slow: Vec<_> = (0..SLOW_CLIENTS).filter_map(|_| slow.map(client)).collect();
    let fast: Vec<_> = (0..FAST_CLIENTS).map(|_| client("/fast")).collect();
    thread::sleep(ROUND);
    stop.store(true, Ordering::Relaxed);
    for thread in slow {
        let answers = thread.join().expect("no panic");
        assert!(answers.iter().all(|took| *took >= SLEEP));
    }
    let took = fast
        .into_iter()
        .map(|thread| thread.join().expect("no panic"));
    took.flatten().collect()
}

fn main() -> std::io::Result<()> {
    let config = Config::default().workers(1);
    let server = Server::new(from_fn(handle)).config(config);
    let server = server.bind("127.0.0.1:0").start()?;
    let addr = server.local_addr().expect("a TCP address");
    let ways = [
        ("none is slow", None),
        ("8 deferred", Some("/deferred")),
        ("8 offloaded", Some("/offloaded")),
    ];
    let mut took = ways.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, slow), took) in ways.iter().zip(&mut took) {
            took.extend(round(addr, *slow));
        }
    }
    println!(
        "{:<16} {:>9} {:>8} {:>8} {:>8} {:>8}   µs",
        "", "answers", "p50", "p99", "p99.9", "most"
    );
    for ((name, _), took) in ways.iter().zip(&mut took) {
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_micros();
        let [p50, p99, p999, most] = [0.5, 0.99, 0.999, 1.0].map(at);
        println!(
            "{name:<16} {:>9} {p50:>8} {p99:>8} {p999:>8} {most:>8}",
            took.len()
        );
    }
    server.stop();
    server.wait().map(|_| ())
}
