//! One turn of an HTTP/3 connection.
//!
//! Streams are read one after the other. The state machine says what the next step is, the service does it, and the
//! response goes to the stream. A request with a complete response leaves nothing behind.

use super::machine::Machine;
use super::reading::Read;
use super::sending::Pumped;
use crate::http::connection_error::ConnectionError;
use crate::http::handler::Handler;
use crate::http::multiplexed::Parts;
use crate::http::multiplexed::requests::Current;
use crate::http::multiplexed::responses::Drawn;
use crate::http::service::{Pace, Service};
use crate::runtime::transport::FILE_STEP;
use bytes::Bytes;
use peregrine_protocol::h3::connection::{Close, CloseReason, Next, RequestParts, StreamBytes};
use peregrine_protocol::h3::frame::ErrorCode;
use peregrine_protocol::h3::priority::Priority;
use std::ops::Deref;

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Everything that has arrived is handled.
    Read,
    /// The same, and the source of a body has to be asked again after a while.
    Rest,
    /// There is more to do, but other connections have their turn first.
    Again,
    /// What is here has to be sent, then the connection is closed.
    Close(Close),
}

/// What came of a step of the state machine.
enum Step {
    More,
    Read,
    Close(Close),
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Reads streams, and sends what came of them, within the limits of one turn.
    pub(super) fn turn_http3(&mut self, parts: &mut Parts<'_, Machine<'_>>) -> Turn {
        self.recorder.set_conn(parts.conn);
        if let Some(close) = self.take_events(parts) {
            return Turn::Close(close);
        }
        let mut left = self.limits.requests_per_turn.max(1);
        let mut room = FILE_STEP;
        let (mut pace, mut drawing) = (Pace::default(), Pace::default());
        loop {
            if parts.streams.holds_back {
                self.give_windows_back(parts);
            }
            if left == 0 || pace.is_over(|| parts.machine.reading.is_ready()) {
                self.pump(&mut room, parts);
                return Turn::Again;
            }
            let Some(id) = parts.machine.reading.next() else {
                self.pump(&mut room, parts);
                if room == 0 {
                    return Turn::Again;
                }
                match self.draw_bodies(&mut drawing, parts) {
                    Drawn::More => left -= 1,
                    Drawn::Nothing => return Turn::Read,
                    Drawn::Rest => return Turn::Rest,
                    Drawn::Again => return Turn::Again,
                }
                continue;
            };
            pace.begin(self.limits.turn_time, || parts.machine.reading.is_ready());
            let close = match parts.machine.reading.read(id, parts.machine.quic) {
                Read::Piece(piece, is_last) => {
                    left -= 1;
                    self.take_stream_piece(id, piece, is_last, parts)
                }
                Read::Reset => {
                    let machine = &mut parts.machine;
                    machine.http3.reset(id, machine.limits, self.now);
                    self.take_events(parts)
                }
                Read::Nothing => None,
            };
            if let Some(close) = close {
                return Turn::Close(close);
            }
        }
    }

    /// A piece of a stream has come.
    fn take_stream_piece(
        &mut self,
        id: u64,
        piece: Bytes,
        is_last: bool,
        parts: &mut Parts<'_, Machine<'_>>,
    ) -> Option<Close> {
        let mut input = StreamBytes::new(id, &piece, is_last);
        loop {
            let machine = &mut parts.machine;
            let next = machine.http3.next(
                &mut input,
                parts.head,
                &self.limits,
                machine.limits,
                self.now,
            );
            match self.take_next(next, &piece, parts) {
                Step::More => {}
                Step::Read => return None,
                Step::Close(close) => return Some(close),
            }
        }
    }

    /// Handles what the state machine has found out without a piece.
    pub(super) fn take_events(&mut self, parts: &mut Parts<'_, Machine<'_>>) -> Option<Close> {
        loop {
            let next = parts.machine.http3.poll(&self.limits, self.now);
            match self.take_next(next, &Bytes::new(), parts) {
                Step::More => {}
                Step::Read => return None,
                Step::Close(close) => return Some(close),
            }
        }
    }

    fn take_next(&mut self, next: Next, bytes: &Bytes, parts: &mut Parts<'_, Machine<'_>>) -> Step {
        match next {
            Next::Read => return Step::Read,
            Next::Request(request) => self.take_request_http3(&request, parts),
            Next::Data {
                stream,
                piece,
                is_last,
            } => {
                let len = piece.len();
                parts.machine.piece = bytes.slice(piece);
                self.take_data(stream, 0..len, is_last, parts);
                parts.machine.piece = Bytes::new();
            }
            Next::Trailers { stream } => self.take_trailers(stream, parts),
            Next::Refused { stream, error } => self.take_refused(stream, error, parts),
            Next::Malformed { stream, text } => {
                parts.machine.end(stream, ErrorCode::H3_MESSAGE_ERROR);
                self.take_malformed(text, parts);
            }
            Next::Reset {
                stream,
                code,
                fault,
            } => {
                let unsent = parts.machine.end(stream, code);
                self.take_reset(stream, unsent, code.0, fault, parts);
            }
            Next::Stop { stream, code } => {
                let machine = &mut parts.machine;
                machine.reading.stop(stream, code, machine.quic);
            }
            Next::Priority { stream, priority } => parts.machine.set_priority(stream, priority),
            Next::Close(close) => return Step::Close(close),
        }
        Step::More
    }

    #[inline]
    fn take_request_http3(&mut self, request: &RequestParts, parts: &mut Parts<'_, Machine<'_>>) {
        if request.priority != Priority::default() {
            parts.machine.set_priority(request.stream, request.priority);
        }
        let current = Current {
            id: request.stream,
            mode: request.mode,
        };
        let is_over = self.recorder.handle.budget.is_over();
        self.take_request(current, &request.framing, is_over, parts);
    }

    /// Sends what waits, as long as QUIC takes it. `room`: bytes that may be sent in this turn.
    pub(super) fn pump(&mut self, room: &mut usize, parts: &mut Parts<'_, Machine<'_>>) {
        while *room > 0 {
            let machine = &mut parts.machine;
            let quic = (&mut *machine.quic, &mut *machine.pool);
            match machine.sending.flush_next(quic, &self.limits, self.now) {
                Pumped::Nothing => return,
                Pumped::Some(n) => *room = room.saturating_sub(n),
                Pumped::Failed(id, error) => {
                    parts.counters.connection_errors.add(1);
                    parts.counters.write_errors.add(1);
                    self.report(&ConnectionError::Write(&error), parts.ends);
                    self.cut_stream(id, ErrorCode::H3_INTERNAL_ERROR, None, parts);
                }
            }
        }
    }

    /// Ends a stream whose response cannot be completed. `fault`: of the client.
    pub(super) fn cut_stream(
        &mut self,
        id: u64,
        code: ErrorCode,
        fault: Option<&'static str>,
        parts: &mut Parts<'_, Machine<'_>>,
    ) {
        if !parts.machine.http3.abort(id, self.now) {
            // The machine knew all of its response.
            parts.counters.http3_resets_sent.add(1);
        }
        let unsent = parts.machine.end(id, code);
        self.take_reset(id, unsent, code.0, fault, parts);
    }

    /// Ends the streams whose clients take their responses too slowly.
    pub(super) fn expire_sending(&mut self, parts: &mut Parts<'_, Machine<'_>>) {
        while let Some(id) = parts.machine.sending.slow(&self.limits, self.now) {
            parts.counters.write_timeouts.add(1);
            let text = "the client of a stream takes its response too slowly";
            self.cut_stream(id, ErrorCode::H3_REQUEST_CANCELLED, Some(text), parts);
        }
    }

    /// Reports why the connection is closed.
    #[cold]
    pub(super) fn report_close_http3(&self, close: Close, parts: &Parts<'_, Machine<'_>>) {
        let CloseReason::Error(code, text) = close.reason else {
            return;
        };
        let counters = parts.counters;
        counters.connection_errors.add(1);
        match code {
            ErrorCode::H3_EXCESSIVE_LOAD => counters.http3_closes_load.add(1),
            _ => counters.http3_closes_error.add(1),
        }
        let code = code.0;
        self.report(&ConnectionError::Http3 { code, text }, parts.ends);
    }
}
