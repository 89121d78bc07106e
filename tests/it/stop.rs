//! Stopping: accepted requests get their responses, idle connections close, and what does not end is aborted.

use super::support::{Asked, Client, NEVER, Stream, ended, limits, start, wait_until, workers};
use crate::support::acceptors;
use peregrine::server::Running;
use peregrine::{Done, Handler, Request, Response, from_fn};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HALF_HEAD: &str = "GET / HTTP/1.1\r\nHos";
const HALF_BODY: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello";

fn echo(req: &Request<'_>, res: Response<'_>) -> Done {
    res.body(req.body())
}

/// A server that waits this long when it stops.
fn waiting(stop_timeout: Duration, handler: impl Handler) -> (Running, SocketAddr) {
    let config = workers(1).stop_timeout(stop_timeout);
    start(handler, config)
}

#[track_caller]
fn assert_refused(addr: SocketAddr) {
    let connected = TcpStream::connect(addr);
    assert!(
        connected.is_err(),
        "the server still listens: {connected:?}"
    );
}

/// Sends half a request and waits until the server has seen it.
#[track_caller]
fn send_half(server: &Running, client: &mut Client, half: &str) {
    let before = server.counters().bytes_read;
    client.send(half);
    let all = before + half.len() as u64;
    wait_until("half a request is read", || {
        server.counters().bytes_read == all
    });
}

// --------------------------------------------------------------------------------------- drain

/// Asks until the server ends the connection. Returns how many complete responses came.
///
/// Some clients keep their connection, others make one for each request.
fn load(addr: SocketAddr, answers: &AtomicU64, keep: bool) {
    let mut kept = None;
    loop {
        let is_kept = kept.is_some();
        let mut client = match kept.take() {
            Some(client) => client,
            // No more listener: the server has stopped.
            None => match Stream::connect(addr) {
                Ok(stream) => Client::over_stream(stream),
                Err(_) => return,
            },
        };
        use std::io::Write;
        let sent = client.stream.write_all(GET.as_bytes());
        // A response comes whole or not at all; half of one is an error here.
        let answer = client.try_answer(Asked::Other);
        let Some(answer) = answer.expect("no half of an answer") else {
            // The server had not taken the request. The next connect will be refused, or else this was a
            // connection that was still in the backlog when the listener closed.
            assert!(!is_kept, "a request on an open connection is answered");
            continue;
        };
        sent.expect("sent, as it is answered");
        assert_eq!((answer.status, answer.body.len()), (200, 1000));
        answers.fetch_add(1, Ordering::Relaxed);
        if keep && !answer.closes() {
            kept = Some(client);
        }
    }
}

/// Every response of the handler reaches the client, complete.
#[test]
fn under_load_no_response_is_lost() {
    for accept_threads in [0, 1, 2] {
        let (handled, answers) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let count = handled.clone();
        let app = from_fn(move |_: &Request<'_>, res: Response<'_>| {
            count.fetch_add(1, Ordering::Relaxed);
            res.body([b'x'; 1000])
        });
        let config = workers(2)
            .accept_threads(acceptors(accept_threads))
            .stop_timeout(NEVER)
            .limits(limits().stop_grace(NEVER));
        let (server, addr) = start(app, config);
        let client = |i| {
            let answers = answers.clone();
            thread::spawn(move || load(addr, &answers, i % 2 == 0))
        };
        let clients: Vec<_> = (0..8).map(client).collect();
        wait_until("there is load", || answers.load(Ordering::Relaxed) > 1000);
        server.stop();
        let stopped = ended(server);
        assert_refused(addr);
        for client in clients {
            client.join().expect("nothing but whole answers");
        }
        let [handled, answers] = [handled, answers].map(|n| n.load(Ordering::Relaxed));
        assert_eq!(handled, answers, "{accept_threads} accept threads");
        assert_eq!(stopped.counters.requests, handled);
        assert_eq!((stopped.aborted, stopped.counters.handler_errors), (0, 0));
        assert_eq!(stopped.counters.accepted, stopped.counters.closed);
    }
}

/// They would keep the server for 75 s, or for the hour that it is ready to wait.
#[test]
fn idle_connections_do_not_hold_a_stop() {
    let (server, addr) = waiting(NEVER, from_fn(echo));
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        client.get("/");
    }
    server.stop();
    let stopped = ended(server);
    assert_eq!((stopped.drained, stopped.aborted), (10, 0));
    clients.iter_mut().for_each(Client::expect_end);
    assert_refused(addr);
}

/// A server that lets clients ask once more, for as long as they like.
fn patient(handler: impl Handler) -> (Running, SocketAddr) {
    let config = workers(1)
        .stop_timeout(NEVER)
        .limits(limits().stop_grace(NEVER));
    start(handler, config)
}

/// The address has no listener any more. While many tests run, a connect may also fail for lack of ports.
fn is_refused(connected: &io::Result<TcpStream>) -> bool {
    let error = connected.as_ref().err();
    error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A client cannot know that the server has begun to stop when it asks.
#[test]
fn an_idle_connection_may_send_one_more_request() {
    let (server, addr) = patient(from_fn(echo));
    let [mut used, mut new] = [(); 2].map(|()| Client::connect(addr));
    used.get("/");
    wait_until("both are accepted", || server.counters().accepted == 2);
    server.stop();
    // A connection that was still accepted may be among those that the stop drains.
    let mut late = 0;
    wait_until("it stops", || {
        let connected = TcpStream::connect(addr);
        late += u64::from(connected.is_ok());
        is_refused(&connected)
    });
    let mut requests = 1;
    for client in [&mut used, &mut new] {
        client.send([GET, GET].concat());
        requests += 1;
        // Both have their responses if they arrive between the end of the listener and the stop of the connection.
        if !client.answer(Asked::Other).closes() {
            requests += 1;
            assert!(client.answer(Asked::Other).closes(), "the last answer");
        }
        client.expect_end();
    }
    drop((used, new));
    let stopped = ended(server);
    let drained = stopped.drained;
    assert!((2..=2 + late).contains(&drained), "{drained}, {late} late");
    assert_eq!(stopped.aborted, 0);
    assert_eq!(stopped.counters.requests, requests);
}

/// Nor can a connection that is taking its response, if the head did not announce that it is the last one.
#[test]
fn a_client_without_an_announced_end_may_send_one_more_request() {
    let large = Arc::new(vec![7; 32 << 20]);
    let body = large.clone();
    let app = from_fn(
        move |req: &Request<'_>, res: Response<'_>| match req.path() {
            "/stream" => {
                let (done, sender) = res.stream();
                thread::spawn(move || {
                    let mut sender = sender;
                    let sent = (0..1000).try_for_each(|_| sender.send(vec![1; 32 << 10]));
                    sent.and_then(|()| sender.finish())
                });
                done
            }
            "/small" => res.body("small"),
            _ => res.send(body.clone()),
        },
    );
    for path in ["/large", "/stream"] {
        let (server, addr) = patient(app.clone());
        let mut client = Client::connect(addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        wait_until("it is being sent", || server.counters().bytes_written > 0);
        server.stop();
        wait_until("it stops", || is_refused(&TcpStream::connect(addr)));
        let answer = client.answer(Asked::Other);
        assert!(answer.body.len() >= 32_000_000 && !answer.closes());
        let last = client.get("/small");
        assert_eq!((last.text(), last.closes()), ("small", true));
        client.expect_end();
        drop(client);
        assert_eq!(ended(server).aborted, 0);
    }
}

#[test]
fn without_grace_idle_connections_close_at_once() {
    let config = workers(1)
        .stop_timeout(NEVER)
        .limits(limits().stop_grace(Duration::ZERO));
    let (server, addr) = start(from_fn(echo), config);
    let mut clients = [(); 2].map(|()| Client::connect(addr));
    clients[0].get("/");
    wait_until("both are accepted", || server.counters().accepted == 2);
    server.stop();
    clients.iter_mut().for_each(Client::expect_end);
    assert_eq!(ended(server).drained, 2);
}

/// A client that has connected and not yet sent a request gets a moment to send one.
#[test]
fn a_new_connection_does_not_hold_a_stop() {
    let (server, addr) = waiting(NEVER, from_fn(echo));
    let mut silent = Client::connect(addr);
    wait_until("it is accepted", || server.counters().accepted == 1);
    server.stop();
    let stopped = ended(server);
    assert_eq!((stopped.drained, stopped.aborted), (1, 0));
    silent.expect_end();
}

#[test]
fn a_request_that_is_half_sent_gets_its_response() {
    let (server, addr) = waiting(NEVER, from_fn(echo));
    let [mut head, mut body] = [(); 2].map(|()| Client::connect(addr));
    send_half(&server, &mut head, HALF_HEAD);
    send_half(&server, &mut body, HALF_BODY);
    let mut idle = Client::connect(addr);
    idle.get("/");
    server.stop();
    // The server has begun to stop when it has closed this one.
    idle.expect_end();
    // Bytes after the last request are ignored.
    head.send(format!("t: a\r\n\r\n{GET}"));
    body.send("world");
    for (client, expected) in [(&mut head, &b""[..]), (&mut body, b"helloworld")] {
        let answer = client.answer(Asked::Other);
        assert_eq!((answer.status, answer.closes()), (200, true));
        assert_eq!(answer.body, expected);
        client.expect_end();
    }
    drop((head, body));
    let stopped = ended(server);
    assert_eq!((stopped.drained, stopped.aborted), (3, 0));
    assert_eq!(stopped.counters.requests, 3);
}

/// A server whose only worker waits in `/gate`: at once for a sign that it has begun, and then for
/// one that it may end. What arrives between them, the worker finds when it looks again.
fn gated() -> (Running, SocketAddr, Arc<Barrier>) {
    let gate = Arc::new(Barrier::new(2));
    let inside = gate.clone();
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        if req.path() == "/gate" {
            inside.wait();
            inside.wait();
        }
        match req.method() {
            "POST" => res.body(req.body()),
            _ => res.body(req.path()),
        }
    });
    let (server, addr) = waiting(NEVER, app);
    (server, addr, gate)
}

/// All requests that had arrived when the stop began get their responses, and the last response announces
/// that it is the last one.
#[test]
fn requests_that_have_arrived_get_their_responses() {
    let (server, addr, gate) = gated();
    let [mut first, mut second] = [(); 2].map(|()| Client::connect(addr));
    assert_eq!(second.get("/x").text(), "/x");
    let get = |path: &str| format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n");
    // More than one turn of a connection.
    let paths: Vec<_> = (0..150).map(|i| i.to_string()).collect();
    let all = paths.iter().map(|path| get(path)).collect::<String>();
    first.send(get("gate") + &all);
    gate.wait();
    second.send(&all);
    first.wait_until_delivered();
    second.wait_until_delivered();
    server.stop();
    gate.wait();
    assert_eq!(first.answer(Asked::Other).text(), "/gate");
    for client in [&mut first, &mut second] {
        for (i, path) in paths.iter().enumerate() {
            let answer = client.answer(Asked::Other);
            assert_eq!(answer.text(), format!("/{path}"));
            assert_eq!(answer.closes(), i + 1 == paths.len(), "answer {i}");
        }
        client.expect_end();
    }
    drop((first, second));
    let stopped = ended(server);
    assert_eq!((stopped.drained, stopped.aborted), (2, 0));
}

/// The same where decoding makes what has arrived shorter: it is still the last request.
#[test]
fn half_a_chunked_body_that_has_arrived_is_the_last() {
    let (server, addr, gate) = gated();
    // In this order the worker stops them, so the second has been told when the first is closed.
    let [mut second, mut first] = [(); 2].map(|()| Client::connect(addr));
    send_half(&server, &mut second, "POST / HTTP/1.1\r\nHost: a\r\n");
    first.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    gate.wait();
    let chunks = "1\r\nx\r\n".repeat(300);
    second.send(format!("Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    second.wait_until_delivered();
    server.stop();
    gate.wait();
    // That one was taken before the stop.
    assert_eq!(first.answer(Asked::Other).text(), "/gate");
    first.expect_end();
    second.send(format!("0\r\n\r\n{GET}"));
    let answer = second.answer(Asked::Other);
    assert_eq!((answer.text(), answer.closes()), (&*"x".repeat(300), true));
    second.expect_end();
    drop((first, second));
    assert_eq!(ended(server).aborted, 0);
}

/// A response that has begun is sent to its end.
#[test]
fn a_large_response_is_completed() {
    let large: Arc<[u8]> = vec![7; 32 << 20].into();
    let body = large.clone();
    let app = from_fn(
        move |req: &Request<'_>, res: Response<'_>| match req.path() {
            "/idle" => res.body(""),
            _ => res.send(body.clone()),
        },
    );
    let (server, addr) = waiting(NEVER, app);
    let [mut client, mut idle] = [(); 2].map(|()| Client::connect(addr));
    client.send(GET);
    let (_, length) = client.head();
    idle.get("/idle");
    server.stop();
    idle.expect_end();
    let mut body = vec![0; length];
    client.body(&mut body);
    assert!(body == *large, "other bytes");
    client.expect_end();
    let stopped = ended(server);
    assert_eq!((stopped.drained, stopped.aborted), (2, 0));
}

// ----------------------------------------------------------------------------------------- cut

#[test]
fn connections_that_do_not_end_are_aborted_at_the_deadline() {
    let (server, addr) = waiting(Duration::from_secs(1), from_fn(echo));
    let mut clients = [HALF_HEAD, HALF_BODY].map(|half| {
        let mut client = Client::connect(addr);
        send_half(&server, &mut client, half);
        client
    });
    server.stop();
    let stopped = ended(server);
    assert_eq!((stopped.drained, stopped.aborted), (0, 2));
    assert_eq!(stopped.counters.requests, 0);
    assert_eq!(stopped.counters.closed, 2, "also those that were cut");
    clients.iter_mut().for_each(Client::expect_end);
}

#[test]
fn stop_now_waits_for_no_client() {
    for stop_first in [false, true] {
        let (server, addr) = waiting(NEVER, from_fn(echo));
        let (mut half, mut idle) = (Client::connect(addr), Client::connect(addr));
        send_half(&server, &mut half, HALF_BODY);
        idle.get("/");
        let stopper = server.stopper();
        if stop_first {
            stopper.stop();
            idle.expect_end();
        }
        let second = stopper.clone();
        thread::spawn(move || second.stop_now());
        let stopped = ended(server);
        // The idle one may be closed before the deadline is looked at.
        assert_eq!(stopped.drained + stopped.aborted, 2);
        assert!(stopped.aborted >= 1, "half a request is aborted");
        half.expect_end();
        idle.expect_end();
        // A stopped server does not mind.
        stopper.stop_now();
    }
}

#[test]
fn dropping_stops() {
    let app = Arc::new(from_fn(echo));
    let (server, addr) = start(app.clone(), workers(2));
    let mut client = Client::connect(addr);
    client.get("/");
    drop(server);
    client.expect_end();
    assert_refused(addr);
    assert_eq!(Arc::strong_count(&app), 1, "no thread is left");
}

// ------------------------------------------------------------------------------------- signals

#[cfg(all(unix, feature = "signals"))]
mod signals {
    use super::super::child::Hello;
    use super::super::support::Client;
    use super::{HALF_BODY, assert_refused};
    use rustix::process::Signal;

    #[test]
    fn a_signal_drains() {
        for signal in [Signal::TERM, Signal::INT] {
            let Some(mut hello) = Hello::start(&["--workers", "1"]) else {
                return;
            };
            let mut clients = [(); 2].map(|()| Client::connect(hello.addr));
            for client in &mut clients {
                assert_eq!(client.get("/").text(), "Hello, World!");
            }
            hello.signal(signal);
            assert_eq!(hello.end(), "stopped: 2 connections drained, 0 aborted\n");
            clients.iter_mut().for_each(Client::expect_end);
            assert_refused(hello.addr);
        }
    }

    #[test]
    fn a_second_signal_aborts_connections() {
        let Some(mut hello) = Hello::start(&["--workers", "1"]) else {
            return;
        };
        let (mut half, mut idle) = (Client::connect(hello.addr), Client::connect(hello.addr));
        // In one write, so the half has arrived when the whole one has its response.
        half.send(format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{HALF_BODY}"));
        half.answer(super::Asked::Other);
        assert_eq!(idle.get("/").text(), "Hello, World!");
        hello.signal(Signal::TERM);
        idle.expect_end();
        hello.signal(Signal::TERM);
        assert_eq!(hello.end(), "stopped: 1 connections drained, 1 aborted\n");
        half.expect_end();
    }
}

/// A request that begins after the stop gets no response, so that a client that continues to send cannot keep
/// the server from stopping.
#[test]
fn the_last_response_is_to_a_request_that_had_begun_to_arrive() {
    let app = peregrine::from_fn(|req, res| res.body(req.path()));
    let mut client = peregrine::testing::Connection::new(&app);
    client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HT");
    client.stop();
    assert!(!client.is_closed());
    client.send(b"TP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.is_closed());
    let received = String::from_utf8_lossy(client.received()).into_owned();
    assert!(
        received.ends_with("Connection: close\r\n\r\n/2"),
        "{received}"
    );
    assert_eq!(received.matches("Connection: close").count(), 1);
}
