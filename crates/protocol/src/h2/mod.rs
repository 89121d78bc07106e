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
pub mod head;
pub mod limits;
mod part;
pub mod priority;
mod stream;

pub use part::Part;
