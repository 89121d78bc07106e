//! A response as status, fields and body, without a version of HTTP (RFC 9110).

use super::Method;

/// A head without its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 200 to 599.
    pub status: u16,
    /// The connection ends behind the response, whatever the client wants.
    pub close: bool,
    /// There is an `Upgrade` field.
    pub upgrade: bool,
}

impl ResponseHead {
    /// 200, and nothing else is said.
    pub const OK: ResponseHead = ResponseHead {
        status: 200,
        close: false,
        upgrade: false,
    };
}

/// How long the body is that a handler gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySize {
    /// So many bytes.
    Known(u64),
    /// It is known when the body ends.
    Unknown,
}

/// What a response says of its body, and whether that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Neither a length nor a body.
    None,
    /// A length of zero.
    Empty,
    /// The length of a body that does not follow.
    Announced,
    /// Both follow.
    Sent,
}

impl Content {
    /// RFC 9110 sections 8.6, 9.3 and 15.
    #[inline(always)]
    pub fn of(method: Method, status: u16) -> Content {
        // The usual one by two comparisons.
        match (method, status) {
            (Method::Other, 200) => Content::Sent,
            (_, 204 | 304) | (Method::Connect, 200..=299) => Content::None,
            (_, 205) => Content::Empty,
            (Method::Head, _) => Content::Announced,
            _ => Content::Sent,
        }
    }
}
