//! A connected socket and the address of its peer.

#[cfg(feature = "tls")]
use super::tls::TlsInfo;
use super::transport::Transport;
use super::via::Via;
use crate::config::forwarded::Forwarding;
use peregrine_protocol::proxy_header::ProxyHeader;
#[cfg(feature = "websocket")]
use std::io::IoSlice;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

/// The addresses of both ends of a connection. They are read only when a handler asks for them.
pub(crate) trait Ends {
    fn peer_addr(&self) -> Option<SocketAddr>;
    fn local_addr(&self) -> Option<SocketAddr>;

    /// The proxies between the socket and the client, if the settings of the server say that there may be some.
    fn via(&self) -> Option<&Arc<Via>> {
        None
    }

    /// The address of the client, as far as it is known without a request.
    fn client_addr(&self) -> Option<SocketAddr> {
        let known = self.via().and_then(|via| via.client);
        known.or_else(|| self.counted_addr())
    }

    /// The address that the limits per address count.
    fn counted_addr(&self) -> Option<SocketAddr> {
        match self.via() {
            Some(via) => via.counted_addr(),
            None => self.peer_addr(),
        }
    }

    /// See [`Request::is_secure`](crate::Request::is_secure).
    #[cfg(feature = "tls")]
    fn is_secure(&self) -> bool {
        false
    }

    /// See [`Request::tls`](crate::Request::tls).
    #[cfg(feature = "tls")]
    fn tls(&self) -> Option<TlsInfo> {
        None
    }
}

#[cfg(feature = "websocket")]
/// The socket of a connection, lent to its hooks.
///
/// Messages of hooks go to the output of the connection, and the driver writes it after the hooks have
/// returned. A large message is written directly from its memory while the hook has it, because a copy costs
/// more than everything else (an echo of 1 MiB: 1.4 times as much).
pub(crate) trait HookSocket: Ends {
    /// Writes as much of these pieces as the socket takes, in order, and returns the number of bytes. 0 if
    /// the socket takes nothing or has failed; the next write reports an error.
    fn write_now(&mut self, pieces: [&[u8]; 2]) -> usize;
}

pub(crate) struct Socket<T> {
    pub(crate) stream: T,
    peer: PeerAddr,
}

/// The address of the peer in 24 bytes instead of the 32 of an `Option<SocketAddr>`: it leaves out the flow
/// label, which the system does not report. The address is kept because the system forgets it when the client
/// resets the connection.
enum PeerAddr {
    Unknown,
    Via(Arc<Via>),
    V4(SocketAddrV4),
    V6 { ip: Ipv6Addr, port: u16, scope: u32 },
}

impl<T: Transport> Socket<T> {
    pub(crate) fn new(stream: T, peer: Option<SocketAddr>) -> Socket<T> {
        let peer = match peer {
            None => PeerAddr::Unknown,
            Some(SocketAddr::V4(addr)) => PeerAddr::V4(addr),
            Some(SocketAddr::V6(addr)) => PeerAddr::V6 {
                ip: *addr.ip(),
                port: addr.port(),
                scope: addr.scope_id(),
            },
        };
        Socket { stream, peer }
    }

    /// The socket of a connection of `peer`, which may be a balancer that has told its client, or a proxy whose fields are
    /// believed.
    pub(crate) fn accepted(
        stream: T,
        peer: Option<SocketAddr>,
        proxied: Option<ProxyHeader>,
        forwarding: Option<&Arc<Forwarding>>,
    ) -> Socket<T> {
        let mut via = Via {
            peer,
            proxied,
            forwarding: None,
            client: None,
        };
        let counted = via.counted_addr();
        let trusted = forwarding.filter(|forwarding| forwarding.proxies.are_trusted(counted));
        if via.proxied.is_none() && trusted.is_none() {
            return Socket::new(stream, peer);
        }
        via.forwarding = trusted.cloned();
        Socket {
            stream,
            peer: PeerAddr::Via(Arc::new(via)),
        }
    }

    /// From here on, the connection is one of this client.
    #[cfg(feature = "websocket")]
    pub(crate) fn set_client(&mut self, client: Option<SocketAddr>) {
        if let PeerAddr::Via(via) = &mut self.peer {
            Arc::make_mut(via).client = client;
        }
    }
}

impl<T: Transport> Ends for Socket<T> {
    fn peer_addr(&self) -> Option<SocketAddr> {
        match self.peer {
            PeerAddr::Unknown => None,
            PeerAddr::Via(ref via) => via.peer,
            PeerAddr::V4(addr) => Some(addr.into()),
            PeerAddr::V6 { ip, port, scope } => Some(SocketAddrV6::new(ip, port, 0, scope).into()),
        }
    }

    fn via(&self) -> Option<&Arc<Via>> {
        match &self.peer {
            PeerAddr::Via(via) => Some(via),
            _ => None,
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr()
    }

    #[cfg(feature = "tls")]
    fn is_secure(&self) -> bool {
        self.stream.is_secure()
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> Option<TlsInfo> {
        self.stream.tls()
    }
}

#[cfg(feature = "websocket")]
impl<T: Transport> HookSocket for Socket<T> {
    fn write_now(&mut self, pieces: [&[u8]; 2]) -> usize {
        let sent = self.stream.write_vectored(&pieces.map(IoSlice::new));
        sent.unwrap_or(0)
    }
}
