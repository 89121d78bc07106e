//! Connections as state machines over buffers: no sockets, no threads, no clock.
//!
//! The driver (in `drive` and `io`) puts bytes into an [`input::Input`], asks [`http1::Http1`] what
//! to do next, and sends what has gathered in an [`output::Output`]. Time is an argument: seconds
//! since some start of the driver's choosing.

pub(crate) mod body_out;
pub(crate) mod budget;
pub(crate) mod credit;
#[cfg(feature = "websocket")]
pub(crate) mod deflate;
pub(crate) mod heads;
pub(crate) mod http1;
pub(crate) mod id;
pub(crate) mod inbox;
pub(crate) mod input;
pub(crate) mod leave;
pub(crate) mod mailbox;
pub(crate) mod output;
pub(crate) mod panic_guard;
pub(crate) mod payload;
pub(crate) mod pool;
#[cfg(feature = "websocket")]
pub(crate) mod prepared;
pub(crate) mod rate;
pub(crate) mod rows;
mod seconds;
pub(crate) mod share;
pub(crate) mod sparse;
mod sync;
pub(crate) mod timers;
#[cfg(feature = "websocket")]
pub(crate) mod topics;
#[cfg(feature = "websocket")]
pub(crate) mod ws;
#[cfg(feature = "websocket")]
pub(crate) mod ws_input;
#[cfg(feature = "websocket")]
pub(crate) mod ws_send;

pub(crate) use seconds::Seconds;
