//! Requests, responses, handlers, and the HTTP connection in the event loop.

pub(crate) mod accept;
pub(crate) mod access_entry;
#[cfg(feature = "compress")]
pub(crate) mod compressible;
pub(crate) mod connection;
pub(crate) mod connection_error;
#[cfg(any(feature = "compress", feature = "dir"))]
pub(crate) mod content_coding;
pub(crate) mod cookie;
pub(crate) mod deferred;
pub(crate) mod driver;
pub(crate) mod entity_tag;
pub(crate) mod h1;
#[cfg(feature = "http2")]
pub(crate) mod h2;
#[cfg(feature = "http3")]
pub(crate) mod h3;
pub(crate) mod handler;
pub(crate) mod handler_error;
pub(crate) mod html;
#[cfg(feature = "http")]
pub(crate) mod interop;
#[cfg(feature = "json")]
pub(crate) mod json_body;
pub(crate) mod json_string;
pub(crate) mod lease;
#[cfg(feature = "http2")]
mod multiplexed;
pub(crate) mod request;
pub(crate) mod request_body;
pub(crate) mod response;
pub(crate) mod service;
pub(crate) mod upgrade;
pub(crate) mod worker_state;
