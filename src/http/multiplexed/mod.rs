//! What the versions of HTTP with streams have in common.
//!
//! A connection has many requests at a time. This code knows no frame and no window. [`Multiplexer`] is what a version has
//! to do; `super::h2` and `super::h3` have one each, with their own turn, and use what is here in it:
//!
//! - [`requests`]: a request whose head has come is answered, or a stream is kept for it.
//! - [`bodies`]: what comes of the bodies of requests.
//! - [`responses`]: responses that are not complete at once, and the end of streams.
//! - [`streams`]: what is kept of both.

pub(super) mod bodies;
pub(super) mod requests;
pub(super) mod responses;
pub(super) mod streams;

use super::connection_error::ConnectionError;
use crate::metrics::WorkerCounters;
use crate::runtime::socket::Ends;
use crate::shared::id::ConnId;
use crate::shared::output::Output;
use peregrine_protocol::Seconds;
use peregrine_protocol::h2::head::HeadBuf;
use peregrine_protocol::http::Version;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use std::ops::Range;
use streams::Streams;

/// The state machine of a connection with streams, and the buffers that it is driven with.
///
/// Streams are known by the number that the protocol has for them. A method about a stream that has ended does nothing:
/// the machine has said so, or is about to say so.
pub(super) trait Multiplexer {
    /// The version of all requests.
    const VERSION: Version;

    /// One more request.
    fn count_request(counters: &WorkerCounters);

    /// An error of the client with this code, which is one of the protocol.
    fn error(code: u64, text: &'static str) -> ConnectionError<'static>;

    /// What [`Multiplexer::error`] has for a malformed request.
    const MALFORMED: u64;

    /// A piece of a body that has come, until the next one is asked for.
    fn body(&self, piece: Range<usize>) -> &[u8];

    /// These bytes of a body, and the rest of it, are not needed.
    fn discard(&mut self, id: u64, len: usize, now: Seconds);

    /// The client may send so many bytes of the body more, and those that were held back.
    fn release(&mut self, id: u64, len: usize, now: Seconds);

    /// So many bytes of a body are kept, and the client may send no more of it than it may already.
    fn hold_back(&mut self, id: u64, len: usize, now: Seconds);

    /// The sink of the body takes nothing at the moment, or takes it again.
    fn pause(&mut self, id: u64, is_paused: bool, now: Seconds);

    /// Bytes of a response that wait. `None`: the stream has ended.
    fn queued(&self, id: u64) -> Option<u64>;

    /// Bytes of all responses that wait for windows.
    fn queued_in_all(&self) -> u64;

    /// Lets `push` write the next piece of a body that has begun. It is not called if the stream has ended.
    fn send(&mut self, id: u64, now: Seconds, push: impl FnOnce(&mut Output));

    /// The body of a response is complete.
    fn finish(&mut self, id: u64, trailers: &[u8], now: Seconds);

    /// Ends a stream whose response cannot be completed.
    fn abort(&mut self, id: u64, now: Seconds);

    /// Ends the stream of a request that the application has not seen: the client may repeat it.
    fn refuse(&mut self, id: u64, now: Seconds);

    /// Sends a response of 1xx.
    fn interim(&mut self, id: u64, status: u16, now: Seconds);

    /// Sends a complete response. `response` has its own block of fields, of the length of `recorded`, and its body.
    fn respond_with(
        &mut self,
        id: u64,
        head: &ResponseHead,
        common: &[u8],
        recorded: (usize, BodySize),
        response: &mut Output,
        now: Seconds,
    );

    /// Sends the head of a response whose body follows.
    fn begin(
        &mut self,
        id: u64,
        head: &ResponseHead,
        fields: &[&[u8]],
        size: BodySize,
        now: Seconds,
    );

    /// The connection ends after the requests that have come.
    fn stop(&mut self, now: Seconds);

    /// That has begun.
    fn is_stopping(&self) -> bool;
}

/// The parts of one connection that a turn uses, and what all connections of the thread share.
pub(super) struct Parts<'a, C> {
    pub(super) machine: C,
    pub(super) streams: &'a mut Streams,
    pub(super) keep_alive: bool,
    pub(super) conn: ConnId,
    pub(super) ends: &'a dyn Ends,
    pub(super) counters: &'a WorkerCounters,
    pub(super) head: &'a mut HeadBuf,
    /// The response that is being written: its fields, and what there is of its body.
    pub(super) response: &'a mut Output,
}
