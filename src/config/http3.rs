//! Which listeners speak HTTP/3, and the limits of QUIC.

use std::time::Duration;

/// Whether an address of [`Server::bind_tls`](crate::Server::bind_tls) speaks HTTP/3 (RFC 9114):
/// [`Config::http3`](crate::Config::http3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Http3 {
    /// HTTP/3 over UDP on the same port, beside HTTP/1 and HTTP/2 over TCP.
    #[default]
    On,
    /// HTTP/3 alone: there is no listener for TCP.
    Only,
    /// No socket for UDP.
    Off,
}

peregrine_protocol::settings! {
    /// Limits of connections over QUIC (RFC 9000), beside those of HTTP/3.
    ///
    /// ```
    /// use peregrine::config::QuicLimits;
    /// use std::time::Duration;
    ///
    /// let limits = QuicLimits::default().idle_timeout(Duration::from_secs(60));
    /// assert_eq!(limits.stream_window, 65_536);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct QuicLimits {
        /// How long a connection may be without any packet of the client (RFC 9000 section 10.1). Then it is gone, without
        /// a word. The client may ask for less.
        pub idle_timeout: Duration = Duration::from_secs(30);
        /// Number of handshakes under way, for each worker. A further one is not answered; clients try again. Above the half of
        /// it, and above 16 that begin at once, clients have to show that their address is theirs (Retry, RFC 9000 section
        /// 8.1.2), which takes one more round trip. [`Config::tls_handshake_timeout`](crate::Config::tls_handshake_timeout) limits each.
        pub handshakes: usize = 1000;
        /// Bytes that a client may have sent on one stream and the server has not taken.
        pub stream_window: usize = 64 << 10 => "65,536";
        /// Bytes that a client may have sent on all streams of a connection and the server has not taken.
        pub connection_window: usize = 1 << 20 => "1,048,576";
        /// Bytes that a connection has sent, or is about to send, and that the client has not acknowledged. A slow
        /// connection gets less: what is twice on its way, at least 32 KiB.
        pub unacknowledged_bytes: usize = 1 << 20 => "1,048,576";
        /// How often in a row a client may move to another address (RFC 9000 section 9); the connection is closed above.
        /// One more is allowed each minute.
        pub moves: u32 = 10;
        /// Connection ids that a client may give back in a row, so that it gets new ones (RFC 9000 section 5.1.2); the
        /// connection is closed above. 33 more are allowed each second.
        pub retired_ids: u32 = 1000;
        /// Bytes of datagrams on their way from one worker to another one, for each worker. It happens to clients
        /// that have moved. What is above is dropped, and the client sends it again.
        pub forwarded_bytes: usize = 256 << 10 => "262,144";
    }
}
