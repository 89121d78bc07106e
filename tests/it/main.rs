//! All integration tests: one binary, so they link once and share their helpers.

mod access_log;
mod cases;
#[cfg(all(unix, feature = "signals"))]
mod child;
mod clients;
#[cfg(feature = "dir")]
mod dir_cases;
#[cfg(feature = "dir")]
mod dir_changes;
#[cfg(feature = "dir")]
mod dir_large;
#[cfg(feature = "dir")]
mod dir_paths;
#[cfg(feature = "dir")]
mod dir_server;
mod forms;
mod handler;
mod listen;
#[cfg(feature = "multipart")]
mod multipart;
mod pipelining;
#[cfg(feature = "dir")]
mod scratch;
mod slow;
mod sockets;
mod stats;
mod stop;
mod stream_in;
mod support;
mod tidy;
mod uploads;
mod worn_out;
#[cfg(feature = "websocket")]
mod ws_fan_out;
#[cfg(feature = "websocket")]
mod ws_protocol;
#[cfg(feature = "websocket")]
mod ws_sockets;
