//! Handlers that fail and clients that leave: what is reported and counted.

use super::support::{Asked, Client, Witness, ended, start, wait_until, workers};
use crate::support::acceptors;
use peregrine::metrics::Counters;
use peregrine::{Done, Handler, Request, Response, from_fn};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A client, and its address as the server sees it.
fn connect(addr: SocketAddr) -> (Client, SocketAddr) {
    let client = Client::connect(addr);
    let peer = client.stream.local_addr().expect("an open socket");
    (client, peer)
}

/// The response to a request whose handler failed: it has nothing of the handler.
#[track_caller]
fn assert_500(client: &mut Client, asked: Asked) {
    let answer = client.answer(asked);
    assert_eq!((answer.status, answer.closes()), (500, true), "{answer:?}");
    let names = answer.fields.iter().map(|field| field.0.as_str());
    let ours = [
        "server",
        "date",
        "content-type",
        "content-length",
        "connection",
    ];
    assert_eq!(names.collect::<Vec<_>>(), ours);
    let body = match asked {
        Asked::Head => "",
        _ => "the server could not respond to this request\n",
    };
    assert_eq!(answer.text(), body);
    client.expect_end();
}

// -------------------------------------------------------------------------- answers that fail

/// What a handler can do wrong, by path, with the name and the text of the error it causes.
const FAULTS: &[(&str, &str, &str)] = &[
    ("/panic", "panicked", "the handler panicked: as asked"),
    (
        "/panic/late",
        "panicked",
        "the handler panicked: after 3 bytes",
    ),
    ("/panic/odd", "panicked", "the handler panicked: no message"),
    ("/status/99", "answer", "99 is not the status of a response"),
    (
        "/status/101",
        "answer",
        "101 is not the status of a response",
    ),
    (
        "/status/199",
        "answer",
        "199 is not the status of a response",
    ),
    (
        "/status/600",
        "answer",
        "600 is not the status of a response",
    ),
    ("/name", "answer", "malformed header field name"),
    ("/value", "answer", "control byte in a header field value"),
    (
        "/redirect",
        "answer",
        "control byte in a header field value",
    ),
    ("/write", "answer", "the body could not be written: no more"),
];

fn faulty(req: &Request<'_>, res: Response<'_>) -> Done {
    use std::io::Write;
    use std::panic::{panic_any, resume_unwind};
    const INJECTED: &str = "x\r\nInjected: 1\r\n\r\nHTTP/1.1 200 OK\r\n";
    let res = res.header("Mine", "1");
    match req.path() {
        "/panic" => panic!("as asked"),
        "/panic/late" => res.write_with(|body| {
            let written = body.write(b"abc").expect("it never fails");
            panic!("after {written} bytes")
        }),
        "/panic/odd" => panic_any(7),
        "/name" => res.header("Na me", "1").body("late"),
        "/value" => res.header("Name", INJECTED).body("late"),
        "/redirect" => res.redirect(302, format!("/{INJECTED}")),
        "/write" => res.write_with(|body| {
            body.write_all(b"half")?;
            Err(std::io::Error::other("no more"))
        }),
        // Without the hook, which would print a trace.
        "/quiet" => resume_unwind(Box::new("quietly")),
        path => match path.strip_prefix("/status/") {
            Some(status) => res.status(status.parse().expect("a number")).body("late"),
            None => res.body(path),
        },
    }
}

#[test]
fn every_error_is_a_500_and_is_reported_once() {
    let app = Witness::new(faulty);
    let (server, addr) = start(app.clone(), workers(1));
    let (mut other, _) = connect(addr);
    let mut count = 0;
    for (path, name, text) in FAULTS {
        for (method, asked) in [("GET", Asked::Other), ("HEAD", Asked::Head)] {
            let (mut client, peer) = connect(addr);
            // Earlier responses stay; later requests are not handled.
            let request = |path| format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            client.send([request("/before"), request(path), request("/after")].concat());
            let before = client.answer(asked);
            assert_eq!((before.status, before.get("mine")), (200, Some("1")));
            assert_500(&mut client, asked);
            assert_eq!(app.one_error(name, peer), *text, "{method} {path}");
            count += 1;
        }
        // The worker goes on, and so do its other connections.
        assert_eq!(other.get("/other").text(), "/other");
    }
    let counters = server.counters();
    assert_eq!(counters.handler_errors, count);
    assert_eq!(counters.requests, count * 2 + FAULTS.len() as u64);
    assert_eq!((counters.refused, counters.connection_errors), (0, 0));
}

/// The proof of a response to one request is no proof for another.
#[test]
fn a_done_of_another_request_is_not_accepted() {
    static KEPT: Mutex<Option<Done>> = Mutex::new(None);
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let app = Witness::new(
        move |req: &Request<'_>, res: Response<'_>| match req.path() {
            "/keep" => {
                *kept() = Some(res.body("lost"));
                panic!("with the proof kept")
            }
            _ => kept()
                .take()
                .unwrap_or_else(|| res.body("nothing was kept")),
        },
    );
    let (server, addr) = start(app.clone(), workers(1));
    for round in 1..=3 {
        let (mut client, peer) = connect(addr);
        client.send("GET /keep HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_500(&mut client, Asked::Other);
        app.one_error("panicked", peer);
        let (mut client, peer) = connect(addr);
        client.send(GET);
        assert_500(&mut client, Asked::Other);
        assert_eq!(
            app.one_error("missing", peer),
            "the handler did not respond"
        );
        let (mut client, _) = connect(addr);
        assert_eq!(client.get("/").text(), "nothing was kept");
        assert_eq!(server.counters().handler_errors, 2 * round);
    }
}

/// A panic in `handle_error` is as harmless as one in `handle_request`.
#[test]
fn a_panic_in_handle_error_is_ignored() {
    struct Hopeless;

    impl Handler for Hopeless {
        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            faulty(req, res)
        }

        fn handle_error(&self, _: &peregrine::error::ConnectionError<'_>, _: Option<SocketAddr>) {
            std::panic::resume_unwind(Box::new("again"));
        }
    }

    let (server, addr) = start(Hopeless, workers(1));
    let (mut other, _) = connect(addr);
    for request in ["GET /quiet HTTP/1.1\r\nHost: a\r\n\r\n", "nonsense\r\n\r\n"] {
        let (mut client, _) = connect(addr);
        client.send(request);
        let status = client.answer(Asked::Other).status;
        assert!(matches!(status, 500 | 400), "{status}");
        client.expect_end();
        assert_eq!(other.get("/other").text(), "/other");
    }
    // That of the request, and two of `handle_error`.
    wait_until("all are counted", || server.counters().handler_errors == 3);
    assert_eq!(server.counters().panics, 3);
}

// -------------------------------------------------------------------------- clients that leave

#[test]
fn a_client_that_leaves_in_the_middle_is_reported() {
    let large: Arc<[u8]> = vec![1; 64 << 20].into();
    let body = large.clone();
    let app = Witness::new(move |_: &Request<'_>, res: Response<'_>| res.send(body.clone()));
    let (server, addr) = start(app.clone(), workers(1));
    let counters = || server.counters();
    let mut read = 0;
    let mut gone = 0;
    for half in [
        "GET / HT",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhel",
    ] {
        for reset in [false, true] {
            let (mut client, peer) = connect(addr);
            client.send(half);
            read += half.len() as u64;
            wait_until("half is read", || counters().bytes_read == read);
            let name = match reset {
                true => {
                    client.reset();
                    "read"
                }
                false => {
                    drop(client);
                    "gone"
                }
            };
            app.one_error(name, peer);
            gone += 1;
        }
    }
    for unread in [0, 1 << 20] {
        let (mut client, peer) = connect(addr);
        client.send(GET);
        let (_, length) = client.head();
        assert_eq!(length, large.len());
        client.body(&mut vec![0; unread]);
        client.reset();
        app.one_error("write", peer);
        gone += 1;
    }
    wait_until("all are closed", || counters().closed == gone);
    assert_eq!(Arc::strong_count(&large), 2, "nothing is left to be sent");
    let Counters {
        requests,
        connection_errors,
        refused,
        ..
    } = counters();
    assert_eq!((requests, connection_errors, refused), (2, gone, 0));
}

/// A client may close its connection between two requests; that is no error.
#[test]
fn a_client_that_leaves_between_requests_is_no_error() {
    let app = Witness::new(faulty);
    let (server, addr) = start(app.clone(), workers(1));
    for reset in [false, true] {
        for used in [false, true] {
            let (mut client, _) = connect(addr);
            if used {
                assert_eq!(client.get("/x").text(), "/x");
            }
            match reset {
                true => client.reset(),
                false => drop(client),
            }
        }
    }
    wait_until("all are closed", || server.counters().closed == 4);
    assert_eq!(app.take_errors(), []);
    assert_eq!(server.counters().connection_errors, 0);
}

// -------------------------------------------------------------------------- what is known

#[test]
fn both_ends_are_known() {
    let app = from_fn(|req: &Request<'_>, res: Response<'_>| {
        res.body(format!("{:?} {:?}", req.peer_addr(), req.local_addr()))
    });
    for accept_threads in [0, 1] {
        let config = workers(1).accept_threads(acceptors(accept_threads));
        let (_server, addr) = start(app, config);
        for _ in 0..3 {
            let (mut client, peer) = connect(addr);
            let expected = format!("{:?} {:?}", Some(peer), Some(addr));
            assert_eq!(client.get("/").text(), expected);
        }
    }
}

/// Every byte and every request of every kind, on connections of every kind.
#[test]
fn the_counters_add_up() {
    let (server, addr) = start(from_fn(faulty), workers(2));
    let (mut sent, mut received) = (0, 0);
    let mut exchange = |client: &mut Client, request: &str, status: u16| {
        client.send(request);
        sent += request.len() as u64;
        assert_eq!(client.answer(Asked::Other).status, status);
    };
    let chunked = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;x=y\r\nhello\r\n0\r\nTrailer: z\r\n\r\n";
    let length = "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let quiet = "GET /quiet HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        for request in [
            GET,
            chunked,
            length,
            "\r\nGET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ] {
            exchange(client, request, 200);
        }
    }
    let [refused, failed, closed, ..] = &mut clients[..] else {
        unreachable!("six");
    };
    exchange(refused, "GET / HTTP/1.1\r\n\r\n", 400);
    exchange(failed, quiet, 500);
    exchange(
        closed,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        200,
    );
    for mut client in clients.drain(..3) {
        client.expect_end();
        received += client.received;
    }
    received += clients.iter().map(|client| client.received).sum::<u64>();
    wait_until("three are closed", || server.counters().closed == 3);
    drop(clients);
    wait_until("all are closed", || server.counters().closed == 6);
    // The turn that has closed the last one may not be over yet, and how many there are is chance.
    let without_turns = |mut counters: Counters| {
        counters.turns = 0;
        counters.turns_timed = 0;
        counters.turn_nanos = 0;
        counters.handlers_timed = 0;
        counters.handler_nanos = 0;
        counters.handlers_over_10ms = 0;
        counters.handlers_over_100ms = 0;
        counters.handlers_over_1s = 0;
        counters
    };
    let by_worker = without_turns(server.worker_counters().into_iter().sum());
    assert_eq!(by_worker, without_turns(server.counters()));
    server.stop();
    let counters = without_turns(ended(server).counters);
    assert_eq!(counters, by_worker, "nothing happened since");
    let mut expected = Counters::default();
    expected.accepted = 6;
    expected.closed = 6;
    expected.requests = 26;
    expected.responses_2xx = 25;
    expected.responses_4xx = 1;
    expected.responses_5xx = 1;
    expected.panics = 1;
    expected.bytes_read = sent;
    expected.bytes_written = received;
    expected.refused = 1;
    expected.handler_errors = 1;
    expected.connection_errors = 0;
    assert_eq!(counters, expected);
}
