//! HTTP/1 (RFC 9112).
//!
//! A parser that needs more input says so with a value and keeps how far it has come: no byte is
//! looked at again from the start when more arrive. A line is judged when it is complete, so that
//! the outcome depends on the bytes alone and never on how the network divided them.

pub mod chunked;
pub mod connection;
pub mod encode;
pub mod framing;
pub mod head;
pub mod read_buf;
pub mod response_encoder;
