//! Every way to respond to a request, under every plan, with a reset at each call, and with a stop at each
//! call.

use super::{
    PATIENCE, config, connect, end, exchange, exchange_over, hand_over, nothing_is_left, pair,
    plans, read_all, same_under, short, undated, wait_until, without_and_with_tls,
};
use crate::access_log::{AccessLog, LogWriter};
use crate::http::deferred::Event;
use crate::http::handler::{Handler, from_fn};
use crate::http::request::Request;
use crate::http::request_body::flow::Flow;
use crate::http::request_body::{BodyPlan, BodyReader, BodySink, Incoming};
use crate::http::response::{Done, Response};
use crate::runtime::transport::faulty::{FaultPlan, Faulty, Happening};
use crate::server::Server;
use crate::server::running::Running;
use peregrine_protocol::limits::Limits;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;

const FILE: usize = 40_000;

struct App {
    /// Everything that belongs to a connection has a clone.
    live: Arc<()>,
    file: Arc<File>,
}

impl App {
    fn new(live: &Arc<()>) -> App {
        let bytes: Vec<u8> = (0..FILE).map(|i| (i / 7) as u8).collect();
        App {
            live: live.clone(),
            file: Arc::new(super::unnamed_file(&bytes)),
        }
    }
}

struct Sum(u64, Arc<()>);

impl BodySink for Sum {
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        self.0 += piece.iter().map(|&b| u64::from(b)).sum::<u64>();
        // Delayed now and then, by another thread.
        if body.received() % 3 != 0 {
            return Flow::Continue;
        }
        let (resumer, live) = (body.resumer(), self.1.clone());
        thread::spawn(move || {
            resumer.resume();
            drop(live);
        });
        Flow::Pause
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text(self.0.to_string())
    }
}

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let live = self.live.clone();
        match req.path() {
            "/sink" => BodyPlan::stream(Sum(0, live)),
            "/reader" => {
                let (plan, mut body) = BodyReader::new();
                thread::spawn(move || {
                    let mut all = Vec::new();
                    if body.read_to_end(&mut all).is_ok() {
                        let _ = body.respond(|res| res.body(all));
                    }
                    drop(live);
                });
                plan
            }
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let live = self.live.clone();
        match req.path() {
            "/defer" => {
                let (done, responder) = res.defer();
                thread::spawn(move || {
                    let _ = responder.send(|res| res.text("deferred"));
                    drop(live);
                });
                done
            }
            "/offload" => res.offload(req, move |req, res| {
                let _live = live;
                res.text(req.path())
            }),
            "/stream" => {
                let (done, mut sender) = res.stream();
                thread::spawn(move || {
                    for n in 0..6_usize {
                        if sender.send(vec![b'a' + n as u8; n * 4000]).is_err() {
                            break;
                        }
                    }
                    let _ = sender.finish();
                    drop(live);
                });
                done
            }
            "/iter" => res.send_iter((0..40).map(move |n| {
                let _live = &live;
                format!("{n},")
            })),
            "/events" => {
                let (done, mut events) = res.events();
                thread::spawn(move || {
                    for n in 0..5 {
                        if events.send(Event::new().data(n.to_string())).is_err() {
                            break;
                        }
                    }
                    let _ = events.finish();
                    drop(live);
                });
                done
            }
            "/file" => res.send_file(self.file.clone(), 0..FILE as u64),
            "/large" => res.send(vec![b'x'; 50_000]),
            _ => res.body([req.path().as_bytes(), req.body()].concat()),
        }
    }
}

/// What a client sends; the last request ends the connection.
pub(super) fn scenarios() -> Vec<(&'static str, String)> {
    const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = |path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
        let body = "0123456789".repeat(12);
        let length = format!("{head}Content-Length: 120\r\n\r\n{body}");
        let chunks = format!("Transfer-Encoding: chunked\r\n\r\n78\r\n{body}\r\n0\r\nA: b\r\n\r\n");
        (length, format!("{head}{chunks}"))
    };
    let mut all = vec![
        ("pipelined", get("/a").repeat(9)),
        ("buffered", post("/b").0),
        ("chunked", post("/c").1),
    ];
    for path in ["/sink", "/reader"] {
        all.push((path, post(path).0 + &post(path).1));
    }
    for path in [
        "/defer", "/offload", "/stream", "/iter", "/events", "/file", "/large",
    ] {
        all.push((path, get(path).repeat(2)));
    }
    for (_, sent) in &mut all {
        sent.push_str(LAST);
    }
    all
}

pub(super) struct Bench {
    pub(super) live: Arc<()>,
    pub(super) server: Running,
    is_secure: bool,
}

impl Bench {
    pub(super) fn start(limits: Limits) -> Bench {
        Bench::start_over(limits, false)
    }

    fn start_over(limits: Limits, is_secure: bool) -> Bench {
        let live = Arc::new(());
        let server = Server::new(App::new(&live)).config(config(limits));
        Bench {
            live,
            server: super::start(server, is_secure),
            is_secure,
        }
    }

    /// What the client receives. Afterwards nothing of the connection may be left.
    pub(super) fn play(&self, sent: &str, plan: FaultPlan) -> Vec<u8> {
        let client = connect(&self.server, plan);
        let got = exchange_over(self.is_secure, &client, sent.as_bytes(), false);
        drop(client);
        nothing_is_left(&self.server, &self.live, 2);
        undated(got)
    }
}

/// What the client receives if the connection does not fail.
pub(super) fn responses(bench: &Bench, name: &str, sent: &str) -> Vec<u8> {
    let wanted = bench.play(sent, FaultPlan::default());
    let count = memchr::memmem::find_iter(&wanted, "HTTP/1.1 200 OK\r\n").count();
    let requests = sent.matches(" HTTP/1.1\r\n").count();
    assert_eq!(count, requests, "{name}: {}", short(&wanted));
    wanted
}

#[test]
fn every_response_is_the_same_under_every_plan() {
    for &is_secure in without_and_with_tls() {
        every_response(Bench::start_over(Limits::default(), is_secure));
    }
}

fn every_response(bench: Bench) {
    for (name, sent) in scenarios() {
        let wanted = responses(&bench, name, &sent);
        same_under(plans(), &wanted, name, |plan| bench.play(&sent, plan));
    }
    end(bench.server);
}

/// A plan with many calls, in which something happens at one of them.
fn at(call: u64, happening: Happening) -> FaultPlan {
    FaultPlan {
        seed: call,
        read: 60,
        write: 9000,
        again: 10,
        at: Some((call, happening)),
        ..FaultPlan::default()
    }
}

#[test]
fn a_reset_at_any_call_leaves_no_state() {
    for &is_secure in without_and_with_tls() {
        a_reset_at_any_call(Bench::start_over(Limits::default(), is_secure));
    }
}

fn a_reset_at_any_call(bench: Bench) {
    let mut resets = 0;
    for (name, sent) in scenarios() {
        let wanted = responses(&bench, name, &sent);
        for call in 1.. {
            let plan = at(call, Happening::Reset);
            let calls = plan.calls.clone();
            let got = bench.play(&sent, plan);
            if calls.load(Ordering::SeqCst) < call {
                assert!(got == wanted, "{name} without a reset");
                break;
            }
            assert!(wanted.starts_with(&got), "{name}: reset at {call}");
            resets += 1;
        }
    }
    assert!(resets > 100, "only {resets} resets");
    end(bench.server);
}

/// A panic in the library ends its connection, and no other connection gets any of its bytes.
#[test]
fn a_panic_at_any_call_ends_one_connection() {
    for &is_secure in without_and_with_tls() {
        a_panic_at_any_call(Bench::start_over(Limits::default(), is_secure));
    }
}

fn a_panic_at_any_call(bench: Bench) {
    let mut panics = 0;
    for (name, sent) in scenarios() {
        let wanted = responses(&bench, name, &sent);
        for call in 1.. {
            let plan = at(call, Happening::Panic);
            let calls = plan.calls.clone();
            let got = bench.play(&sent, plan);
            if calls.load(Ordering::SeqCst) < call {
                assert!(got == wanted, "{name} without a panic");
                break;
            }
            assert!(wanted.starts_with(&got), "{name}: panic at {call}");
            panics += 1;
            let next = bench.play(&sent, FaultPlan::default());
            assert!(next == wanted, "{name}: after {call}: {}", short(&next));
        }
    }
    assert!(panics > 100, "only {panics} panics");
    let counters = bench.server.counters();
    assert_eq!(counters.internal_errors, panics);
    let page = counters.prometheus();
    let told = format!("peregrine_internal_errors_total {panics}\n");
    assert!(page.contains(&told), "{page}");
    end(bench.server);
}

/// Requests that were accepted get their responses in order, and then the connection ends.
#[test]
fn a_stop_at_any_call_loses_nothing_that_was_accepted() {
    for (name, sent) in scenarios() {
        let mut ended_by_stop = false;
        for call in 1.. {
            let bench = Bench::start(Limits::default());
            let control = bench.server.control.clone();
            let plan = at(call, Happening::Call(Box::new(move || control.stop())));
            let calls = plan.calls.clone();
            let client = connect(&bench.server, plan);
            let got = exchange(&client, sent.as_bytes(), false);
            drop(client);
            whole_responses(&got).unwrap_or_else(|why| panic!("{name}, stopped at {call}: {why}"));
            end(bench.server);
            wait_until("its threads have ended", || {
                Arc::strong_count(&bench.live) == 1
            });
            if calls.load(Ordering::SeqCst) < call {
                break;
            }
            ended_by_stop = true;
        }
        assert!(ended_by_stop, "{name}");
    }
}

/// Checks that the responses in `bytes` are complete. Returns their number.
fn whole_responses(mut bytes: &[u8]) -> Result<usize, String> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (head, rest) = split(bytes, b"\r\n\r\n").ok_or("half a head")?;
        let head = String::from_utf8_lossy(head).to_lowercase();
        bytes = match head.split_once("content-length:") {
            Some((_, len)) => {
                let len = len.split("\r\n").next().unwrap_or("").trim();
                let len = len.parse().map_err(|_| format!("length {len}"))?;
                rest.get(len..).ok_or("half a body")?
            }
            None => chunks(rest)?,
        };
        count += 1;
    }
    Ok(count)
}

fn chunks(mut bytes: &[u8]) -> Result<&[u8], String> {
    loop {
        let (size, rest) = split(bytes, b"\r\n").ok_or("half a size")?;
        let size = std::str::from_utf8(size).unwrap_or("?");
        let size = usize::from_str_radix(size, 16).map_err(|_| format!("size {size}"))?;
        bytes = rest.get(size + 2..).ok_or("half a chunk")?;
        if size == 0 {
            return Ok(bytes);
        }
    }
}

fn split<'a>(bytes: &'a [u8], end: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(bytes, end)?;
    Some((&bytes[..at], &bytes[at + end.len()..]))
}

/// A request that has arrived when the stop begins is accepted. A signal that interrupts the call does not
/// lose it.
#[test]
fn a_signal_during_the_stop_loses_no_request() {
    for seed in 1..40 {
        let server = Server::new(from_fn(|_, res| res.text("here")));
        let server = server.config(config(Limits::default()));
        let server = server
            .bind("127.0.0.1:0")
            .start_over::<Faulty>()
            .expect("a server");
        let mut client = connect(
            &server,
            FaultPlan {
                seed,
                interrupted: 60,
                ..FaultPlan::default()
            },
        );
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(request).expect("sent");
        let (mut got, mut byte) = (Vec::new(), [0; 1]);
        while !got.ends_with(b"\r\n\r\nhere") {
            client.read_exact(&mut byte).expect("a response");
            got.extend_from_slice(&byte);
        }
        // Both happen before the worker can read, because it runs this timer.
        let (control, mut second) = (
            server.control.clone(),
            client.try_clone().expect("a socket"),
        );
        let call = move || {
            second.write_all(request).expect("sent");
            control.stop();
        };
        let timer = server.timers().after(std::time::Duration::ZERO, call);
        let _timer = timer.expect("a timer");
        let got = super::read_all(&client);
        assert!(got.ends_with(b"\r\n\r\nhere"), "{seed}: {}", short(&got));
        drop(client);
        end(server);
    }
}

/// A panic in the library on one connection writes the log line of this connection, and not those of others
/// with pending responses.
#[test]
fn a_panic_leaves_the_log_lines_of_others() {
    struct Lines(mpsc::Sender<String>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let lines = String::from_utf8_lossy(bytes).into_owned();
            let _ = self.0.send(lines);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let (lines, written) = mpsc::channel();
    let log = LogWriter::new(Lines(lines)).expect("a thread");
    let (hold, held) = mpsc::channel();
    let handler = from_fn(move |_: &Request<'_>, res: Response<'_>| {
        let (done, responder) = res.defer();
        hold.send(responder).expect("the test listens");
        done
    });
    let handler = AccessLog::with_format(handler, log, |entry, line| {
        line.extend_from_slice(entry.status().to_string().as_bytes());
    });
    let server = Server::new(handler).config(config(Limits::default()));
    let server = server
        .bind("127.0.0.1:0")
        .start_over::<Faulty>()
        .expect("a server");
    let begin = |plan| {
        let (planned, mut client) = pair(plan);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        // Sent before the server has the connection, so the first read returns it.
        client.write_all(request).expect("sent");
        hand_over(&server, [planned]);
        (client, held.recv_timeout(PATIENCE).expect("a responder"))
    };
    let (other, responder) = begin(FaultPlan::default());
    // The second read finds the client's end.
    let planned = FaultPlan {
        at: Some((2, Happening::Panic)),
        ..FaultPlan::default()
    };
    let (mut lost, _never) = begin(planned);
    lost.write_all(b"more").expect("sent");
    assert_eq!(written.recv_timeout(PATIENCE).expect("a line"), "499\n");
    assert!(responder.send(|res| res.text("here")).is_ok());
    assert!(read_all(&other).ends_with(b"here"));
    assert_eq!(written.recv_timeout(PATIENCE).expect("a line"), "200\n");
    assert_eq!(server.counters().internal_errors, 1);
    drop((other, lost));
    end(server);
    let more = written.recv_timeout(PATIENCE);
    assert_eq!(more, Err(mpsc::RecvTimeoutError::Disconnected));
}
