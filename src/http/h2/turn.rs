//! One turn of an HTTP/2 connection.
//!
//! The state machine says what the next step is, the service does it, and the response goes to the state
//! machine. A request with a complete response leaves nothing behind.

use super::machine::{Machine, queued};
use crate::http::connection_error::ConnectionError;
use crate::http::handler::Handler;
use crate::http::multiplexed::Parts;
use crate::http::multiplexed::requests::Current;
use crate::http::multiplexed::responses::Drawn;
use crate::http::service::{Pace, Service};
use peregrine_protocol::h2::connection::{Close, CloseReason, Next};
use peregrine_protocol::h2::frame::ErrorCode;
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
    /// Too many bytes or files are unsent.
    Blocked,
    /// The output has to be sent, then the connection is closed.
    Close(Close),
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Handles the frames in the input, within the limits of one turn.
    pub(super) fn turn_http2(&mut self, parts: &mut Parts<'_, Machine<'_>>) -> Turn {
        self.recorder.set_conn(parts.conn);
        let is_over = self.recorder.handle.budget.is_over();
        let mut left = self.limits.requests_per_turn.max(1);
        let (mut pace, mut drawing) = (Pace::default(), Pace::default());
        loop {
            if parts.streams.holds_back {
                self.give_windows_back(parts);
            }
            if left == 0 || pace.is_over(|| !parts.machine.input.is_empty()) {
                return Turn::Again;
            }
            if parts.machine.output.is_full(&self.limits) {
                return Turn::Blocked;
            }
            let machine = &mut parts.machine;
            let next = machine.http2.next(
                machine.input,
                parts.head,
                machine.output,
                &self.limits,
                machine.limits,
                self.now,
            );
            match next {
                Next::Request(request) => {
                    left -= 1;
                    pace.begin(self.limits.turn_time, || !parts.machine.input.is_empty());
                    let current = Current {
                        id: request.stream.into(),
                        mode: request.mode,
                    };
                    self.take_request(current, &request.framing, is_over, parts);
                }
                Next::Data {
                    stream,
                    piece,
                    is_last,
                } => {
                    left -= 1;
                    self.take_data(stream.into(), piece, is_last, parts);
                }
                Next::Drained { .. } => {}
                Next::Trailers { stream } => {
                    left -= 1;
                    pace.begin(self.limits.turn_time, || !parts.machine.input.is_empty());
                    self.take_trailers(stream.into(), parts);
                }
                Next::Malformed { text, .. } => {
                    left -= 1;
                    self.take_malformed(text, parts);
                }
                Next::Reset {
                    stream,
                    code,
                    unsent,
                    fault,
                } => {
                    let (id, code) = (stream.into(), code.0.into());
                    self.take_reset(id, unsent, code, fault, parts);
                }
                Next::Refused { stream, error } => {
                    left -= 1;
                    pace.begin(self.limits.turn_time, || !parts.machine.input.is_empty());
                    self.take_refused(stream.into(), error, parts);
                }
                Next::Read => match self.draw_bodies(&mut drawing, parts) {
                    Drawn::More => left -= 1,
                    Drawn::Nothing => return Turn::Read,
                    Drawn::Rest => return Turn::Rest,
                    Drawn::Again => return Turn::Again,
                },
                Next::Close(close) => return Turn::Close(close),
            }
        }
    }

    /// Ends the streams, and reports why the connection is closed.
    #[inline(never)]
    pub(super) fn report_close_http2(&mut self, close: Close, parts: &mut Parts<'_, Machine<'_>>) {
        // The output is still sent.
        self.leave_all_http2(0, parts);
        let counters = parts.counters;
        match close.reason {
            CloseReason::Error(code, text) => {
                counters.connection_errors.add(1);
                match code {
                    ErrorCode::ENHANCE_YOUR_CALM => counters.http2_goaways_calm.add(1),
                    _ => counters.http2_goaways_error.add(1),
                }
                let code = code.0;
                self.report(&ConnectionError::Http2 { code, text }, parts.ends);
            }
            CloseReason::ClientGone => {
                counters.connection_errors.add(1);
                counters.clients_gone.add(1);
                self.report(&ConnectionError::ClientGone, parts.ends);
            }
            CloseReason::Finished | CloseReason::ClientDone | CloseReason::IdleTimeout => {}
        }
    }

    /// The connection is closed: so many bytes of the output are lost. It is not known of which streams they are, so each
    /// may have sent less than that.
    pub(super) fn leave_all_http2(&mut self, lost: u64, parts: &mut Parts<'_, Machine<'_>>) {
        let http2 = &*parts.machine.http2;
        let unsent = |id| queued(http2, id).unwrap_or(0) + lost;
        self.leave_all(parts.streams, unsent, parts.ends);
    }
}
