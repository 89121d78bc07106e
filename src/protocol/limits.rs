//! Every bound on what a client can make the server hold or wait for.

use std::time::Duration;

/// What one client may cost. All limits are on by default, and none can be switched off by mistake:
/// a limit is a number, and zero is the tightest.
///
/// | limit | default | unit | the client sees |
/// |---|---|---|---|
/// | [`head_bytes`](Limits::head_bytes) | 16,384 | bytes of request line and header fields | 431, close |
/// | [`target_bytes`](Limits::target_bytes) | 8,192 | bytes of the request target | 414, close |
/// | [`header_fields`](Limits::header_fields) | 64 | fields of a head, or of trailers | 431, close |
/// | [`body_bytes`](Limits::body_bytes) | 1,048,576 | bytes of a decoded body | 413 before it is read, close |
/// | [`chunk_extension_bytes`](Limits::chunk_extension_bytes) | 4,096 | bytes of chunk extensions in a body | 400, close |
/// | [`requests_per_turn`](Limits::requests_per_turn) | 64 | pipelined requests answered before others get their turn | nothing |
/// | [`output_bytes`](Limits::output_bytes) | 262,144 | unsent bytes above which no further request is taken, and beyond which no further piece of a streamed answer is taken | its requests wait |
/// | [`requests_per_connection`](Limits::requests_per_connection) | 10,000,000 | requests that a connection serves | `Connection: close` in the last answer |
/// | [`connection_age`](Limits::connection_age) | 3,600 s | from the accept, for requests that begin after it | `Connection: close` in the next answer |
/// | [`head_time`](Limits::head_time) | 10 s | from the first byte of a head to its last | 408, close |
/// | [`idle_time`](Limits::idle_time) | 75 s | without a request | close |
/// | [`body_grace`](Limits::body_grace) | 10 s | before `body_rate` counts | |
/// | [`body_rate`](Limits::body_rate) | 1,000 | bytes a second that a body must bring | 408, close |
/// | [`answer_time`](Limits::answer_time) | 300 s | without a byte of an answer that was deferred or is streamed | 503, or a cut body; close |
/// | [`Config::pool_threads`] | 4 per CPU, at least 8 | offloaded requests at work | its answer waits |
/// | [`Config::pool_queue`] | 1,024 | offloaded requests that wait for a thread | 503, `Retry-After: 1` |
/// | [`write_time`](Limits::write_time) | 30 s | in which the client takes no byte of its answer | close |
/// | [`linger_time`](Limits::linger_time) | 2 s | in which a refused client may finish sending | close |
/// | [`linger_bytes`](Limits::linger_bytes) | 262,144 | bytes it may still send in that time | close |
/// | [`connections_per_worker`](Limits::connections_per_worker) | 65,536 | open connections | waits in the backlog |
/// | [`timers_per_worker`](Limits::timers_per_worker) | 65,536 | calls of [`Timers`](crate::Timers) that are waited for | nothing; the caller an error |
///
/// Those of [`Config`] are a server's, all others a client's or a worker's. Times are checked once a
/// second, so a wait may end up to two seconds late, never early.
///
/// [`Config`]: crate::Config
/// [`Config::pool_threads`]: crate::Config::pool_threads
/// [`Config::pool_queue`]: crate::Config::pool_queue
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
    pub head_bytes: usize,
    /// Bytes of a request target; 414 above.
    pub target_bytes: usize,
    /// Header fields of a request, and of a trailer section; 431 above. At most 64.
    pub header_fields: usize,
    /// Bytes of a body, as decoded; 413 above, before the body is read where its length is declared.
    pub body_bytes: usize,
    /// Bytes of all chunk extensions of one body; 400 above.
    pub chunk_extension_bytes: usize,
    /// Pipelined requests of one connection that are answered before other connections get their
    /// turn. Their answers leave in one write.
    pub requests_per_turn: usize,
    /// While more than this is waiting to be sent on a connection, no further request of it is read
    /// or handled. One answer may be larger; of one that is streamed this much and one piece is held.
    pub output_bytes: usize,
    /// Requests that one connection serves: the answer to the last says `Connection: close`. 0 is 1.
    /// Together with `connection_age` it lets connections that never end find their way to another
    /// worker, or from a proxy to another server.
    pub requests_per_connection: u32,
    /// The age of a connection, in whole seconds, from which on its next answer is the last and says
    /// `Connection: close`. Answers that are on their way are not cut, and WebSockets have no age.
    pub connection_age: Duration,
    /// How long a request head may take from its first byte; 408 after that. Later bytes do not
    /// extend it.
    pub head_time: Duration,
    /// How long a connection may stay without a request.
    pub idle_time: Duration,
    /// How long a body may take before `body_rate` is asked of it.
    pub body_grace: Duration,
    /// Bytes a second that a body must bring on average; 408 below. What came faster allows for a
    /// pause, of `idle_time` or `body_grace` at most, whichever is longer.
    pub body_rate: usize,
    /// How long a handler may take for an answer that it has deferred, and between two pieces of one
    /// that it streams.
    pub answer_time: Duration,
    /// How long a client may take no byte of what is ready for it.
    pub write_time: Duration,
    /// How long a connection is kept after a refusal, so that a client that is still sending can
    /// read why (RFC 9112 section 9.6).
    pub linger_time: Duration,
    /// How much is read and thrown away in that time.
    pub linger_bytes: usize,
    /// Connections that one worker holds. Above it nobody is accepted until one of them closes;
    /// new clients wait in the listener's backlog.
    pub connections_per_worker: usize,
    /// Calls that may be waited for at one worker; [`TimerError::Full`](crate::TimerError::Full)
    /// above.
    pub timers_per_worker: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 16 << 10,
            target_bytes: 8 << 10,
            header_fields: 64,
            body_bytes: 1 << 20,
            chunk_extension_bytes: 4 << 10,
            requests_per_turn: 64,
            output_bytes: 256 << 10,
            requests_per_connection: 10_000_000,
            connection_age: Duration::from_secs(3600),
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            body_grace: Duration::from_secs(10),
            body_rate: 1000,
            answer_time: Duration::from_secs(300),
            write_time: Duration::from_secs(30),
            linger_time: Duration::from_secs(2),
            linger_bytes: 256 << 10,
            connections_per_worker: 65_536,
            timers_per_worker: 65_536,
        }
    }
}
