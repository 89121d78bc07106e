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
#[cfg(unix)]
pub(crate) mod handover;
pub(crate) mod listener;
pub(crate) mod mode;
pub(crate) mod poll;
pub(crate) mod refusal;
mod relief;
#[cfg(feature = "signals")]
pub(crate) mod signals;
pub(crate) mod slab;
mod socket;
#[cfg(unix)]
mod socket_file;
#[cfg(all(test, unix))]
mod tests;
pub(crate) mod transport;
pub(crate) mod worker;
#[cfg(feature = "websocket")]
pub(crate) mod ws_connection;
#[cfg(feature = "websocket")]
pub(crate) mod ws_mode;
#[cfg(feature = "websocket")]
pub(crate) mod ws_worker;

/// Reads or writes for a connection whose time is up, before that is enforced.
const LOOKS: usize = 64;
