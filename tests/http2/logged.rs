//! The access log: one line for each request, with what its client has got.

use super::{LONG, Left};
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::testing::Http2;
use peregrine::{Handler, Limits, Responder, from_fn};

type Line = (String, u16, Option<u64>);

/// A handler of a few paths, in a log.
fn logged() -> (impl Handler, Left<Line>, Left<Responder>) {
    let (lines, responders) = (Left::new(), Left::new());
    let (line, put) = (lines.also(), responders.also());
    let app = from_fn(move |req, res| match req.path() {
        "/large" => res.send(vec![b'x'; 100_000]),
        "/iter" => res.send_iter((0..100).map(|_| vec![b'x'; 1000])),
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
