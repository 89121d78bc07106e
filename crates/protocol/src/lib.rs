//! HTTP/1.1 and WebSockets as state machines over bytes: no sockets, no threads, no clock.
//!
//! Positions are offsets from the start of the head, so that no borrow outlives a call and a buffer may
//! grow or move between two of them. Time is an argument: seconds since some start of the driver's
//! choosing.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(all(feature = "websocket", not(test)))]
extern crate std;

pub mod error;
pub mod form;
pub mod h1;
pub mod http;
pub mod limits;
pub mod payload;
pub mod rate;
mod seconds;
mod span;
pub mod syntax;
pub mod write_buf;
#[cfg(feature = "websocket")]
pub mod ws;

pub use seconds::Seconds;
pub use span::Span;

#[cfg(test)]
mod tests {
    /// Tests over all values of something take each so-manieth: Miri is some thousand times slower.
    pub(crate) const EVERY: usize = if cfg!(miri) { 31 } else { 1 };
}
