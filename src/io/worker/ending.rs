//! The end of a connection of a worker, well or by a panic.

use super::Loop;
use crate::conn::id::ConnId;
use crate::conn::panic_guard::{Panic, catch};
use crate::handler::Handler;
use crate::io::connection::{Connection, Shared};
use crate::io::mode::Mode;
use crate::io::transport::Transport;
use crate::log::event;
use std::net::SocketAddr;

impl<H: Handler, M: Mode<H, T>, T: Transport> Loop<'_, H, M, T> {
    pub(super) fn close(
        &mut self,
        token: ConnId,
        close: impl FnOnce(Connection<T>, &mut Shared<'_, H, M>),
    ) {
        let Some(connection) = self.slab.remove(token) else {
            return;
        };
        let peer = connection.peer();
        let shared = &mut self.shared;
        if let Err(panic) = catch(|| close(connection, shared)) {
            self.recover(&panic);
        }
        self.ended(peer);
    }

    /// It has gone, and its place is free.
    pub(super) fn ended(&mut self, peer: Option<SocketAddr>) {
        self.seat.counters.closed.add(1);
        self.control.give_back(peer);
        if let Some(stop) = &mut self.stop {
            stop.drained += 1;
        }
    }

    /// A panic has ended the turn of a connection.
    #[cold]
    pub(super) fn lose(&mut self, token: ConnId, panic: &Panic) {
        self.recover(panic);
        self.close(token, |connection, shared| {
            connection.abandon(panic, shared);
        });
        #[cfg(test)]
        {
            let tokens = self.slab.tokens().into_iter();
            let leased = tokens.map(|token| self.slab.get_mut(token).map_or(0, |c| c.leased()));
            self.shared.pool.away = leased.sum();
        }
    }

    /// Puts in order what a panic in the turn of a connection may have left half done.
    #[cold]
    pub(super) fn recover(&mut self, panic: &Panic) {
        event!(Error, "a connection ended in a panic: {}", panic.message());
        self.shared.service.wire.recover();
        self.shared.mode.recover();
    }
}
