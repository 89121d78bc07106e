//! A response that was prepared is, for each client, the response from which it was made.

use super::support::{Asked, Client, ended, start, wait_until, workers};
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::error::ResponseError;
use peregrine::layers::from_fn as layer;
use peregrine::testing::Connection;
use peregrine::{Handler, PreparedResponse, Response, Router, from_fn};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[path = "support/kinds.rs"]
mod kinds;
use kinds::{KINDS, app};

/// What the client receives, and whether the connection is closed.
fn received(app: &impl Handler, request: &str) -> (String, bool) {
    let mut client = Connection::new(app);
    client.send(request.as_bytes());
    while client.received().is_empty() && client.wait(Duration::from_secs(120)) {}
    let text = String::from_utf8_lossy(client.received()).into_owned();
    (text, client.is_closed())
}

/// Compares each kind of response, for each kind of request.
fn compare(app: &impl Handler, way: &str, is_for: impl Fn(&str) -> bool) {
    for (kind, _) in KINDS.iter().filter(|(kind, _)| is_for(kind)) {
        for (method, rest) in [
            ("GET", "HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("HEAD", "HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("POST", "HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
            ("GET", "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            ("GET", "HTTP/1.0\r\n\r\n"),
            ("GET", "HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        ] {
            let expected = received(app, &format!("{method} /direct/{kind} {rest}"));
            assert!(expected.0.starts_with("HTTP/1.1 "), "{expected:?}");
            let found = received(app, &format!("{method} /{way}/{kind} {rest}"));
            assert_eq!(found, expected, "{method} {kind} {rest:?}");
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_response_itself() {
    compare(&app(|res| res), "prepared", |_| true);
    compare(&app(|res| res), "later", |_| true);
    compare(&app(|res| res.status(404)), "prepared", |_| true);
    compare(&app(|res| res.close()), "prepared", |_| true);
}

/// A default of `Response::text` does not replace a field, but a field that was prepared does.
#[test]
fn fields_that_were_set_before_are_replaced_or_added_to() {
    for before in [
        |res: Response<'_>| res.header("content-type", "text/x").header("a", "0"),
        |res: Response<'_>| res.header("Vary", "y").header_always("X-Id", "1"),
        |res: Response<'_>| res.header_always("a", "0").header_always("Vary", "y"),
    ] as [for<'r> fn(Response<'r>) -> Response<'r>; 3]
    {
        compare(&app(before), "prepared", |kind| kind != "text");
        compare(&app(before), "later", |kind| kind != "text");
    }
}

#[test]
fn layers_see_it_as_any_response() {
    let cases = |app: Router| compare(&app, "prepared", |_| true);
    let routes = || {
        let app = app(|res| res);
        Router::new().get("/{how}/{kind}", move |req, res| {
            app.handle_request(req, res)
        })
    };
    cases(routes().layer(layer(|req, res, next| next.run(req, res.header("b", "1")))));
    cases(routes().layer(peregrine::layers::ETags::new()));
    #[cfg(feature = "compress")]
    {
        let app = peregrine::compression::Compress::new(app(|res| res));
        let ask = |how: &str| {
            let request =
                format!("GET /{how}/large HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
            received(&app, &request)
        };
        assert_eq!(ask("prepared"), ask("direct"));
    }
}

#[test]
fn what_cannot_be_prepared_is_an_error() {
    let error = |respond: fn(Response<'_>) -> peregrine::Done| {
        PreparedResponse::new(respond).expect_err("no response")
    };
    assert!(matches!(
        error(|res| res.header("a b", "c").body("")),
        ResponseError::HeaderName
    ));
    assert!(matches!(
        error(|res| res.header("a", "b\r\nc: d").body("")),
        ResponseError::HeaderValue
    ));
    assert!(matches!(
        error(|res| res.status(199).body("")),
        ResponseError::Status(199)
    ));
    assert!(matches!(
        error(|res| res.stream().0),
        ResponseError::Missing
    ));
    assert!(matches!(error(|res| res.defer().0), ResponseError::Missing));
    assert!(matches!(
        error(|res| res.send_iter(["a"])),
        ResponseError::Missing
    ));
    assert!(matches!(
        error(|res| {
            let file = std::fs::File::open("Cargo.toml").expect("a file");
            res.send_file(Arc::new(file), 0..9)
        }),
        ResponseError::Missing
    ));
    let app = from_fn(|req, res| {
        let prepared = PreparedResponse::new(|res| res.offload(req, |_, res| res.text("later")));
        assert!(matches!(prepared, Err(ResponseError::Missing)));
        res.text("none")
    });
    assert_eq!(peregrine::testing::get(&app, "/").text(), "none");
}

/// All clients share its body, so those that do not read it take no memory from others.
#[test]
fn a_large_body_counts_for_no_client() {
    const BUDGET: usize = 8 << 20;
    /// More than systems take of a response that no client reads.
    const LARGE: usize = 32 << 20;
    let large: Arc<[u8]> = vec![b'x'; LARGE].into();
    let large = PreparedResponse::new(|res| res.send(large)).expect("a response");
    let app = from_fn(move |req, res| match req.path() {
        "/large" => res.send_prepared(&large),
        _ => res.text("hello"),
    });
    let (server, addr) = start(app, workers(1).buffered_bytes(BUDGET));
    let mut reader = Client::connect(addr);
    reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it begins", || server.counters().bytes_written > 0);
    assert_eq!(Client::connect(addr).get("/").status, 200);
    assert_eq!(reader.answer(Asked::Other).body.len(), LARGE);
    server.stop();
    ended(server);
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Over sockets, from several workers at once: counters and the log have each of them, and HEAD has no body.
#[test]
fn all_clients_get_the_same_response() {
    const CLIENTS: usize = 4;
    const DEPTH: usize = 40;
    let large = PreparedResponse::new(|res| res.status(203).send(vec![b'x'; 100_000]));
    let large = large.expect("a response");
    let short = PreparedResponse::new(|res| res.header("a", "b").body("hello")).expect("one");
    let app = from_fn(move |req, res| match req.path() {
        "/large" => res.send_prepared(&large),
        _ => res.send_prepared(&short),
    });
    let kept = Kept::default();
    let log = LogWriter::new(kept.clone()).expect("a thread");
    let app = AccessLog::with_format(app, log, |entry, line| {
        let bytes = entry.body_bytes().unwrap_or_default();
        line.extend_from_slice(format!("{} {bytes}", entry.status()).as_bytes());
    });
    let (server, addr) = start(app, workers(2));
    let clients = [(); CLIENTS].map(|()| {
        thread::spawn(move || {
            let mut client = Client::connect(addr);
            let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n\
                       GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
            client.send(one.repeat(DEPTH));
            for _ in 0..DEPTH {
                let answer = client.answer(Asked::Other);
                assert_eq!((answer.status, answer.text()), (200, "hello"));
                assert_eq!(answer.get("a"), Some("b"));
                let answer = client.answer(Asked::Head);
                assert_eq!(answer.get("content-length"), Some("5"));
                let answer = client.answer(Asked::Other);
                assert_eq!((answer.status, answer.body.len()), (203, 100_000));
            }
        })
    });
    for client in clients {
        client.join().expect("all responses");
    }
    let all = (3 * CLIENTS * DEPTH) as u64;
    assert_eq!(server.counters().requests, all);
    server.stop();
    ended(server);
    let log = kept.0.lock().expect("no panic").clone();
    let log = String::from_utf8(log).expect("text");
    let count = |line: &str| log.lines().filter(|own| *own == line).count();
    let each = CLIENTS * DEPTH;
    assert_eq!(
        (count("200 5"), count("200 0"), count("203 100000")),
        (each, each, each)
    );
}
