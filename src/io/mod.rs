//! The only sockets and threads of the crate.

mod accept;
pub(crate) mod acceptor;
mod addresses;
pub(crate) mod affinity;
pub(crate) mod capacity;
pub(crate) mod clock;
pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod descriptors;
pub(crate) mod event_loop;
#[cfg(unix)]
pub(crate) mod handover;
pub(crate) mod http_driver;
mod linger;
pub(crate) mod link;
pub(crate) mod listener;
pub(crate) mod mode;
pub(crate) mod poll;
pub(crate) mod refusal;
mod relief;
#[cfg(feature = "signals")]
pub(crate) mod signals;
pub(crate) mod slab;
pub(crate) mod socket;
#[cfg(unix)]
mod socket_file;
#[cfg(all(test, unix))]
mod tests;
pub(crate) mod transport;
#[cfg(feature = "websocket")]
pub(crate) mod ws_connection;
#[cfg(feature = "websocket")]
pub(crate) mod ws_driver;
#[cfg(feature = "websocket")]
pub(crate) mod ws_mode;
