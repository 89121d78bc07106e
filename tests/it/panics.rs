//! Users' code that panics, wherever it can be called, and values that panic when they are dropped. The
//! client gets 500 or a close, all other clients are served, nothing is left, and the worker goes on. Also a
//! handler that blocks: only its own worker waits.

#[cfg(feature = "websocket")]
mod ws;

use super::support::{Asked, Client, ended, start, wait_until, workers};
use peregrine::access_log::{AccessEntry, AccessLog, LogWriter};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::config::AcceptThreads;
use peregrine::config::Balance;
use peregrine::error::ConnectionError;
use peregrine::{BodyPlan, Done, Handler, Request, Response, from_fn};
use std::io::Read;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// How users' code panics.
type Raise = fn() -> !;

/// Every place is tried with each.
const RAISES: [Raise; 2] = [raise_text, raise_payload];

/// Without the hook, which would print a trace.
fn raise_text() -> ! {
    resume_unwind(Box::new("as asked"))
}

fn raise_payload() -> ! {
    resume_unwind(Box::new(Payload))
}

/// What a panic is raised with. To drop it is one more panic, with one more of it.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        if !thread::panicking() {
            raise_payload();
        }
    }
}

/// Panics when it is dropped. Not while another panic is under way, which would end the process.
pub(super) struct Bomb(Raise);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            (self.0)();
        }
    }
}

/// The panic of a thread of a test, which is not to be dropped.
#[track_caller]
fn expect_panic(thread: thread::JoinHandle<impl std::fmt::Debug>) {
    std::mem::forget(thread.join().expect_err("a panic"));
}

struct Reader {
    raise: Raise,
    left: usize,
    _bomb: Option<Bomb>,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && self._bomb.is_none() {
            (self.raise)();
        }
        let n = self.left.min(into.len());
        into[..n].fill(b'r');
        self.left -= n;
        Ok(n)
    }
}

#[derive(PartialEq)]
enum At {
    Piece,
    Finish,
    Drop,
}

struct Sink {
    raise: Raise,
    at: At,
    _bomb: Option<Bomb>,
}

impl BodySink for Sink {
    fn piece(&mut self, _: &[u8], _: &mut Incoming<'_>) -> Flow {
        match self.at {
            At::Piece => (self.raise)(),
            _ => Flow::Continue,
        }
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        match self.at {
            At::Finish => (self.raise)(),
            _ => res.text("finished"),
        }
    }
}

/// Does what the path says, and panics whenever it is told of an error.
struct App(Raise);

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let raise = self.0;
        let sink = |at, bomb: bool| {
            let _bomb = bomb.then(|| Bomb(raise));
            BodyPlan::stream(Sink { raise, at, _bomb })
        };
        match req.path() {
            "/plan" => raise(),
            "/respond" => BodyPlan::respond(move |_, _| -> Done { raise() }),
            "/piece" => sink(At::Piece, true),
            "/finish" => sink(At::Finish, false),
            "/finish/drop" => sink(At::Drop, true),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let raise = self.0;
        let timers = res.timers();
        match req.path() {
            "/handle" => raise(),
            "/write" => res.write_with(move |_| raise()),
            "/defer" => {
                let (done, responder) = res.defer();
                let thread = thread::spawn(move || responder.send(move |_| raise()));
                expect_panic(thread);
                done
            }
            "/defer/here" => {
                let (_, responder) = res.defer();
                let _ = responder.send(move |_| raise());
                unreachable!("it panics");
            }
            "/offload" => res.offload(req, move |_, _| -> Done { raise() }),
            "/offload/drop" => {
                let bomb = Bomb(raise);
                res.offload(req, move |_, res| {
                    let _bomb = bomb;
                    res.text("answered")
                })
            }
            "/stream" => {
                let (done, mut sender) = res.stream();
                let thread = thread::spawn(move || {
                    let _ = sender.try_send("half");
                    raise();
                });
                expect_panic(thread);
                done
            }
            "/ready" => {
                let (done, mut sender) = res.stream();
                // More than there is room for.
                let _ = sender.try_send(vec![b'r'; 1 << 20]);
                sender.on_ready(move || raise());
                let _ = sender.finish();
                done
            }
            "/iter" => res.send_iter((0..9).map(move |n| match n {
                5 => raise(),
                n => n.to_string(),
            })),
            "/iter/drop" => {
                let bomb = Bomb(raise);
                res.send_iter((0..9).map(move |n| {
                    let _bomb = &bomb;
                    n.to_string()
                }))
            }
            "/iter/both" => {
                let bomb = Bomb(raise);
                res.send_iter((0..9).map(move |n| {
                    let _bomb = &bomb;
                    match n {
                        5 => raise(),
                        n => n.to_string(),
                    }
                }))
            }
            "/iter/endless" => {
                let bomb = Bomb(raise);
                res.send_iter((0..).map(move |_: u64| {
                    let _bomb = &bomb;
                    vec![b'e'; 40_000]
                }))
            }
            "/read" => res.send_reader(
                Reader {
                    raise,
                    left: 9,
                    _bomb: None,
                },
                None,
            ),
            "/read/drop" => res.send_reader(
                Reader {
                    raise,
                    left: 9,
                    _bomb: Some(Bomb(raise)),
                },
                None,
            ),
            "/timer" => {
                let timer = timers.after(Duration::ZERO, move || raise());
                res.text(if timer.is_ok() { "set" } else { "not set" })
            }
            "/timer/drop" => {
                let bomb = Bomb(raise);
                let timer = timers.every_while(Duration::ZERO, move || {
                    let _bomb = &bomb;
                    false
                });
                res.text(if timer.is_ok() { "set" } else { "not set" })
            }
            path => res.text(path),
        }
    }

    fn handle_error(&self, _: &ConnectionError<'_>, _: Option<SocketAddr>) {
        (self.0)();
    }
}

/// What the client sees.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// 500, and the end of the connection.
    Failed,
    /// A body that ends before its end, and the end of the connection.
    Cut,
    Answered(&'static str),
}

const ROWS: [(&str, &str, Seen); 23] = [
    ("GET", "/handle", Seen::Failed),
    ("GET", "/write", Seen::Failed),
    ("GET", "/log", Seen::Failed),
    ("POST", "/plan", Seen::Failed),
    ("POST", "/respond", Seen::Failed),
    ("POST", "/piece", Seen::Failed),
    ("POST", "/finish", Seen::Failed),
    ("POST", "/finish/drop", Seen::Failed),
    ("GET", "/defer", Seen::Failed),
    ("GET", "/defer/here", Seen::Failed),
    ("GET", "/offload", Seen::Failed),
    ("GET", "/offload/drop", Seen::Failed),
    ("GET", "/stream", Seen::Cut),
    ("GET", "/ready", Seen::Answered("")),
    ("GET", "/iter", Seen::Cut),
    ("GET", "/iter/drop", Seen::Answered("012345678")),
    ("GET", "/iter/both", Seen::Cut),
    ("GET", "/read", Seen::Cut),
    ("GET", "/read/drop", Seen::Answered("rrrrrrrrr")),
    ("GET", "/timer", Seen::Answered("set")),
    ("GET", "/timer/drop", Seen::Answered("set")),
    ("POST", "/nothing", Seen::Answered("/nothing")),
    ("GET", "/nothing", Seen::Answered("/nothing")),
];

/// The handler with a log whose format panics, too.
fn app(raise: Raise) -> impl Handler {
    let format = move |entry: &AccessEntry<'_>, _: &mut Vec<u8>| {
        if entry.request().is_some_and(|req| req.path() == "/log") {
            raise();
        }
    };
    let writer = LogWriter::new(std::io::sink()).expect("a thread");
    AccessLog::with_format(App(raise), writer, format)
}

#[test]
fn a_panic_anywhere_ends_one_connection_at_most() {
    RAISES.into_iter().for_each(panic_anywhere);
}

fn panic_anywhere(raise: Raise) {
    let (server, addr) = start(app(raise), workers(1));
    let mut other = Client::connect(addr);
    for (method, path, seen) in ROWS {
        let before = server.counters().panics;
        let mut client = Client::connect(addr);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n");
        client.send(match method {
            "POST" => format!("{head}Content-Length: 4\r\n\r\nbody"),
            _ => format!("{head}\r\n"),
        });
        let answer = client.try_answer(Asked::Other);
        match (seen, answer) {
            (Seen::Failed, Ok(Some(answer))) => {
                assert_eq!((answer.status, answer.closes()), (500, true), "{path}");
                client.expect_end();
            }
            (Seen::Cut, Err(why)) => assert!(why.contains("cut"), "{path}: {why}"),
            (Seen::Answered(text), Ok(Some(answer))) => {
                assert_eq!(answer.status, 200, "{path}");
                assert!(
                    text.is_empty() || answer.text() == text,
                    "{path}: {answer:?}"
                );
                // And the connection goes on.
                assert_eq!(client.get("/next").text(), "/next");
            }
            (seen, answer) => panic!("{path}: {answer:?} instead of {seen:?}"),
        }
        assert_eq!(other.get("/other").text(), "/other", "after {path}");
        // That of `/stream` is on a thread of the application's own.
        if !matches!(path, "/nothing" | "/stream") {
            wait_until("it is counted", || server.counters().panics > before);
        }
    }
    drop(other);
    wait_until("all are closed", || {
        let counters = server.counters();
        counters.accepted == counters.closed
    });
    server.stop();
    assert_eq!(ended(server).aborted, 0);
}

/// What is dropped because the client has gone panics then.
#[test]
fn a_panic_in_the_drop_of_values_of_a_client_is_harmless() {
    RAISES.into_iter().for_each(panic_in_what_is_left);
}

fn panic_in_what_is_left(raise: Raise) {
    let (server, addr) = start(app(raise), workers(1));
    let mut other = Client::connect(addr);
    let uploads = ["/piece", "/finish/drop"].map(|path| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
        format!("{head}Content-Length: 9\r\n\r\n")
    });
    let endless = "GET /iter/endless HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    for (count, request) in (1..).step_by(2).zip([&uploads[0], &uploads[1], &endless]) {
        for reset in [false, true] {
            let mut client = Client::connect(addr);
            client.send(request);
            match request.starts_with("GET") {
                true => drop(client.head()),
                false => {
                    client.send("h");
                    client.wait_until_delivered();
                    assert_eq!(other.get("/other").text(), "/other");
                }
            }
            match reset {
                true => client.reset(),
                false => drop(client),
            }
            let closed = count + u64::from(reset);
            wait_until("it is closed", || server.counters().closed == closed);
            assert_eq!(other.get("/other").text(), "/other");
        }
    }
    // And at the end of the server, which does not wait for connections.
    let mut client = Client::connect(addr);
    client.send(endless);
    client.head();
    server.stopper().stop_now();
    assert!(ended(server).aborted >= 1, "no connection is waited for");
}

/// The connections of that worker wait, those that are given to it meanwhile included; others do not.
#[test]
fn a_handler_that_blocks_delays_only_its_own_worker() {
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        if req.path() == "/block" {
            // Until the test lets go of the other end.
            let _ = blocked.lock().expect("no panic").recv();
        }
        res.text(req.path())
    });
    let config = workers(2)
        .balance(Balance::RoundRobin)
        .accept_threads(AcceptThreads::Dedicated(1));
    let (server, addr) = start(app, config);
    let connect = |count| {
        let client = Client::connect(addr);
        wait_until("it has a worker", || server.counters().accepted >= count);
        client
    };
    let mut blocks = Client::connect(addr);
    wait_until("it has a worker", || server.counters().accepted == 1);
    blocks.send("GET /block HTTP/1.1\r\nHost: a\r\n\r\n");
    let of = |worker: usize| server.worker_counters()[worker];
    wait_until("it is being served", || of(0).bytes_read > 0);
    // One for the other worker, one for that which is held up: it lies in its mailbox.
    let mut served = connect(2);
    let mut waits = Client::connect(addr);
    waits.send("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..50 {
        assert_eq!(served.get("/served").text(), "/served");
    }
    assert_eq!((of(0).requests, of(1).requests), (0, 50));
    drop(release);
    assert_eq!(blocks.answer(Asked::Other).text(), "/block");
    assert_eq!(waits.answer(Asked::Other).text(), "/waits");
    server.stop();
    assert_eq!(ended(server).aborted, 0);
}
