//! What a request and its response have to know of each other.

use super::{Method, Version};

/// How the body of a request is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyIntake {
    /// It is buffered, up to this number of bytes.
    Buffer(u64),
    /// It is passed on piece by piece, up to this number of bytes in all.
    Pieces(u64),
    /// The response does not need the body.
    Unread,
    /// The response does not need the body, and the connection closes.
    Refuse,
}

/// What the response to a request depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseContext {
    /// The method, as far as it matters to the response.
    pub method: Method,
    /// The connection stays open after the response.
    pub persistent: bool,
    /// The version of the request.
    pub version: Version,
}

impl Default for ResponseContext {
    fn default() -> ResponseContext {
        ResponseContext {
            method: Method::Get,
            persistent: true,
            version: Version::Http11,
        }
    }
}
