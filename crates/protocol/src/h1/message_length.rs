//! What a head says about the length of its message (RFC 9112 section 6.3).

use crate::error::ProtocolError;

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// By a length that is known before the body. It may be zero.
    Exact(u64),
    /// By the last chunk.
    Chunked,
}

impl BodyLength {
    /// The length, if it is known. An error if it is above `most` bytes.
    pub fn within(self, most: u64) -> Result<Option<u64>, ProtocolError> {
        match self {
            BodyLength::Exact(len) if len > most => Err(ProtocolError::BodyTooLarge),
            BodyLength::Exact(len) => Ok(Some(len)),
            BodyLength::Chunked => Ok(None),
        }
    }
}

/// What the head says about the rest of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Where the body ends.
    pub body: BodyLength,
    /// Whether another request may follow.
    pub persistent: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}
