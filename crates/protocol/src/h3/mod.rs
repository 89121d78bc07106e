//! HTTP/3 (RFC 9114), with the priorities of RFC 9218, above any implementation of QUIC.
//!
//! [`connection`] is the state machine and has the contract with the driver, which has the streams of QUIC. [`frame`] and
//! [`qpack`](crate::qpack) are the syntax below it.

#[cfg(any(test, feature = "checks"))]
#[doc(hidden)]
pub mod check;
pub mod connection;
pub mod frame;
pub mod limits;
mod stream;
pub mod varint;

/// From an encoded field section to the head of a request (RFC 9114 section 4).
pub mod head {
    pub use crate::field_section::head::{HeadBuf, MAX_CRUMBS};
}

/// Priorities (RFC 9218).
pub mod priority {
    pub use crate::http::priority::Priority;
}
