//! Event loop, sockets, threads and clock.

pub(crate) mod accept;
pub(crate) mod accept_error;
pub(crate) mod acceptor;
pub(crate) mod address_limit;
pub(crate) mod address_rate;
pub(crate) mod affinity;
pub(crate) mod clock;
pub(crate) mod connection_limit;
pub(crate) mod descriptors;
pub(crate) mod event_loop;
pub(crate) mod greeting;
#[cfg(unix)]
pub(crate) mod handover;
pub(crate) mod linger;
pub(crate) mod link;
pub(crate) mod listener;
pub(crate) mod memory_relief;
pub(crate) mod phase;
pub(crate) mod poll;
#[cfg(feature = "http3")]
pub(crate) mod quic;
pub(crate) mod server_state;
#[cfg(feature = "signals")]
pub(crate) mod signals;
pub(crate) mod slab;
pub(crate) mod socket;
#[cfg(unix)]
pub(crate) mod socket_file;
#[cfg(target_os = "linux")]
pub(crate) mod systemd;
#[cfg(all(test, unix))]
pub(crate) mod tests;
pub(crate) mod thread_pool;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod token;
pub(crate) mod transport;
pub(crate) mod via;
