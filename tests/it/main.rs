//! All integration tests: one binary, so they link once and share their helpers.

mod cases;
#[cfg(all(unix, feature = "signals"))]
mod child;
mod clients;
mod handler;
mod listen;
mod pipelining;
mod slow;
mod sockets;
mod stop;
mod support;
mod tidy;
#[cfg(feature = "websocket")]
mod ws_fan_out;
#[cfg(feature = "websocket")]
mod ws_protocol;
#[cfg(feature = "websocket")]
mod ws_sockets;
