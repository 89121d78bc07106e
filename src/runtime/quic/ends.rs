//! The ends of a connection of QUIC: addresses, and what its handshake has found out.

use crate::runtime::socket::Ends;
use crate::runtime::tls::TlsInfo;
use crate::runtime::via::Via;
use std::net::SocketAddr;
use std::sync::Arc;

/// See [`Ends`].
#[derive(Clone, Debug)]
pub(crate) struct QuicEnds {
    pub(crate) peer: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) via: Option<Arc<Via>>,
    pub(crate) tls: Arc<TlsInfo>,
    /// Seconds of [`Tls::hsts`](crate::Tls::hsts) of its listener.
    pub(crate) hsts: Option<u32>,
}

impl Ends for QuicEnds {
    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(self.peer)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    fn via(&self) -> Option<&Arc<Via>> {
        self.via.as_ref()
    }

    fn is_secure(&self) -> bool {
        true
    }

    fn tls(&self) -> Option<TlsInfo> {
        Some(TlsInfo::clone(&self.tls))
    }
}
