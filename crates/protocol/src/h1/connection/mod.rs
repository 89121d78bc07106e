//! State machine of an HTTP/1 connection.
//!
//! # The contract
//!
//! *Inputs*: bytes appended to the [`Input`], [`Http1::eof`], [`Http1::expire`] when
//! [`Http1::deadline`] has passed, [`Http1::stop`] when the connection has to end soon. *Commands*:
//! [`Http1::plan`] when it is known what shall become of a body, [`Http1::piece_taken`] when a piece of it
//! has been; [`Http1::finish`] when the request is responded; or [`Http1::defer`] when it has been taken and
//! its response comes later, and [`Http1::responded`] when that is complete. *Output*: [`Http1::next`], to be
//! called after every input and command until it returns [`Next::Read`], [`Next::Wait`] or [`Next::Close`].
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
//!    │                        not persistent                    finish  │       │ responded
//!    └──────────────────────────────────────────────────────────────────┴───────┘
//!            persistent; by way of Drain if some of the body is unread
//! ```

mod body;
mod deadline;
mod preface;

use super::framing::{BodyLength, Framing};
use super::read_buf::Input;
use crate::Seconds;
use crate::error::ProtocolError;
use crate::http::exchange::ResponseContext;
use crate::http::{Method, Version};
use crate::limits::Limits;
use core::ops::Range;
use preface::Preface;

/// What the driver has to do. Ranges count in the unread bytes of the input, which also contain the head. A
/// body and a request are announced once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for more bytes.
    Read,
    /// A body follows the head: decide what to do with it, by [`Http1::plan`].
    Plan(Framing),
    /// Handle this piece of the body, then call [`Http1::piece_taken`].
    Piece(Range<usize>),
    /// Respond to the request, then call [`Http1::finish`]; or call [`Http1::defer`].
    Request(RequestParts),
    /// The response to the last request is not complete, or the reading of its body is paused. Nothing more
    /// is parsed until then.
    Wait,
    /// Send what is in the output, then close.
    Close(Close),
    /// The input begins with the preface of an HTTP/2 client, and the connection goes on in that version. Only after
    /// [`Http1::allow_http2`].
    Http2,
}

/// A request without its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestParts {
    /// The range of the body. Empty if there is none, or if it is not passed on as a whole.
    pub body: Range<usize>,
    /// What the response depends on.
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
    /// The last response is complete.
    Finished,
    /// The client closed between two requests.
    ClientDone,
    /// The client closed in the middle of a request.
    ClientGone,
    /// The bytes of the client are not a valid request.
    Refused(ProtocolError),
    /// No request has arrived in time.
    IdleTimeout,
    /// The rest of the last response will not be sent.
    ResponseCut,
    /// The last response was not complete in time.
    ResponseTimeout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageState {
    Idle,
    /// The same, after this number of empty lines (RFC 9112 section 2.2), which are not kept.
    Blank(u8),
    Head,
    /// A body follows, and there is no plan for it yet.
    Plan,
    /// Head and body have this number of bytes.
    Exact(usize),
    Chunked,
    /// This number of bytes of the body are not passed on yet.
    Pieces(u64),
    ChunkedPieces,
    /// The request that waits for its response has this number of bytes of the input.
    Ready(usize),
    /// The request is removed from the input, and its response is not complete.
    Waiting,
    /// The unread rest of a body is discarded.
    Drain,
    Over(Close),
}

/// The number of empty lines that are ignored before a request line; 400 above.
const MAX_EMPTY_LINES: u8 = 8;

/// See the module documentation.
pub struct Http1 {
    state: MessageState,
    /// When the current phase began: with the first byte of a head, the end of the head, or the end of the
    /// last exchange.
    since: Seconds,
    mode: ResponseContext,
    /// The client has sent its last byte.
    eof: bool,
    /// No request is accepted after the current one.
    last: bool,
    /// The driver takes no pieces of the body at the moment.
    paused: bool,
    /// The next request is the last one. Does not make the connection a used one: HTTP/2 may still begin.
    retired: bool,
    /// Bytes of the body that will be discarded, as far as they are known; at least 1 if there are any.
    unread: u32,
    /// The server stops. The value is the number of unread bytes that had arrived by then. Requests in them
    /// get a response, later ones do not. Otherwise a client that continues to send requests could delay the
    /// stop without end.
    owed: Option<usize>,
    /// When the connection began.
    begun: Seconds,
    /// The number of requests that got their response.
    responded: u32,
    /// Whether the connection may become one of HTTP/2, or has.
    preface: Preface,
}

impl Http1 {
    /// A new connection. Without `keep_alive` its first response is the last.
    pub fn new(now: Seconds, keep_alive: bool) -> Http1 {
        Http1 {
            state: MessageState::Idle,
            since: now,
            mode: ResponseContext::default(),
            eof: false,
            last: !keep_alive,
            paused: false,
            retired: false,
            unread: 0,
            owed: None,
            begun: now,
            responded: 0,
            preface: Preface::Refused,
        }
    }

    /// The client will send nothing more. Requests that it has sent still get their responses.
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

    /// The connection shall end soon: the next request whose head arrives is its last one. Without one it goes on, so that
    /// no request meets its end.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    /// Whether [`Http1::retire`] was called.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// The server stops.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.owed.is_some()
    }

    /// Whether a request has got its response.
    fn is_used(&self) -> bool {
        self.responded > 0
    }

    /// Whether no byte of a request has arrived.
    #[inline]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, MessageState::Idle | MessageState::Blank(_))
    }

    /// No request is accepted after the current one.
    pub fn is_last(&self) -> bool {
        self.last
    }

    /// The client has sent its last byte.
    #[inline]
    pub fn is_eof(&self) -> bool {
        self.eof
    }

    /// The context of the response to the last request.
    #[inline]
    pub fn version(&self) -> Version {
        self.mode.version
    }

    /// Whether a response, or the rest of one, is pending.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.state == MessageState::Waiting
    }

    /// Whether bytes have arrived after the request that [`Next::Request`] announced.
    #[inline]
    pub fn has_more(&self, input: &Input) -> bool {
        matches!(self.state, MessageState::Ready(len) if input.available() > len)
    }

    /// Whether [`Http1::next`] would return [`Next::Read`] because nothing is left to do. It need not be true when that is
    /// so: it is a short cut for the end of a request behind which nothing has arrived.
    #[inline]
    pub fn is_at_rest(&self, input: &Input) -> bool {
        let is_open = !self.eof && self.owed.is_none();
        input.is_empty() && matches!(self.state, MessageState::Idle) && is_open
    }

    /// Whether a head is complete and its request has no response yet.
    #[inline]
    pub fn lacks_response(&self) -> bool {
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

    /// The context of the pending response.
    pub fn mode(&mut self) -> ResponseContext {
        self.mode_behind(0)
    }

    /// The context for a request in the first `len` bytes of the input.
    #[inline]
    fn mode_behind(&mut self, len: usize) -> ResponseContext {
        self.last |= self.owed.is_some_and(|owed| owed <= len);
        ResponseContext {
            persistent: self.mode.persistent && !self.last,
            ..self.mode
        }
    }

    /// The context for a response that ends the connection.
    pub fn last_mode(&self) -> ResponseContext {
        ResponseContext {
            persistent: false,
            ..self.mode
        }
    }

    /// What the driver has to do now. Call it after every input and command; see the module.
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
                // A request with its body is announced when the body is complete.
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
                Err(error) => match self.read_preface(input) {
                    Some(next) => next,
                    None => Next::Close(self.refuse(error)),
                },
            };
        }
    }

    /// A request is complete. It has the first `len` bytes of the input.
    #[inline]
    fn request(&mut self, len: usize, body: Range<usize>) -> Next {
        self.state = MessageState::Ready(len);
        let mode = self.mode_behind(len);
        Next::Request(RequestParts { body, mode })
    }

    /// The server stops, and either all bytes that had arrived belong to this request (decoding may have
    /// shortened it), or the client has just received the last response.
    #[cold]
    fn nothing_owed(&mut self, now: Seconds) {
        self.owed = Some(0);
        if self.is_idle() {
            self.since = now;
        }
    }

    /// Parses the head. If it is complete, returns where the request ends, unless that depends on a body that
    /// is not complete.
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

    /// Discards the empty lines that some clients send after a body (RFC 9112 section 2.2). False if nothing
    /// else has arrived, or only the first byte of another empty line: then the connection is idle.
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
            // It occupies a buffer, as an incomplete head does.
            self.since = now;
        }
        Ok(!is_half && !input.is_empty())
    }

    /// Whether the connection has reached its limits, so that the next response is the last one.
    #[inline]
    fn is_worn_out(&self, limits: &Limits, now: Seconds) -> bool {
        self.retired
            || self.responded >= limits.requests_per_connection.saturating_sub(1)
            || u64::from(now.since(self.begun)) >= limits.connection_age.as_secs()
    }

    /// The response is complete. `close`: the response announces the end of the connection, as it must if
    /// [`ResponseContext::persistent`] is false.
    #[inline]
    pub fn finish(&mut self, close: bool, input: &mut Input, now: Seconds) {
        self.defer(input, now);
        self.responded(close, input, now);
    }

    /// Removes the request from the input. Its response comes later.
    #[inline]
    pub fn defer(&mut self, input: &mut Input, now: Seconds) {
        let MessageState::Ready(len) = self.state else {
            debug_assert!(false, "no request to respond to");
            return;
        };
        input.consume(len);
        self.owed = self.owed.map(|owed| owed.saturating_sub(len));
        self.since = now;
        self.state = MessageState::Waiting;
    }

    /// The pending response is complete. `close`: as for [`Http1::finish`].
    #[inline]
    pub fn responded(&mut self, close: bool, input: &Input, now: Seconds) {
        debug_assert!(self.is_waiting(), "no response is pending");
        self.responded = self.responded.saturating_add(1);
        self.since = now;
        debug_assert!(close || self.mode.persistent && !self.last);
        self.state = match close {
            false if self.unread > 0 => MessageState::Drain,
            false => MessageState::Idle,
            // A client that did not ask for the close may already be sending its next request.
            true => MessageState::Over(Close {
                reason: CloseReason::Finished,
                linger: self.mode.persistent || self.unread > 0 || !input.is_empty(),
            }),
        };
    }

    /// The rest of the pending response will never be sent.
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

    /// Refuses a request for a reason that is not in its bytes, before there is a response or a plan for its
    /// body. The driver writes the response.
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
