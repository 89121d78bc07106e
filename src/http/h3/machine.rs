//! What the state machine of HTTP/3 does for the service.

use super::reading::{Reading, stream_id};
use super::sending::{self, Flushed, Sending};
use crate::http::connection_error::ConnectionError;
use crate::http::multiplexed::Multiplexer;
use crate::metrics::WorkerCounters;
use crate::shared::buffer_pool::BufferPool;
use crate::shared::output::Output;
use bytes::Bytes;
use peregrine_protocol::Seconds;
use peregrine_protocol::h3::connection::{Http3, Sent};
use peregrine_protocol::h3::frame::ErrorCode;
use peregrine_protocol::h3::limits::Http3Limits;
use peregrine_protocol::h3::priority::Priority;
use peregrine_protocol::http::Version;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use peregrine_protocol::qpack::Encoder;
use std::ops::Range;

/// The state machine of a connection, its streams of QUIC, and the buffers of its turn.
pub(super) struct Machine<'a> {
    pub(super) http3: &'a mut Http3,
    pub(super) quic: &'a mut quinn_proto::Connection,
    pub(super) reading: &'a mut Reading,
    pub(super) sending: &'a mut Sending,
    pub(super) encoder: &'a mut Encoder,
    /// A response that QUIC may take at once. Empty between two calls.
    pub(super) output: &'a mut Output,
    pub(super) pool: &'a mut BufferPool,
    pub(super) limits: &'a Http3Limits,
    /// The piece of a body that has come.
    pub(super) piece: Bytes,
}

/// What QUIC has for an urgency of RFC 9218: the highest goes first, and that of requests without one is 0.
fn priority_of(priority: Priority) -> i32 {
    i32::from(Priority::default().urgency) - i32::from(priority.urgency)
}

impl Machine<'_> {
    /// Sets the priority of a response.
    pub(super) fn set_priority(&mut self, id: u64, priority: Priority) {
        let priority = priority_of(priority);
        // It may have ended.
        let _ = self.quic.send_stream(stream_id(id)).set_priority(priority);
        if let Some(outgoing) = self.sending.find(id) {
            outgoing.priority = priority;
        }
    }

    /// Ends a stream in both directions. Returns how many bytes of its response waited.
    pub(super) fn end(&mut self, id: u64, error: ErrorCode) -> u64 {
        let unsent = self.sending.remove(id, self.pool);
        sending::reset(id, error, self.quic);
        self.reading.stop(id, error, self.quic);
        unsent
    }

    /// Passes on what the machine has written for a stream: into the output of the turn, or into that of the stream if it
    /// has one.
    #[inline]
    fn pass_on(&mut self, id: u64, sent: Sent, now: Seconds) {
        let is_complete = matches!(sent, Sent::Complete { .. });
        match sent {
            Sent::Complete { stop: true } => {
                self.reading.stop(id, ErrorCode::H3_NO_ERROR, self.quic);
            }
            Sent::Complete { stop: false } => self.reading.ended(id),
            Sent::Head | Sent::Gone => {}
        }
        if let Some(outgoing) = self.sending.find(id) {
            outgoing.is_finished |= is_complete;
            return;
        }
        if is_complete && self.output.is_empty() || sent == Sent::Gone {
            return;
        }
        let mut piece = Bytes::new();
        match sending::flush(id, self.output, &mut piece, self.quic) {
            Flushed::All => {
                self.output.clear();
                if is_complete {
                    sending::finish(id, self.quic);
                }
            }
            // What was read of a file is read again; what failed, fails again.
            _ => self.keep_output(id, is_complete, now),
        }
    }

    /// QUIC does not take all of the output: it becomes that of the stream.
    #[cold]
    fn keep_output(&mut self, id: u64, is_finished: bool, now: Seconds) {
        let mut output = self.pool.output();
        std::mem::swap(&mut *output, self.output);
        let outgoing = self.sending.add(id, output, self.quic, now);
        outgoing.is_finished = is_finished;
    }
}

impl Multiplexer for Machine<'_> {
    const VERSION: Version = Version::Http3;
    const MALFORMED: u64 = ErrorCode::H3_MESSAGE_ERROR.0;

    #[inline]
    fn count_request(counters: &WorkerCounters) {
        counters.http3_requests.add(1);
    }

    fn error(code: u64, text: &'static str) -> ConnectionError<'static> {
        ConnectionError::Http3 { code, text }
    }

    fn body(&self, piece: Range<usize>) -> &[u8] {
        &self.piece[piece]
    }

    fn discard(&mut self, id: u64, _len: usize, now: Seconds) {
        if self.http3.discard(id, now) {
            self.reading.stop(id, ErrorCode::H3_NO_ERROR, self.quic);
        }
    }

    fn release(&mut self, id: u64, _len: usize, now: Seconds) {
        if self.reading.release(id) {
            self.http3.pause(id, false, now);
        }
    }

    fn hold_back(&mut self, id: u64, _len: usize, now: Seconds) {
        self.reading.hold_back(id);
        self.http3.pause(id, true, now);
    }

    fn pause(&mut self, id: u64, is_paused: bool, now: Seconds) {
        self.reading.pause(id, is_paused);
        self.http3.pause(id, is_paused, now);
    }

    fn queued(&self, id: u64) -> Option<u64> {
        self.sending.queued(id)
    }

    fn queued_in_all(&self) -> u64 {
        self.sending.queued_in_all()
    }

    fn send(&mut self, id: u64, _now: Seconds, push: impl FnOnce(&mut Output)) {
        let Some(outgoing) = self.sending.find(id) else {
            return;
        };
        let mark = outgoing.output.mark();
        push(&mut outgoing.output);
        if !outgoing.is_framed {
            self.http3.data_since(id, mark, &mut outgoing.output);
        }
    }

    fn finish(&mut self, id: u64, trailers: &[u8], now: Seconds) {
        let Some(outgoing) = self.sending.find(id) else {
            return;
        };
        let output = &mut *outgoing.output;
        let sent = self.http3.finish(id, trailers, self.encoder, output, now);
        self.pass_on(id, sent, now);
    }

    fn abort(&mut self, id: u64, now: Seconds) {
        self.http3.abort(id, now);
        self.end(id, ErrorCode::H3_INTERNAL_ERROR);
    }

    fn refuse(&mut self, id: u64, now: Seconds) {
        self.http3.abort(id, now);
        self.end(id, ErrorCode::H3_REQUEST_REJECTED);
    }

    fn interim(&mut self, id: u64, status: u16, now: Seconds) {
        // It is the first that is sent.
        let output = &mut *self.output;
        if self.http3.interim(id, status, &[], self.encoder, output) {
            let mut piece = Bytes::new();
            match sending::flush(id, output, &mut piece, self.quic) {
                Flushed::All => output.clear(),
                _ => self.keep_output(id, false, now),
            }
        }
    }

    #[inline]
    fn respond_with(
        &mut self,
        id: u64,
        head: &ResponseHead,
        common: &[u8],
        recorded: (usize, BodySize),
        response: &mut Output,
        now: Seconds,
    ) {
        let output = match self.sending.find(id) {
            Some(outgoing) => &mut *outgoing.output,
            None => &mut *self.output,
        };
        let encoder = &mut *self.encoder;
        let sent = self
            .http3
            .respond_with(id, head, common, recorded, response, encoder, output, now);
        self.pass_on(id, sent, now);
    }

    fn begin(
        &mut self,
        id: u64,
        head: &ResponseHead,
        fields: &[&[u8]],
        size: BodySize,
        now: Seconds,
    ) {
        if self.sending.find(id).is_none() {
            let output = self.pool.output();
            self.sending.add(id, output, self.quic, now);
        }
        let Some(outgoing) = self.sending.find(id) else {
            return;
        };
        let (encoder, output) = (&mut *self.encoder, &mut *outgoing.output);
        let sent = self
            .http3
            .begin(id, head, fields, size, encoder, output, now);
        match (sent, size) {
            (Sent::Gone, _) => {
                self.sending.remove(id, self.pool);
            }
            (Sent::Head, BodySize::Known(len)) => {
                outgoing.is_framed = self.http3.data(id, len, output);
            }
            _ => self.pass_on(id, sent, now),
        }
    }

    fn stop(&mut self, now: Seconds) {
        self.http3.stop(now);
    }

    fn is_stopping(&self) -> bool {
        self.http3.is_stopping()
    }
}
