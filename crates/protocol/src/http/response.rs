//! A response as status, fields and body, without a version of HTTP (RFC 9110).

use super::Method;

/// A head without its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 200 to 599.
    pub status: u16,
    /// The connection ends after the response, whatever the client wants.
    pub close: bool,
    /// There is an `Upgrade` field.
    pub upgrade: bool,
}

impl ResponseHead {
    /// Status 200 and no fields.
    pub const OK: ResponseHead = ResponseHead {
        status: 200,
        close: false,
        upgrade: false,
    };
}

/// The length of the body that a handler gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySize {
    /// A known length in bytes.
    Known(u64),
    /// Known only at the end of the body.
    Unknown,
}

/// What a response announces about its body, and whether the body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Neither a length nor a body.
    None,
    /// A length of zero.
    Empty,
    /// The length of a body, which does not follow.
    Announced,
    /// The length or the coding, and the body.
    Sent,
}

impl Content {
    /// RFC 9110 sections 8.6, 9.3 and 15.
    #[inline(always)]
    pub fn of(method: Method, status: u16) -> Content {
        // The usual case needs two comparisons.
        match (method, status) {
            (Method::Get | Method::Other, 200) => Content::Sent,
            (_, 204 | 304) | (Method::Connect, 200..=299) => Content::None,
            (_, 205) => Content::Empty,
            (Method::Head, _) => Content::Announced,
            _ => Content::Sent,
        }
    }

    /// The value of `Content-Length`, if there is one, in a version of HTTP whose frames say where a body ends.
    #[cfg(any(feature = "http2", feature = "http3"))]
    #[inline(always)]
    pub(crate) fn length(self, size: BodySize) -> Option<u64> {
        match (self, size) {
            (Content::None, _) | (Content::Announced | Content::Sent, BodySize::Unknown) => None,
            (Content::Empty, _) => Some(0),
            (_, BodySize::Known(len)) => Some(len),
        }
    }
}
