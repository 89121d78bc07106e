//! HTTP/2 (RFC 9113), with the priorities of RFC 9218.
//!
//! [`connection`] is the state machine and has the contract with the driver. [`frame`] and
//! [`hpack`](crate::hpack) are the syntax below it.

mod bucket;
#[cfg(any(test, feature = "checks"))]
#[doc(hidden)]
pub mod check;
pub mod connection;
pub mod frame;
pub mod limits;
mod part;
mod stream;

pub use part::Part;

/// From a field block to the head of a request (RFC 9113 section 8).
pub mod head {
    pub use crate::field_section::head::{HeadBuf, MAX_CRUMBS};
}

/// Priorities (RFC 9218).
pub mod priority {
    pub use crate::http::priority::Priority;
}
