//! The only sockets and threads of the crate.

pub(crate) mod accept;
mod addresses;
pub(crate) mod affinity;
pub(crate) mod capacity;
pub(crate) mod clock;
pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod descriptors;
#[cfg(all(test, unix))]
pub(crate) mod faulty;
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
pub(crate) mod stream;
#[cfg(all(test, unix))]
mod tests;
pub(crate) mod worker;
#[cfg(feature = "websocket")]
pub(crate) mod ws_connection;
#[cfg(feature = "websocket")]
pub(crate) mod ws_mode;
#[cfg(feature = "websocket")]
pub(crate) mod ws_worker;

/// Reads or writes for a connection whose time is up, before that is enforced.
const LOOKS: usize = 64;
