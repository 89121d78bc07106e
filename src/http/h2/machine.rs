//! What the state machine of HTTP/2 does for the service.

use crate::http::connection_error::ConnectionError;
use crate::http::multiplexed::Multiplexer;
use crate::metrics::WorkerCounters;
use crate::shared::output::{FilePart, Output};
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::h2::connection::Http2;
use peregrine_protocol::h2::frame::ErrorCode;
use peregrine_protocol::h2::limits::Http2Limits;
use peregrine_protocol::http::Version;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use std::ops::Range;

/// The state machine of a connection, and the buffers of its turn.
pub(super) struct Machine<'a> {
    pub(super) http2: &'a mut Http2<FilePart>,
    pub(super) input: &'a mut Input,
    pub(super) output: &'a mut Output,
    pub(super) limits: &'a Http2Limits,
}

/// Bytes of a response that wait for its windows. The service knows streams of all versions by 64 bits; those of HTTP/2
/// have 31.
pub(super) fn queued(http2: &Http2<FilePart>, id: u64) -> Option<u64> {
    http2.queued(id as u32)
}

impl Multiplexer for Machine<'_> {
    const VERSION: Version = Version::Http2;
    const MALFORMED: u64 = ErrorCode::PROTOCOL_ERROR.0 as u64;

    #[inline]
    fn count_request(counters: &WorkerCounters) {
        counters.http2_requests.add(1);
    }

    fn error(code: u64, text: &'static str) -> ConnectionError<'static> {
        let code = code as u32;
        ConnectionError::Http2 { code, text }
    }

    fn body(&self, piece: Range<usize>) -> &[u8] {
        &self.input.unread()[piece]
    }

    fn discard(&mut self, id: u64, len: usize, now: Seconds) {
        self.http2.discard(id as u32, len, now);
    }

    fn release(&mut self, id: u64, len: usize, now: Seconds) {
        self.http2.release(id as u32, len, self.output, now);
    }

    fn hold_back(&mut self, id: u64, len: usize, now: Seconds) {
        self.http2.hold_back(id as u32, len, self.output, now);
    }

    fn pause(&mut self, id: u64, is_paused: bool, now: Seconds) {
        self.http2.pause(id as u32, is_paused, now);
    }

    fn queued(&self, id: u64) -> Option<u64> {
        queued(self.http2, id)
    }

    fn queued_in_all(&self) -> u64 {
        self.http2.queued_in_all()
    }

    fn send(&mut self, id: u64, now: Seconds, push: impl FnOnce(&mut Output)) {
        let _ = self.http2.send(id as u32, now, push);
    }

    fn finish(&mut self, id: u64, trailers: &[u8], _now: Seconds) {
        self.http2.finish(id as u32, trailers);
    }

    fn abort(&mut self, id: u64, now: Seconds) {
        let code = ErrorCode::INTERNAL_ERROR;
        self.http2.reset(id as u32, code, self.output, now);
    }

    fn refuse(&mut self, id: u64, now: Seconds) {
        self.http2.refuse(id as u32, self.output, self.limits, now);
    }

    fn interim(&mut self, id: u64, status: u16, _now: Seconds) {
        self.http2.interim(id as u32, status, &[], self.output);
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
        let (id, output) = (id as u32, &mut *self.output);
        self.http2
            .respond_with(id, head, common, recorded, response, output, now);
    }

    fn begin(
        &mut self,
        id: u64,
        head: &ResponseHead,
        fields: &[&[u8]],
        size: BodySize,
        now: Seconds,
    ) {
        self.http2
            .begin(id as u32, head, fields, size, self.output, now);
    }

    fn stop(&mut self, now: Seconds) {
        self.http2.stop(self.output, now);
    }

    fn is_stopping(&self) -> bool {
        self.http2.is_stopping()
    }
}
