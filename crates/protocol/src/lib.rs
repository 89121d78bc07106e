#![cfg_attr(
    all(feature = "websocket", feature = "http2", feature = "http3"),
    doc = include_str!("../README.md")
)]
#![cfg_attr(
    not(all(feature = "websocket", feature = "http2", feature = "http3")),
    doc = "HTTP for servers, as state machines over bytes. The README has examples."
)]
//! # How it is made
//!
//! Positions are offsets from the start of the head ([`Span`]): no borrow outlives a call, and a buffer may
//! grow or move between two calls. Nothing allocates except into a buffer of the driver. Time is an
//! argument: [`Seconds`] since a start that the driver chooses.

#![cfg_attr(not(any(test, feature = "checks")), no_std)]
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout)]

extern crate alloc;
#[cfg(all(feature = "websocket", not(any(test, feature = "checks"))))]
extern crate std;

#[cfg(feature = "checks")]
#[doc(hidden)]
pub mod checks;
pub mod error;
#[cfg(any(feature = "http2", feature = "http3"))]
mod field_section;
pub mod form;
pub mod h1;
#[cfg(feature = "http2")]
pub mod h2;
#[cfg(feature = "http3")]
pub mod h3;
#[cfg(feature = "http2")]
pub mod hpack;
pub mod http;
pub mod limits;
pub mod payload;
pub mod proxy_header;
#[cfg(feature = "http3")]
pub mod qpack;
pub mod rate;
mod seconds;
pub mod settings;
mod span;
pub mod syntax;
#[cfg(any(feature = "http2", feature = "http3"))]
pub mod token_bucket;
pub mod write_buf;
#[cfg(feature = "websocket")]
pub mod ws;

pub use crate::seconds::Seconds;
pub use crate::span::Span;

#[cfg(test)]
mod tests {
    /// Under Miri, tests over all values take only some of them, because Miri is about a thousand times
    /// slower.
    pub(crate) const EVERY: usize = if cfg!(miri) { 31 } else { 1 };
}
