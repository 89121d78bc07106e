//! Streamed responses over sockets: how fast they flow, and how they end when one side goes.

use super::stream_out::streams;
use super::support::{Asked, Client, NEVER, PATIENCE, Random, ended, start, wait_until, workers};
use peregrine::body::{BodySender, SendError, TrySendError};
use peregrine::{Config, Limits, Payload, Request, Response, from_fn};
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const LIMIT: usize = 64 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// One worker. A stream may be this far ahead, and a stop does not wait for connections.
pub(crate) fn narrow() -> Config {
    let limits = Limits::default()
        .output_bytes(LIMIT)
        .write_timeout(NEVER)
        .response_timeout(NEVER);
    workers(1).limits(limits)
}

#[track_caller]
pub(crate) fn next(bodies: &Receiver<BodySender>) -> BodySender {
    bodies.recv_timeout(PATIENCE).expect("a stream")
}

pub(crate) fn get(client: &mut Client, path: &str) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
}

/// Bytes of a stream, different at every place.
pub(crate) fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len)
        .map(|i| (i * 7 + i / 251 + i / 65_521) as u8)
        .collect()
}

/// Sends pieces of `len` bytes until no more fit. Returns how many bytes were taken.
#[track_caller]
fn fill(body: &mut BodySender, len: usize) -> usize {
    let mut sent = 0;
    let mut refused = 0;
    // The system takes some of it at first, so the backlog comes and goes.
    wait_until("no room is left", || {
        loop {
            match body.try_send(pattern(sent, len)) {
                Ok(()) => (sent, refused) = (sent + len, 0),
                Err(TrySendError::Full(piece)) => {
                    assert!(
                        piece.as_bytes() == pattern(sent, len),
                        "the piece comes back"
                    );
                    refused += 1;
                    break refused > 20;
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    sent
}

/// Reads chunks until the body has ended.
#[track_caller]
pub(crate) fn read_all(client: &mut Client, expected: impl Fn(usize, usize) -> Vec<u8>) -> usize {
    let mut at = 0;
    loop {
        let chunk = client.chunk();
        if chunk.is_empty() {
            return at;
        }
        assert!(chunk == expected(at, chunk.len()), "other bytes at {at}");
        at += chunk.len();
    }
}

// ---------------------------------------------------------------------------------------- flow

/// Whatever the size of the pieces, and with a client that has begun to read and then stops.
#[test]
fn the_memory_of_a_slow_client_is_bounded() {
    let (app, bodies) = streams();
    let (server, addr) = start(app, narrow());
    for len in [100, 8000, 20_000, 60_000] {
        let mut client = Client::connect(addr);
        get(&mut client, "/200");
        let mut body = next(&bodies);
        client.head();
        let before = server.counters().bytes_written;
        let mut sent = fill(&mut body, len);
        let mut read = 0;
        // It reads a little, now and then; what is ahead of it is never more than was allowed.
        for _ in 0..20 {
            // No more than what is on its way, which nothing else would send.
            let mut part = vec![0; 50_000.min(sent - read)];
            client.stream.read_exact(&mut part).expect("some of it");
            read += part.len();
            loop {
                match body.try_send(pattern(sent, len)) {
                    Ok(()) => sent += len,
                    Err(TrySendError::Full(_)) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            let written = server.counters().bytes_written - before;
            let ahead = sent as u64 - written.min(sent as u64);
            assert!(
                ahead <= (LIMIT + len) as u64,
                "{ahead} bytes ahead, pieces of {len}"
            );
            // Its framing comes to that.
            assert!(body.backlog() <= LIMIT + LIMIT / 8 + len);
        }
        drop(body);
        client.reset();
    }
    wait_until("all are closed", || server.counters().closed == 4);
}

/// A large piece is sent from where it lies, and given back as soon as it is gone.
#[test]
fn large_pieces_are_not_copied() {
    let (app, bodies) = streams();
    let (_server, addr) = start(app, narrow());
    let large: Arc<[u8]> = pattern(0, 32 << 20).into();
    let mut client = Client::connect(addr);
    get(&mut client, "/200");
    let mut body = next(&bodies);
    client.head();
    body.try_send(large.clone())
        .expect("there is always room for one");
    let Err(TrySendError::Full(Payload::Shared(again))) = body.try_send(large.clone()) else {
        panic!("no room for another");
    };
    assert!(Arc::ptr_eq(&again, &large));
    drop(again);
    assert_eq!(
        Arc::strong_count(&large),
        2,
        "on its way, and not as a copy"
    );
    let reader = thread::spawn(move || client.chunk());
    assert!(reader.join().expect("no panic") == *large);
    wait_until("it is given back", || Arc::strong_count(&large) == 1);
    assert!(body.wait_ready(PATIENCE));
    body.finish().expect("finished");
}

#[test]
fn a_sender_waits_for_its_client_and_continues() {
    const LEN: usize = 10_007;
    const COUNT: usize = 800;
    let (app, bodies) = streams();
    let (_server, addr) = start(app, narrow());
    let mut client = Client::connect(addr);
    get(&mut client, "/200");
    let body = next(&bodies);
    let (sent, sending) = channel();
    let sender = thread::spawn(move || -> Result<(), SendError> {
        let mut body = body;
        for i in 0..COUNT {
            body.send(pattern(i * LEN, LEN))?;
            let _ = sent.send(i);
        }
        body.finish()
    });
    // It has begun, and cannot have finished: the system's buffers do not hold 8 MB.
    sending.recv_timeout(PATIENCE).expect("begun");
    client.head();
    assert_eq!(read_all(&mut client, pattern), LEN * COUNT);
    sender.join().expect("no panic").expect("all was sent");
    assert_eq!(
        client.get("/next").text(),
        "/next",
        "the connection goes on"
    );
}

#[test]
fn a_callback_is_called_when_there_is_room() {
    let (app, bodies) = streams();
    let (_server, addr) = start(app, narrow());
    let mut client = Client::connect(addr);
    get(&mut client, "/200");
    let mut body = next(&bodies);
    client.head();
    let (ready, told) = channel();
    let tell = move |ready: std::sync::mpsc::Sender<String>| {
        move || {
            let thread = thread::current().name().unwrap_or_default().to_owned();
            let _ = ready.send(thread);
        }
    };
    body.on_ready(tell(ready.clone()));
    let own = thread::current().name().unwrap_or_default().to_owned();
    assert_eq!(told.try_recv(), Ok(own), "there is room: at once, here");

    body.try_send(vec![0; 32 << 20]).expect("room for one");
    body.on_ready(tell(ready.clone()));
    assert!(!body.is_ready() && !body.wait_ready(Duration::ZERO));
    assert!(told.try_recv().is_err(), "no room yet");
    assert_eq!(client.chunk().len(), 32 << 20);
    assert!(body.wait_ready(PATIENCE));
    let thread = told.recv_timeout(PATIENCE).expect("told");
    assert!(thread.starts_with("pg-worker"), "{thread}");

    // So is a sender after its client has gone.
    body.try_send(vec![0; 32 << 20]).expect("room for one");
    body.on_ready(tell(ready));
    assert!(!body.is_ready() && told.try_recv().is_err());
    client.reset();
    told.recv_timeout(PATIENCE).expect("told");
    wait_until("it is known", || body.is_gone());
    assert!(matches!(body.send("more"), Err(SendError::Gone)));
}

/// What is called on the worker's thread may panic, and the worker goes on.
#[test]
fn a_panic_in_a_readiness_callback_affects_no_connection() {
    let (app, bodies) = streams();
    let (server, addr) = start(app, narrow());
    for gone in [false, true] {
        let mut client = Client::connect(addr);
        get(&mut client, "/200");
        let mut body = next(&bodies);
        client.head();
        body.try_send(vec![0; 32 << 20]).expect("room for one");
        body.on_ready(|| panic!("as asked"));
        match gone {
            true => client.reset(),
            false => {
                assert_eq!(client.chunk().len(), 32 << 20);
                body.finish().expect("finished");
                assert!(client.chunk().is_empty());
            }
        }
        assert_eq!(Client::connect(addr).get("/next").text(), "/next");
    }
    server.stop();
    ended(server);
}

/// A worker must not wait for what only a worker can do: itself, or another that waits for it.
#[test]
fn a_worker_does_not_wait() {
    let (give, bodies) = channel();
    let bodies = Mutex::new(bodies);
    let give = Mutex::new(give);
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        let full = |body: &mut BodySender| loop {
            match body.send(vec![b'x'; 20_000]) {
                Ok(()) => {}
                Err(SendError::WouldBlock) => return,
                Err(error) => panic!("{error}"),
            }
        };
        match req.path() {
            "/own" => {
                let (done, mut body) = res.stream();
                full(&mut body);
                done
            }
            "/give" => {
                let (done, body) = res.stream();
                let give = give.lock().expect("no panic");
                give.send(body).expect("kept");
                done
            }
            "/take" => {
                let mut body = bodies.lock().expect("no panic").try_recv().expect("given");
                full(&mut body);
                res.text("full")
            }
            path => res.body(path),
        }
    });
    let limits = narrow().limits;
    let config = workers(2)
        .limits(limits)
        .balance(peregrine::config::Balance::RoundRobin);
    let (_server, addr) = start(app, config);
    let mut own = Client::connect(addr);
    get(&mut own, "/own");
    own.head();
    while own.try_chunk().is_ok() {}
    // Two connections to each worker: every one fills a stream of every other.
    let mut givers: Vec<_> = (0..4).map(|_| Client::connect(addr)).collect();
    let mut takers: Vec<_> = (0..4).map(|_| Client::connect(addr)).collect();
    for giver in &mut givers {
        get(giver, "/give");
        giver.head();
    }
    takers.iter_mut().for_each(|taker| get(taker, "/take"));
    for taker in &mut takers {
        assert_eq!(taker.answer(Asked::Other).text(), "full");
    }
}

// ----------------------------------------------------------------------------------- the ends

#[test]
fn a_client_that_receives_nothing_is_closed() {
    let (app, bodies) = streams();
    let mut config = narrow();
    config.limits.write_timeout = SECOND;
    let (server, addr) = start(app, config);
    for version in ["1.0", "1.1"] {
        let mut client = Client::connect(addr);
        client.send(format!("GET /200 HTTP/{version}\r\nHost: a\r\n\r\n"));
        let mut body = next(&bodies);
        // Too much for the buffers of the system.
        let blocked = thread::spawn(move || {
            let failed = (0..10_000).find_map(|_| body.send(vec![b'x'; 10_000]).err());
            assert!(body.is_gone());
            failed
        });
        let failed = blocked.join().expect("no panic");
        assert!(matches!(failed, Some(SendError::Gone)), "{failed:?}");
        let asked = if version == "1.0" {
            Asked::Old
        } else {
            Asked::Other
        };
        assert!(
            client.try_answer(asked).is_err(),
            "it does not look complete"
        );
    }
    assert_eq!(server.counters().connection_errors, 2);
}

/// To an HTTP/1.0 client an end of the connection is the end of the body: only a reset tells it
/// that something is missing, whatever the reason.
#[test]
fn half_a_body_without_length_ends_in_a_reset() {
    for why in ["dropped", "silence", "stop", "stop now"] {
        let (app, bodies) = streams();
        let mut config = narrow();
        config.stop_timeout = SECOND;
        if why == "silence" {
            config.limits.response_timeout = 3 * SECOND;
        }
        let (server, addr) = start(app, config);
        let mut client = Client::connect(addr);
        client.send("GET /200 HTTP/1.0\r\n\r\n");
        let mut body = next(&bodies);
        body.send("half").expect("sent");
        let mut start = [0; 4];
        while start != *b"half" {
            start.rotate_left(1);
            client
                .stream
                .read_exact(&mut start[3..])
                .expect("the first half");
        }
        let mut body = Some(body);
        match why {
            "dropped" => drop(body.take()),
            "stop" => server.stop(),
            "stop now" => server.stopper().stop_now(),
            _ => {}
        }
        let end = client.stream.read(&mut start);
        let end = end.map_err(|error| error.kind());
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset), "{why}");
    }
}

/// It closes, or resets, after any number of bytes; then every sender knows, and nothing is kept.
#[test]
fn a_client_may_vanish_at_any_point() {
    let (app, bodies) = streams();
    let (server, addr) = start(app, narrow());
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut clients = 0;
    for path in ["/200", "/200?late", "/200?exact=100000000"] {
        for at in [0, 1, 100, 200, 300, 5000, 300_000] {
            for reset in [false, true] {
                let mut client = Client::connect(addr);
                clients += 1;
                get(&mut client, path);
                let mut body = next(&bodies);
                let sender = thread::spawn(move || {
                    for _ in 0..10_000 {
                        let piece = vec![b'x'; 10_000];
                        if let Err(error) = body.send(piece) {
                            return error;
                        }
                    }
                    SendError::Length
                });
                let mut part = vec![0; at + random.below(50)];
                client.stream.read_exact(&mut part).expect("some of it");
                match reset {
                    true => client.reset(),
                    false => drop(client),
                }
                let failed = sender.join().expect("no panic");
                assert!(
                    matches!(failed, SendError::Gone),
                    "{path} after {at}: {failed}"
                );
            }
        }
    }
    wait_until("all are closed", || server.counters().closed == clients);
    assert_eq!(Client::connect(addr).get("/next").text(), "/next");
}
