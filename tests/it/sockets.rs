//! What one connection and many of them promise: every request gets its own response, for as long as both
//! ends want.

use super::support::{Asked, Client, Random, ended, start, workers};
use peregrine::server::Running;
use peregrine::{Done, Request, Response, from_fn};
use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr};
use std::thread;

fn echo(req: &Request<'_>, res: Response<'_>) -> Done {
    let line = format!("{} {} {}", req.method(), req.target(), req.version());
    res.header("Content-Type", "text/plain").body(line)
}

// --------------------------------------------------------------------------------- keep-alive

/// RFC 9112 section 9.3, with a HEAD (RFC 9110 section 9.3.2) now and then, whose response has the
/// length of a body that does not follow.
#[test]
fn a_thousand_requests_one_after_another() {
    let (server, addr) = start(from_fn(echo), workers(1));
    let mut client = Client::connect(addr);
    for i in 0..1000 {
        let (method, asked) = match i % 3 {
            1 => ("HEAD", Asked::Head),
            _ => ("GET", Asked::Other),
        };
        client.send(format!("{method} /{i} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer(asked);
        let body = format!("{method} /{i} HTTP/1.1");
        let length = body.len().to_string();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.get("content-length"), Some(length.as_str()));
        assert_eq!(answer.get("connection"), None, "the default of HTTP/1.1");
        match asked {
            Asked::Head => assert_eq!(answer.body, b""),
            _ => assert_eq!(answer.text(), body),
        }
    }
    drop(client);
    assert_counts(server, 1, 1000);
}

/// RFC 9112 section 9.3: HTTP/1.0 keeps the connection only if both sides say so.
#[test]
fn http_1_0_with_and_without_keep_alive() {
    let (server, addr) = start(from_fn(echo), workers(1));
    let mut kept = Client::connect(addr);
    for i in 0..300 {
        let fields = "Connection: keep-alive\r\n";
        kept.send(format!("GET /{i} HTTP/1.0\r\n{fields}\r\n"));
        let answer = kept.answer(Asked::Other);
        assert_eq!(answer.text(), format!("GET /{i} HTTP/1.0"));
        assert_eq!(answer.get("connection"), Some("keep-alive"));
    }
    kept.send("GET /last HTTP/1.0\r\n\r\n");
    let answer = kept.answer(Asked::Other);
    assert_eq!(answer.text(), "GET /last HTTP/1.0");
    assert!(answer.closes());
    kept.expect_end();

    for i in 0..50 {
        let mut once = Client::connect(addr);
        once.send(format!("GET /{i} HTTP/1.0\r\n\r\n"));
        let answer = once.answer(Asked::Other);
        assert_eq!(answer.text(), format!("GET /{i} HTTP/1.0"));
        assert!(answer.closes());
        once.expect_end();
    }
    assert_counts(server, 51, 351);
}

#[test]
fn without_keep_alive_every_connection_has_one_request() {
    let config = workers(1).keep_alive(false);
    let (server, addr) = start(from_fn(echo), config);
    for _ in 0..20 {
        let mut client = Client::connect(addr);
        let answer = client.get("/");
        assert!(answer.closes());
        client.expect_end();
    }
    assert_counts(server, 20, 20);
}

#[track_caller]
fn assert_counts(server: Running, connections: u64, requests: u64) {
    server.stop();
    let stopped = ended(server);
    let counters = stopped.counters;
    assert_eq!(
        (counters.accepted, counters.closed),
        (connections, connections)
    );
    assert_eq!(counters.requests, requests);
    assert_eq!((counters.refused, counters.handler_errors), (0, 0));
    assert_eq!((counters.connection_errors, stopped.aborted), (0, 0));
}

// --------------------------------------------------------------------------- many connections

const CONNECTIONS: usize = 500;
const THREADS: usize = 4;
/// Of one connection: 100,000 in all.
const REQUESTS: usize = 200;

/// Answers with the tag in a header field, and the body, or the tag for want of one.
fn tagged(req: &Request<'_>, res: Response<'_>) -> Done {
    let tag = req.header("tag").unwrap_or("no tag");
    let res = res.header("Tag", tag);
    match req.method() {
        "POST" => res.body(req.body()),
        _ => res.body(tag),
    }
}

/// One of many connections, and the responses it waits for: the tag, and the body.
struct Driven {
    client: Client,
    name: String,
    made: usize,
    due: VecDeque<(String, String)>,
}

impl Driven {
    /// The bytes of a few requests, of all kinds, with tags that no other request has.
    fn batch(&mut self, random: &mut Random) -> Vec<u8> {
        let count = (1 + random.below(16)).min(REQUESTS - self.made);
        let mut bytes = String::new();
        for _ in 0..count {
            let tag = format!("{}-r{}-", self.name, self.made);
            let many = tag.repeat(1 + random.below(8));
            let head = format!("/ HTTP/1.1\r\nHost: a\r\nTag: {tag}\r\n");
            let body = match random.below(4) {
                0 => {
                    let len = many.len();
                    bytes += &format!("POST {head}Content-Length: {len}\r\n\r\n{many}");
                    many
                }
                1 => {
                    let (one, two) = many.split_at(many.len() / 2);
                    let chunk = |data: &str| format!("{:x}\r\n{data}\r\n", data.len());
                    let chunks = [chunk(one), chunk(two)].concat();
                    bytes += &format!("POST {head}Transfer-Encoding: chunked\r\n\r\n{chunks}");
                    bytes += "0\r\n\r\n";
                    many
                }
                _ => {
                    bytes += &format!("GET {head}\r\n");
                    tag.clone()
                }
            };
            self.due.push_back((tag, body));
            self.made += 1;
        }
        bytes.into_bytes()
    }

    fn read_answers(&mut self) {
        while let Some((tag, body)) = self.due.pop_front() {
            let answer = self.client.answer(Asked::Other);
            assert_eq!(answer.status, 200);
            assert_eq!(answer.get("tag"), Some(tag.as_str()));
            assert_eq!(answer.text(), body);
        }
    }
}

/// Drives connections in turn, so that all of them have half a request at the server at once.
fn drive(addr: SocketAddr, thread: usize, connections: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 + thread as u64);
    let driven = |i| Driven {
        client: Client::connect(addr),
        name: format!("t{thread}-c{i}"),
        made: 0,
        due: VecDeque::new(),
    };
    let mut all: Vec<Driven> = (0..connections).map(driven).collect();
    while all.iter().any(|driven| driven.made < REQUESTS) {
        let mut rests = Vec::new();
        for driven in &mut all {
            let batch = driven.batch(&mut random);
            let (now, later) = batch.split_at(random.below(batch.len() + 1));
            driven.client.send(now);
            rests.push(later.to_vec());
        }
        for (driven, rest) in all.iter_mut().zip(&rests) {
            driven.client.send(rest);
        }
        all.iter_mut().for_each(Driven::read_answers);
    }
}

/// Buffers go from connection to connection all the time; no byte may go with them.
#[test]
fn no_response_goes_to_another_request() {
    let connections = CONNECTIONS.min(room_for_connections());
    if connections < CONNECTIONS {
        println!("only {connections} connections: few descriptors");
    }
    let (server, addr) = start(from_fn(tagged), workers(2));
    let share = connections / THREADS;
    let threads = (0..THREADS).map(|i| thread::spawn(move || drive(addr, i, share)));
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread.join().expect("every answer is right");
    }
    let connections = (share * THREADS) as u64;
    assert_counts(server, connections, connections * REQUESTS as u64);
}

/// How many connections this process can have both ends of, in two tests at once and beside what
/// others need. Many systems begin with a low limit that a process may raise itself.
pub(crate) fn room_for_connections() -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        const ENOUGH: u64 = 8192;
        // Sixteen tests at once.
        const OTHERS: u64 = 640;
        const LEAST: u64 = 5 * THREADS as u64;
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let (now, most) = (current.unwrap_or(ENOUGH), maximum.unwrap_or(ENOUGH));
        let wanted = ENOUGH.min(most).max(now);
        let raised = Rlimit {
            current: Some(wanted),
            maximum,
        };
        let files = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => wanted,
            Err(_) => now,
        };
        (files.min(ENOUGH).saturating_sub(OTHERS) / 4).max(LEAST) as usize
    }
    #[cfg(not(unix))]
    CONNECTIONS
}

// --------------------------------------------------------------------------------- half-close

/// RFC 9112 section 9.6 lets a client close its sending side: what it has asked for it still gets.
#[test]
fn a_client_that_shuts_down_writing_gets_its_responses() {
    let large = vec![b'x'; 4 << 20];
    let body: std::sync::Arc<[u8]> = large.clone().into();
    let app = from_fn(
        move |req: &Request<'_>, res: Response<'_>| match req.path() {
            "/large" => res.send(body.clone()),
            path => res.body(path),
        },
    );
    let (server, addr) = start(app, workers(1));
    for (path, expected) in [("/small", &b"/small"[..]), ("/large", &large)] {
        for count in [1, 5] {
            let mut client = Client::connect(addr);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(count));
            client
                .stream
                .shutdown(Shutdown::Write)
                .expect("an open socket");
            for _ in 0..count {
                let answer = client.answer(Asked::Other);
                assert!(answer.body == expected, "{path}: {answer:?}");
            }
            client.expect_end();
        }
    }
    assert_counts(server, 4, 12);
}
