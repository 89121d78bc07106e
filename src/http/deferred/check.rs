//! Properties of deferred responses for tests and fuzzing.
//!
//! An input is what a client sends, as it stands, but for the byte FF: what follows it is an
//! operation. `a` answers what was deferred and `t` streams it; `p` and a byte send a piece of that
//! length, `w` writes it; `f` ends the response, `d` drops it; `e` is the end of what the client sends,
//! `s` stops the server, another byte below 40 lets so many seconds pass, another FF is FF, and
//! anything else only splits.

use crate::body::{BodySender, SendError, TrySendError};
use crate::checks;
use crate::checks::limits;
use crate::checks::responses as answers;
use crate::checks::responses::Answer;
use crate::sse::EventSender;
use crate::testing::Connection;
use crate::{Done, Handler, Limits, Request, Responder, Response};
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
enum Operation {
    Send(Vec<u8>),
    Answer,
    Stream,
    Piece(u8),
    Write(u8),
    Finish,
    Drop,
    Eof,
    Elapse(u64),
    Stop,
}

/// Whatever is sent and done in whatever order: each response has the bytes that were sent for it and
/// no others, answers come in the order of the requests, what was cut is the last and does not look
/// complete; and the pieces in which the client sends make no difference.
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
        // The clock runs from the first byte, and a stop asks what has arrived.
        let timed = |op: &Operation| matches!(op, Operation::Elapse(_) | Operation::Stop);
        if !operations.iter().any(timed) {
            assert_eq!(play(&by_byte, &limits), whole, "byte by byte and whole");
        }
    }
}

fn operations(bytes: &[u8]) -> Vec<Operation> {
    checks::operations(bytes, Operation::Send, |letter, rest| match letter {
        b'a' => Some(Operation::Answer),
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

/// A response that is being given.
enum OpenResponse {
    Responder(Responder),
    Body(BodySender),
    Events(EventSender),
}

/// What a client may expect of one response.
#[derive(Default)]
struct Expected {
    /// All that was taken for it; what was written and not flushed waits.
    sent: Vec<u8>,
    gathered: Vec<u8>,
    /// No body is sent: it is a response to HEAD.
    is_bare: bool,
    is_events: bool,
    /// The length that was declared.
    declared: Option<usize>,
    /// More than that was sent.
    is_cut: bool,
    ended: bool,
}

impl Expected {
    /// What was written leaves, if it may.
    fn take_gathered(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        let len = self.sent.len() + gathered.len();
        if !self.is_cut && self.declared.is_none_or(|declared| len <= declared) {
            self.sent.extend(gathered);
        }
    }
}

/// Keeps what is to be answered for the operations that follow.
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
        // A tunnel would be the end of HTTP.
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
        // One that is still there belongs to a client that has gone.
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
            (OpenResponse::Responder(responder), Operation::Answer) => {
                self.last().ended = responder.send(|res| res.body("late"));
                self.last().sent = b"late".to_vec();
                None
            }
            (OpenResponse::Responder(responder), Operation::Stream) => {
                let mut begun = None;
                responder.send(|res| {
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
                    // What was written before has left, and may have taken all the room.
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

/// The final answers, and whether each is complete.
type Answers = Vec<(Answer, bool)>;

/// What the client gets, and whether the connection is closed.
fn play(operations: &[Operation], limits: &Limits) -> (Answers, bool) {
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
        // Whatever was posted is taken.
        connection.wait(Duration::ZERO);
    }
    let stopped = operations.contains(&Operation::Stop);
    let is_closed = connection.is_closed();
    let to_head = |answer: &Answer| answer.field("method") == Some(b"HEAD");
    let mut answers = answers::read_streamed(connection.received(), is_closed, to_head);
    answers.retain(|(answer, _)| !answer.is_interim());
    judge(&app.lock(), &answers, is_closed, stopped);
    (answers, is_closed)
}

fn judge(given: &Given, answers: &Answers, is_closed: bool, stopped: bool) {
    let count = answers.len();
    for (i, (answer, is_complete)) in answers.iter().enumerate() {
        let is_last = i + 1 == count;
        assert!(*is_complete || is_last, "something behind half an answer");
        let Some(number) = answer.field("number") else {
            // A refusal, or what stands for a response that never came.
            assert!(is_last && is_closed && answer.status >= 400, "{answer:?}");
            continue;
        };
        assert_eq!(number, i.to_string().as_bytes(), "out of order");
        let expected = &given.expected[i];
        let mut body = answer.body.clone();
        if expected.is_events {
            body = String::from_utf8(body)
                .expect("text")
                .replace(":\n\n", "")
                .into();
            // Not of the data: an event of ours never ends in a colon.
        }
        match expected.is_bare {
            true => assert!(body.is_empty() && *is_complete, "HEAD"),
            false => assert_eq!(body, expected.sent, "other bytes"),
        }
        let may_be_whole = expected.ended
            || expected.is_bare
            || expected.is_events && stopped
            || answer.field("content-length").is_some()
            || answer.field("transfer-encoding").is_none() && is_closed;
        assert!(!is_complete || may_be_whole, "it looks complete and is not");
        assert!(
            *is_complete || !expected.ended,
            "it is not complete: {answer:?}"
        );
    }
}
