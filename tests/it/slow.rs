//! Clients that take their time, and what the limits make of them.
//!
//! Times in limits are short here so that the tests are; nothing asserts how short the wait was.

use super::support::{Asked, Client, NEVER, Witness, limits, start, wait_until, workers};
use peregrine::{Config, Done, Limits, Payload, Request, Response, from_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// One worker with these limits.
fn limited(limits: Limits) -> Config {
    workers(1).limits(limits)
}

/// Bytes that differ from page to page, so that none can stand in for another.
fn pages(bytes: usize) -> Arc<[u8]> {
    let page: Vec<u8> = (0..4096u32).map(|i| (i * 31 % 251) as u8).collect();
    let mut all = Vec::with_capacity(bytes);
    for number in 0..bytes / page.len() {
        all.extend_from_slice(&number.to_le_bytes());
        all.extend_from_slice(&page[size_of::<usize>()..]);
    }
    all.into()
}

// ------------------------------------------------------------------------------ large payloads

/// 64 MiB to a client that reads a byte, and then a little at a time, while another client is
/// served by the same worker. The payload is sent from where it lies.
#[test]
fn a_slow_reader_costs_no_copy_and_delays_no_other() {
    const STEP: usize = 64 << 10;
    let large = pages(64 << 20);
    let body = large.clone();
    let app = from_fn(
        move |req: &Request<'_>, res: Response<'_>| match req.path() {
            "/large" => res.send(Payload::Shared(body.clone())),
            path => res.body(path),
        },
    );
    let (_server, addr) = start(app, workers(1));
    let (mut slow, mut other) = (Client::connect(addr), Client::connect(addr));
    assert_eq!(Arc::strong_count(&large), 2, "ours and the handler's");

    slow.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let (answer, length) = slow.head();
    assert_eq!((answer.status, length), (200, large.len()));
    let mut byte = [0];
    slow.body(&mut byte);
    assert_eq!(byte[0], large[0]);
    assert_eq!(
        Arc::strong_count(&large),
        3,
        "on its way, and not as a copy"
    );

    let mut step = vec![0; STEP];
    let mut at = 1;
    while at < large.len() {
        let path = format!("/{at}");
        assert_eq!(other.get(&path).text(), path);
        let step = &mut step[..STEP.min(large.len() - at)];
        slow.body(step);
        assert!(*step == large[at..at + step.len()], "other bytes at {at}");
        at += step.len();
    }
    wait_until("the payload is given back", || {
        Arc::strong_count(&large) == 2
    });
    assert_eq!(
        slow.get("/again").text(),
        "/again",
        "and the connection goes on"
    );
}

/// Different payloads, large and small ones in turn, on one connection.
#[test]
fn many_large_payloads_on_one_connection() {
    const COUNT: usize = 200;
    let all = pages(16 << 20);
    // Every kind, on both sides of the size from which on a payload is not copied.
    let part = |i: usize| (i * 4096)..(i * 4096 + (i * 7919) % 150_000 + 15_000);
    let shared: Vec<Arc<[u8]>> = (0..COUNT).map(|i| all[part(i)].into()).collect();
    let handed = shared.clone();
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        let i: usize = req.path()[1..].parse().expect("a number");
        let bytes = &handed[i];
        match i % 4 {
            0 => res.send(bytes.clone()),
            1 => res.send(Arc::new(bytes.to_vec())),
            2 => res.send(bytes.to_vec()),
            _ => res.body(bytes),
        }
    });
    let (_server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    for round in 0..2 {
        let requests = (0..COUNT).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.send(requests.collect::<String>());
        for (i, expected) in shared.iter().enumerate() {
            let answer = client.answer(Asked::Other);
            assert!(*answer.body == **expected, "{round}: {i}: {answer:?}");
        }
    }
    let held = || {
        shared
            .iter()
            .filter(|one| Arc::strong_count(one) != 2)
            .count()
    };
    wait_until("all payloads are given back", || held() == 0);
}

// --------------------------------------------------------------------------------------- times

#[test]
fn a_client_that_never_reads_is_closed() {
    let large = pages(64 << 20);
    let body = large.clone();
    let app = Witness::new(move |_: &Request<'_>, res: Response<'_>| res.send(body.clone()));
    let limits = limits().write_timeout(SECOND);
    let (server, addr) = start(app.clone(), limited(limits));
    let mut client = Client::connect(addr);
    let peer = client.stream.local_addr().expect("an open socket");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    app.one_error("write timeout", peer);
    wait_until("it is closed", || server.counters().closed == 1);
    let counters = server.counters();
    assert_eq!((counters.requests, counters.connection_errors), (1, 1));
    assert!(counters.bytes_written < large.len() as u64);
    assert_eq!(
        Arc::strong_count(&large),
        2,
        "what it was to get is dropped"
    );
    let cut = client.try_answer(Asked::Other);
    assert!(cut.is_err(), "the end of half an answer");
}

/// A byte now and then is not enough.
#[test]
fn a_client_that_receives_too_little_is_closed() {
    let large = pages(64 << 20);
    let app = Witness::new(
        move |req: &Request<'_>, res: Response<'_>| match req.path() {
            "/large" => res.send(Payload::Shared(large.clone())),
            path => res.body(path),
        },
    );
    let limits = limits().write_grace(SECOND).write_rate(64 << 20);
    let (server, addr) = start(app.clone(), limited(limits));
    let (mut slow, mut idle) = (Client::connect(addr), Client::connect(addr));
    let peer = slow.stream.local_addr().expect("an open socket");
    assert_eq!(idle.get("/idle").text(), "/idle");
    slow.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.head();
    wait_until("it is cut", || {
        let mut some = [0; 1000];
        let _ = slow.stream.read(&mut some);
        server.counters().closed == 1
    });
    assert_eq!(server.counters().write_timeouts, 1);
    app.one_error("write timeout", peer);
    // Nothing is ready for a client that has taken all.
    assert_eq!(idle.get("/again").text(), "/again");
}

fn hello(_: &Request<'_>, res: Response<'_>) -> Done {
    res.body("hello")
}

/// RFC 9110 section 15.5.9.
#[test]
fn half_a_head_gets_408() {
    let app = Witness::new(hello);
    let limits = limits().head_timeout(SECOND).idle_timeout(NEVER);
    let (server, addr) = start(app.clone(), limited(limits));
    let mut idle = Client::connect(addr);
    let mut client = Client::connect(addr);
    let peer = client.stream.local_addr().expect("an open socket");
    assert_eq!(client.get("/").text(), "hello");
    client.send("GET / HTTP/1.1\r\nHost:");
    let answer = client.answer(Asked::Other);
    assert_eq!((answer.status, answer.closes()), (408, true));
    client.expect_end();
    app.one_error("refused", peer);
    assert_eq!(server.counters().refused, 1);
    assert_eq!(idle.get("/").text(), "hello", "idleness has another limit");
}

#[test]
fn a_body_that_stalls_gets_408() {
    let limits = limits().body_grace(SECOND).body_rate(1_000_000);
    let (server, addr) = start(from_fn(hello), limited(limits));
    let framings = ["Content-Length: 9", "Transfer-Encoding: chunked"];
    let clients = framings.map(|framing| {
        let mut client = Client::connect(addr);
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nhel"
        ));
        client
    });
    for mut client in clients {
        let answer = client.answer(Asked::Other);
        assert_eq!((answer.status, answer.closes()), (408, true));
        client.expect_end();
    }
    assert_eq!(server.counters().refused, 2);
}

#[test]
fn an_idle_connection_is_closed_without_a_response() {
    let app = Witness::new(hello);
    // Longer than it takes to ask once, but on a machine that stalls.
    let limits = limits().idle_timeout(3 * SECOND);
    let (server, addr) = start(app.clone(), limited(limits));
    let (mut fresh, mut late) = (Client::connect(addr), 0);
    let mut used = loop {
        let mut client = Client::connect(addr);
        let _ = client
            .stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        if let Some(answer) = client.try_answer(Asked::Other).expect("no half of one") {
            assert_eq!(answer.text(), "hello");
            break client;
        }
        late += 1;
        assert!(late < 20, "every one is closed before it has asked");
    };
    fresh.expect_end();
    used.expect_end();
    wait_until("all are closed", || server.counters().closed == late + 2);
    let counters = server.counters();
    assert_eq!(counters.requests, 1);
    assert_eq!((counters.refused, counters.connection_errors), (0, 0));
    assert_eq!(app.take_errors(), []);
}

// ----------------------------------------------------------------------------- lingering close

/// RFC 9112 section 9.6: a client that is sending when it is refused can still read why.
#[test]
fn the_refusal_of_a_body_reaches_a_client_that_still_sends() {
    let limits = limits().body_bytes(1000).linger_timeout(NEVER);
    let (server, addr) = start(from_fn(hello), limited(limits));
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let length = format!("{head}Content-Length: 204800\r\n\r\n");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n32000\r\n");
    for (count, head) in (1..).zip([length, chunked]) {
        let mut client = Client::connect(addr);
        client.send(head);
        wait_until("it is refused", || server.counters().refused == count);
        // All of it before the response is looked at; a reset would lose that.
        for _ in 0..100 {
            client.send([b'x'; 2 << 10]);
        }
        let answer = client.answer(Asked::Other);
        assert_eq!((answer.status, answer.closes()), (413, true));
        client.expect_end();
    }
    // The clients have closed too, so no connection waits for the end of `linger_timeout`.
    wait_until("both are closed", || server.counters().closed == 2);
}

/// The same where the handler ends the connection, or a fault of it does.
#[test]
fn the_last_response_reaches_a_client_that_still_sends() {
    let limits = limits().linger_timeout(NEVER);
    let app = from_fn(|req: &Request<'_>, res: Response<'_>| match req.path() {
        "/close" => res.close().body("the last"),
        _ => res.status(1).body("a fault"),
    });
    let (server, addr) = start(app, limited(limits));
    for (count, path, status) in [(1, "/close", 200), (2, "/fault", 500)] {
        let mut client = Client::connect(addr);
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.send(&request);
        wait_until("it is answered", || server.counters().requests == count);
        for _ in 0..1000 {
            client.send(&request);
        }
        let answer = client.answer(Asked::Other);
        assert_eq!((answer.status, answer.closes()), (status, true));
        client.expect_end();
    }
    wait_until("both are closed", || server.counters().closed == 2);
    assert_eq!(server.counters().requests, 2);
}

#[test]
fn lingering_ends_after_its_time() {
    let limits = limits().linger_timeout(SECOND).linger_bytes(usize::MAX);
    let (server, addr) = start(from_fn(hello), limited(limits));
    let mut client = Client::connect(addr);
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.answer(Asked::Other).status, 400);
    client.expect_end();
    // It neither sends nor closes.
    wait_until("it is closed", || server.counters().closed == 1);
    assert_eq!(server.counters().connection_errors, 0);
}

/// Nothing more is read then, but the connection stays open: a reset would destroy the response.
#[test]
fn lingering_reads_a_limited_number_of_bytes() {
    let limits = limits().linger_timeout(NEVER).linger_bytes(100_000);
    let (server, addr) = start(from_fn(hello), limited(limits));
    let read = || server.counters().bytes_read;
    let mut client = Client::connect(addr);
    client.send("nonsense\r\n\r\n");
    wait_until("it is refused", || server.counters().refused == 1);
    client.stream.set_nonblocking(true).expect("set");
    let flood = || match (&client.stream).write(&[b'x'; 64 << 10]) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "closed");
            read() >= 12 + 100_000
        }
    };
    wait_until("nothing more is read", flood);
    client.stream.set_nonblocking(false).expect("set");
    assert_eq!(client.answer(Asked::Other).status, 400);
    client.expect_end();
    assert_eq!((read(), server.counters().closed), (12 + 100_000, 0));
    // Windows tells nothing of a socket of which nothing is wanted: the connection ends after `linger_timeout` there.
    if cfg!(windows) {
        return;
    }
    // A client that goes is noticed, though nothing is read; so is one that only stops sending.
    let socket = socket2::SockRef::from(&client.stream);
    socket.set_linger(Some(Duration::ZERO)).expect("set");
    drop(client);
    wait_until("it is closed", || server.counters().closed == 1);

    let mut half = Client::connect(addr);
    half.send([b"nonsense\r\n\r\n", &[b'x'; 150_000][..]].concat());
    half.stream.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(half.answer(Asked::Other).status, 400);
    half.expect_end();
    wait_until("it is closed", || server.counters().closed == 2);
}
