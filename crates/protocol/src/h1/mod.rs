//! HTTP/1 (RFC 9112).
//!
//! A parser that needs more input returns a value for this and keeps its position, so it never starts again
//! when more bytes arrive. A line is checked when it is complete, so the outcome depends on the bytes alone
//! and never on how the network divided them.

pub mod chunked;
pub mod connection;
pub mod framing;
pub mod head;
mod message_length;
pub mod read_buf;
pub mod response_encoder;
mod templates;
pub mod usual_response;
