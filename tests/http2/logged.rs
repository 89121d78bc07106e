//! The access log: one line for each request, with what its client has got.

use super::client::Client;
use super::{LONG, Left};
use peregrine::access_log::{AccessEntry, AccessLog, LogWriter};
use peregrine::body::{BodySender, BodySink, Flow, Incoming};
use peregrine::metrics::Stats;
use peregrine::testing::Http2;
use peregrine::{BodyPlan, Done, Handler, Limits, Request, Responder, Response, Server, from_fn};
use peregrine_protocol::h2::frame::{Frame, write};
use std::time::Duration;

type Line = (String, u16, Option<u64>);

/// A handler of a few paths, in a log.
fn logged() -> (impl Handler, Left<Line>, Left<Responder>) {
    let (lines, responders) = (Left::new(), Left::new());
    let (line, put) = (lines.also(), responders.also());
    let app = from_fn(move |req, res| match req.path() {
        "/large" => res.send(vec![b'x'; 100_000]),
        "/iter" => res.send_iter((0..100).map(|_| vec![b'x'; 1000])),
        "/endless" => res.send_iter(std::iter::repeat_with(|| vec![b'x'; 1000])),
        "/later" => {
            let (done, responder) = res.defer();
            put.put(responder);
            done
        }
        "/panic" => std::panic::panic_any("on purpose"),
        _ => res.status(404).text("nothing here"),
    });
    let writer = LogWriter::new(std::io::sink()).expect("a thread");
    let app = AccessLog::with_format(app, writer, move |entry, _line| {
        let request = entry.request().expect("a request");
        assert_eq!(request.version().to_string(), "HTTP/2.0");
        let path = request.path().to_owned();
        line.put((path, entry.status(), entry.body_bytes()));
    });
    (app, lines, responders)
}

fn line(path: &str, status: u16, bytes: u64) -> Line {
    (path.to_owned(), status, Some(bytes))
}

#[test]
fn complete_responses_have_their_bytes() {
    let (app, lines, responders) = logged();
    let mut client = Http2::new(&app);
    client.get("/none");
    client.get("/large");
    client.get("/iter");
    client.get("/panic");
    let later = client.get("/later");
    let complete = [
        line("/none", 404, 12),
        line("/large", 200, 100_000),
        line("/iter", 200, 100_000),
        line("/panic", 500, 45),
    ];
    assert_eq!(lines.all(), complete);
    let responder = responders.take();
    responder
        .send(|res| res.status(201).text("now"))
        .expect("pending");
    assert!(client.wait_for(later, LONG));
    assert_eq!(lines.all(), [line("/later", 201, 3)]);
    let later = client.get("/later");
    let responder = responders.take();
    responder
        .send(|res| res.status(204).body(""))
        .expect("pending");
    assert!(client.wait_for(later, LONG));
    assert_eq!(lines.all(), [line("/later", 204, 0)]);
}

#[test]
fn responses_that_are_not_received_are_499() {
    let (app, lines, responders) = logged();
    let mut client = Http2::with_window(&app, Limits::default(), 1000);
    let large = client.get("/large");
    let later = client.get("/later");
    assert_eq!(client.response(large).body.len(), 1000);
    assert!(lines.all().is_empty());
    client.reset(large, 8);
    assert_eq!(lines.all(), [line("/large", 499, 1000)]);
    client.reset(later, 8);
    assert_eq!(lines.all(), [line("/later", 499, 0)]);
    assert!(responders.take().is_gone());
    let pieces = client.get("/iter");
    assert_eq!(client.response(pieces).body.len(), 1000);
    client.reset(pieces, 8);
    assert_eq!(lines.all(), [line("/iter", 499, 1000)]);
    client.get("/large");
    drop(client);
    assert_eq!(lines.all(), [line("/large", 499, 1000)]);
}

/// Keeps requests and responses in every state.
struct Keeping(Left<BodySender>, Left<Responder>);

/// Takes a body, or pauses.
struct Sink(bool);

impl BodySink for Sink {
    fn piece(&mut self, _: &[u8], _: &mut Incoming<'_>) -> Flow {
        match self.0 {
            true => Flow::Pause,
            false => Flow::Continue,
        }
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("all")
    }
}

impl Handler for Keeping {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/sink" | "/paused" => BodyPlan::stream(Sink(req.path() == "/paused")),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/large" => res.send(vec![b'x'; 100_000]),
            "/iter" => res.send_iter((0..100).map(|_| vec![b'x'; 1000])),
            "/pushed" => {
                let (done, mut body) = res.stream();
                body.try_send(vec![b'x'; 5000]).expect("room");
                self.0.put(body);
                done
            }
            _ => {
                let (done, responder) = res.defer();
                self.1.put(responder);
                done
            }
        }
    }
}

/// The requests of [`Keeping`], and bytes of the responses that a client with a window of 1,000 has got.
const KEPT: [(&str, &str, u64); 7] = [
    ("POST", "/buffer", 0),
    ("GET", "/iter", 1000),
    ("GET", "/large", 1000),
    ("GET", "/later", 0),
    ("POST", "/paused", 0),
    ("GET", "/pushed", 1000),
    ("POST", "/sink", 0),
];

#[test]
fn streams_that_end_with_their_connection_are_499() {
    type End = (&'static str, fn(&mut Http2<'_, AccessLog<Keeping, Format>>));
    type Format = Box<dyn Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync>;
    let ends: [End; 6] = [
        ("the client is gone", |_| {}),
        ("the client has closed its sending side", |client| {
            client.send_eof()
        }),
        ("a violation", |client| {
            client.send_raw(b"\0\0\x01\0\0\0\0\0\0x")
        }),
        ("too much for nothing", |client| {
            let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
            client.send_raw(&ping.repeat(1100));
        }),
        ("half a field block", |client| {
            client.send_raw(b"\0\0\x01\x01\0\0\0\0\x7f\x82");
            client.elapse(Duration::from_secs(29));
            client.elapse(Duration::from_secs(2));
        }),
        ("a stop that the client does not follow", |client| {
            client.stop()
        }),
    ];
    for (what, end) in ends {
        let lines = Left::new();
        let put = lines.also();
        let format: Format = Box::new(move |entry, _| {
            let request = entry.request().expect("a request");
            put.put((
                request.path().to_owned(),
                entry.status(),
                entry.body_bytes(),
            ));
        });
        let writer = LogWriter::new(std::io::sink()).expect("a thread");
        let (senders, responders) = (Left::new(), Left::new());
        let app = Keeping(senders.also(), responders.also());
        let app = AccessLog::with_format(app, writer, format);
        let mut client = Http2::with_window(&app, Limits::default(), 1000);
        for (method, path, _) in KEPT {
            match method {
                "GET" => _ = client.get(path),
                _ => {
                    let stream = client.begin(method, path, &[]);
                    client.data(stream, &[b'x'; 300], false);
                }
            }
        }
        assert_eq!(lines.all(), [], "{what}");
        end(&mut client);
        drop(client);
        let mut all = lines.all();
        all.sort();
        let expected = KEPT.map(|(_, path, bytes)| line(path, 499, bytes));
        assert_eq!(all, expected, "{what}");
    }
}

/// A malformed request gets no response, but is counted and logged like one of HTTP/1.
#[test]
fn malformed_requests_are_400() {
    let lines = Left::new();
    let put = lines.also();
    let app = from_fn(|req, res| res.send(req.body().to_vec()));
    let writer = LogWriter::new(std::io::sink()).expect("a thread");
    let app = AccessLog::with_format(app, writer, move |entry, _| {
        let path = entry.request().map(|request| request.path().to_owned());
        put.put((path, entry.status(), entry.body_bytes()));
    });
    let mut client = Http2::new(&app);
    type Head = (&'static str, &'static [(&'static str, &'static str)]);
    let heads: [Head; 3] = [
        ("/", &[("connection", "close")]),
        ("no path", &[]),
        ("/", &[("name", "a\nb")]),
    ];
    for (n, (path, fields)) in (1..).zip(heads) {
        let stream = client.request("GET", path, fields, b"");
        assert_eq!(client.response(stream).status, 0);
        assert_eq!(lines.all(), [(None, 400, Some(0))], "{fields:?}");
        let counters = client.counters();
        assert_eq!((counters.refused, counters.http2_requests), (n, n));
    }
    // A body that is longer than its head says, and one that is shorter: the handler is not called.
    for (body, is_last) in [(&b"123"[..], false), (b"1", true)] {
        let stream = client.begin("POST", "/body", &[("content-length", "2")]);
        client.data(stream, body, is_last);
        let all = lines.all();
        assert_eq!(all, [(Some("/body".to_owned()), 400, Some(0))], "{body:?}");
    }
    let counters = client.counters();
    assert_eq!((counters.refused, counters.requests), (5, 0));
    assert_eq!(
        (counters.http2_requests, counters.http2_resets_sent),
        (5, 5)
    );
    // A client that goes is no fault of the request.
    let stream = client.begin("POST", "/gone", &[]);
    client.reset(stream, 1);
    assert_eq!(lines.all(), [(Some("/gone".to_owned()), 499, Some(0))]);
    assert_eq!(client.counters().refused, 5);
}

#[test]
fn the_reset_that_is_one_too_many_has_its_line() {
    let (app, lines, _) = logged();
    let mut client = Http2::with_window(&app, Limits::default(), 1000);
    let mut requests = 0;
    while !client.is_closed() {
        requests += 1;
        let path = ["/large", "/iter"][requests % 2];
        let stream = client.get(path);
        client.reset(stream, 8);
        assert_eq!(lines.all(), [line(path, 499, 1000)], "{requests}");
    }
    assert!(requests > 900, "{requests}");
}

/// Bytes that wait in the output of the connection have not been sent.
#[test]
fn a_line_has_no_more_bytes_than_the_system_has_taken() {
    let (app, lines, _) = logged();
    let stats = Stats::new();
    let server = Server::new(app).stats(&stats).bind("127.0.0.1:0");
    let server = server.start().expect("a server");
    let mut client = Client::connect(server.local_addr().expect("an address"));
    let most = (1 << 31) - 1;
    let mut settings = Vec::new();
    write::settings(&[(4, most)], &mut settings);
    client.send(&settings);
    client.open(most - 65_535);
    for _ in 0..2 {
        client.get("/endless");
    }
    // It begins, and then nothing is read any more.
    while !matches!(client.frame(), Some((Frame::Data { .. }, _))) {}
    let taken = || stats.counters().bytes_written;
    let mut last = 0;
    while last < 100_000 || taken() > last {
        last = taken();
        std::thread::yield_now();
    }
    drop(client);
    server.stop();
    server.wait().expect("no thread failed");
    let lines = lines.all();
    assert_eq!(lines.len(), 2);
    for (path, status, bytes) in lines {
        assert_eq!((&*path, status), ("/endless", 499));
        assert!(bytes.is_some_and(|bytes| bytes <= taken()), "{bytes:?}");
    }
}
