//! Request bodies that are looked at before they are complete: plans and sinks.

use super::support::{Asked, read_answer};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Done, Handler, Request, Response};

// ------------------------------------------------------------------------------------ the plans

/// Decides by the first segment of the path. What sinks have seen is in the response.
pub(crate) struct Plans;

/// Buffers its pieces, and pauses, responds or panics when it meets certain bytes.
#[derive(Default)]
struct Gather {
    bytes: Vec<u8>,
    answer_at: Option<usize>,
}

impl BodySink for Gather {
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        assert!(!piece.is_empty(), "a piece has at least one byte");
        self.bytes.extend_from_slice(piece);
        assert_eq!(body.received(), self.bytes.len() as u64);
        assert!(!piece.contains(&b'!'), "a byte that is refused");
        match self.answer_at {
            Some(at) if self.bytes.len() >= at => Flow::Respond,
            _ => Flow::Continue,
        }
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        assert!(req.body().is_empty());
        // However it was split, this number of bytes is enough.
        let bytes = &self.bytes[..self.answer_at.unwrap_or(self.bytes.len())];
        res.header("path", req.path()).body(bytes)
    }
}

impl Handler for Plans {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        assert!(req.body().is_empty());
        match req.path() {
            "/buffer" => BodyPlan::Buffer,
            "/five" => BodyPlan::BufferUpTo(5),
            "/sink" => BodyPlan::stream(Gather::default()),
            "/sink-of-five" => BodyPlan::stream_up_to(Gather::default(), 5),
            "/early" => BodyPlan::stream(Gather {
                answer_at: Some(3),
                ..Gather::default()
            }),
            "/unread" => BodyPlan::Unread,
            "/not-here" => BodyPlan::Refuse(404),
            "/nonsense" => BodyPlan::Refuse(200),
            _ => panic!("no plan"),
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        res.header("path", req.path()).body(req.body())
    }
}

/// What is sent, and what comes of it: the status and body of each response, and whether the
/// connection closes.
type Case = (String, Vec<(u16, &'static str)>, bool);

pub(crate) fn exact(path: &str, body: &str) -> String {
    let len = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}")
}

pub(crate) fn chunked(path: &str, chunks: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
}

pub(crate) const FIVE: &str = "2;x=y\r\nfi\r\n3\r\nve.\r\n0\r\nTrailer: x\r\n\r\n";
const CANNOT: &str = "the server could not accept this request\n";
const TOO_LARGE: &str = "request body too large\n";

fn cases() -> Vec<Case> {
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let with_next = |request: String| request + next;
    let large = "x".repeat(300_000);
    vec![
        // What is gathered.
        (
            with_next(exact("/buffer", "five.")),
            vec![(200, "five."), (200, "")],
            false,
        ),
        (
            with_next(exact("/five", "five.")),
            vec![(200, "five."), (200, "")],
            false,
        ),
        (exact("/five", "sixsix"), vec![(413, TOO_LARGE)], true),
        (
            with_next(chunked("/five", FIVE)),
            vec![(200, "five."), (200, "")],
            false,
        ),
        (
            chunked("/five", "6\r\nsixsix\r\n0\r\n\r\n"),
            vec![(413, TOO_LARGE)],
            true,
        ),
        // What goes to a sink.
        (
            with_next(exact("/sink", "five.")),
            vec![(200, "five."), (200, "")],
            false,
        ),
        (
            with_next(chunked("/sink", FIVE)),
            vec![(200, "five."), (200, "")],
            false,
        ),
        (
            with_next(chunked("/sink", "0\r\n\r\n")),
            vec![(200, ""), (200, "")],
            false,
        ),
        (exact("/sink", "") + next, vec![(200, ""), (200, "")], false),
        (
            exact("/sink-of-five", "five.") + next,
            vec![(200, "five."), (200, "")],
            false,
        ),
        (
            exact("/sink-of-five", "sixsix"),
            vec![(413, TOO_LARGE)],
            true,
        ),
        (
            chunked("/sink-of-five", "3\r\nsix\r\n3\r\nsix\r\n0\r\n\r\n"),
            vec![(413, TOO_LARGE)],
            true,
        ),
        (exact("/sink", "a byte!"), vec![(500, CANNOT)], true),
        (
            chunked("/sink", "7\r\na byte!\r\n0\r\n\r\n"),
            vec![(500, CANNOT)],
            true,
        ),
        (
            chunked("/sink", "2\r\nfi\r\nx\r\n"),
            vec![(400, "malformed chunk size\n")],
            true,
        ),
        // After a response without the rest of the body: a short rest is discarded, a long one ends the
        // connection.
        (
            exact("/early", "five.") + next,
            vec![(200, "fiv"), (200, "")],
            false,
        ),
        (chunked("/early", FIVE), vec![(200, "fiv")], true),
        (exact("/early", &large), vec![(200, "xxx")], true),
        (
            exact("/unread", "five.") + next,
            vec![(200, ""), (200, "")],
            false,
        ),
        (exact("/unread", &large), vec![(200, "")], true),
        (chunked("/unread", FIVE), vec![(200, "")], true),
        // What is refused.
        (
            exact("/not-here", "five."),
            vec![(404, "Not Found\n")],
            true,
        ),
        (chunked("/not-here", FIVE), vec![(404, "Not Found\n")], true),
        (
            exact("/nonsense", "five."),
            vec![(500, "Internal Server Error\n")],
            true,
        ),
        (
            exact("/panic", "five."),
            vec![(500, "Internal Server Error\n")],
            true,
        ),
    ]
}

/// The responses in `bytes`, which has nothing else.
fn answers(mut bytes: &[u8]) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let (answer, rest) = read_answer(bytes, Asked::Other)
            .expect("a correct answer")
            .unwrap_or_else(|| panic!("half an answer: {}", bytes.escape_ascii()));
        answers.push((answer.status, answer.text().to_owned()));
        bytes = rest;
    }
    answers
}

#[track_caller]
fn check(case: &Case, pieces: &[&[u8]], how: &str) {
    let (request, expected, closes) = case;
    let app = Plans;
    let mut client = Connection::new(&app);
    for piece in pieces {
        client.send(piece);
    }
    let answers = answers(client.received());
    let found: Vec<(u16, &str)> = answers
        .iter()
        .map(|(status, body)| (*status, &**body))
        .collect();
    let start = &request[..request.len().min(100)];
    assert_eq!(
        (&found, client.is_closed()),
        (expected, *closes),
        "{how}: {start}"
    );
}

#[test]
fn every_plan_at_every_split() {
    for case in &cases() {
        let bytes = case.0.as_bytes();
        check(case, &[bytes], "whole");
        let steps: Vec<&[u8]> = bytes.chunks(1 + bytes.len() / 1000).collect();
        check(case, &steps, "byte by byte");
        if bytes.len() < 1000 {
            for at in 1..bytes.len() {
                check(
                    case,
                    &[&bytes[..at], &bytes[at..]],
                    &format!("split at {at}"),
                );
            }
        }
    }
}

/// [`BodyPlan::Stream`] has the limit of `Limits::stream_bytes`, [`BodyPlan::StreamUpTo`] its own.
#[test]
fn a_streamed_body_has_a_limit() {
    let chunks = "5\r\nfive.\r\n0\r\n\r\n";
    for (most, path, status) in [
        (5, "/sink", 200),
        (4, "/sink", 413),
        (4, "/sink-of-five", 200),
    ] {
        for request in [exact(path, "five."), chunked(path, chunks)] {
            let limits = peregrine::Limits::default().stream_bytes(most);
            let mut client = Connection::with_limits(&Plans, limits);
            client.send(request.as_bytes());
            let read = read_answer(client.received(), Asked::Other).expect("no fault");
            let (answer, _) = read.expect("a response");
            assert_eq!(answer.status, status, "{most} {path}");
        }
    }
}

/// `100 Continue` is sent when the body is wanted, and only then (RFC 9110 section 10.1.1).
#[test]
fn clients_that_get_100_continue() {
    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let ask = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let app = Plans;
    for (path, wanted) in [
        ("/buffer", true),
        ("/sink", true),
        ("/early", true),
        ("/unread", false),
        ("/not-here", false),
        ("/panic", false),
    ] {
        let mut client = Connection::new(&app);
        client.send(ask(path).as_bytes());
        let received = String::from_utf8(client.take_received()).expect("text");
        assert_eq!(received.starts_with(CONTINUE), wanted, "{path}");
        // The server cannot know whether a client without a `100 Continue` sends its body.
        assert_eq!(client.is_closed(), !wanted, "{path}");
        client.send(b"five.");
        assert_eq!(client.received().is_empty(), !wanted, "{path}");
    }
}
