//! WebSocket (RFC 6455).

pub mod connection;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod limits;
pub mod message_buf;
pub mod prepared;
pub mod send;
mod utf8;
