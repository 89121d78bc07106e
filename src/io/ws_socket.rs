//! The socket of a WebSocket connection, in few bytes: most of these connections are idle.

use super::connection::Socket;
use super::stream::Stream;
use crate::request::Ends;
use std::io::IoSlice;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

pub(super) struct WsSocket {
    pub(super) stream: Stream,
    peer: PeerAddr,
}

/// Sixteen bytes instead of the 32 of an `Option<SocketAddr>`. The system cannot be asked instead:
/// it forgets the address when the client resets the connection.
enum PeerAddr {
    Unknown,
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl From<Socket> for WsSocket {
    fn from(socket: Socket) -> WsSocket {
        let peer = match socket.peer {
            None => PeerAddr::Unknown,
            Some(SocketAddr::V4(addr)) => PeerAddr::V4(addr),
            Some(SocketAddr::V6(addr)) => PeerAddr::V6(Box::new(addr)),
        };
        let stream = socket.stream;
        WsSocket { stream, peer }
    }
}

impl Ends for WsSocket {
    fn peer_addr(&self) -> Option<SocketAddr> {
        match &self.peer {
            PeerAddr::Unknown => None,
            PeerAddr::V4(addr) => Some((*addr).into()),
            PeerAddr::V6(addr) => Some((**addr).into()),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr()
    }

    fn send_now(&self, pieces: [&[u8]; 2]) -> usize {
        let sent = self.stream.write_vectored(&pieces.map(IoSlice::new));
        sent.unwrap_or(0)
    }
}
