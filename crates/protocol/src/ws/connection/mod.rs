//! State machine of a WebSocket connection.
//!
//! Sending is in [`super::send`].
//!
//! # The contract
//!
//! *Inputs*: bytes appended to the [`WsInput`], [`WsConn::eof`], [`WsConn::expire`] when
//! [`WsConn::deadline`] has passed. *Commands*: [`WsConn::send`] and its siblings, [`WsConn::close`], and
//! [`WsConn::done`] when a message has been handled. *Output*: [`WsConn::next`], to be called after every
//! input until it returns [`WsNext::Read`] or [`WsNext::Over`]. The bytes to be sent are in
//! [`WsConn::output`].
//!
//! ```text
//!          close                 the client's close
//!   Open ─────────► Closing ──────────────────────────► Over
//!    │                 └── expired, end of stream ───────▲
//!    └── the client's close (responded), error, end ──────┘
//! ```

mod deadline;

use super::deflate::Deflate;
use super::frame;
use super::frame::{Control, Data, FrameError, Header, MAX_CONTROL, Message, OpCode};
use super::limits::{BacklogPolicy, WsLimits};
use super::message_buf::{Current, Started, WsInput};
use super::prepared::PreparedMessage;
use super::utf8::Utf8;
use crate::Seconds;
use crate::write_buf::{NoSegment, WriteBuf};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// What the driver has to do.
#[derive(Debug)]
pub enum WsNext {
    /// Wait for more bytes.
    Read,
    /// Handle [`WsConn::message`], then call [`WsConn::done`].
    Message,
    /// A pong came.
    Pong(ControlPayload),
    /// Send what is in the output, then close.
    Over,
}

/// The payload of a pong.
#[derive(Clone, Copy, Debug)]
pub struct ControlPayload {
    bytes: [u8; MAX_CONTROL],
    /// `len <= MAX_CONTROL`
    len: u8,
}

impl ControlPayload {
    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The client's close frame; 1005 if it had no code.
    Closed {
        /// The status code.
        code: u16,
        /// The reason, or nothing.
        reason: Box<str>,
    },
    /// The client violated the protocol.
    Failed(FrameError),
    /// The stream ended without a close frame.
    Gone,
    /// Too many bytes were unsent.
    Backlog,
    /// No response to a ping.
    Silent,
    /// No response to our close frame.
    CloseTimeout,
    /// The client received none of the bytes that waited for it, or too few.
    WriteTimeout,
    /// Memory was short, and the client received none of the bytes that waited for it.
    Overloaded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Our close frame is on its way. Messages are discarded, and the close frame of the client ends the
    /// connection.
    Closing,
    Over,
}

/// See the module documentation. An incomplete frame or message is in the [`WsInput`]. A connection without
/// one has no input buffer.
pub struct WsConn<X = NoSegment> {
    pub(super) state: State,
    /// Why it is over. In a box, because only few connections are over at any time.
    end: Option<Box<End>>,
    pub(super) limits: Arc<WsLimits>,
    /// When the client last sent something.
    heard: Seconds,
    /// Control frames of that second.
    controls: u32,
    /// Messages that may still arrive in it.
    messages: u32,
    /// When the client last received something, or when the output was last empty before something was added.
    pub(super) wrote: Seconds,
    /// When our ping, our close frame or the end of the stream was sent.
    since: Seconds,
    pinged: bool,
    /// The backlog has been above the mark, and the driver has not been notified that it is below again.
    pub(super) crowded: bool,
    /// Nothing was read for a while, because the backlog was above the mark, or because the program did not want it. So the
    /// time of an incomplete message begins again.
    pub(super) paused: bool,
    /// The program wants that nothing is read.
    held: bool,
    /// Leased while there is something to send.
    pub(super) output: Option<Box<WriteBuf<X>>>,
    /// With [`BacklogPolicy::DropOldest`]: the messages that can still be dropped.
    pub(super) droppable: Option<Box<Droppable>>,
    pub(super) deflate: Option<Box<Deflate>>,
}

#[derive(Debug, Default)]
pub(super) struct Droppable {
    pub(super) queue: VecDeque<PreparedMessage>,
    pub(super) bytes: usize,
}

impl<X> WsConn<X> {
    /// `output` holds the response to the handshake.
    pub fn new(
        now: Seconds,
        limits: Arc<WsLimits>,
        deflate: Option<Box<Deflate>>,
        output: Option<Box<WriteBuf<X>>>,
    ) -> WsConn<X> {
        WsConn {
            state: State::Open,
            end: None,
            controls: 0,
            messages: limits.messages.saturating_mul(BURST),
            limits,
            heard: now,
            wrote: now,
            since: now,
            pinged: false,
            crowded: false,
            paused: false,
            held: false,
            output,
            droppable: None,
            deflate,
        }
    }

    /// Handles the bytes that have arrived, until the input is used up, the backlog is so large that the
    /// client has to read first, or the reading is paused. Pongs are part of the backlog.
    pub fn next(&mut self, input: &mut WsInput, now: Seconds) -> WsNext {
        loop {
            if self.is_over() {
                return WsNext::Over;
            }
            if !self.reads() {
                return WsNext::Read;
            }
            match self.step(input, now) {
                Ok(Step::On) => {}
                Ok(Step::Do(next)) => return next,
                Err(error) => self.fail(error, now),
            }
        }
    }

    /// Handles the bytes of one frame. A header is stored only if its frame is not complete: if it was stored
    /// and loaded again at once, the load had to wait for the stores.
    fn step(&mut self, input: &mut WsInput, now: Seconds) -> Result<Step, FrameError> {
        let most = self.limits.frame_bytes.min(self.limits.message_bytes);
        if self.is_open() && self.messages > 0 && input.begin_small(most) {
            self.messages -= 1;
            return Ok(Step::Do(WsNext::Message));
        }
        let current = match input.decoder().current.take() {
            Some(current) => current,
            None => match self.begin(input)? {
                Some(header) => Current { header, done: 0 },
                None => return Ok(Step::Do(WsNext::Read)),
            },
        };
        match current.header.opcode {
            OpCode::Data(_) => self.data(current, input),
            OpCode::Control(_) => self.control(current, input, now),
        }
    }

    /// The client will send nothing more.
    pub fn eof(&mut self) {
        self.end(End::Gone);
    }

    /// A message for this connection was dropped before it arrived here.
    pub fn lose(&mut self) {
        if self.is_open() && self.limits.backlog_policy == BacklogPolicy::Close {
            self.end(End::Backlog);
        }
    }

    /// Ends the connection for this reason, if it has not ended before.
    pub fn end(&mut self, end: End) {
        if !self.is_over() {
            self.state = State::Over;
            self.end = Some(Box::new(end));
        }
    }

    /// The reason of the end.
    pub fn ended(&self) -> Option<&End> {
        self.end.as_deref()
    }

    /// Whether the connection is over: nothing more is read, and only the output is sent.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether no side has begun to close.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Sends a close frame with the error of the client. Nothing more is read.
    pub fn fail(&mut self, error: FrameError, now: Seconds) {
        if self.is_open() {
            self.push_close(Some((error.close_code(), error.text())), now);
        }
        self.end(End::Failed(error));
    }

    /// The client may still be sending. A close at once would reset the connection, and the client might
    /// never read the reason.
    pub fn lingers(&self) -> bool {
        matches!(self.ended(), Some(End::Failed(_) | End::Closed { .. }))
    }

    fn begin(&mut self, input: &mut WsInput) -> Result<Option<Header>, FrameError> {
        let Some(header) = frame::parse(input.raw())? else {
            return Ok(None);
        };
        if let OpCode::Data(data) = header.opcode {
            self.begin_data(data, &header, input)?;
        }
        input.skip(header.size);
        Ok(Some(header))
    }

    /// RFC 6455 section 5.4, and the limits on what a header announces.
    fn begin_data(
        &mut self,
        data: Data,
        header: &Header,
        input: &mut WsInput,
    ) -> Result<(), FrameError> {
        let so_far = input.message_len();
        let decoder = input.decoder();
        match (&mut decoder.message, data) {
            (None, Data::Continue) => return Err(FrameError::NothingToContinue),
            (Some(message), Data::Continue) => {
                if header.rsv1 {
                    return Err(FrameError::ReservedBits);
                }
                if message.fragments >= self.limits.fragments {
                    return Err(FrameError::TooManyFragments);
                }
                message.fragments += 1;
            }
            (Some(_), _) => return Err(FrameError::MessageInMessage),
            (None, data) => {
                if header.rsv1 && self.deflate.is_none() {
                    return Err(FrameError::ReservedBits);
                }
                decoder.message = Some(Started {
                    text: data == Data::Text,
                    compressed: header.rsv1,
                    fragments: 1,
                    checked: false,
                });
                decoder.utf8 = Utf8::default();
            }
        }
        let limits = &*self.limits;
        if header.len > limits.frame_bytes as u64 {
            return Err(FrameError::FrameTooLarge);
        }
        match header.len > (limits.message_bytes.saturating_sub(so_far)) as u64 {
            true => Err(FrameError::MessageTooLarge),
            false => Ok(()),
        }
    }

    /// Handles the payload bytes of a data frame that have arrived.
    fn data(&mut self, current: Current, input: &mut WsInput) -> Result<Step, FrameError> {
        let Current { header, done } = current;
        let (decoder, raw) = input.parts();
        let Some(message) = &mut decoder.message else {
            return Err(FrameError::NothingToContinue);
        };
        // Within the limits, so within `usize`.
        let len = header.len as usize;
        let there = raw.len().min(len);
        let whole = there == len && header.is_final && message.fragments == 1 && done == 0;
        let new = &mut raw[done..there];
        frame::unmask(new, header.mask, done);
        if message.text && !message.compressed && !whole && self.is_open() {
            // A message that has arrived as a whole is checked as a whole, when it is converted to a `str`. A
            // message after our close frame is discarded and not checked, in whatever pieces it arrives.
            message.checked = true;
            if !decoder.utf8.push(new) {
                return Err(FrameError::Utf8);
            }
        }
        if there < len {
            decoder.current = Some(Current {
                header,
                done: there,
            });
            return Ok(Step::Do(WsNext::Read));
        }
        let unfinished = message.checked && !decoder.utf8.is_complete();
        if header.is_final && unfinished && self.is_open() {
            return Err(FrameError::Utf8);
        }
        input.keep(len);
        if !header.is_final {
            return Ok(Step::On);
        }
        if !self.is_open() {
            self.done(input);
            return Ok(Step::On);
        }
        self.messages = match self.messages.checked_sub(1) {
            Some(left) => left,
            None => return Err(FrameError::TooManyMessages),
        };
        Ok(Step::Do(WsNext::Message))
    }

    /// The complete message. Text is valid UTF-8. A compressed message is decompressed into `inflate`.
    pub fn message<'a>(
        &mut self,
        input: &'a WsInput,
        inflate: &'a mut super::deflate::Inflate,
    ) -> Result<Message<'a>, FrameError> {
        let Some(started) = input.started() else {
            return Err(FrameError::NothingToContinue);
        };
        let bytes = match (&mut self.deflate, started.compressed) {
            (Some(deflate), true) => {
                inflate.message(deflate, input.message(), self.limits.message_bytes)?
            }
            _ => input.message(),
        };
        match started.text {
            true => core::str::from_utf8(bytes)
                .map(Message::Text)
                .map_err(|_| FrameError::Utf8),
            false => Ok(Message::Binary(bytes)),
        }
    }

    /// The message has been handled.
    pub fn done(&mut self, input: &mut WsInput) {
        input.drop_message();
    }

    fn control(
        &mut self,
        current: Current,
        input: &mut WsInput,
        now: Seconds,
    ) -> Result<Step, FrameError> {
        let header = current.header;
        let len = header.len as usize;
        let (decoder, raw) = input.parts();
        let Some(payload) = raw.get_mut(..len) else {
            decoder.current = Some(current);
            return Ok(Step::Do(WsNext::Read));
        };
        frame::unmask(payload, header.mask, 0);
        if header.opcode == OpCode::Control(Control::Close) {
            return self.closed(payload, now).map(|()| Step::Do(WsNext::Over));
        }
        if self.controls >= self.limits.control_frames {
            return Err(FrameError::TooManyControlFrames);
        }
        self.controls += 1;
        let mut copy = ControlPayload {
            bytes: [0; MAX_CONTROL],
            len: len as u8,
        };
        copy.bytes[..len].copy_from_slice(payload);
        input.skip(len);
        if header.opcode == OpCode::Control(Control::Pong) {
            return Ok(Step::Do(WsNext::Pong(copy)));
        }
        if self.is_open() {
            self.push_control(Control::Pong, copy.as_bytes(), now);
        }
        Ok(Step::On)
    }

    /// RFC 6455 section 7.1: the response to a close frame has the same code, and is sent once.
    fn closed(&mut self, payload: &[u8], now: Seconds) -> Result<(), FrameError> {
        let close = frame::parse_close(payload)?;
        if self.is_open() {
            self.push_close(close.map(|(code, _)| (code, "")), now);
        }
        let (code, reason) = close.unwrap_or((NO_CODE, ""));
        let reason = reason.into();
        self.end(End::Closed { code, reason });
        Ok(())
    }
}

/// The messages of this number of seconds may arrive at once.
const BURST: u32 = 10;

/// What is reported for a close frame without a code (RFC 6455 section 7.1.5).
const NO_CODE: u16 = 1005;

enum Step {
    On,
    Do(WsNext),
}

#[cfg(test)]
mod tests;
