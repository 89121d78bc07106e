//! What the event loop does to a WebSocket: events, deadlines, shortage of memory.

use super::{Fate, WsConnection, WsPhase, WsThreadState};
use crate::http::connection_error::ConnectionError;
use crate::http::service::report;
use crate::runtime::event_loop::Driven;
use crate::runtime::link::Link;
use crate::runtime::memory_relief::{Stall, stall};
use crate::runtime::poll::Interest;
use crate::runtime::transport::Transport;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::{Panic, drop_quietly};
use crate::websocket::id::WsId;
use crate::websocket::service::WsHandlerRef;
use crate::websocket::state::End;
use crate::websocket::{Disconnect, WebSocketHandler};
use peregrine_protocol::Seconds;
use peregrine_protocol::ws::frame::FrameError;
use std::io;
use std::time::Duration;

impl<P: WsHandlerRef, T: Transport> Driven<WsThreadState<P>> for WsConnection<P, T> {
    type Transport = T;

    #[inline(always)]
    fn link(&mut self) -> &mut Link<T> {
        &mut self.link
    }

    /// Calls the first hook, and handles the bytes that arrived after the handshake.
    fn open(&mut self, id: ConnId, is_stopping: bool, shared: &mut WsThreadState<P>) -> Fate {
        let id = WsId::new(shared.index, id);
        self.peer.id = id;
        shared.handle.peers.enter(id, self.peer.ws.limits());
        let (service, socket) = (&mut shared.service, &mut self.link.socket);
        service.hook(&mut self.peer, socket, |handler, ws| {
            handler.handle_ws_conn(ws);
        });
        match self.serve(None, shared) {
            Fate::Open | Fate::Again if is_stopping => match self.stop(shared) {
                // Bytes that have arrived are read in the next turns, up to the close frame of the client.
                Fate::Open => self.fate(),
                fate => fate,
            },
            fate => fate,
        }
    }

    fn ready(&mut self, readable: bool, writable: bool, shared: &mut WsThreadState<P>) -> Fate {
        self.link.retry();
        if writable {
            self.full = false;
        }
        match &mut self.phase {
            // While reading is paused, this is the failure of the connection.
            WsPhase::Serving if readable && !self.busy && !self.peer.ws.is_crowded() => {
                self.read(shared)
            }
            WsPhase::Serving | WsPhase::Ending if writable => self.flush(shared),
            WsPhase::Lingering(lingering) if lingering.is_due(readable) => {
                lingering.discard(&mut self.link, &shared.counters)
            }
            _ => Fate::Open,
        }
    }

    #[cold]
    fn write_failed(&mut self, error: io::Error, shared: &mut WsThreadState<P>) -> Fate {
        self.broken(error, shared)
    }

    /// Sends the output, and continues with the steps that waited for room.
    fn flush(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        let was_stopped = !self.peer.ws.reads();
        self.flush_from(was_stopped, shared)
    }

    fn again(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        match self.phase {
            WsPhase::Serving if self.busy => self.serve(None, shared),
            _ => Fate::Open,
        }
    }

    fn interest(&mut self) -> Option<Interest> {
        match self.phase {
            // The connection is flushed before the loop waits.
            _ if self.dirty => None,
            WsPhase::Ending => Some(Interest::Write),
            WsPhase::Serving if self.peer.ws.is_crowded() => Some(Interest::Write),
            WsPhase::Serving if self.peer.ws.is_paused() => match self.peer.ws.output() {
                Some(_) => Some(Interest::Write),
                None => Some(Interest::Nothing),
            },
            WsPhase::Serving if self.peer.ws.output().is_some() => Some(Interest::Both),
            WsPhase::Serving => Some(Interest::Read),
            WsPhase::Lingering(lingering) => Some(lingering.interest()),
        }
    }

    fn deadline(&self, shared: &WsThreadState<P>) -> Seconds {
        let ws = &self.peer.ws;
        match self.phase {
            WsPhase::Serving => ws.deadline(self.meter()),
            WsPhase::Ending => {
                let write_timeout = ws.limits().write_timeout;
                ws.deadline(None)
                    .min(shared.service.now.after(write_timeout))
            }
            WsPhase::Lingering(_) => ws.waited(shared.limits.linger_timeout),
        }
    }

    fn waits_for_client(&self) -> bool {
        matches!(self.phase, WsPhase::Serving | WsPhase::Ending)
    }

    /// No connection becomes a WebSocket before.
    fn expire_handshake(&mut self, _: &mut WsThreadState<P>) -> Fate {
        Fate::Closed
    }

    fn expire(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        match self.phase {
            WsPhase::Serving => {
                let was_stopped = !self.peer.ws.reads();
                self.peer.ws.expire(self.meter(), shared.service.now);
                self.flush_from(was_stopped, shared)
            }
            WsPhase::Ending => {
                self.link.socket.stream.reset();
                Fate::Closed
            }
            WsPhase::Lingering(_) => Fate::Closed,
        }
    }

    #[inline]
    fn settle(&mut self, shared: &mut WsThreadState<P>) {
        let kit = &mut shared.service.kit;
        let (dropped, sent) = (
            std::mem::take(&mut kit.dropped),
            std::mem::take(&mut kit.sent),
        );
        if dropped > 0 {
            shared.counters.ws_dropped.add(dropped);
        }
        if sent > 0 {
            shared.counters.bytes_written.add(sent);
        }
        // Messages that its hooks published may come to this connection too. Then all are sent together.
        if !shared.service.later.is_empty() && self.peer.ws.backlog() > 0 {
            self.flush_later(shared);
        }
        let input = self.input.as_ref().map_or(0, |input| input.held());
        let stash = self.stash.as_ref().map_or(0, |stash| stash.held());
        let transport = self.link.socket.stream.held();
        let held = input + stash + self.peer.ws.held() + transport;
        self.link.charge(held, &mut shared.tally);
        let backlog = self.peer.ws.backlog();
        let shown = u32::try_from(backlog).unwrap_or(u32::MAX);
        if std::mem::replace(&mut self.shown, shown) != shown {
            shared.handle.peers.set_unsent(self.peer.id, backlog);
        }
    }

    fn lasts(&self) -> bool {
        true
    }

    fn stop(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        self.close_with(shared.close_code, "", shared)
    }

    fn stall(&self, limit: Duration, now: Seconds) -> Option<Stall> {
        let message = self.meter().map(|meter| meter.moved());
        let transport =
            (self.link.socket.stream.held() > 0).then(|| self.peer.ws.waited(Duration::ZERO));
        let moved = message.max(self.peer.ws.moved()).or(transport)?;
        stall(self.link.charged(), moved, limit, now)
    }

    /// Memory is short, and the connection has made no progress: closes it. It sends a close frame first, if
    /// nothing is unsent before that.
    fn give_memory(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        shared.counters.stalled_closed.add(1);
        if self.phase != WsPhase::Serving {
            self.link.socket.stream.reset();
            return Fate::Closed;
        }
        if let Some(input) = self.input.take() {
            shared.inputs.give(input);
        }
        self.stash = None;
        match self.peer.ws.backlog() {
            0 => {
                shared.counters.overloaded.add(1);
                let now = shared.service.now;
                self.peer.ws.fail(FrameError::Overloaded, now);
            }
            _ => self.peer.ws.end(End::Overloaded),
        }
        self.over(false, shared)
    }

    /// Gives back its buffers. The server may have been aborted.
    fn close(mut self, shared: &mut WsThreadState<P>) {
        shared.handle.peers.leave(self.peer.id);
        if self.phase == WsPhase::Serving {
            let why = self.peer.ws.ended().map(Disconnect::new);
            self.peer.ws.end(End::Gone);
            self.tell(&why.unwrap_or(Disconnect::Stopped), shared);
        }
        if let Some(input) = self.input.take() {
            shared.inputs.give(input);
        }
        self.peer.ws.release(&mut shared.service.kit);
        drop_quietly(self.peer.conn);
    }

    /// A panic has ended its turn: drops its unfinished work and its buffers, and calls the disconnect hook,
    /// if that was not called before.
    #[cold]
    fn abandon(mut self, panic: &Panic, shared: &mut WsThreadState<P>) {
        shared.handle.peers.leave(self.peer.id);
        shared.counters.connection_errors.add(1);
        shared.counters.internal_errors.add(1);
        self.link.socket.stream.reset();
        let error = ConnectionError::Internal(panic.message());
        report(&*shared.service.handler, &error, &self.link.socket);
        if self.phase == WsPhase::Serving {
            self.peer.ws.end(End::Gone);
            self.tell(
                &Disconnect::Io(io::Error::other("the library panicked")),
                shared,
            );
        }
        drop_quietly(self.peer.conn);
    }
}
