//! Properties of deferred responses for tests and fuzzing.
//!
//! An input is the bytes of a client. After the byte FF comes an operation. `a` sends a deferred response and
//! `t` streams it; `p` and a byte send a piece of that length, `w` writes it; `f` ends the response, `d`
//! drops it; `e` ends the client's bytes, `s` stops the server. Another byte below 40 lets that number of
//! seconds pass, another FF is the byte FF, and anything else only splits.

use crate::body::{BodySender, SendError, TrySendError};
use crate::checks;
use crate::checks::limits;
use crate::checks::responses;
use crate::checks::responses::ParsedResponse;
use crate::sse::EventSender;
use crate::testing::Connection;
use crate::{Done, Handler, Limits, Request, Responder, Response};
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
enum Operation {
    Send(Vec<u8>),
    Respond,
    Stream,
    Piece(u8),
    Write(u8),
    Finish,
    Drop,
    Eof,
    Elapse(u64),
    Stop,
}

/// For every input: each response has the bytes that were sent for it and no others. Responses come in the
/// order of the requests. An aborted response is the last one and does not look complete. How the client
/// splits its bytes makes no difference.
pub(crate) fn check(bytes: &[u8]) {
    let operations = operations(bytes);
    let by_byte: Vec<_> = operations
        .iter()
        .flat_map(|operation| match operation {
            Operation::Send(bytes) => bytes.iter().map(|b| Operation::Send(vec![*b])).collect(),
            other => vec![other.clone()],
        })
        .collect();
    for limits in limits() {
        let whole = play(&operations, &limits);
        // Timeouts begin at the first byte, and a stop depends on the bytes that have arrived.
        let timed = |op: &Operation| matches!(op, Operation::Elapse(_) | Operation::Stop);
        if !operations.iter().any(timed) {
            assert_eq!(play(&by_byte, &limits), whole, "byte by byte and whole");
        }
    }
}

fn operations(bytes: &[u8]) -> Vec<Operation> {
    checks::operations(bytes, Operation::Send, |letter, rest| match letter {
        b'a' => Some(Operation::Respond),
        b't' => Some(Operation::Stream),
        b'p' => Some(Operation::Piece(rest.next().unwrap_or(0))),
        b'w' => Some(Operation::Write(rest.next().unwrap_or(0))),
        b'f' => Some(Operation::Finish),
        b'd' => Some(Operation::Drop),
        b'e' => Some(Operation::Eof),
        b's' => Some(Operation::Stop),
        0..0x40 => Some(Operation::Elapse(letter.into())),
        _ => None,
    })
}

/// A response in progress.
enum OpenResponse {
    Responder(Responder),
    Body(BodySender),
    Events(EventSender),
}

/// What one response must be.
#[derive(Default)]
struct Expected {
    /// All bytes that were accepted for it. Bytes that were written and not flushed wait.
    sent: Vec<u8>,
    gathered: Vec<u8>,
    /// No body is sent, because it is a response to HEAD.
    is_bare: bool,
    is_events: bool,
    /// The declared length.
    declared: Option<usize>,
    /// More bytes than that were sent.
    is_cut: bool,
    ended: bool,
}

impl Expected {
    /// Sends the bytes that were written, if there is room.
    fn take_gathered(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        let len = self.sent.len() + gathered.len();
        if !self.is_cut && self.declared.is_none_or(|declared| len <= declared) {
            self.sent.extend(gathered);
        }
    }
}

/// Keeps deferred responses for later operations.
#[derive(Default)]
struct Later(Mutex<Given>);

#[derive(Default)]
struct Given {
    open: Option<OpenResponse>,
    expected: Vec<Expected>,
}

impl Later {
    fn lock(&self) -> MutexGuard<'_, Given> {
        self.0.lock().expect("no panic")
    }
}

impl Handler for Later {
    fn takes_special(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let mut given = self.lock();
        let number = given.expected.len();
        let res = res
            .header("Number", number.to_string())
            .header("Method", req.method());
        // A tunnel would end the HTTP connection.
        let res = match req.method() {
            "CONNECT" => res.status(405),
            _ => res,
        };
        let mut expected = Expected {
            is_bare: req.method() == "HEAD",
            ..Expected::default()
        };
        let (done, open) = match req.path() {
            "/d" => {
                let (done, responder) = res.defer();
                (done, OpenResponse::Responder(responder))
            }
            "/t" => {
                let (done, body) = res.stream();
                (done, OpenResponse::Body(body))
            }
            "/v" => {
                expected.is_events = true;
                let (done, events) = res.events();
                (done, OpenResponse::Events(events))
            }
            path if path.starts_with("/x") => {
                let declared = path.len() - 2;
                expected.declared = Some(declared);
                let (done, body) = res.stream_exact(declared as u64);
                (done, OpenResponse::Body(body))
            }
            path => {
                expected.ended = true;
                expected.sent = path.repeat(3).into();
                let body = vec![path.to_owned(), String::new(), path.repeat(2)];
                given.expected.push(expected);
                return match path.len() % 2 {
                    0 => res.send_iter(body),
                    _ => res.body(body.concat()),
                };
            }
        };
        given.expected.push(expected);
        // A response that is still there belongs to a client that has gone.
        given.open = Some(open);
        done
    }
}

impl Given {
    fn last(&mut self) -> &mut Expected {
        self.expected.last_mut().expect("something is open")
    }

    fn act(&mut self, operation: &Operation) {
        let Some(open) = self.open.take() else { return };
        self.open = match (open, operation) {
            (OpenResponse::Responder(responder), Operation::Respond) => {
                self.last().ended = responder.send(|res| res.body("late")).is_ok();
                self.last().sent = b"late".to_vec();
                None
            }
            (OpenResponse::Responder(responder), Operation::Stream) => {
                let mut begun = None;
                let _ = responder.send(|res| {
                    let (done, body) = res.stream();
                    begun = Some(OpenResponse::Body(body));
                    done
                });
                begun
            }
            (OpenResponse::Body(body), operation) => self.act_on_body(body, operation),
            (OpenResponse::Events(mut events), Operation::Piece(len)) => {
                let text = "e".repeat((*len).into());
                match events.try_send(text.as_str()) {
                    Ok(()) => self.last().sent.extend(format!("data: {text}\n\n").bytes()),
                    Err(error) => assert!(is_gone(error), "there is room"),
                }
                Some(OpenResponse::Events(events))
            }
            (OpenResponse::Events(events), Operation::Finish | Operation::Drop) => {
                self.last().ended = true;
                drop(events);
                None
            }
            (_, Operation::Drop) => None,
            (open, _) => Some(open),
        };
    }

    fn act_on_body(&mut self, mut body: BodySender, operation: &Operation) -> Option<OpenResponse> {
        let expected = self.last();
        match operation {
            Operation::Piece(len) => {
                let piece = vec![b'p'; (*len).into()];
                match body.try_send(piece.clone()) {
                    Ok(()) => {
                        expected.take_gathered();
                        expected.sent.extend(piece);
                    }
                    // Bytes that were written before were sent, and may have used all the room.
                    Err(TrySendError::Full(_)) => expected.take_gathered(),
                    Err(TrySendError::Failed(SendError::Length)) => {
                        expected.take_gathered();
                        expected.is_cut = true;
                    }
                    Err(error) => assert!(is_gone(error), "there is room"),
                }
            }
            Operation::Write(len) => {
                let piece = vec![b'w'; (*len).into()];
                if body.write_all(&piece).is_ok() {
                    expected.gathered.extend(piece);
                }
            }
            Operation::Finish => {
                let finished = body.finish();
                expected.ended = finished.is_ok();
                if !matches!(finished, Err(SendError::Gone)) {
                    expected.take_gathered();
                }
                return None;
            }
            Operation::Drop => return None,
            _ => {}
        }
        Some(OpenResponse::Body(body))
    }
}

fn is_gone<T>(error: TrySendError<T>) -> bool {
    matches!(error, TrySendError::Failed(SendError::Gone))
}

/// The final responses, and whether each is complete.
type ParsedResponses = Vec<(ParsedResponse, bool)>;

/// What the client receives, and whether the connection is closed.
fn play(operations: &[Operation], limits: &Limits) -> (ParsedResponses, bool) {
    let app = Later::default();
    let mut connection = Connection::with_limits(&app, *limits);
    for operation in operations {
        match operation {
            Operation::Send(bytes) => connection.send(bytes),
            Operation::Eof => connection.send_eof(),
            Operation::Elapse(seconds) => connection.elapse(Duration::from_secs(*seconds)),
            Operation::Stop => connection.stop(),
            own => app.lock().act(own),
        }
        // All commands that were posted are handled.
        connection.wait(Duration::ZERO);
    }
    let stopped = operations.contains(&Operation::Stop);
    let is_closed = connection.is_closed();
    if connection.counters().http2_connections > 0 {
        // The frames of HTTP/2 are for the checks of the protocol crate.
        return (Vec::new(), is_closed);
    }
    let to_head = |response: &ParsedResponse| response.field("method") == Some(b"HEAD");
    let mut parsed = responses::read_streamed(connection.received(), is_closed, to_head);
    parsed.retain(|(response, _)| !response.is_interim());
    judge(&app.lock(), &parsed, is_closed, stopped);
    (parsed, is_closed)
}

fn judge(given: &Given, parsed: &ParsedResponses, is_closed: bool, stopped: bool) {
    let count = parsed.len();
    for (i, (response, is_complete)) in parsed.iter().enumerate() {
        let is_last = i + 1 == count;
        assert!(
            *is_complete || is_last,
            "bytes after an incomplete response"
        );
        let Some(number) = response.field("number") else {
            // A refusal, or the 503 of a response that did not come.
            assert!(
                is_last && is_closed && response.status >= 400,
                "{response:?}"
            );
            continue;
        };
        assert_eq!(number, i.to_string().as_bytes(), "out of order");
        let expected = &given.expected[i];
        let mut body = response.body.clone();
        if expected.is_events {
            body = String::from_utf8(body)
                .expect("text")
                .replace(":\n\n", "")
                .into();
            // This is not from the data: the events of this check never end in a colon.
        }
        match expected.is_bare {
            true => assert!(body.is_empty() && *is_complete, "HEAD"),
            false => assert_eq!(body, expected.sent, "other bytes"),
        }
        let may_be_whole = expected.ended
            || expected.is_bare
            || expected.is_events && stopped
            || response.field("content-length").is_some()
            || response.field("transfer-encoding").is_none() && is_closed;
        assert!(!is_complete || may_be_whole, "it looks complete and is not");
        assert!(
            *is_complete || !expected.ended,
            "it is not complete: {response:?}"
        );
    }
}
