//! Properties of connections in memory for tests and fuzzing.
//!
//! An input is the bytes of a client. After the byte FF comes an operation. `e` ends the client's bytes, `s`
//! stops the server. A byte below 80 lets that number of seconds pass, another FF is the byte FF, and
//! anything else only splits.

use super::Connection;
use crate::checks;
use crate::checks::limits;
use crate::checks::responses;
use crate::checks::responses::ParsedResponse;
use crate::{Done, Handler, Limits, Payload, Request, Response};
use std::io::Write as _;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
enum Operation {
    Send(Vec<u8>),
    Eof,
    Elapse(u64),
    Stop,
}

/// Checks a connection for any input, in any pieces, with any other operations. It gets a row of complete
/// responses, as many as are counted. The held input stays within the limits. When the client closes its
/// side, the connection ends, and nothing is sent after that. Without clock and stop, the pieces make no
/// difference.
pub(crate) fn check(bytes: &[u8]) {
    let operations = operations(bytes);
    for limits in limits() {
        let played = play(&operations, &limits);
        let timed = |op: &Operation| matches!(op, Operation::Elapse(_) | Operation::Stop);
        if operations.iter().any(timed) {
            continue;
        }
        let sent: Vec<u8> = operations
            .iter()
            .flat_map(Operation::bytes)
            .copied()
            .collect();
        let ends = operations.contains(&Operation::Eof);
        let eof = || ends.then_some(Operation::Eof);
        let whole = [Operation::Send(sent.clone())].into_iter().chain(eof());
        let whole = play(&whole.collect::<Vec<_>>(), &limits);
        assert_eq!(played, whole, "in pieces and whole");
        let by_byte = sent.iter().map(|b| Operation::Send(vec![*b])).chain(eof());
        let by_byte = play(&by_byte.collect::<Vec<_>>(), &limits);
        assert_eq!(by_byte, whole, "byte by byte and whole");
    }
}

impl Operation {
    fn bytes(&self) -> &[u8] {
        match self {
            Operation::Send(bytes) => bytes,
            _ => &[],
        }
    }
}

fn operations(bytes: &[u8]) -> Vec<Operation> {
    checks::operations(bytes, Operation::Send, |letter, _| match letter {
        b'e' => Some(Operation::Eof),
        b's' => Some(Operation::Stop),
        0..0x80 => Some(Operation::Elapse(letter.into())),
        _ => None,
    })
}

/// The final responses, and whether the connection is closed.
fn play(operations: &[Operation], limits: &Limits) -> (Vec<ParsedResponse>, bool) {
    // A head or what is decoded of a body, and the framing that is not decoded yet.
    let line = limits.head_bytes.max(limits.chunk_extension_bytes + 18);
    let most = limits.head_bytes + limits.body_bytes + line + 2;
    let mut connection = Connection::with_limits(&Echo, *limits);
    for operation in operations {
        apply(&mut connection, operation);
        if connection.counters().http2_connections > 0 {
            // The frames of HTTP/2 are for the checks of the protocol crate.
            return (Vec::new(), false);
        }
        let held = connection.held();
        assert!(
            held <= most || connection.is_closed(),
            "{held} bytes are held"
        );
    }
    let ended = operations.contains(&Operation::Eof);
    assert!(connection.is_closed() || !ended, "open behind the end");
    if connection.is_closed() {
        let before = connection.received().len();
        let late = Operation::Send(b"GET / HTTP/1.1\r\nHost: late\r\n\r\n".to_vec());
        for operation in [
            late,
            Operation::Elapse(100),
            Operation::Stop,
            Operation::Eof,
        ] {
            apply(&mut connection, &operation);
        }
        assert_eq!(connection.received().len(), before, "sent behind the close");
    }
    let to_head = |response: &ParsedResponse| response.field("method") == Some(b"HEAD");
    let mut parsed = responses::read(connection.received(), to_head);
    parsed.retain(|response| !response.is_interim());
    let counters = connection.counters();
    assert_eq!(counters.requests + counters.refused, parsed.len() as u64);
    assert_eq!(counters.bytes_written, connection.received().len() as u64);
    let last = parsed.last().and_then(|last| last.field("connection"));
    assert!(
        last != Some(b"close") || connection.is_closed(),
        "closed only in words"
    );
    (parsed, connection.is_closed())
}

fn apply(connection: &mut Connection<'_, Echo>, operation: &Operation) {
    match operation {
        Operation::Send(bytes) => connection.send(bytes),
        Operation::Eof => connection.send_eof(),
        Operation::Elapse(seconds) => connection.elapse(Duration::from_secs(*seconds)),
        Operation::Stop => connection.stop(),
    }
}

/// Responds with the parsed request, in the way that the path selects.
struct Echo;

impl Handler for Echo {
    fn takes_special(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let line = format!("{} {} {}", req.method(), req.target(), req.version());
        let res = res.header("Method", req.method());
        match req.path() {
            "/w" => res.write_with(|out| write!(out, "{line}\n{req:?}")),
            "/f" => res.write_with(|_| Err(std::io::ErrorKind::Other.into())),
            "/l" => res.send(Payload::from(vec![b'l'; 17_000])),
            "/h" => res.header("Fault", "a\r\nb: c").text(&line),
            "/c" => res.close().text(&line),
            "/o" => res.body(req.to_owned_request().as_request().body()),
            // Not `panic!`, whose hook would end a run of the fuzzer.
            "/p" => std::panic::resume_unwind(Box::new("as asked")),
            path => {
                let status = path
                    .strip_prefix("/s/")
                    .and_then(|digits| digits.parse().ok());
                let host = req.host().unwrap_or("none");
                let body = [line.as_bytes(), host.as_bytes(), req.body()].join(&b' ');
                res.status(status.unwrap_or(200)).body(body)
            }
        }
    }
}
