//! Streamed responses that the connection draws from an iterator or a reader.

use super::stream_out::{asked, only, request};
use super::support::{
    Asked, Client, NEVER, Witness, limits, read_answer, start, wait_until, workers,
};
use peregrine::testing::Connection;
use peregrine::{Config, Done, Handler, Request, Response, from_fn};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Returns the planned pieces, and then fails.
struct Failing(&'static [u8]);

impl Read for Failing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            read => read,
        }
    }
}

/// Gives a byte at a time, with interruptions.
struct Slow(usize);

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0 += 1;
        match self.0 {
            n if n > 9 => Ok(0),
            n if n % 3 == 0 => Err(io::ErrorKind::Interrupted.into()),
            n => {
                into[0] = b'0' + n as u8;
                Ok(1)
            }
        }
    }
}

fn drawn(req: &Request<'_>, res: Response<'_>) -> Done {
    let len = req.query("len").map(|n| n.parse().expect("a number"));
    match req.path() {
        "/empty" => res.send_iter([""; 0]),
        "/holes" => res.send_iter(["", "ab", "", "", "c", ""]),
        "/panic" => res.send_iter((0..9).map(|n| match n {
            5 => panic!("at 5"),
            n => n.to_string(),
        })),
        "/count" => res.send_iter((0..100_000).map(|n: u32| n.to_string())),
        "/large" => res.send_iter((0..9).map(|n| vec![b'0' + n; 50_000])),
        "/read" => res.send_reader(&b"abcdef"[..], len),
        "/slow" => res.send_reader(Slow(0), len),
        "/fail" => res.send_reader(Failing(b"abcdef"), len),
        path => res.body(path),
    }
}

fn draw(path: &str, method: &str, version: &str) -> (Connection<'static, impl Handler>, Asked) {
    let app: &'static _ = Box::leak(Box::new(from_fn(drawn)));
    let mut client = Connection::new(app);
    client.send(request(method, path, version).as_bytes());
    (client, asked(method, version))
}

#[test]
fn iterators_and_readers_are_bodies() {
    let count: String = (0..100_000).map(|n: u32| n.to_string()).collect();
    let large: String = ('0'..='8').map(|c| c.to_string().repeat(50_000)).collect();
    let bodies = [
        ("/empty", ""),
        ("/holes", "abc"),
        ("/count", &*count),
        ("/large", &*large),
        ("/read", "abcdef"),
        ("/read?len=6", "abcdef"),
        ("/slow", "124578"),
        ("/slow?len=6", "124578"),
    ];
    for (path, expected) in bodies {
        for version in ["1.0", "1.1"] {
            for method in ["GET", "HEAD"] {
                let (client, asked) = draw(path, method, version);
                let body = if method == "GET" { expected } else { "" };
                assert!(
                    only(&client, asked).text() == body,
                    "{method} {path} {version}"
                );
                let closes = version == "1.0" && !path.contains("len");
                assert_eq!(client.is_closed(), closes, "{path}");
            }
        }
    }
}

#[test]
fn a_source_that_fails_aborts_the_connection() {
    for (path, error) in [
        ("/panic", "panicked"),
        ("/fail", "body"),
        ("/fail?len=100", "body"),
        ("/read?len=7", "body"),
        ("/read?len=5", "body"),
    ] {
        let app = Witness::new(drawn);
        let mut client = Connection::new(&app);
        client.send(request("GET", path, "1.1").as_bytes());
        client.send(request("GET", "/next", "1.1").as_bytes());
        assert!(client.is_closed(), "{path}");
        let answer = read_answer(client.received(), Asked::Other);
        assert_eq!(answer, Ok(None), "{path}: it must not look complete");
        let errors = app.take_errors();
        assert!(
            matches!(&errors[..], [(kind, ..)] if *kind == error),
            "{errors:?}"
        );
        assert_eq!(client.counters().handler_errors, 1);
    }
}

#[test]
fn a_source_without_a_receiver_is_not_read() {
    let app = from_fn(|req: &Request<'_>, res: Response<'_>| {
        let status = req.path()[1..].parse().expect("a status");
        res.status(status)
            .send_iter((0..3).map(|_| -> &str { panic!("drawn") }))
    });
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304)] {
        let mut client = Connection::new(&app);
        client.send(request(method, &format!("/{status}"), "1.1").as_bytes());
        assert_eq!(only(&client, asked(method, "1.1")).status, status);
        assert!(!client.is_closed());
    }
}

/// A handler with a body of empty pieces only, and how many were pulled; with `/then` there are as many that
/// it takes a few pauses, and a word at the end.
fn empties() -> (impl Handler, Arc<AtomicUsize>) {
    let drawn = Arc::new(AtomicUsize::new(0));
    let count = drawn.clone();
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        let count = count.clone();
        let empties = std::iter::repeat_with(move || {
            count.fetch_add(1, Ordering::SeqCst);
            ""
        });
        match req.path() {
            "/then" => res.send_iter(empties.take(500).chain(["word"])),
            "/empties" => res.send_iter(empties),
            path => res.body(path),
        }
    });
    (app, drawn)
}

fn response_timeout(response_timeout: Duration) -> Config {
    let limits = limits().response_timeout(response_timeout);
    workers(1).limits(limits)
}

/// Empty pieces are no progress: the limit on the time of a response goes on, and the worker rests.
#[test]
fn a_body_of_empty_pieces_ends_in_time() {
    let (app, drawn) = empties();
    let (server, addr) = start(app, response_timeout(Duration::from_secs(1)));
    let from = Instant::now();
    let mut client = Client::connect(addr);
    client.send("GET /empties HTTP/1.1\r\nHost: a\r\n\r\n");
    let end = client.try_answer(Asked::Other);
    assert!(!matches!(end, Ok(Some(_))), "it must not look complete");
    wait_until("it is closed", || server.counters().closed == 1);
    assert_eq!(server.counters().response_timeouts, 1);
    // A worker that does not rest draws millions of them.
    let most = 64 * (2 + from.elapsed().as_millis() as usize / 10);
    let drawn = drawn.load(Ordering::SeqCst);
    assert!(drawn <= most, "{drawn} pieces, not {most}");
}

#[test]
fn a_client_that_leaves_a_body_of_empty_pieces_is_noticed() {
    let (app, _) = empties();
    let (server, addr) = start(app, response_timeout(NEVER));
    let mut client = Client::connect(addr);
    client.send("GET /empties HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it has begun", || server.counters().responses_2xx == 1);
    client.reset();
    wait_until("it is closed", || server.counters().closed == 1);
}

#[test]
fn bytes_after_empty_pieces_are_sent() {
    let (app, drawn) = empties();
    let (_server, addr) = start(app, response_timeout(NEVER));
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/then").text(), "word");
    assert_eq!(drawn.load(Ordering::SeqCst), 500);
    assert_eq!(client.get("/next").text(), "/next");

    let app = from_fn(drawn_in_memory);
    let mut client = Connection::new(&app);
    client.send(request("GET", "/", "1.1").as_bytes());
    for _ in 0..10 {
        client.elapse(Duration::from_millis(10));
    }
    assert_eq!(only(&client, Asked::Other).text(), "word");
}

fn drawn_in_memory(_: &Request<'_>, res: Response<'_>) -> Done {
    res.send_iter([""; 500].into_iter().chain(["word"]))
}
