//! Properties that unit tests and fuzz targets share (feature `internals`).
//!
//! `cargo test` calls the checks with the seeds and a fixed sequence of changes to them. The fuzz targets call them with generated inputs.

pub mod responses;
pub mod seeds;
#[cfg(test)]
mod tests;

pub use peregrine_protocol::checks::{Changes, Check, Choices, limits, operations, run, split_of};
use peregrine_protocol::{h1, h2, h3, hpack, qpack};

/// All checks.
pub const CHECKS: &[(&str, Check)] = &[
    ("head", h1::head::check::check),
    ("framing", h1::framing::check::check),
    ("chunked", h1::chunked::check::check),
    ("hpack", hpack::check::check),
    ("http2", h2::check::check),
    ("qpack", qpack::check::check),
    ("http3", h3::check::check),
    ("http3_frames", h3::check::check_frames),
    ("connection", crate::testing::check::check),
    ("late", crate::http::deferred::check::check),
    ("response", crate::http::response::check::check),
    ("target", crate::http::request::check::check),
    ("router", crate::router::check::check),
    #[cfg(feature = "dir")]
    ("dir", crate::files::check::check),
    #[cfg(feature = "websocket")]
    ("frame", peregrine_protocol::ws::frame::check::check),
    #[cfg(feature = "websocket")]
    ("websocket", crate::websocket::check::check),
    #[cfg(feature = "deflate")]
    ("deflate", crate::websocket::check::check_deflate),
    #[cfg(feature = "multipart")]
    ("multipart", crate::forms::multipart::check::check),
];
