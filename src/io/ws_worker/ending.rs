//! The end of a WebSocket of a thread, well or by a panic.

use super::Loop;
use crate::conn::deflate::Inflate;
use crate::conn::id::ConnId;
use crate::conn::panic_guard::{Panic, catch};
use crate::io::transport::Transport;
use crate::io::ws_connection::{WsConnection, WsShared};
use crate::log::event;
use crate::websocket::WebSocketHandler;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

impl<H: WebSocketHandler, T: Transport> Loop<'_, H, T> {
    pub(super) fn close(
        &mut self,
        token: ConnId,
        close: impl FnOnce(WsConnection<H::Conn, T>, &mut WsShared<'_, H>),
    ) {
        let Some(connection) = self.slab.remove(token) else {
            return;
        };
        self.seat.door.seats.leave(connection.id());
        let peer = connection.peer();
        let shared = &mut self.shared;
        if let Err(panic) = catch(|| close(connection, shared)) {
            self.recover(&panic);
        }
        self.ended(peer);
        // Its last hook may have published.
        if !self.shared.service.later.is_empty() {
            self.publish();
        }
    }

    /// It has gone, and its place is free.
    pub(super) fn ended(&mut self, peer: Option<SocketAddr>) {
        self.seat.door.ended.fetch_add(1, Ordering::AcqRel);
        // A hook that panics ends its connection.
        let panics = std::mem::take(&mut self.shared.service.panics);
        self.seat.counters.panicked(panics);
        self.seat.counters.closed.add(1);
        self.control.capacity.lasting.give(1);
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
    }

    /// Puts in order what a panic in the turn of a connection may have left half done.
    #[cold]
    pub(super) fn recover(&mut self, panic: &Panic) {
        event!(Error, "a WebSocket ended in a panic: {}", panic.message());
        self.shared.service.kit.recover();
        self.shared.service.inflate = Inflate::default();
    }
}
