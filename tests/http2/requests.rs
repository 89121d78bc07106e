//! Requests and complete responses.

use super::Left;
use peregrine::config::Http2Limits;
use peregrine::error::ConnectionError;
use peregrine::testing::{Connection, Http2};
use peregrine::{Done, Handler, Limits, Request, Response, Version, from_fn};
use std::net::SocketAddr;

const NO_ERROR: u32 = 0;

#[test]
fn a_request_is_seen_as_in_http1() {
    let app = from_fn(|req, res| {
        assert_eq!(req.version(), Version::Http2);
        let cookie = req.header("cookie").unwrap_or("none");
        let host = req.host().unwrap_or("none");
        let owned = req.to_owned_request();
        let copy = owned.as_request();
        assert_eq!((copy.path(), copy.host()), (req.path(), req.host()));
        assert_eq!(copy.headers().count(), req.headers().count());
        res.header("X-Seen", "yes").text(format!(
            "{} {} {:?} {host} {cookie} {}",
            req.method(),
            req.path(),
            req.query("q"),
            req.headers().count()
        ))
    });
    let mut client = Http2::new(&app);
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("x-own", "x")];
    let stream = client.request("GET", "/a?q=1", &fields, b"");
    let response = client.response(stream);
    let text = "GET /a Some(\"1\") test a=1; b=2 3";
    assert_eq!(String::from_utf8_lossy(&response.body), text);
    assert_eq!(response.status, 200);
    let names: Vec<_> = response.fields.iter().map(|(name, _)| &name[..]).collect();
    let all = ["server", "date", "x-seen", "content-type", "content-length"];
    assert_eq!(names, all);
    assert!(response.is_complete && response.reset.is_none());
}

#[test]
fn statuses_and_methods_without_a_body() {
    let app = from_fn(|req, res| {
        let status = req.path()[1..].parse().unwrap_or(200);
        res.status(status).body("0123456789")
    });
    let mut client = Http2::new(&app);
    for (method, path, length, body) in [
        ("GET", "/200", Some("10"), 10),
        ("HEAD", "/200", Some("10"), 0),
        ("GET", "/204", None, 0),
        ("GET", "/304", None, 0),
        ("GET", "/205", Some("0"), 0),
        ("GET", "/404", Some("10"), 10),
    ] {
        let stream = client.request(method, path, &[], b"");
        let response = client.response(stream);
        assert_eq!(response.status.to_string(), path[1..], "{method} {path}");
        assert_eq!(response.field("content-length"), length, "{method} {path}");
        assert_eq!(response.body.len(), body, "{method} {path}");
        assert!(response.is_complete, "{method} {path}");
    }
}

#[test]
fn a_handler_that_panics_costs_its_stream_alone() {
    let app = from_fn(|req, res| match req.path() {
        "/panic" => std::panic::panic_any("on purpose"),
        "/header" => res.header("a b", "c").text("never"),
        _ => res.text("fine"),
    });
    let mut client = Http2::new(&app);
    let streams = ["/panic", "/", "/header", "/"].map(|path| client.get(path));
    let statuses = streams.map(|stream| client.response(stream).status);
    assert_eq!(statuses, [500, 200, 500, 200]);
    assert!(!client.is_closed());
    let counters = client.counters();
    assert_eq!((counters.panics, counters.handler_errors), (1, 2));
    assert_eq!(
        (counters.http2_connections, counters.http2_requests),
        (1, 4)
    );
    assert_eq!(counters.responses_5xx, 2);
}

#[test]
fn requests_beyond_the_limits_are_refused_with_the_status_of_http1() {
    let app = from_fn(|_, res| res.text("fine"));
    let limits = Limits::default().target_bytes(10).body_bytes(10);
    let mut client = Http2::with_limits(&app, limits, Http2Limits::default());
    let long = "a".repeat(17_000);
    let cases = [
        (client.get("/longer-than-that"), 414),
        (client.request("GET", "/", &[("x", &long)], b""), 431),
        (client.request("POST", "/", &[], b"12345678901"), 413),
        (
            client.request("POST", "/", &[("content-length", "11")], b"12345678901"),
            413,
        ),
        (client.get("/"), 200),
    ];
    for (stream, status) in cases {
        assert_eq!(client.response(stream).status, status);
        let reset = client.response(stream).reset;
        assert!(matches!(reset, None | Some(NO_ERROR)), "{status} {reset:?}");
    }
    let counters = client.counters();
    assert_eq!(
        (
            counters.refused_large,
            counters.requests,
            counters.http2_requests
        ),
        (4, 1, 5)
    );
    assert!(!client.is_closed());
}

#[test]
fn malformed_requests_reset_their_stream() {
    let app = from_fn(|_, res| res.text("fine"));
    let mut client = Http2::new(&app);
    let bad = client.request("GET", "/", &[("connection", "close")], b"");
    let good = client.get("/");
    assert_eq!(client.response(bad).reset, Some(1));
    assert_eq!(client.response(good).status, 200);
    let counters = client.counters();
    assert_eq!(
        (counters.http2_resets_sent, counters.http2_requests),
        (1, 2)
    );
}

#[test]
fn malformed_requests_are_reported() {
    struct App(Left<String>);
    impl Handler for App {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("fine")
        }
        fn handle_error(&self, error: &ConnectionError<'_>, _: Option<SocketAddr>) {
            self.0.put(error.to_string());
        }
    }
    let errors = Left::new();
    let app = App(errors.also());
    let mut client = Http2::new(&app);
    client.request("GET", "/", &[("connection", "close")], b"");
    client.request("POST", "/", &[("content-length", "2")], b"three");
    client.get("/");
    let all = errors.all();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all.iter()
            .all(|error| error.starts_with("HTTP/2 error 1: ")),
        "{all:?}"
    );
    assert!(!client.is_closed());
}

#[test]
fn the_preface_is_found_however_it_is_divided() {
    let app = from_fn(|req, res| res.text(req.version().to_string()));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for at in 1..preface.len() {
        let mut client = Connection::new(&app);
        client.send(&preface[..at]);
        assert!(!client.is_closed(), "{at}");
        client.send(&preface[at..]);
        let settings = [0, 0, 18, 4, 0, 0, 0, 0, 0];
        assert!(client.received().starts_with(&settings), "{at}");
        assert!(!client.is_closed(), "{at}");
    }
    for at in 0..preface.len() - 9 {
        let mut other = preface.to_vec();
        other[at] ^= 1;
        let mut client = Connection::new(&app);
        client.send(&other);
        // Bytes that begin a valid line are waited for.
        client.send(b"\r\n\r\n");
        assert!(client.received().starts_with(b"HTTP/1.1 "), "{at}");
    }
    // Behind a request it is no preface.
    let mut client = Connection::new(&app);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.take_received();
    client.send(preface);
    assert!(client.received().starts_with(b"HTTP/1.1 400 "));
}
