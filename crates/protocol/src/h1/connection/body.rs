//! States of a request body.

use super::{CloseReason, Framing, Http1, MessageState, Next};
use crate::Seconds;
use crate::error::ProtocolError;
use crate::h1::chunked::ChunkedDecoder;
use crate::h1::framing::BodyLength;
use crate::h1::read_buf::Input;
use crate::h1::response_encoder::CONTINUE;
use crate::http::exchange::BodyIntake;
use crate::limits::Limits;
use crate::rate::Rate;
use crate::write_buf::WriteBuf;
use alloc::vec::Vec;
use core::ops::Range;

impl Http1 {
    /// Sets the plan for the body that [`Next::Plan`] announced. Sends `100 Continue` if the client waits for
    /// it and the plan reads the body.
    pub fn plan<X>(
        &mut self,
        framing: Framing,
        plan: BodyIntake,
        input: &mut Input,
        output: &mut WriteBuf<X>,
        limits: &Limits,
    ) {
        let head = input.head.len();
        // If the body has begun to arrive, the client does not wait (RFC 9110 section 10.1.1).
        let awaits = framing.expects_continue && input.available() == head;
        let most = match plan {
            BodyIntake::Buffer(most) | BodyIntake::Pieces(most) => most,
            BodyIntake::Unread => return self.leave_unread(framing.body, awaits, head, limits),
            BodyIntake::Refuse => {
                self.last = true;
                return self.leave_unread(framing.body, awaits, head, limits);
            }
        };
        let is_in_pieces = matches!(plan, BodyIntake::Pieces(_));
        let length = framing.body.within(most);
        self.state = match length.and_then(|length| body_state(length, is_in_pieces, head)) {
            Ok(state) => state,
            Err(error) => {
                self.refuse(error);
                return;
            }
        };
        if matches!(
            self.state,
            MessageState::Chunked | MessageState::ChunkedPieces
        ) {
            input.decoder = ChunkedDecoder::new(head, most);
        }
        if is_in_pieces {
            input.widen();
        }
        if awaits {
            output.push(CONTINUE);
        }
    }

    /// The response does not need the rest of the body. A short rest is read and discarded afterwards; with a
    /// longer one the connection ends.
    fn leave_unread(&mut self, body: BodyLength, awaits: bool, head: usize, limits: &Limits) {
        let most = limits.linger_bytes.min(u32::MAX as usize) as u64;
        self.unread = match body {
            // A client that still waits for a `100` may send the body or not (RFC 9110 section 10.1.1).
            BodyLength::Exact(len) if len <= most && !awaits => len as u32,
            _ => {
                self.last = true;
                1
            }
        };
        self.state = MessageState::Ready(head);
    }

    /// The next piece of the body, or the request if the body is complete. `None` if more bytes have to
    /// arrive.
    pub(super) fn next_of_body(
        &mut self,
        input: &mut Input,
        limits: &Limits,
        now: Seconds,
    ) -> Result<Option<Next>, ProtocolError> {
        let next = match self.state {
            MessageState::Exact(len) if input.available() < len => None,
            MessageState::Exact(len) => Some(self.request(len, input.head.len()..len)),
            MessageState::Chunked => input
                .decode(limits)?
                .then(|| self.request(input.decoder.consumed(), input.decoder.body())),
            _ => self.next_piece(input, limits)?,
        };
        if next.is_none() {
            let is_chunked = matches!(
                self.state,
                MessageState::Chunked | MessageState::ChunkedPieces
            );
            input.count_body(is_chunked, self.since, now, &Rate::of_bodies(limits));
        }
        Ok(next)
    }

    fn next_piece(
        &mut self,
        input: &mut Input,
        limits: &Limits,
    ) -> Result<Option<Next>, ProtocolError> {
        if self.paused {
            return Ok(Some(Next::Wait));
        }
        let head = input.head.len();
        let (piece, end) = match self.state {
            MessageState::Pieces(left) => {
                let here = (input.available() - head) as u64;
                let piece = head..head + left.min(here) as usize;
                (piece, (left == 0).then_some(head))
            }
            _ => {
                let complete = input.decode(limits)?;
                let end = complete.then(|| input.decoder.consumed());
                (input.decoder.body(), end)
            }
        };
        Ok(match end {
            _ if !piece.is_empty() => Some(Next::Piece(piece)),
            Some(end) => Some(self.request(end, piece)),
            None => None,
        })
    }

    /// The next read would need a larger buffer.
    pub fn needs_memory(&self, input: &Input) -> bool {
        match self.state {
            MessageState::Head => true,
            MessageState::Idle | MessageState::Blank(_) => !input.is_empty(),
            MessageState::Exact(_) | MessageState::Chunked => input.is_full(),
            _ => false,
        }
    }

    /// The driver has handled the piece that [`Next::Piece`] announced.
    pub fn piece_taken(&mut self, piece: Range<usize>, input: &mut Input) {
        let len = piece.len();
        self.owed = self.owed.map(|owed| owed.saturating_sub(len));
        input.release(piece, self.state == MessageState::ChunkedPieces);
        if let MessageState::Pieces(left) = &mut self.state {
            *left -= len as u64;
        }
    }

    /// The driver takes no pieces before [`Http1::resume`].
    pub fn pause(&mut self, now: Seconds) {
        self.paused = true;
        self.since = now;
    }

    /// The driver takes no pieces of a body at the moment.
    #[inline]
    pub fn is_paused(&self) -> bool {
        let is_in_pieces = matches!(
            self.state,
            MessageState::Pieces(_) | MessageState::ChunkedPieces
        );
        is_in_pieces && self.paused
    }

    /// The driver takes pieces of the body again.
    pub fn resume(&mut self, input: &mut Input, now: Seconds) {
        if self.paused {
            self.paused = false;
            // The time of the pause does not count for the client.
            self.since = now;
            input.forget_meter();
        }
    }

    /// The consumer of the pieces has failed.
    pub fn give_up(&mut self) {
        self.turn_away(CloseReason::Finished);
    }

    /// The response is sent without the rest of the body, and without its trailers.
    pub fn respond_now(&mut self, input: &mut Input, limits: &Limits) {
        let body = match self.state {
            MessageState::Pieces(left) => BodyLength::Exact(left),
            MessageState::ChunkedPieces => BodyLength::Chunked,
            _ => return,
        };
        self.paused = false;
        input.head.set_trailers(Vec::new());
        self.leave_unread(body, false, input.head.len(), limits);
    }

    /// Discards the unread rest of a body. True when all of it is discarded.
    pub(super) fn drain(&mut self, input: &mut Input) -> bool {
        let n = (self.unread as usize).min(input.available());
        input.consume(n);
        self.owed = self.owed.map(|owed| owed.saturating_sub(n));
        self.unread -= n as u32;
        if self.unread == 0 {
            self.state = MessageState::Idle;
        }
        self.unread == 0
    }
}

/// How a body of `length` is received behind `head` bytes; `None`: in chunks.
fn body_state(
    length: Option<u64>,
    is_in_pieces: bool,
    head: usize,
) -> Result<MessageState, ProtocolError> {
    Ok(match length {
        Some(len) if is_in_pieces => MessageState::Pieces(len),
        Some(len) => {
            // The sum must be a possible length in memory.
            let len = usize::try_from(len).ok();
            let len = len.and_then(|len| head.checked_add(len));
            MessageState::Exact(len.ok_or(ProtocolError::BodyTooLarge)?)
        }
        None if is_in_pieces => MessageState::ChunkedPieces,
        None => MessageState::Chunked,
    })
}
