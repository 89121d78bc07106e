//! A connected socket and the address of its peer.

use super::transport::Transport;
use crate::http::request::Ends;
#[cfg(feature = "websocket")]
use crate::websocket::ws::HookSocket;
#[cfg(feature = "websocket")]
use std::io::IoSlice;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

pub(crate) struct Socket<T> {
    pub(crate) stream: T,
    peer: PeerAddr,
}

/// 24 bytes instead of the 32 of an `Option<SocketAddr>`: the flow label is left out, which the
/// system does not tell. Nor can the system be asked when somebody wants to know: it forgets the
/// address when the client resets the connection.
#[derive(Clone, Copy)]
enum PeerAddr {
    Unknown,
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
}

impl<T: Transport> Ends for Socket<T> {
    fn peer_addr(&self) -> Option<SocketAddr> {
        match self.peer {
            PeerAddr::Unknown => None,
            PeerAddr::V4(addr) => Some(addr.into()),
            PeerAddr::V6 { ip, port, scope } => Some(SocketAddrV6::new(ip, port, 0, scope).into()),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr()
    }
}

#[cfg(feature = "websocket")]
impl<T: Transport> HookSocket for Socket<T> {
    fn write_now(&mut self, pieces: [&[u8]; 2]) -> usize {
        let sent = self.stream.write_vectored(&pieces.map(IoSlice::new));
        sent.unwrap_or(0)
    }
}
