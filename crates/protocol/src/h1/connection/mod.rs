//! State machine of an HTTP/1 connection.
//!
//! # The contract
//!
//! *Inputs*: bytes appended to the [`Input`], [`Http1::eof`], [`Http1::expire`] when
//! [`Http1::deadline`] has passed, [`Http1::stop`] when the connection shall end soon. *Commands*:
//! [`Http1::plan`] when it is known what shall become of a body, [`Http1::piece_taken`] when a piece
//! of it has been; [`Http1::finish`] when the request is answered; or [`Http1::defer`] when it has
//! been taken and its response comes later, and [`Http1::answered`] when that is complete. *Output*:
//! [`Http1::next`], to be called after every input and command until it says [`Next::Read`],
//! [`Next::Wait`] or [`Next::Close`]. Nothing else changes it.
//!
//! ```text
//!        first byte      a body follows       buffered          complete
//!   Idle ─────────► Head ──────────────► Plan ─────────► Body ──────────────┐
//!    ▲               │ │ none             │ ├───────────► Pieces ───────────┤
//!    │               │ │                  │ │ streamed                      ▼
//!    │               │ └──────────────────│─┴─────────────────────────► Ready
//!    │               │ refused            │ refused    none of it      │  │ defer
//!    │               ▼                    ▼                             │  └► Waiting
//!    │              Over ◄──────────────────────────────────────────────┤       │
//!    │                        not persistent                    finish  │       │ answered
//!    └──────────────────────────────────────────────────────────────────┴───────┘
//!            persistent; by way of Drain if some of the body is unread
//! ```

mod body;
mod deadline;

use super::framing::{BodyLength, Framing};
use super::read_buf::Input;
use crate::Seconds;
use crate::error::ProtocolError;
use crate::http::{Method, Version};
use crate::limits::Limits;
use core::ops::Range;

/// What the driver has to do. Ranges are of the unread bytes of the input, which has the head, too. A
/// body and a request are announced once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for more bytes.
    Read,
    /// A body follows the head: say what shall become of it, by [`Http1::plan`].
    Plan(Framing),
    /// Hand over this piece of the body, then [`Http1::piece_taken`].
    Piece(Range<usize>),
    /// Answer the request, then [`Http1::finish`]; or [`Http1::defer`].
    Request(RequestParts),
    /// The response to the last request is not complete, or the reading of its body is paused. Nothing
    /// further is parsed before.
    Wait,
    /// Send what is in the output, then close.
    Close(Close),
}

/// A request that is to be answered, beside its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestParts {
    /// Where the body is; empty if it has none, or if it is not handed over as a whole.
    pub body: Range<usize>,
    /// How it wants its response.
    pub mode: ResponseContext,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why it ends.
    pub reason: CloseReason,
    /// The client may still be sending: a close at once would reset the connection, and it might
    /// never read the response (RFC 9112 section 9.6).
    pub linger: bool,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The last response is given.
    Finished,
    /// The client closed between two requests.
    ClientDone,
    /// The client closed in the middle of a request.
    ClientGone,
    /// The request, or what came in its place, is none.
    Refused(ProtocolError),
    /// No request has come in time.
    IdleTimeout,
    /// The rest of the last response will not come.
    ResponseCut,
    /// The last response did not come in time.
    ResponseTimeout,
}

/// What shall become of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyIntake {
    /// It is gathered, up to so many bytes.
    Buffer(u64),
    /// It goes piece by piece, up to so many bytes in all.
    Pieces(u64),
    /// The request is answered without it.
    Unread,
    /// The request is answered without it, and the connection closes.
    Refuse,
}

/// How a request wants its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseContext {
    /// The method, as far as it matters to the response.
    pub method: Method,
    /// The connection stays open after the response.
    pub persistent: bool,
    /// The version of the request.
    pub version: Version,
}

impl Default for ResponseContext {
    fn default() -> ResponseContext {
        ResponseContext {
            method: Method::Other,
            persistent: true,
            version: Version::Http11,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageState {
    Idle,
    /// The same, after so many empty lines (RFC 9112 section 2.2); nothing is kept of them.
    Blank(u8),
    Head,
    /// A body follows, and it is not decided what becomes of it.
    Plan,
    /// Head and body are this many bytes.
    Exact(usize),
    Chunked,
    /// So many bytes of the body are still to be handed over.
    Pieces(u64),
    ChunkedPieces,
    /// The request that waits for its response is this many bytes of the input.
    Ready(usize),
    /// The request is taken, and its response is not complete.
    Waiting,
    /// The rest of a body that nobody has read is thrown away.
    Drain,
    Over(Close),
}

/// Empty lines that are passed over before a request line; 400 above.
const MAX_EMPTY_LINES: u8 = 8;

/// See the module documentation.
pub struct Http1 {
    state: MessageState,
    /// When the state was entered from the outside's view: the first byte of a head, the end of
    /// it, the end of the last exchange.
    since: Seconds,
    mode: ResponseContext,
    /// The client has sent its last byte.
    eof: bool,
    /// No further request is taken after the current one.
    last: bool,
    /// The driver takes no pieces of the body at the moment.
    paused: bool,
    /// Bytes of the body that will be discarded, as far as they are known; at least 1 if there are any.
    unread: u32,
    /// The server stops: what had arrived by then, so many unread bytes, is answered, and nothing
    /// that comes after it. A client that goes on asking would never let the server stop.
    owed: Option<usize>,
    /// Since when there is a connection.
    begun: Seconds,
    /// Requests that have been answered.
    answered: u32,
}

impl Http1 {
    /// A connection that begins; without `keep_alive` its first response is the last.
    pub fn new(now: Seconds, keep_alive: bool) -> Http1 {
        Http1 {
            state: MessageState::Idle,
            since: now,
            mode: ResponseContext::default(),
            eof: false,
            last: !keep_alive,
            paused: false,
            unread: 0,
            owed: None,
            begun: now,
            answered: 0,
        }
    }

    /// The client will send nothing more. What it has sent is still answered.
    pub fn eof(&mut self) {
        self.eof = true;
    }

    /// The server stops, and `unread` bytes have arrived. The last response of the connection is the one to
    /// the last request that begins in these bytes, or, without such a request, the one to the next request.
    /// The client has [`Limits::stop_grace`] to send it: that request may be on its way already, and a client
    /// whose connection is closed then cannot know whether its request was handled.
    pub fn stop(&mut self, unread: usize, now: Seconds) {
        self.owed = Some(unread);
        if self.is_idle() {
            self.since = now;
        }
    }

    /// The server stops.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.owed.is_some()
    }

    /// A request has been answered.
    fn is_used(&self) -> bool {
        self.answered > 0
    }

    /// No byte of a request is here.
    #[inline]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, MessageState::Idle | MessageState::Blank(_))
    }

    /// The client has sent its last byte.
    #[inline]
    pub fn is_eof(&self) -> bool {
        self.eof
    }

    /// Of the last request.
    #[inline]
    pub fn version(&self) -> Version {
        self.mode.version
    }

    /// A response is to come, or the rest of it.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.state == MessageState::Waiting
    }

    /// Something has come behind the request that [`Next::Request`] announced.
    #[inline]
    pub fn has_more(&self, input: &Input) -> bool {
        matches!(self.state, MessageState::Ready(len) if input.available() > len)
    }

    /// A head has come and its request is neither answered nor refused.
    #[inline]
    pub fn is_unanswered(&self) -> bool {
        match self.state {
            MessageState::Plan
            | MessageState::Exact(_)
            | MessageState::Chunked
            | MessageState::Pieces(_)
            | MessageState::ChunkedPieces
            | MessageState::Ready(_) => true,
            MessageState::Idle
            | MessageState::Blank(_)
            | MessageState::Head
            | MessageState::Waiting
            | MessageState::Drain
            | MessageState::Over(_) => false,
        }
    }

    /// Of the response that is waited for.
    pub fn mode(&mut self) -> ResponseContext {
        self.mode_behind(0)
    }

    /// Of a request that the first `len` bytes of the input are.
    #[inline]
    fn mode_behind(&mut self, len: usize) -> ResponseContext {
        self.last |= self.owed.is_some_and(|owed| owed <= len);
        ResponseContext {
            persistent: self.mode.persistent && !self.last,
            ..self.mode
        }
    }

    /// For a response that ends the connection, whatever the client has asked for.
    pub fn last_mode(&self) -> ResponseContext {
        ResponseContext {
            persistent: false,
            ..self.mode
        }
    }

    /// What the driver has to do now. To be called after every input and command; see the module.
    pub fn next(&mut self, input: &mut Input, limits: &Limits, now: Seconds) -> Next {
        loop {
            let step = match self.state {
                MessageState::Idle | MessageState::Blank(_) if input.is_empty() => Ok(()),
                MessageState::Idle | MessageState::Blank(_) | MessageState::Head => {
                    match self.next_head(input, limits, now) {
                        Ok(Some(next)) => return next,
                        Ok(None) => Ok(()),
                        Err(error) => Err(error),
                    }
                }
                // The body has been announced, and the driver has not called `plan` yet.
                MessageState::Plan => return Next::Wait,
                MessageState::Exact(_)
                | MessageState::Chunked
                | MessageState::Pieces(_)
                | MessageState::ChunkedPieces => match self.next_of_body(input, limits, now) {
                    Ok(Some(next)) => return next,
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                },
                MessageState::Drain => match self.drain(input) {
                    true => continue,
                    false => Ok(()),
                },
                // One whose body is here is announced when it becomes complete.
                MessageState::Ready(len) => return self.request(len, len..len),
                MessageState::Waiting => return Next::Wait,
                MessageState::Over(close) => return Next::Close(close),
            };
            return match step {
                Ok(()) if self.eof => self.closed_by_client(input),
                Ok(()) => {
                    if self.owed.is_some() {
                        self.nothing_owed(now);
                    }
                    Next::Read
                }
                Err(error) => Next::Close(self.refuse(error)),
            };
        }
    }

    /// The first `len` bytes of the input are a request.
    #[inline]
    fn request(&mut self, len: usize, body: Range<usize>) -> Next {
        self.state = MessageState::Ready(len);
        let mode = self.mode_behind(len);
        Next::Request(RequestParts { body, mode })
    }

    /// The server stops, and all that had arrived is of this request, as decoding may have shortened
    /// it; or is answered, and the client had the last response just now.
    #[cold]
    fn nothing_owed(&mut self, now: Seconds) {
        self.owed = Some(0);
        if self.is_idle() {
            self.since = now;
        }
    }

    /// Takes the head, and if it is complete says where the request ends, unless that is for others
    /// to say.
    fn next_head(
        &mut self,
        input: &mut Input,
        limits: &Limits,
        now: Seconds,
    ) -> Result<Option<Next>, ProtocolError> {
        if self.state != MessageState::Head {
            self.mode.method = Method::Other;
            if input.begins_with_cr() && !self.pass_empty_lines(input, now)? {
                return Ok(None);
            }
            self.since = now;
            self.state = MessageState::Head;
        }
        if !input.parse_head(limits)? {
            return Ok(None);
        }
        let len = input.head.len();
        self.mode.method = input.head.kind;
        let framing = input.framing()?;
        self.mode.persistent = framing.persistent;
        self.last |= self.is_worn_out(limits, now);
        self.mode.version = input.head.version;
        self.since = now;
        if framing.body == BodyLength::Exact(0) {
            return Ok(Some(self.request(len, len..len)));
        }
        input.begin_body();
        self.state = MessageState::Plan;
        Ok(Some(Next::Plan(framing)))
    }

    /// Throws away the empty lines that some clients send behind a body (RFC 9112 section 2.2). False if
    /// nothing else has come, or only the first byte of another: the connection is idle.
    #[cold]
    fn pass_empty_lines(&mut self, input: &mut Input, now: Seconds) -> Result<bool, ProtocolError> {
        while input.unread().starts_with(b"\r\n") {
            self.state = match self.state {
                MessageState::Blank(MAX_EMPTY_LINES) => return Err(ProtocolError::RequestLine),
                MessageState::Blank(lines) => MessageState::Blank(lines + 1),
                _ => MessageState::Blank(1),
            };
            input.consume(2);
            self.owed = self.owed.map(|owed| owed.saturating_sub(2));
        }
        let is_half = input.unread() == b"\r";
        if is_half {
            // It takes a buffer, as half a head does.
            self.since = now;
        }
        Ok(!is_half && !input.is_empty())
    }

    /// It has had its share: the answer to the request that is here is the last one.
    #[inline]
    fn is_worn_out(&self, limits: &Limits, now: Seconds) -> bool {
        self.answered >= limits.requests_per_connection.saturating_sub(1)
            || u64::from(now.since(self.begun)) >= limits.connection_age.as_secs()
    }

    /// The request is answered; `close` if the response says that it is the last one, which it has to if
    /// [`ResponseContext::persistent`] is false.
    #[inline]
    pub fn finish(&mut self, close: bool, input: &mut Input, now: Seconds) {
        self.defer(input, now);
        self.answered(close, input, now);
    }

    /// The request is taken out of the input, and its response comes later.
    #[inline]
    pub fn defer(&mut self, input: &mut Input, now: Seconds) {
        let MessageState::Ready(len) = self.state else {
            debug_assert!(false, "no request to answer");
            return;
        };
        input.consume(len);
        self.owed = self.owed.map(|owed| owed.saturating_sub(len));
        self.since = now;
        self.state = MessageState::Waiting;
    }

    /// The answer that was waited for is complete; `close` as for [`Http1::finish`].
    #[inline]
    pub fn answered(&mut self, close: bool, input: &Input, now: Seconds) {
        debug_assert!(self.is_waiting(), "no answer is waited for");
        self.answered = self.answered.saturating_add(1);
        self.since = now;
        debug_assert!(close || self.mode.persistent && !self.last);
        self.state = match close {
            false if self.unread > 0 => MessageState::Drain,
            false => MessageState::Idle,
            // A client that did not ask for the end may be sending its next request already.
            true => MessageState::Over(Close {
                reason: CloseReason::Finished,
                linger: self.mode.persistent || self.unread > 0 || !input.is_empty(),
            }),
        };
    }

    /// The rest of the response that was waited for will never come.
    pub fn cut(&mut self) -> Close {
        self.over(CloseReason::ResponseCut)
    }

    fn over(&mut self, reason: CloseReason) -> Close {
        let close = Close {
            reason,
            linger: false,
        };
        self.state = MessageState::Over(close);
        close
    }

    fn closed_by_client(&mut self, input: &Input) -> Next {
        let reason = match input.is_empty() || self.is_idle() {
            true => CloseReason::ClientDone,
            false => CloseReason::ClientGone,
        };
        Next::Close(self.over(reason))
    }

    /// Also for a reason that is not in the bytes alone, before the request is answered or its body
    /// planned. What is said to the client is for the driver to write.
    pub fn refuse(&mut self, error: ProtocolError) -> Close {
        self.turn_away(CloseReason::Refused(error))
    }

    fn turn_away(&mut self, reason: CloseReason) -> Close {
        let close = Close {
            reason,
            linger: !self.eof,
        };
        self.state = MessageState::Over(close);
        close
    }
}
