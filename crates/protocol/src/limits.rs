//! Limits of an HTTP connection.

use core::time::Duration;

/// How long a connection without a first request is kept when others need its place.
pub(crate) const FIRST_GRACE: Duration = Duration::from_secs(1);

crate::settings! {
    /// Limits of one HTTP connection.
    ///
    /// The state machines of this crate keep some of them. Others are for the driver: how much of a connection is
    /// handled in one turn, how much may wait to be sent, and what belongs to the server as a whole.
    ///
    /// ```
    /// # use peregrine_protocol::limits::Limits;
    /// let limits = Limits::default().body_bytes(10 << 20);
    /// assert_eq!(limits.head_bytes, 16 << 10);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// Bytes of a request line and its header fields together; 431 above. The maximum is 65,535.
        pub head_bytes: usize = 16 << 10;
        /// Bytes of a request target; 414 above.
        pub target_bytes: usize = 8 << 10;
        /// Number of header fields of a request, or of fields of a trailer section; 431 above. A request has
        /// 256 at most, whatever the value, because the table of a head has this size.
        pub header_fields: usize = 100;
        /// Bytes of a decoded body; 413 above. If the request declares a larger length, it gets 413 before
        /// its body is read.
        pub body_bytes: usize = 1 << 20;
        /// Bytes of a decoded body that the handler takes in pieces; 413 above. If the request declares a
        /// larger length, it gets 413 before its body is read.
        pub stream_bytes: u64 = 1 << 30;
        /// Bytes of all chunk extensions of one body; 400 above.
        pub chunk_extension_bytes: usize = 4 << 10;
        /// Number of pipelined requests of one connection that are handled before other connections get
        /// their turn. Their responses are sent with one write.
        pub requests_per_turn: usize = 64;
        /// How long one connection may work before other connections get their turn.
        ///
        /// It is the time of the pipelined requests of one connection, of the messages of one WebSocket, or of
        /// the pieces of one drawn body (`Response::send_iter`). The clock is read
        /// after the first request of a turn and after every fourth one from there on. So a turn may be up to
        /// three requests longer. A single call of a handler is never interrupted. Zero: one request, and then up
        /// to four, for each turn.
        pub turn_time: Duration = Duration::from_millis(1);
        /// Unsent bytes of a connection above which no further request of it is read or handled. One
        /// response may be larger. Of a streamed response, this number of bytes and one more piece are held.
        pub output_bytes: usize = 256 << 10;
        /// Number of files, or parts of files, that may wait to be sent on a connection. At this number no
        /// further request of it is read or handled, because each file holds a descriptor. 0 means 1.
        pub output_files: usize = 8;
        /// Number of requests that one connection serves. The response to the last one has `Connection:
        /// close`. 0 means 1.
        ///
        /// Together with `connection_age` it ends long connections from time to time. So clients connect again,
        /// and reach another worker, or from a proxy another server.
        pub requests_per_connection: u32 = 10_000_000;
        /// Age of a connection, in whole seconds, from which on its next response is the last one. That
        /// response has `Connection: close`. Responses that have begun are not aborted. It does not apply to
        /// WebSockets.
        pub connection_age: Duration = Duration::from_secs(3600);
        /// How long a request head may take from its first byte; 408 after that. Later bytes do not extend
        /// it.
        pub head_timeout: Duration = Duration::from_secs(10);
        /// How long a connection may stay open without a request.
        pub idle_timeout: Duration = Duration::from_secs(75);
        /// How long a body may take before `body_rate` applies to it.
        pub body_grace: Duration = Duration::from_secs(10);
        /// Bytes a second that the client must send of a body, on average; 408 below. 0 means 1.
        ///
        /// A faster start allows a pause later. The pause is at most `idle_timeout` or `body_grace`, whichever is
        /// longer.
        pub body_rate: usize = 1000;
        /// How long a handler may take for a deferred response, or between two pieces of a streamed
        /// response.
        pub response_timeout: Duration = Duration::from_secs(300);
        /// How long a client may take no byte of a response that is ready for it.
        pub write_timeout: Duration = Duration::from_secs(30);
        /// How long a response may be ready for its client before `write_rate` applies.
        pub write_grace: Duration = Duration::from_secs(10);
        /// Bytes a second that a client must take of a response that is ready for it, on average. Below, the
        /// connection is reset. 0: there is no minimum rate.
        ///
        /// Bytes that the system has taken count as taken. Time in which nothing was ready does not count. A
        /// faster start allows a pause later. The pause is at most `write_timeout` or `write_grace`, whichever is
        /// longer.
        pub write_rate: usize = 240;
        /// How long a connection may make no progress while memory is short.
        ///
        /// Memory is short from fifteen sixteenths of `Config::buffered_bytes`
        /// on. Then each thread closes connections that hold more than 16 KiB and have made no progress for this
        /// time: those without progress for longest first, and a 32nd of all at a time. Progress is 512 bytes,
        /// received or sent.
        ///
        /// A request that is being received gets 503 with `Retry-After: 1`. A WebSocket whose message is being
        /// received gets a close frame 1013. Other connections are reset.
        /// `Counters::stalled_closed` counts them.
        pub stall_timeout: Duration = Duration::from_secs(2);
        /// How long a connection stays open after a refusal, so that a client that is still sending can read
        /// the response (RFC 9112 section 9.6).
        pub linger_timeout: Duration = Duration::from_secs(2);
        /// Bytes that are read and dropped during `linger_timeout`.
        ///
        /// Further bytes of the client stay unread in the buffers of the system. The connection stays open for
        /// `linger_timeout` in this case too. Otherwise a reset would destroy the response.
        pub linger_bytes: usize = 256 << 10;
        /// How long a connection without a request may still send one after the server has begun to stop.
        /// The response to that request has `Connection: close`.
        ///
        /// If idle connections were closed at once, requests that are on their way would be lost, and their
        /// clients could not know whether they were handled. So this time should be longer than a round trip. If
        /// it is also longer than the pauses between the requests of a client, that client loses no request.
        /// A handshake of TLS or QUIC that is under way then has as long to be completed.
        ///
        /// A stop takes longer because of this only if a connection is idle.
        /// `Config::stop_timeout` ends this wait too. Zero: idle connections are closed
        /// at once.
        pub stop_grace: Duration = Duration::from_secs(1);
    }
}
