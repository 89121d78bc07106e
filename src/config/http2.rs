//! Which listeners speak HTTP/2.

/// Whether a listener speaks HTTP/2 (RFC 9113): [`Config::http2`](crate::Config::http2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Http2 {
    /// HTTP/2 and HTTP/1 on the same port. With TLS the client chooses in the handshake, by ALPN (RFC 7301). Without,
    /// HTTP/2 begins with its preface (RFC 9113 section 3.3).
    #[default]
    On,
    /// HTTP/2 alone. A connection that begins with anything else is closed.
    Only,
    /// HTTP/1 alone.
    Off,
}
