//! A hand-over to another process: connections go on with sockets of their own.

use super::connection::{Connection, NO_ERROR};
use super::driven::OverQuic;
use super::socket::DatagramSocket;
use super::{Context, Quic};
use crate::runtime::event_loop::ThreadState;
use crate::runtime::poll::{Interest, Poll, Token};
use crate::shared::id::{ConnId, Slot};
use std::io;

/// Reads of a shared socket before it is closed.
const LAST_READS: usize = 64;

impl<C> Quic<C> {
    /// Gives each connection a socket that is connected to its client, and closes those that are shared. The system prefers
    /// a connected socket, so the datagrams of these clients come here, and all others go to the other process.
    pub(super) fn part<S: ThreadState>(&mut self, context: &mut Context<'_, S>) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        let mut ids = self.slab.tokens();
        let is_handshaking = |connection: &mut Connection<C>| connection.is_handshaking;
        // Those that are served first, if there is not one for each.
        ids.sort_by_key(|id| self.slab.get_mut(*id).is_some_and(is_handshaking));
        for id in ids {
            if self.own_socket(id, context.poll).is_err() {
                // No descriptor is left, or no number for the socket: the client connects to the other process.
                self.shut(id, NO_ERROR, "another process serves", context)?;
            }
        }
        for index in 0..self.ports.len() {
            // What has come before the sockets were connected.
            self.receive(index, LAST_READS, context);
            let port = &mut self.ports[index];
            if let Some(socket) = port.socket.take() {
                socket.unwatch(context.poll);
            }
            port.unsent = None;
            for id in std::mem::take(&mut port.waiting) {
                if let Some(connection) = self.slab.get_mut(id) {
                    connection.is_waiting = false;
                    self.mark(id);
                }
            }
        }
        Ok(())
    }

    fn own_socket(&mut self, id: ConnId, poll: &Poll) -> io::Result<()> {
        let number = self.ports.len() + self.owners.len();
        let Some(connection) = self.slab.get_mut(id) else {
            return Ok(());
        };
        let shared = self.ports[connection.port].socket.as_ref();
        let Some(shared) = shared.filter(|_| number < Slot::RESERVED) else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let socket = shared.connected(connection.quic.remote_address())?;
        poll.add(&socket.socket, Token::of_datagrams(number), Interest::Read)?;
        connection.own = Some(socket);
        self.owners.push(id);
        Ok(())
    }

    /// The socket of a connection is ready.
    pub(super) fn ready_own<S: ThreadState>(
        &mut self,
        number: usize,
        context: &mut Context<'_, S>,
    ) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        let Some(&id) = self.owners.get(number - self.ports.len()) else {
            return Ok(());
        };
        let Some(connection) = self.slab.get_mut(id) else {
            return Ok(());
        };
        let (index, own) = (connection.port, connection.own.take());
        let Some(own) = own else {
            return Ok(());
        };
        for _ in 0..super::incoming::READS {
            let goes_on = self.read(&own, index, context);
            self.take_all(index, context);
            if !goes_on {
                break;
            }
        }
        if context.poll.is_oneshot() {
            context
                .poll
                .modify(&own.socket, Token::of_datagrams(number), Interest::Read)?;
        }
        match self.slab.get_mut(id) {
            Some(connection) => connection.own = Some(own),
            None => own.unwatch(context.poll),
        }
        Ok(())
    }
}

impl DatagramSocket {
    /// The poller forgets it, where it does not do so by itself.
    pub(super) fn unwatch(&self, poll: &Poll) {
        if Poll::must_remove() {
            let _ = poll.remove(&self.socket);
        }
    }
}
