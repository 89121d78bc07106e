//! Parts that all versions of HTTP share (RFC 9110).

pub mod encode;
pub mod exchange;
pub mod field_block;
pub mod fields;
pub mod forwarded;
pub mod host;
pub mod origin;
#[cfg(any(feature = "http2", feature = "http3"))]
pub mod priority;
pub mod response;
pub mod target;

/// What clients of HTTP/2 send first (RFC 9113 section 3.4). No request of HTTP/1 begins with it.
pub const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol version of a request.
///
/// ```
/// # use peregrine_protocol::http::Version;
/// assert_eq!(Version::Http11.to_string(), "HTTP/1.1");
/// assert!(Version::Http10 < Version::Http11);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/1.0 (RFC 1945, with the keep-alive of RFC 9112 appendix C.2.2).
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
    /// HTTP/2 (RFC 9113).
    #[cfg(feature = "http2")]
    Http2,
    /// HTTP/3 (RFC 9114).
    #[cfg(feature = "http3")]
    Http3,
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            #[cfg(feature = "http2")]
            Version::Http2 => "HTTP/2.0",
            #[cfg(feature = "http3")]
            Version::Http3 => "HTTP/3.0",
        })
    }
}

#[cfg(feature = "http")]
impl From<Version> for ::http::Version {
    fn from(version: Version) -> ::http::Version {
        match version {
            Version::Http10 => ::http::Version::HTTP_10,
            Version::Http11 => ::http::Version::HTTP_11,
            #[cfg(feature = "http2")]
            Version::Http2 => ::http::Version::HTTP_2,
            #[cfg(feature = "http3")]
            Version::Http3 => ::http::Version::HTTP_3,
        }
    }
}

/// Classes of methods: the most frequent one, those with their own response framing (RFC 9112 section 6.3), and those to
/// which the library may respond itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `GET`: the most frequent one.
    Get,
    /// Any other.
    Other,
    /// HEAD: no body follows, whatever the head announces.
    Head,
    /// CONNECT: after a 2xx the connection is not HTTP any more.
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
}

impl Method {
    /// The class of the method with this name.
    #[inline]
    pub fn of(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            _ => Method::Other,
        }
    }

    /// Whether the library may respond to requests of this method.
    #[inline]
    pub fn is_special(self) -> bool {
        self >= Method::Connect
    }
}
