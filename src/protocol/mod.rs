//! HTTP/1.x as functions over bytes.
//!
//! Nothing here knows sockets, threads, clocks or handlers, and nothing allocates except into a
//! caller's `Vec`. Positions are offsets from the start of the head, so that no borrow outlives a
//! call and a buffer may grow or move between two of them.
//!
//! A parser that needs more input says so with a value and keeps how far it has come: no byte is
//! looked at again from the start when more arrive. A line is judged when it is complete, so that
//! the outcome depends on the bytes alone and never on how the network cut them.

pub(crate) mod chunked;
pub(crate) mod class;
#[cfg(feature = "deflate")]
pub(crate) mod deflate;
pub(crate) mod encode;
pub(crate) mod error;
pub(crate) mod fields;
#[cfg(any(feature = "dir", feature = "multipart"))]
pub(crate) mod file_name;
pub(crate) mod form;
#[cfg(feature = "websocket")]
pub(crate) mod frame;
pub(crate) mod framing;
#[cfg(feature = "websocket")]
pub(crate) mod handshake;
pub(crate) mod head;
pub(crate) mod hosts;
pub(crate) mod limits;
pub(crate) mod origin;
pub(crate) mod target;
#[cfg(feature = "websocket")]
pub(crate) mod utf8;
#[cfg(feature = "websocket")]
pub(crate) mod ws_limits;

/// The protocol version of a request.
///
/// ```
/// assert_eq!(peregrine::Version::Http11.to_string(), "HTTP/1.1");
/// assert!(peregrine::Version::Http10 < peregrine::Version::Http11);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/1.0 (RFC 1945, with the keep-alive of RFC 9112 appendix C.2.2).
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        })
    }
}

/// The methods whose answers are framed unlike others (RFC 9112 section 6.3), or that the library may
/// answer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Method {
    Other,
    /// No body follows whatever the head says.
    Head,
    /// What follows a 2xx is not HTTP any more.
    Connect,
    Options,
    Trace,
}

impl Method {
    #[inline]
    fn of(name: &[u8]) -> Method {
        match name {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            _ => Method::Other,
        }
    }

    /// Requests of this method may be for the library to answer.
    #[inline]
    pub(crate) fn is_special(self) -> bool {
        self >= Method::Connect
    }
}

/// A range of bytes, counted from the start of the head. Heads are shorter than 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// `start <= end`
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= usize::from(u16::MAX));
        Span {
            start: start as u16,
            end: end as u16,
        }
    }

    /// The same range, `by` bytes further on.
    fn moved(self, by: usize) -> Span {
        Span::new(usize::from(self.start) + by, usize::from(self.end) + by)
    }

    pub(crate) fn of(self, head: &[u8]) -> &[u8] {
        &head[usize::from(self.start)..usize::from(self.end)]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    /// Tests over all values of something take each so-manieth: Miri is some thousand times slower.
    pub(crate) const EVERY: usize = if cfg!(miri) { 31 } else { 1 };
}
