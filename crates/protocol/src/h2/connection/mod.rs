//! State machine of an HTTP/2 connection.
//!
//! # The contract
//!
//! *Inputs*: bytes appended to the [`Input`], [`Http2::eof`], [`Http2::expire`] when [`Http2::deadline`] has passed,
//! [`Http2::stop`] when the connection shall end soon. *Output*: [`Http2::next`], to be called after every input, and
//! when the socket has taken what waited, until it says [`Next::Read`] or [`Next::Close`]. Frames that the machine
//! sends itself go straight to the output.
//!
//! *Commands* are about a stream, and may come at any time:
//!
//! - [`Http2::respond`] gives a complete response. Right after [`Next::Request`], if the windows allow it, no stream
//!   ever exists, and nothing is allocated.
//! - [`Http2::begin`], [`Http2::send`] as often as wanted and [`Http2::finish`] give a response in pieces.
//!   [`Next::Drained`] says when a stream has nothing left to send.
//! - [`Http2::interim`] sends a response of 1xx, [`Http2::reset`] ends a stream.
//! - [`Http2::release`] says that bytes of [`Next::Data`] are taken. The window of the stream is given back by that;
//!   the connection's as long as all streams together hold less than
//!   [`connection_window`](super::limits::Http2Limits::connection_window).
//!
//! A request for which no command has come when `next` is called again waits for its response.
//!
//! ```text
//!              HEADERS                 END_STREAM of both
//!    (idle) ───────────► open stream ─────────────────────► (closed)
//!      │                   │    ▲ │        RST_STREAM          ▲
//!      │                   └────┘ └────────────────────────────┤
//!      │             Data, Trailers                            │
//!      └───────────────────────────────────────────────────────┘
//!             answered at once: no stream
//! ```
//!
//! # What a driver need not do
//!
//! Field blocks of streams that are refused or reset are decoded, so that the tables of both sides stay the same.
//! Every frame that is of no use to a request costs from one bucket ([`Http2Limits::nuisances`]). Frames about streams
//! that have ended are judged by the last ones: twice as many that were reset as may be open, 64 at least, and 16 others.

mod control;
mod deadline;
mod inspect;
mod receive;
mod respond;
mod send;
#[cfg(test)]
mod tests;

pub use inspect::Counts;

use super::bucket::Bucket;
use super::frame::{
    ErrorCode, Frame, FrameError, FrameHeader, HEADER, MAX_31, MAX_PAYLOAD, PREFACE, write,
};
use super::head::HeadBuf;
use super::limits::Http2Limits;
use super::part::Part;
use super::priority::Priority;
use super::stream::{Current, Ended, EndedStreams, ReceiveWindow, Stream};
use crate::Seconds;
use crate::error::ProtocolError;
use crate::h1::framing::Framing;
use crate::h1::read_buf::Input;
use crate::hpack::{Decoder, Encoder};
use crate::http::exchange::ResponseContext;
use crate::http::{Method, Version};
use crate::limits::Limits;
use crate::rate::Stall;
use crate::write_buf::{NoSegment, WriteBuf};
use alloc::vec::Vec;
use core::ops::Range;

/// The window that both sides begin with (RFC 9113 section 6.9.2).
const FIRST_WINDOW: u32 = 65_535;

/// What our PING says that finds out whether a GOAWAY has arrived.
const STOPPING: [u8; 8] = *b"stopping";

/// What the driver has to do. Ranges are of the unread bytes of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for more bytes.
    Read,
    /// Answer the request whose head is in the [`HeadBuf`], or take what it says: the head is that of another
    /// request when `next` is called again.
    Request(RequestParts),
    /// Answer the request of this stream with the status of the error. The [`HeadBuf`] has no complete head.
    Refused {
        /// Of which stream.
        stream: u32,
        /// What is wrong.
        error: ProtocolError,
    },
    /// The head of a request is malformed, and its stream was reset with PROTOCOL_ERROR (RFC 9113 section 8.1.1). There is
    /// nothing to do for it; a driver may count or log it.
    Malformed {
        /// Of which stream.
        stream: u32,
        /// What is wrong.
        text: &'static str,
    },
    /// A piece of a request body, which may be empty at its end. It is in the input until `next` is called
    /// again. [`Http2::release`] gives its window back.
    Data {
        /// Of which stream.
        stream: u32,
        /// Where it is.
        piece: Range<usize>,
        /// Nothing follows.
        is_last: bool,
    },
    /// The request body has ended with trailer fields, which are in the [`HeadBuf`].
    Trailers {
        /// Of which stream.
        stream: u32,
    },
    /// The stream has ended before its response was complete: nothing more can be sent on it.
    Reset {
        /// Of which stream.
        stream: u32,
        /// Why.
        code: ErrorCode,
        /// Bytes of its response that waited for a window. They are lost.
        unsent: u64,
        /// What the client has done wrong, if the server has reset the stream for that.
        fault: Option<&'static str>,
    },
    /// All that was given to [`Http2::send`] has been moved to the output.
    Drained {
        /// Of which stream.
        stream: u32,
    },
    /// Send what is in the output, then close.
    Close(Close),
}

/// A request that is to be answered, beside its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestParts {
    /// What it is known by.
    pub stream: u32,
    /// How the end of the body is found: `Exact(0)` if it has none, `Chunked` if its length is not known.
    pub framing: Framing,
    /// How it wants its response.
    pub mode: ResponseContext,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why it ends.
    pub reason: CloseReason,
    /// The client may still be sending: a close at once would reset the connection, and it might
    /// never read what was sent last.
    pub linger: bool,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// All requests that were taken are answered.
    Finished,
    /// The client closed, and no response is missing.
    ClientDone,
    /// The client closed before its requests or their responses were complete.
    ClientGone,
    /// GOAWAY was sent with this error and text.
    Error(ErrorCode, &'static str),
    /// No request has come in time.
    IdleTimeout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preface,
    /// The preface has come: the first frame has to be SETTINGS.
    FirstFrame,
    Open,
    Over(Close),
}

/// How far the end of a connection has come (RFC 9113 section 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// The client knows since then that it shall open no more streams.
    Announced(Seconds),
    /// The client knows which stream was the last.
    Last(u32),
}

/// A field block whose end has not come.
#[derive(Clone, Copy, Debug)]
struct OpenBlock {
    stream: u32,
    is_last: bool,
    /// CONTINUATION frames, and whether one of them was empty.
    frames: u8,
    has_empty: bool,
    since: Seconds,
}

/// See the module documentation. `X` are the segments of the output.
#[derive(Debug)]
pub struct Http2<X = NoSegment> {
    state: State,
    stopping: Stopping,
    is_greeted: bool,
    /// The client has closed before all of its requests were complete.
    has_lost: bool,
    /// The client has acknowledged our settings.
    is_acknowledged: bool,
    eof: bool,
    decoder: Decoder,
    encoder: Encoder,
    current: Option<Current>,
    /// By identifier, which grows.
    streams: Vec<Stream<X>>,
    /// Of the client.
    highest: u32,
    ended: EndedStreams,
    block: Option<OpenBlock>,
    fragments: Vec<u8>,
    /// What we may send.
    send: i64,
    /// What we may send on a new stream.
    first_send: i64,
    /// What the client may send on a new stream.
    stream_window: u32,
    receive: ReceiveWindow,
    bucket: Bucket,
    /// WINDOW_UPDATE frames that cost nothing.
    free_updates: u32,
    /// What the driver learns next, the last first.
    events: Vec<Next>,
    /// Bytes of the input that `next` has announced.
    announced: usize,
    /// A stream may be ready to send.
    may_send: bool,
    /// A stream is ready, and the window of the connection or the output is full.
    has_backlog: bool,
    /// A stream could send, and the output is full.
    is_held_up: bool,
    /// Since when, and how fast it has been opened since.
    stall: Stall,
    /// When nothing waited for the window of the connection any more, unless it has been opened by much since.
    eased: Option<Seconds>,
    /// Of the last response among those that take turns.
    last_sent: u32,
    begun: Seconds,
    /// Since when nothing has been open.
    idle_since: Seconds,
    requests: u32,
    counts: Counts,
}

/// What is the same for all frames of one call.
struct Turn<'a, X> {
    head: &'a mut HeadBuf,
    out: &'a mut WriteBuf<X>,
    limits: &'a Limits,
    http2: &'a Http2Limits,
    now: Seconds,
}

/// What came of one step.
enum Step {
    Again,
    /// More bytes are needed.
    More,
    Tell(Next),
}

impl<X: Part> Http2<X> {
    /// A connection that begins.
    pub fn new(now: Seconds, limits: &Http2Limits) -> Http2<X> {
        let mut encoder = Encoder::new();
        encoder.set_max(limits.header_table_bytes);
        Http2 {
            state: State::Preface,
            stopping: Stopping::No,
            is_greeted: false,
            has_lost: false,
            is_acknowledged: false,
            eof: false,
            decoder: Decoder::new(),
            encoder,
            current: None,
            streams: Vec::new(),
            highest: 0,
            ended: EndedStreams::new(limits.streams),
            block: None,
            fragments: Vec::new(),
            send: i64::from(FIRST_WINDOW),
            first_send: i64::from(FIRST_WINDOW),
            stream_window: limits.stream_window.min(MAX_31),
            receive: ReceiveWindow::new(limits.connection_window.clamp(FIRST_WINDOW, MAX_31)),
            bucket: Bucket::new(now, limits),
            free_updates: 0,
            events: Vec::new(),
            announced: 0,
            may_send: false,
            has_backlog: false,
            is_held_up: false,
            stall: Stall::new(now),
            eased: None,
            last_sent: 0,
            begun: now,
            idle_since: now,
            requests: 0,
            counts: Counts::default(),
        }
    }

    /// The client will send nothing more. What it has sent is still answered.
    pub fn eof(&mut self) {
        self.eof = true;
    }

    /// What the driver has to do now. To be called after every input; see the module.
    pub fn next(
        &mut self,
        input: &mut Input,
        head: &mut HeadBuf,
        out: &mut WriteBuf<X>,
        limits: &Limits,
        http2: &Http2Limits,
        now: Seconds,
    ) -> Next {
        self.settle(now);
        let mut turn = Turn {
            head,
            out,
            limits,
            http2,
            now,
        };
        input.consume(core::mem::take(&mut self.announced));
        if !self.is_greeted {
            self.greet(turn.out, limits, http2);
        }
        loop {
            if let Some(event) = self.events.pop() {
                return event;
            }
            if let State::Over(close) = self.state {
                return Next::Close(close);
            }
            match self.step(input, &mut turn) {
                Ok(Step::Tell(next)) => return next,
                Ok(Step::Again) => {}
                Ok(Step::More) => {
                    self.flush(turn.out, limits, now);
                    if self.events.is_empty() {
                        self.judge_end(turn.out, now);
                        if self.events.is_empty() && !matches!(self.state, State::Over(_)) {
                            return Next::Read;
                        }
                    }
                }
                Err(error) => self.fault(error, &mut turn),
            }
        }
    }

    /// A request that was announced and not answered waits: it becomes a stream.
    #[inline]
    fn settle(&mut self, now: Seconds) {
        if let Some(current) = self.current.take() {
            let stream = current.into_stream(self.first_send, self.stream_window, now);
            self.streams.push(stream);
        }
    }

    /// Handles one frame.
    #[inline]
    fn step(&mut self, input: &mut Input, turn: &mut Turn<'_, X>) -> Result<Step, FrameError> {
        let unread = input.unread();
        if self.state == State::Preface {
            let len = unread.len().min(PREFACE.len());
            if unread[..len] != PREFACE[..len] {
                let text = "the client preface is missing";
                return Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, text));
            }
            if len < PREFACE.len() {
                return Ok(Step::More);
            }
            input.consume(len);
            self.state = State::FirstFrame;
            return Ok(Step::Again);
        }
        let Some((header, rest)) = unread.split_first_chunk::<HEADER>() else {
            return Ok(Step::More);
        };
        let header = FrameHeader::parse(header);
        self.may_come(&header)?;
        let Some(payload) = rest.get(..header.len) else {
            return Ok(Step::More);
        };
        let len = HEADER + header.len;
        let frame = header.frame(payload).and_then(|frame| {
            let is_settings = matches!(frame, Frame::Settings);
            if self.state == State::FirstFrame && !is_settings {
                let text = "the first frame is not SETTINGS";
                return Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, text));
            }
            self.state = State::Open;
            self.dispatch(frame, payload, turn)
        });
        match frame {
            Ok(Step::Tell(next @ Next::Data { .. })) => {
                self.announced = len;
                Ok(Step::Tell(next))
            }
            result => {
                input.consume(len);
                result
            }
        }
    }

    /// What can be said of a frame before it is complete.
    #[inline]
    fn may_come(&self, header: &FrameHeader) -> Result<(), FrameError> {
        if header.len > MAX_PAYLOAD {
            let text = "a frame is larger than SETTINGS_MAX_FRAME_SIZE";
            return Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, text));
        }
        match &self.block {
            Some(block) if !header.is_continuation_of(block.stream) => {
                // RFC 9113 section 6.10.
                let text = "a frame between the parts of a field block";
                Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, text))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn dispatch(
        &mut self,
        frame: Frame,
        payload: &[u8],
        turn: &mut Turn<'_, X>,
    ) -> Result<Step, FrameError> {
        match frame {
            Frame::Headers {
                stream,
                block,
                end_headers: true,
                end_stream,
            } => self.field_block(stream, &payload[block], end_stream, turn),
            Frame::Data {
                stream,
                data,
                len,
                end_stream,
            } => self.data(stream, data, len, end_stream, turn),
            Frame::Headers {
                stream,
                block,
                end_stream,
                ..
            } => {
                self.begin_block(stream, &payload[block], end_stream, turn.now);
                Ok(Step::Again)
            }
            Frame::Continuation {
                stream,
                block,
                end_headers,
            } => self.continuation(stream, &payload[block], end_headers, turn),
            other => self.control(other, payload, turn).map(|()| Step::Again),
        }
    }

    #[inline]
    fn position(&self, id: u32) -> Option<usize> {
        self.streams
            .binary_search_by_key(&id, |stream| stream.id)
            .ok()
    }

    #[inline]
    fn find(&mut self, id: u32) -> Option<&mut Stream<X>> {
        let at = self.position(id)?;
        self.streams.get_mut(at)
    }
}
