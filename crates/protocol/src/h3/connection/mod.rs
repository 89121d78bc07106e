//! State machine of an HTTP/3 connection.
//!
//! # The contract
//!
//! The driver has a connection of QUIC, and tells the machine what its streams receive. *Inputs*: pieces of streams, as
//! [`StreamBytes`] for [`Http3::next`]; [`Http3::reset`] for RESET_STREAM, [`Http3::stopped`] for STOP_SENDING;
//! [`Http3::expire`] when [`Http3::deadline`] has passed; [`Http3::stop`] when the connection shall end soon. Streams may come
//! in any order, the bytes of each in order.
//!
//! *Output*: [`Http3::next`] says what came of a piece, and is to be called again until it says [`Next::Read`] or
//! [`Next::Close`]. After the other inputs, [`Http3::poll`] says the same. What is to be sent on the control stream waits in
//! [`Http3::control`]: the driver opens one unidirectional stream for it, at the beginning, and never closes it. The streams
//! of QPACK are not needed, as no dynamic table is used (RFC 9204 section 4.2).
//!
//! *Commands* are about the stream of a request, and may come at any time. They write into the buffer of that stream, which is
//! the driver's, as the windows of QUIC are:
//!
//! - [`Http3::respond`] gives a complete response. Right after [`Next::Request`], no stream ever exists, and nothing is
//!   allocated.
//! - [`Http3::begin`], [`Http3::data`] as often as wanted and [`Http3::finish`] give a response in pieces.
//! - [`Http3::interim`] sends a response of 1xx, [`Http3::abort`] forgets a stream that the driver resets.
//! - [`Http3::discard`] says that the rest of a request is not needed, [`Http3::pause`] that it is not read at the moment.
//!
//! A request for which no command has come when `next` is called again waits for its response.
//!
//! # What a driver has to do
//!
//! - It refuses 0-RTT, allows [`streams`](super::limits::Http3Limits::streams) bidirectional and
//!   [`unidirectional_streams`](super::limits::Http3Limits::unidirectional_streams) unidirectional ones, and bounds what waits
//!   to be sent, and how long a client may leave it there.
//! - It reads ahead by one piece, so that it knows whether a piece is the last one: [`StreamBytes::new`]. A request that is
//!   handed over without its end looks as if it had a body.
//! - It gives no bytes of a stream for which it was told to stop reading. If it does, they are dropped.

mod body;
mod control;
mod deadline;
mod inspect;
mod receive;
mod respond;
#[cfg(test)]
mod tests;

pub use inspect::Counts;
pub use respond::Sent;

use super::frame::{ErrorCode, Fault, setting, stream_type, write};
use super::head::HeadBuf;
use super::limits::Http3Limits;
use super::priority::Priority;
use super::stream::{Begun, Current, Stream};
use super::varint;
use crate::Seconds;
use crate::error::ProtocolError;
use crate::h1::framing::Framing;
use crate::http::exchange::ResponseContext;
use crate::limits::Limits;
use crate::token_bucket::TokenBucket;
use alloc::vec::Vec;
use control::{Control, Unidirectional};
use core::ops::Range;

/// Priorities of requests that have not come yet. Of more, the oldest are forgotten.
const EARLY_PRIORITIES: usize = 16;

/// A piece of a stream that the client has sent.
#[derive(Clone, Copy, Debug)]
pub struct StreamBytes<'a> {
    stream: u64,
    bytes: &'a [u8],
    at: usize,
    is_last: bool,
}

impl<'a> StreamBytes<'a> {
    /// The next bytes of a stream; they may be none. `is_last`: the client has closed it, and these are its last bytes.
    pub fn new(stream: u64, bytes: &'a [u8], is_last: bool) -> StreamBytes<'a> {
        StreamBytes {
            stream,
            bytes,
            at: 0,
            is_last,
        }
    }

    /// All of them: what the ranges of [`Next::Data`] are about.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Nothing follows what has been taken.
    fn is_end(&self) -> bool {
        self.is_last && self.at == self.bytes.len()
    }

    /// The end of the stream is taken.
    fn take_end(&mut self) {
        self.is_last = false;
    }

    fn drop_all(&mut self) {
        (self.at, self.is_last) = (self.bytes.len(), false);
    }
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// All of the piece is taken.
    Read,
    /// Answer the request whose head is in the [`HeadBuf`], or take what it says: the head is that of another
    /// request when `next` is called again.
    Request(RequestParts),
    /// Answer the request of this stream with the status of the error. The [`HeadBuf`] has no complete head. The rest of
    /// the request is not needed.
    Refused {
        /// Of which stream.
        stream: u64,
        /// What is wrong.
        error: ProtocolError,
    },
    /// The head of a request is malformed (RFC 9114 section 4.1.2). Reset the stream, and stop reading it, with
    /// H3_MESSAGE_ERROR. A driver may count or log it.
    Malformed {
        /// Of which stream.
        stream: u64,
        /// What is wrong.
        text: &'static str,
    },
    /// A piece of a request body, which may be empty at its end.
    Data {
        /// Of which stream.
        stream: u64,
        /// Where it is in [`StreamBytes::bytes`].
        piece: Range<usize>,
        /// Nothing follows.
        is_last: bool,
    },
    /// The request body has ended with trailer fields, which are in the [`HeadBuf`].
    Trailers {
        /// Of which stream.
        stream: u64,
    },
    /// The stream has ended before its response was complete. Reset it, and stop reading it, with this code.
    Reset {
        /// Of which stream.
        stream: u64,
        /// The code.
        code: ErrorCode,
        /// What the client has done wrong. `None`: it has taken the request back.
        fault: Option<&'static str>,
    },
    /// Stop reading a unidirectional stream, with this code.
    Stop {
        /// Of which stream.
        stream: u64,
        /// The code.
        code: ErrorCode,
    },
    /// The client has changed the priority of a response.
    Priority {
        /// Of which stream.
        stream: u64,
        /// The new one.
        priority: Priority,
    },
    /// Send what is in the buffers, then close the connection with [`Close::code`].
    Close(Close),
}

/// A request that is to be answered, beside its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestParts {
    /// What it is known by.
    pub stream: u64,
    /// How the end of the body is found: `Exact(0)` if it has none, `Chunked` if its length is not known.
    pub framing: Framing,
    /// How it wants its response.
    pub mode: ResponseContext,
    /// How urgent the response is.
    pub priority: Priority,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why it ends.
    pub reason: CloseReason,
}

impl Close {
    /// The code of the CONNECTION_CLOSE frame.
    pub fn code(&self) -> ErrorCode {
        match self.reason {
            CloseReason::Error(code, _) => code,
            CloseReason::Finished | CloseReason::IdleTimeout => ErrorCode::H3_NO_ERROR,
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// All requests that were taken are answered.
    Finished,
    /// The client breaks the protocol, or is above a limit.
    Error(ErrorCode, &'static str),
    /// No request has come in time.
    IdleTimeout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Over(Close),
}

/// How far the end of a connection has come (RFC 9114 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// The client knows since then that it shall open no more streams.
    Announced(Seconds),
    /// The client knows since then which stream is the first that is not handled.
    Last(u64, Seconds),
}

/// See the module documentation.
#[derive(Debug)]
pub struct Http3 {
    state: State,
    stopping: Stopping,
    current: Option<Current>,
    /// By identifier, which grows.
    streams: Vec<Stream>,
    requests_begun: Begun,
    /// Of the client, as long as they are open.
    unidirectional: Vec<Unidirectional>,
    unidirectional_begun: Begun,
    control: Control,
    /// What waits for the control stream of the server.
    out: Vec<u8>,
    /// Bytes of field sections that are not complete.
    partial: usize,
    bucket: TokenBucket,
    early_priorities: Vec<(u64, Priority)>,
    /// What the driver learns next, the last first.
    events: Vec<Next>,
    begun: Seconds,
    /// Since when nothing has been open.
    idle_since: Seconds,
    requests: u32,
    counts: Counts,
}

/// What is the same for all steps of one call.
struct Turn<'a> {
    head: &'a mut HeadBuf,
    limits: &'a Limits,
    http3: &'a Http3Limits,
    now: Seconds,
}

/// What came of one step.
enum Step {
    Again,
    /// More bytes are needed.
    More,
    Tell(Next),
}

impl Http3 {
    /// A connection that begins. Its SETTINGS wait in [`Http3::control`].
    pub fn new(now: Seconds, limits: &Limits, http3: &Http3Limits) -> Http3 {
        let mut out = Vec::new();
        varint::encode(stream_type::CONTROL, &mut out);
        // The dynamic tables have the capacity 0 without a setting (RFC 9204 section 5).
        let largest = (setting::MAX_FIELD_SECTION_SIZE, limits.head_bytes as u64);
        write::settings(&[largest, (setting::RESERVED, 0)], &mut out);
        Http3 {
            state: State::Open,
            stopping: Stopping::No,
            current: None,
            streams: Vec::new(),
            requests_begun: Begun::new(0),
            unidirectional: Vec::new(),
            unidirectional_begun: Begun::new(2),
            control: Control::default(),
            out,
            partial: 0,
            bucket: TokenBucket::new(now, http3.nuisances),
            early_priorities: Vec::new(),
            events: Vec::new(),
            begun: now,
            idle_since: now,
            requests: 0,
            counts: Counts::default(),
        }
    }

    /// What the driver has to do now, because of a piece of a stream. To be called with the same one until all of it is taken;
    /// see the module.
    #[inline]
    pub fn next(
        &mut self,
        input: &mut StreamBytes<'_>,
        head: &mut HeadBuf,
        limits: &Limits,
        http3: &Http3Limits,
        now: Seconds,
    ) -> Next {
        self.settle(now);
        let mut turn = Turn {
            head,
            limits,
            http3,
            now,
        };
        loop {
            if let Some(next) = self.pending() {
                return next;
            }
            match self.step(input, &mut turn) {
                Ok(Step::Tell(next)) => return next,
                Ok(Step::Again) => {}
                Ok(Step::More) => {
                    self.judge_end(limits, now);
                    return self.pending().unwrap_or(Next::Read);
                }
                Err(fault) => self.fault(fault, input, &turn),
            }
        }
    }

    /// What the driver has to do now, without a piece: after another input or a command. [`Next::Read`]: nothing.
    pub fn poll(&mut self, limits: &Limits, now: Seconds) -> Next {
        self.settle(now);
        self.judge_end(limits, now);
        self.pending().unwrap_or(Next::Read)
    }

    /// What has been found out before.
    #[inline]
    fn pending(&mut self) -> Option<Next> {
        if let Some(event) = self.events.pop() {
            return Some(event);
        }
        match self.state {
            State::Over(close) => Some(Next::Close(close)),
            State::Open => None,
        }
    }

    /// A request that was announced and not answered waits: it becomes a stream.
    #[inline]
    fn settle(&mut self, now: Seconds) {
        if let Some(current) = self.current.take() {
            self.insert(current.into_stream(now));
        }
    }

    fn insert(&mut self, stream: Stream) {
        let at = self.streams.partition_point(|other| other.id < stream.id);
        self.streams.insert(at, stream);
    }

    /// Handles what stands first in a piece.
    #[inline]
    fn step(&mut self, input: &mut StreamBytes<'_>, turn: &mut Turn<'_>) -> Result<Step, Fault> {
        if input.rest().is_empty() && !input.is_last {
            return Ok(Step::More);
        }
        match input.stream % 4 {
            0 => self.request_stream(input, turn),
            2 => self.unidirectional_stream(input, turn),
            _ => Err(Fault::Connection(
                ErrorCode::H3_STREAM_CREATION_ERROR,
                "a client does not send on streams of the server",
            )),
        }
    }

    #[inline]
    fn position(&self, id: u64) -> Option<usize> {
        // Requests that wait are few, and the newest are asked for most.
        self.streams.iter().rposition(|stream| stream.id == id)
    }

    fn find(&mut self, id: u64) -> Option<&mut Stream> {
        let at = self.position(id)?;
        Some(&mut self.streams[at])
    }

    /// Takes a stream out of the table.
    fn remove(&mut self, id: u64, now: Seconds) -> Option<Stream> {
        let at = self.position(id)?;
        let stream = self.streams.remove(at);
        self.partial -= stream.section.len();
        self.idle_since = now;
        Some(stream)
    }

    /// What is of no use to any request costs something.
    fn spend(
        &mut self,
        count: u32,
        text: &'static str,
        http3: &Http3Limits,
        now: Seconds,
    ) -> Result<(), Fault> {
        let (most, per_second) = (http3.nuisances, http3.nuisances_per_second);
        match self.bucket.take(count, most, per_second, now) {
            true => Ok(()),
            false => Err(Fault::Connection(ErrorCode::H3_EXCESSIVE_LOAD, text)),
        }
    }
}
