//! A listener of a worker over UDP: its socket, and the endpoint of QUIC behind it.

use super::connection_id::ConnectionIds;
use super::settings;
use super::socket::DatagramSocket;
use crate::runtime::listener::ListenerId;
use crate::runtime::poll::{Interest, Poll, Token};
use crate::shared::id::ConnId;
use quinn_proto::{Endpoint, ServerConfig, Transmit};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// One listener for one worker. Workers have sockets of their own, between which the system divides the clients.
pub(crate) struct Port {
    pub(super) listener: ListenerId,
    pub(super) number: u16,
    pub(super) ids: ConnectionIds,
    /// Shared by all connections; none after a hand-over.
    pub(super) socket: Option<DatagramSocket>,
    pub(super) endpoint: Endpoint,
    /// The connections of the endpoint, by its numbers.
    pub(super) routes: Vec<ConnId>,
    /// Datagrams that the system has not taken.
    pub(super) unsent: Option<(Transmit, Vec<u8>)>,
    /// Connections that have something to send, after that.
    pub(super) waiting: VecDeque<ConnId>,
}

impl Port {
    pub(crate) fn new(
        listener: ListenerId,
        socket: DatagramSocket,
        server: &Arc<ServerConfig>,
        (ids, worker): (&ConnectionIds, usize),
    ) -> io::Result<Port> {
        let config = settings::of_worker(ids, worker as u16);
        let may_find_mtu = !socket.may_fragment();
        Ok(Port {
            listener,
            number: socket.local_addr()?.port(),
            ids: ids.clone(),
            socket: Some(socket),
            endpoint: Endpoint::new(config, Some(server.clone()), may_find_mtu, None),
            routes: Vec::new(),
            unsent: None,
            waiting: VecDeque::new(),
        })
    }

    pub(super) fn watch(&self, index: usize, poll: &Poll) -> io::Result<()> {
        let token = Token::of_datagrams(index);
        let add = |shared: &DatagramSocket| poll.add(&shared.socket, token, Interest::Read);
        self.socket.as_ref().map_or(Ok(()), add)
    }

    /// Watches for what it waits for now.
    pub(super) fn watch_again(&self, index: usize, poll: &Poll) -> io::Result<()> {
        let interest = match self.unsent {
            Some(_) => Interest::Both,
            None => Interest::Read,
        };
        let token = Token::of_datagrams(index);
        let modify = |shared: &DatagramSocket| poll.modify(&shared.socket, token, interest);
        self.socket.as_ref().map_or(Ok(()), modify)
    }

    /// Sends a datagram that belongs to no connection. What the system does not take is lost: the client asks again.
    pub(super) fn respond(&self, transmit: &Transmit, bytes: &[u8]) -> bool {
        let socket = self.socket.as_ref().filter(|_| self.unsent.is_none());
        socket.is_some_and(|socket| socket.send(transmit, bytes))
    }
}
