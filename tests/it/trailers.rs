//! Trailer fields of requests (RFC 9110 section 6.5), in HTTP/1.1.

use super::body_reader::readers;
use super::support::{Asked, Client, start, workers};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::io::Read;

/// Responds with the body and what is behind it.
struct App;

struct Sink(Vec<u8>);

/// Responds after the first piece.
struct Early;

impl BodySink for Early {
    fn piece(&mut self, _: &[u8], _: &mut Incoming<'_>) -> Flow {
        Flow::Respond
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        respond(req, b"early", res)
    }
}

fn respond(req: &Request<'_>, body: &[u8], res: Response<'_>) -> Done {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for (name, value) in req.trailers() {
        text += &format!(" {name}={}", String::from_utf8_lossy(value));
    }
    // They are no fields of the head.
    assert_eq!((req.header("sum"), req.host()), (None, Some("a")));
    let copy = req.to_owned_request();
    assert!(copy.as_request().trailers().eq(req.trailers()));
    res.text(text)
}

impl BodySink for Sink {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.0.extend_from_slice(piece);
        Flow::Continue
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        respond(req, &self.0, res)
    }
}

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        assert_eq!(req.trailers().count(), 0);
        match req.path() {
            "/sink" => BodyPlan::stream(Sink(Vec::new())),
            "/early" => BodyPlan::stream(Early),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        respond(req, req.body(), res)
    }
}

const BODY: &str = "2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n";

fn post(path: &str, trailers: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{BODY}{trailers}\r\n"
    )
}

/// The bodies of the responses to these bytes, in two pieces.
fn bodies(request: &[u8], split: usize) -> Vec<String> {
    let mut client = Connection::new(&App);
    client.send(&request[..split]);
    client.send(&request[split..]);
    let received = String::from_utf8_lossy(client.received()).into_owned();
    let responses = received.split("HTTP/1.1 200 OK\r\n").skip(1);
    let body = |response: &str| response.split("\r\n\r\n").nth(1).unwrap_or("").to_owned();
    responses.map(body).collect()
}

#[test]
fn trailers_are_read_at_every_split() {
    for path in ["/", "/sink"] {
        let request = post(
            path,
            "Sum:  17 \r\nHost: b\r\nContent-Length: 1\r\nsum: 18\r\n",
        ) + &post(path, "")
            + "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let expected = ["hi! Sum=17 Host=b Content-Length=1 sum=18", "hi!", ""];
        for split in 0..=request.len() {
            assert_eq!(
                bodies(request.as_bytes(), split),
                expected,
                "{path} {split}"
            );
        }
    }
}

/// Whether they have come by then depends on the network, so it has none.
#[test]
fn a_sink_that_responds_early_has_no_trailers() {
    let request = post("/early", "Sum: 17\r\n");
    for split in 0..=request.len() {
        assert_eq!(bodies(request.as_bytes(), split), ["early"], "{split}");
    }
}

#[test]
fn the_first_of_a_name_and_bytes_that_are_not_utf8() {
    let app = peregrine::from_fn(|req, res| {
        assert_eq!(req.trailer("A"), Some("1"));
        assert_eq!(req.trailer("other"), None);
        assert_eq!(req.trailer("latin"), None);
        assert!(req.trailers().any(|field| field == ("latin", b"\xe9")));
        res.text("fine")
    });
    let mut client = Connection::new(&app);
    let request = post("/", "a: 1\r\nA: 2\r\nlatin: X\r\n").into_bytes();
    let request: Vec<u8> = request
        .iter()
        .map(|b| if *b == b'X' { 0xe9 } else { *b })
        .collect();
    client.send(&request);
    assert!(client.received().ends_with(b"fine"));
}

#[test]
fn trailers_above_the_limits_are_refused() {
    let many = "a: b\r\n".repeat(101);
    let large = format!("a: {}\r\n", "b".repeat(17_000));
    for trailers in [many, large] {
        let mut client = Connection::new(&App);
        client.send(post("/", &trailers).as_bytes());
        let received = client.received();
        assert!(received.starts_with(b"HTTP/1.1 431 "), "{received:?}");
    }
}

#[test]
fn a_reader_has_them_at_the_end() {
    let (readers, mut next) = readers();
    let (_server, addr) = start(readers, workers(1));
    let mut client = Client::connect(addr);
    let request = post("/", "Sum: 17\r\n");
    let (first, rest) = request.split_at(request.len() - BODY.len() - 5);
    client.send(first);
    let mut reader = next();
    assert_eq!(reader.trailer("sum"), None);
    client.send(rest);
    let mut body = String::new();
    reader.read_to_string(&mut body).expect("the body");
    assert_eq!(
        (&*body, reader.trailer("sum").as_deref()),
        ("hi!", Some("17"))
    );
    assert!(reader.respond(|res| res.text("read")).is_ok());
    assert_eq!(client.answer(Asked::Other).text(), "read");
}
