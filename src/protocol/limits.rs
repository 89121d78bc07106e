//! Every bound on what a client can make the server hold or wait for.

use std::time::Duration;

/// What one client may cost. [`Config`](crate::Config#limits) has the table of all limits: what the client
/// sees at each, and the test that shows it.
///
/// ```
/// use peregrine::Limits;
///
/// let limits = Limits { body_bytes: 10 << 20, ..Limits::default() };
/// assert_eq!(limits.head_bytes, 16 << 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request line and its header fields together; 431 above. At most 65,535.
    /// Default: 16 KiB.
    pub head_bytes: usize,
    /// Bytes of a request target; 414 above. Default: 8 KiB.
    pub target_bytes: usize,
    /// Header fields of a request, and of a trailer section; 431 above. At most 256 of a request: the
    /// table of a head has room for so many. Default: 100.
    pub header_fields: usize,
    /// Bytes of a body, as decoded; 413 above, before the body is read where its length is
    /// declared. Default: 1 MiB.
    pub body_bytes: usize,
    /// Bytes of all chunk extensions of one body; 400 above. Default: 4 KiB.
    pub chunk_extension_bytes: usize,
    /// Pipelined requests of one connection that are answered before other connections get their
    /// turn. Their answers leave in one write. Default: 64.
    pub requests_per_turn: usize,
    /// How long the pipelined requests of one connection, the messages of one WebSocket, or the pieces of
    /// one body that is drawn ([`Response::send_iter`](crate::Response::send_iter)) may take together
    /// before other connections get their turn. The clock is read after the first of a turn and after
    /// every fourth one from there on, so a turn may be up to three requests longer. A
    /// single call of a handler is never interrupted. Zero: one request, and then up to four, for each
    /// turn. Default: 1 ms.
    pub turn_time: Duration,
    /// While more than this is waiting to be sent on a connection, no further request of it is
    /// read or handled. One answer may be larger; of one that is streamed this much and one
    /// piece is held. Default: 256 KiB.
    pub output_bytes: usize,
    /// While this many files, or parts of files, wait to be sent on a connection, no further request
    /// of it is read or handled: each holds a descriptor. 0 is 1. Default: 8.
    pub output_files: usize,
    /// Requests that one connection serves: the answer to the last says `Connection: close`. 0
    /// is 1. Together with `connection_age` it lets connections that never end find their way to
    /// another worker, or from a proxy to another server. Default: 10,000,000.
    pub requests_per_connection: u32,
    /// The age of a connection, in whole seconds, from which on its next answer is the last and
    /// says `Connection: close`. Answers that are on their way are not cut, and WebSockets have
    /// no age. Default: an hour.
    pub connection_age: Duration,
    /// How long a request head may take from its first byte; 408 after that. Later bytes do not
    /// extend it. Default: 10 s.
    pub head_time: Duration,
    /// How long a connection may stay without a request. Default: 75 s.
    pub idle_time: Duration,
    /// How long a body may take before `body_rate` is asked of it. Default: 10 s.
    pub body_grace: Duration,
    /// Bytes a second that a body must bring; 408 below. What came faster allows for a pause, of
    /// `idle_time` or `body_grace` at most, whichever is longer; slower bytes do not extend that. 0 is 1.
    /// Default: 1,000.
    pub body_rate: usize,
    /// How long a handler may take for an answer that it has deferred, and between two pieces of
    /// one that it streams. Default: 300 s.
    pub answer_time: Duration,
    /// How long a client may take no byte of what is ready for it. Default: 30 s.
    pub write_time: Duration,
    /// How long a response may be ready for its client before `write_rate` is asked of that. Default:
    /// 10 s.
    pub write_grace: Duration,
    /// Bytes a second that a client must take of what is ready for it, on average; the connection is
    /// reset below. Bytes that the system has taken count as taken, and time in which nothing was ready
    /// does not count. What was taken faster allows for a pause, of `write_time` or `write_grace` at
    /// most, whichever is longer. 0: no rate is asked for. Default: 240.
    pub write_rate: usize,
    /// How long a connection may make no progress while memory is short. From fifteen sixteenths of
    /// [`Config::buffered_bytes`](crate::Config::buffered_bytes) on, each thread closes connections that
    /// hold more than 16 KiB: those that have made no progress for longest, once that is this long, and a
    /// 32nd of all at a time. Progress is 512 bytes, sent or taken. A request that is coming in gets 503
    /// with `Retry-After: 1`, a WebSocket whose message is coming in a close with 1013, others are reset.
    /// Counted in [`Counters::stalled_closed`](crate::Counters::stalled_closed). Default: 2 s.
    pub stall_time: Duration,
    /// How long a connection is kept after a refusal, so that a client that is still sending can
    /// read why (RFC 9112 section 9.6). Default: 2 s.
    pub linger_time: Duration,
    /// How much is read and thrown away in that time. What the client sends beyond it stays unread:
    /// the system holds it, within its own bounds, and the connection stays open for `linger_time`
    /// nevertheless, or the answer would be lost in a reset. Default: 256 KiB.
    pub linger_bytes: usize,
    /// How long a connection without a request may still send one after the server has begun to
    /// stop; its answer says `Connection: close`. Closing idle connections at once would lose
    /// requests that are on their way to us, and those of clients that ask as we close, which
    /// cannot know whether they were answered. So this should be longer than a round trip, and
    /// than the pauses of clients that ask all the time: those lose nothing then. The rest of a
    /// stop does not take longer for it if no connection is idle; and
    /// [`Config::stop_time`](crate::Config::stop_time) ends it, too. Zero: idle connections
    /// close at once. Default: 1 s.
    pub stop_grace: Duration,
    /// Calls that may be waited for at one worker; [`TimerError::Full`](crate::TimerError::Full)
    /// above. Default: 65,536.
    pub timers_per_worker: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 16 << 10,
            target_bytes: 8 << 10,
            header_fields: 100,
            body_bytes: 1 << 20,
            chunk_extension_bytes: 4 << 10,
            requests_per_turn: 64,
            turn_time: Duration::from_millis(1),
            output_bytes: 256 << 10,
            output_files: 8,
            requests_per_connection: 10_000_000,
            connection_age: Duration::from_secs(3600),
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            body_grace: Duration::from_secs(10),
            body_rate: 1000,
            answer_time: Duration::from_secs(300),
            write_time: Duration::from_secs(30),
            write_grace: Duration::from_secs(10),
            write_rate: 240,
            stall_time: Duration::from_secs(2),
            linger_time: Duration::from_secs(2),
            linger_bytes: 256 << 10,
            stop_grace: Duration::from_secs(1),
            timers_per_worker: 65_536,
        }
    }
}
