//! Access logs: the line of a response that is not complete when the handler returns, or never is.

use super::access_log::{Kept, rest};
use super::support::{Asked, Client, NEVER, PATIENCE, ended, start, wait_until, workers};
use peregrine::access_log::{AccessEntry, AccessLog, LogWriter};
use peregrine::body::{BodySender, BodySink, Flow, Incoming};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Config, Done, Handler, Limits, Request, Responder, Response};
use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LARGE: usize = 8 << 20;

struct Sum;

impl BodySink for Sum {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        match piece {
            [b'!', ..] => panic!("as it is meant to"),
            [b'?', ..] => Flow::Pause,
            _ => Flow::Continue,
        }
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(201).text("taken")
    }
}

/// What a handler has kept of a request.
enum Held {
    Responder(Responder),
    Sender(BodySender),
}

struct App {
    held: Mutex<Sender<Held>>,
    file: Arc<File>,
}

impl App {
    fn hold(&self, held: Held) {
        let sender = self.held.lock().expect("no panic");
        sender.send(held).expect("the test listens");
    }
}

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/sink" => BodyPlan::stream(Sum),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/offload" => res.offload(req, |_, res| res.status(404).text("missing")),
            "/pool-panic" => res.offload(req, |_, _| -> Done { panic!("as it is meant to") }),
            "/pool-bad" => res.offload(req, |_, res| res.header("a b", "c").text("x")),
            "/pool-stream" => res.offload(req, |_, res| {
                let (done, mut body) = res.status(203).stream();
                let _ = body.send("12345").and_then(|()| body.finish());
                done
            }),
            "/dropped" => {
                let (done, responder) = res.defer();
                drop(responder);
                done
            }
            "/bad" => res.header("a b", "c").text("x"),
            "/held" => {
                let (done, responder) = res.status(202).defer();
                self.hold(Held::Responder(responder));
                done
            }
            "/stream" => {
                let (done, body) = res.stream();
                self.hold(Held::Sender(body));
                done
            }
            "/drawn" => res.send_iter(["ab", "cde"]),
            "/cut" => {
                let fails = || Err(io::Error::other("as it is meant to"));
                let pieces = io::Read::chain(&b"abc"[..], Fails(fails));
                res.send_reader(pieces, Some(10))
            }
            "/file" => res.send_file(self.file.clone(), 0..LARGE as u64),
            "/large" => res.send(vec![b'x'; LARGE]),
            _ => res.text("hi"),
        }
    }
}

struct Fails(fn() -> io::Result<usize>);

impl io::Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        (self.0)()
    }
}

/// The app with a log, and what of it is held back.
fn logged(kept: &Kept) -> (AccessLog<App>, Receiver<Held>) {
    let file = tempfile();
    file.set_len(LARGE as u64).expect("a sparse file");
    let (held, holds) = channel();
    let app = App {
        held: Mutex::new(held),
        file: Arc::new(file),
    };
    let log = LogWriter::new(kept.clone()).expect("a thread");
    (AccessLog::new(app, log), holds)
}

fn tempfile() -> File {
    let scratch = super::scratch::Scratch::new();
    let path = scratch.path("file");
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    // It lives on for as long as it is open.
    options.open(path).expect("a file")
}

/// Waits for `n` lines, so that the order of the next one is known.
#[track_caller]
fn wait_for(kept: &Kept, n: usize) -> String {
    wait_until("the line is there", || kept.lines_so_far().len() >= n);
    rest(&kept.lines_so_far()[n - 1]).to_owned()
}

#[test]
fn deferred_responses_have_the_bytes_that_were_sent() {
    let kept = Kept::default();
    let (app, holds) = logged(&kept);
    let (server, addr) = start(app, workers(1));
    let failed = "the server could not respond to this request\n".len();
    let cases = [
        ("GET /offload", 404, 7),
        ("GET /pool-panic", 500, failed),
        ("GET /pool-bad", 500, failed),
        ("GET /pool-stream", 203, 5),
        ("HEAD /pool-stream", 203, 0),
        ("GET /dropped", 500, failed),
        ("GET /bad", 500, failed),
        ("GET /held", 410, 4),
        ("HEAD /held", 410, 0),
        ("GET /stream", 200, 6),
        ("GET /drawn", 200, 5),
        ("GET /file", 200, LARGE),
        ("HEAD /file", 200, 0),
        ("GET /large", 200, LARGE),
    ];
    for (n, (line, status, bytes)) in cases.iter().enumerate() {
        let mut client = Client::connect(addr);
        client.send(format!(
            "{line} HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n"
        ));
        match *line {
            "GET /held" | "HEAD /held" => {
                let Ok(Held::Responder(responder)) = holds.recv_timeout(PATIENCE) else {
                    panic!("a responder");
                };
                assert!(responder.send(|res| res.status(410).text("gone")).is_ok());
            }
            "GET /stream" => {
                let Ok(Held::Sender(mut body)) = holds.recv_timeout(PATIENCE) else {
                    panic!("a sender");
                };
                body.send("abc").expect("room");
                body.send("def").expect("room");
                body.finish().expect("a client");
            }
            _ => {}
        }
        let asked = match line.starts_with("HEAD") {
            true => Asked::Head,
            false => Asked::Other,
        };
        assert_eq!(client.answer(asked).status, *status, "{line}");
        let bytes = match bytes {
            0 => "-".to_owned(),
            n => n.to_string(),
        };
        let expected = format!(r#""{line} HTTP/1.1" {status} {bytes} "-" "b""#);
        assert_eq!(wait_for(&kept, n + 1), expected);
    }
    server.stop();
    ended(server);
    assert_eq!(kept.lines().len(), cases.len(), "one line each");
}

/// Several at once on one connection: each has its own line, in their order.
#[test]
fn pipelined_requests_have_a_line_each() {
    let kept = Kept::default();
    let (app, holds) = logged(&kept);
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    let paths = ["/1", "/large", "/2", "/drawn", "/file", "/held", "/3"];
    let requests = paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.send(requests.concat());
    let mut received = Vec::new();
    for path in paths {
        if path == "/held" {
            let Ok(Held::Responder(responder)) = holds.recv_timeout(PATIENCE) else {
                panic!("a responder");
            };
            assert!(responder.send(|res| res.status(200).text("late")).is_ok());
        }
        received.push(client.answer(Asked::Other).body.len());
    }
    drop(client);
    server.stop();
    ended(server);
    let mut lines: Vec<_> = kept.lines().iter().map(|l| rest(l).to_owned()).collect();
    let mut expected: Vec<_> = std::iter::zip(paths, received)
        .map(|(path, n)| format!(r#""GET {path} HTTP/1.1" 200 {n} "-" "-""#))
        .collect();
    // A small one that waits behind a large one has its line before it.
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
}

/// From the call of the handler to the end of the response.
#[test]
fn the_time_is_that_of_the_whole_response() {
    let (took, tooks) = channel();
    let took = Mutex::new(took);
    let log = LogWriter::new(io::sink()).expect("a thread");
    let (held, holds) = channel();
    let held = Mutex::new(held);
    let app = peregrine::from_fn(move |_, res| {
        let (done, responder) = res.defer();
        let held = held.lock().expect("no panic");
        held.send((responder, Instant::now())).expect("heard");
        done
    });
    let app = AccessLog::with_format(app, log, move |entry: &AccessEntry<'_>, _| {
        let took = took.lock().expect("no panic");
        took.send(entry.took()).expect("the test listens");
    });
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (responder, from) = holds.recv_timeout(PATIENCE).expect("a responder");
    let mut least = Duration::ZERO;
    wait_until("some time has passed", || {
        least = from.elapsed();
        least > Duration::from_millis(1)
    });
    assert!(responder.send(|res| res.text("hi")).is_ok());
    assert!(tooks.recv_timeout(PATIENCE).expect("a line") >= least);
    drop(client);
    server.stop();
    ended(server);
}

fn never() -> Config {
    let limits = Limits::default()
        .idle_timeout(NEVER)
        .write_timeout(NEVER)
        .response_timeout(NEVER)
        .body_grace(NEVER);
    workers(1).limits(limits)
}

fn upload(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\nContent-Length: 100\r\n\r\nhalf")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n")
}

#[test]
fn a_client_that_leaves_has_a_line_with_499() {
    let kept = Kept::default();
    let (app, holds) = logged(&kept);
    let (server, addr) = start(app, never());
    let connect = |request: String| {
        let mut client = Client::connect(addr);
        client.send(request);
        client
    };
    // Before the response: at once, not when the response would have been given.
    let client = connect(get("/held"));
    let held = holds.recv_timeout(PATIENCE).expect("a responder");
    client.reset();
    assert_eq!(wait_for(&kept, 1), r#""GET /held HTTP/1.1" 499 - "-" "b""#);
    drop(held);

    // In the middle of it: what has been sent is counted.
    let mut client = connect(get("/stream"));
    let Ok(Held::Sender(mut body)) = holds.recv_timeout(PATIENCE) else {
        panic!("a sender");
    };
    body.send("abcdef").expect("room");
    let (_, _) = client.head();
    assert_eq!(client.chunk(), b"abcdef");
    client.reset();
    assert_eq!(
        wait_for(&kept, 2),
        r#""GET /stream HTTP/1.1" 499 6 "-" "b""#
    );
    drop(body);

    for (n, path) in [(3, "/file"), (4, "/large")] {
        let mut client = connect(get(path));
        let (_, len) = client.head();
        assert_eq!(len, LARGE);
        let mut part = [0; 1000];
        client.body(&mut part);
        client.reset();
        let line = wait_for(&kept, n);
        let begin = format!(r#""GET {path} HTTP/1.1" 499 "#);
        let bytes = line.strip_prefix(&begin).expect("such a line");
        let (bytes, _) = bytes.split_once(' ').expect("more fields");
        let bytes: usize = bytes.parse().expect("a number");
        assert!((1000..LARGE).contains(&bytes), "{bytes}");
    }

    // In the middle of an upload, however it is taken.
    for (n, path) in [(5, "/"), (6, "/sink")] {
        drop(connect(upload(path)));
        let expected = format!(r#""POST {path} HTTP/1.1" 499 - "-" "b""#);
        assert_eq!(wait_for(&kept, n), expected);
    }
    for (n, path) in [(7, "/"), (8, "/sink")] {
        let client = connect(upload(path));
        client.wait_until_delivered();
        client.reset();
        let expected = format!(r#""POST {path} HTTP/1.1" 499 - "-" "b""#);
        assert_eq!(wait_for(&kept, n), expected);
    }
    // No request, no line.
    drop(connect("GET / HTTP/1.1\r\nHost".into()));
    server.stop();
    ended(server);
    assert_eq!(kept.lines().len(), 8);
}

/// A line of a refused request with a complete head has the request.
#[test]
fn refusals_have_the_fields_that_the_rfc_requires() {
    let kept = Kept::default();
    let (app, _holds) = logged(&kept);
    let config = never().allowed_hosts(["a"]);
    let (server, addr) = start(app, config);
    let post = |path: &str, fields: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n{fields}\r\n\r\n{body}")
    };
    let chunked = "Transfer-Encoding: chunked";
    let text = |text: &str| text.len() + 1;
    let cases = [
        (
            post("/big", "Content-Length: 99999999", ""),
            413,
            "/big",
            text("request body too large"),
        ),
        (post("/bad", chunked, "2\r\nhix\r\n"), 400, "/bad", 0),
        (post("/sink", chunked, "2\r\nhi\r\nx\r\n"), 400, "/sink", 0),
        (
            post("/sink", "Content-Length: 4", "!!!!"),
            500,
            "/sink",
            text("the server could not accept this request"),
        ),
        (
            post("/two", "Content-Length: 1\r\nContent-Length: 2", ""),
            400,
            "/two",
            0,
        ),
        (get("/else").replace(": a", ": c"), 421, "/else", 0),
    ];
    for (n, (request, status, path, bytes)) in cases.iter().enumerate() {
        let mut client = Client::connect(addr);
        client.send(request);
        let answer = client.answer(Asked::Other);
        assert_eq!(answer.status, *status, "{request}");
        let len = answer.body.len();
        assert!(*bytes == 0 || *bytes == len, "{request}: {len}");
        let (method, _) = request.split_once(' ').expect("a method");
        let expected = format!(r#""{method} {path} HTTP/1.1" {status} {len} "-" "b""#);
        assert_eq!(wait_for(&kept, n + 1), expected);
    }
    server.stop();
    ended(server);
    assert_eq!(kept.lines().len(), cases.len());
}

/// Limits of time, in memory, where time passes as the test wants.
#[test]
fn timeouts_have_their_line() {
    let cases = [
        (upload("/"), "POST /", 408),
        (upload("/sink"), "POST /sink", 408),
        (upload("/sink").replace("half", "?"), "POST /sink", 503),
        (get("/held"), "GET /held", 503),
        (get("/stream"), "GET /stream", 200),
        (get("/cut"), "GET /cut", 200),
    ];
    for (request, line, status) in cases {
        let kept = Kept::default();
        let (app, holds) = logged(&kept);
        let mut client = Connection::new(&app);
        client.send(request.as_bytes());
        client.elapse(Duration::from_secs(3600));
        assert!(client.is_closed(), "{line}");
        let received = String::from_utf8(client.take_received()).expect("text");
        let body = received.split_once("\r\n\r\n").expect("a head").1.len();
        drop(client);
        drop((holds, app));
        let bytes = match body {
            0 => "-".into(),
            n => n.to_string(),
        };
        let lines = kept.lines();
        let lines: Vec<_> = lines.iter().map(|line| rest(line)).collect();
        let expected = format!(r#""{line} HTTP/1.1" {status} {bytes} "-" "b""#);
        assert_eq!(lines, [expected]);
    }
}

/// A response that is aborted when the server stops has a line, too.
#[test]
fn a_stop_that_aborts_connections_writes_lines() {
    let kept = Kept::default();
    let (app, holds) = logged(&kept);
    let config = never().stop_timeout(Duration::ZERO);
    let (server, addr) = start(app, config);
    let mut client = Client::connect(addr);
    client.send(get("/held"));
    let held = holds.recv_timeout(PATIENCE).expect("a responder");
    server.stop();
    ended(server);
    drop((client, held));
    let lines = kept.lines();
    let lines: Vec<_> = lines.iter().map(|line| rest(line)).collect();
    assert_eq!(lines, [r#""GET /held HTTP/1.1" 499 - "-" "b""#]);
}
