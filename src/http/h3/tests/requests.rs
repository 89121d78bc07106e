//! Requests and complete responses.

use super::*;
use crate::error::ConnectionError;
use crate::{Done, Limits, Request, Response, Version};
use std::net::SocketAddr;

#[test]
fn a_request_is_seen_as_in_http1() {
    let app = from_fn(|req, res| {
        assert_eq!(req.version(), Version::Http3);
        assert!(req.is_secure());
        let cookie = req.header("cookie").unwrap_or("none");
        let host = req.host().unwrap_or("none");
        let text = format!(
            "{} {} {:?} {host} {cookie} {}",
            req.method(),
            req.path(),
            req.query("q"),
            req.headers().count()
        );
        res.header("X-Seen", "yes").text(text)
    });
    let mut client = Http3::new(&app);
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("x-own", "x")];
    let stream = client.request("GET", "/a?q=1", &fields, b"");
    let response = client.response(stream);
    let text = "GET /a Some(\"1\") a.test a=1; b=2 3";
    assert_eq!(String::from_utf8_lossy(&response.body), text);
    let names: Vec<_> = response.fields.iter().map(|(name, _)| &name[..]).collect();
    let all = ["server", "strict-transport-security", "date", "x-seen"];
    assert_eq!(names[..4], all);
    assert_eq!(names[4..], ["content-type", "content-length"]);
    assert!(response.is_complete && response.reset.is_none());
    let counters = client.counters();
    let (connections, requests) = (counters.http3_connections, counters.http3_requests);
    assert_eq!((connections, requests), (1, 1));
}

/// However the bytes of requests come, in datagrams of any size and one by one.
#[test]
fn requests_in_any_pieces() {
    let app = from_fn(|req, res| res.text(format!("{} {}", req.path(), req.body().len())));
    let mut client = Http3::new(&app);
    let mut bytes = client.head("POST", "/a", &[("x-long", &"y".repeat(300))]);
    let body = [&[0, 5][..], b"12345", &[0x21, 2, 9, 9, 0, 0], &[0, 1], b"6"].concat();
    bytes.extend(body);
    for at in 0..=bytes.len() {
        let stream = client.open();
        client.send_raw(stream, &bytes[..at], false);
        client.send_raw(stream, &bytes[at..], true);
        assert_eq!(client.response(stream).body, b"/a 6", "{at}");
    }
    let stream = client.open();
    for byte in &bytes {
        client.send_raw(stream, &[*byte], false);
    }
    assert_eq!(client.response(stream).status, 0);
    client.send_raw(stream, b"", true);
    assert_eq!(client.response(stream).body, b"/a 6");
    assert_eq!(client.closed, None);
}

#[test]
fn statuses_and_methods_without_a_body() {
    let app = from_fn(|req, res| {
        let status = req.path()[1..].parse().unwrap_or(200);
        res.status(status).body("0123456789")
    });
    let mut client = Http3::new(&app);
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
    let mut client = Http3::new(&app);
    let streams = ["/panic", "/", "/header", "/"].map(|path| client.get(path));
    let statuses = streams.map(|stream| client.response(stream).status);
    assert_eq!(statuses, [500, 200, 500, 200]);
    assert_eq!(client.closed, None);
    let counters = client.counters();
    assert_eq!((counters.panics, counters.handler_errors), (1, 2));
    assert_eq!((counters.http3_requests, counters.responses_5xx), (4, 2));
}

#[test]
fn requests_beyond_the_limits_are_refused_with_the_status_of_http1() {
    let app = from_fn(|_, res| res.text("fine"));
    let limits = Limits::default().target_bytes(10).body_bytes(10);
    let mut client = Http3::with_config(&app, &Config::default().limits(limits));
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
        let response = client.response(stream);
        assert_eq!(response.status, status);
        assert!(response.is_complete, "{status}");
        assert!(
            matches!(response.stopped, None | Some(NO_ERROR)),
            "{status}"
        );
    }
    let counters = client.counters();
    let counted = (counters.refused_large, counters.requests);
    assert_eq!((counted, counters.http3_requests), ((4, 1), 5));
    assert_eq!(client.closed, None);
}

struct Reporting(Left<String>);

impl Handler for Reporting {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("fine")
    }

    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        assert!(peer.is_some());
        self.0.put(error.to_string());
    }
}

#[test]
fn malformed_requests_reset_their_stream_and_are_reported() {
    let app = Reporting(Left::new());
    let mut client = Http3::new(&app);
    let bad = client.request("GET", "/", &[("connection", "close")], b"");
    let wrong = client.request("POST", "/", &[("content-length", "2")], b"three");
    let good = client.get("/");
    for stream in [bad, wrong] {
        assert_eq!(client.response(stream).reset, Some(MESSAGE_ERROR));
        assert_eq!(client.response(stream).status, 0);
    }
    assert_eq!(client.response(good).status, 200);
    let all = app.0.all();
    let is_of_http3 = |error: &String| error.starts_with("HTTP/3 error 0x10e: ");
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(is_of_http3), "{all:?}");
    assert_eq!(client.counters().http3_requests, 3);
    assert_eq!(client.closed, None);
}

#[test]
fn every_request_has_its_line_in_the_log() {
    let (app, left) = deferring();
    let app = from_fn(move |req, res| match req.path() {
        "/large" => res.send(vec![b'x'; 100_000]),
        "/iter" => res.send_iter((0..100).map(|_| vec![b'x'; 1000])),
        "/panic" => std::panic::panic_any("on purpose"),
        "/later" => app.handle_request(req, res),
        _ => res.status(404).text("nothing here"),
    });
    let (app, lines) = logged(app);
    let mut client = Http3::new(&app);
    let paths = ["/none", "/large", "/iter", "/panic"];
    for (path, expected) in paths.into_iter().zip([
        line("/none", 404, 12),
        line("/large", 200, 100_000),
        line("/iter", 200, 100_000),
        line("/panic", 500, 45),
    ]) {
        let stream = client.get(path);
        assert!(client.response(stream).is_complete, "{path}");
        assert_eq!(lines.all(), [expected]);
    }
    let later = client.get("/later");
    let responder = left.take();
    responder
        .send(|res| res.status(201).text("now"))
        .expect("pending");
    assert!(client.wait_for(later, LONG));
    assert_eq!(lines.all(), [line("/later", 201, 3)]);
    // Malformed: 400, without a request.
    client.request("GET", "/", &[("connection", "close")], b"");
    assert_eq!(lines.all(), [line("none", 400, 0)]);
    // Cancelled before its response.
    let later = client.get("/later");
    client.cancel(later);
    assert!(left.take().is_gone());
    assert_eq!(lines.all(), [line("/later", 499, 0)]);
    // Cancelled in the middle of its body.
    let upload = client.begin("POST", "/upload", &[]);
    client.data(upload, b"abc", false);
    client.cancel(upload);
    assert_eq!(lines.all(), [line("/upload", 499, 0)]);
    // The connection is lost.
    client.get("/later");
    client.begin("POST", "/upload", &[]);
    client.close();
    let mut ended = lines.all();
    ended.sort();
    let upload = line("/upload", 499, 0);
    assert_eq!(ended, [line("/later", 499, 0), upload]);
    assert_eq!(client.counters().clients_gone, 1);
}

#[test]
fn a_response_that_is_not_received_is_499() {
    let app = from_fn(|req, res| match req.path() {
        "/iter" => res.send_iter((0..100).map(|_| vec![b'x'; 1000])),
        _ => res.send(vec![b'x'; 100_000]),
    });
    let (app, lines) = logged(app);
    for path in ["/large", "/iter"] {
        let mut client = with_window(&app, 1000);
        let stream = client.get(path);
        assert!(lines.all().is_empty());
        client.cancel(stream);
        let ended = lines.all();
        let (ended, status, bytes) = &ended[0];
        assert_eq!((&ended[..], *status), (path, 499));
        assert!(bytes.is_some_and(|bytes| bytes <= 1000), "{bytes:?}");
        client.get(path);
        drop(client);
        assert_eq!(lines.all().len(), 1);
    }
}
