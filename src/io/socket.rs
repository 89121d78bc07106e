//! The socket of a connection and who is at its other end, in few bytes: most connections are idle.

use super::control::Accepted;
use super::listener::ListenerConfig;
use super::poll::{Interest, Poll, Token};
use super::transport::Transport;
use crate::request::Ends;
use std::io;
#[cfg(feature = "websocket")]
use std::io::IoSlice;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

pub(super) struct Socket<T> {
    pub(super) stream: T,
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
    pub(super) fn new(accepted: Accepted, listener: &ListenerConfig) -> Socket<T> {
        let peer = match accepted.peer {
            None => PeerAddr::Unknown,
            Some(SocketAddr::V4(addr)) => PeerAddr::V4(addr),
            Some(SocketAddr::V6(addr)) => PeerAddr::V6 {
                ip: *addr.ip(),
                port: addr.port(),
                scope: addr.scope_id(),
            },
        };
        Socket {
            stream: T::accepted(accepted.socket, listener),
            peer,
        }
    }

    /// Has the poller watch for `interest`, and not for what it watched `before`, if it did.
    pub(super) fn watch(
        &self,
        (before, interest): (Option<Interest>, Interest),
        token: Token,
        poll: &Poll,
    ) -> io::Result<()> {
        match (self.stream.socket(), before) {
            (Some(socket), None) => poll.add(socket, token, interest),
            (Some(socket), Some(_)) => poll.modify(socket, token, interest),
            (None, _) => Ok(()),
        }
    }

    /// The poller is to watch it no more.
    pub(super) fn unwatch(&self, poll: &Poll) {
        if let Some(socket) = self.stream.socket() {
            let _ = poll.remove(socket);
        }
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

    #[cfg(feature = "websocket")]
    fn send_now(&self, pieces: [&[u8]; 2]) -> usize {
        let sent = self.stream.write_now(&pieces.map(IoSlice::new));
        sent.unwrap_or(0)
    }
}
