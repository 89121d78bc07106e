//! One WebSocket connection: its socket, its state, and what an event does to them.

mod commands;
mod driven;

use super::id::WsId;
use super::service::{ConnOf, Peer, WsHandlerRef, WsService};
use super::state::{End, WsConn};
use super::thread_handle::WsThreadHandle;
use super::threads::WsArrival;
use super::topics::Publication;
use super::{Disconnect, WebSocketHandler};
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::{Driven, Fate};
use crate::runtime::linger::Lingering;
use crate::runtime::link::Link;
use crate::runtime::transport::{Transport, Written as Wrote};
use crate::shared::id::ConnId;
use crate::shared::memory_budget::LocalUsage;
use peregrine_protocol::Seconds;
use peregrine_protocol::limits::Limits;
use peregrine_protocol::rate::RateMeter;
use peregrine_protocol::ws::frame::FrameError;
use peregrine_protocol::ws::message_buf::{Stash, WsInput, WsInputs};
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::io;
use std::sync::Arc;

/// A connection to which other threads send is flushed when this number of bytes is unsent, and not only at
/// the end of the wake-up. Otherwise a client that reads fast could be treated as a slow one.
const FLUSH: usize = 64 << 10;

/// State that the connections of one WebSocket thread share.
pub(crate) struct WsThreadState<P> {
    pub(crate) service: WsService<P>,
    pub(crate) inputs: WsInputs,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) limits: Limits,
    pub(crate) tally: LocalUsage,
    /// The handle of the thread, and its number.
    pub(crate) handle: Arc<WsThreadHandle>,
    pub(crate) index: usize,
    /// The code of the close frame when the server stops (RFC 6455 section 7.4.1).
    pub(crate) close_code: u16,
    /// Connections that have to be flushed at the end of the wake-up.
    pub(crate) dirty: Vec<ConnId>,
}

impl<P: WsHandlerRef> WsThreadState<P> {
    /// Adds the connections that a publication goes to. `all` adds all connections.
    pub(crate) fn receivers(
        &self,
        publication: &Publication,
        all: impl FnOnce(&mut Vec<ConnId>),
        into: &mut Vec<ConnId>,
    ) {
        match &publication.topic {
            Some(topic) => into.extend_from_slice(self.service.topics.members(topic)),
            None => all(into),
        }
        if let Some(except) = publication.except {
            into.retain(|&id| id != except);
        }
    }

    /// Publications for this thread were dropped: adds the connections that have to be closed because of
    /// that.
    pub(crate) fn losers(&self, all: impl FnOnce(&mut Vec<ConnId>)) -> Vec<ConnId> {
        let missed = self.handle.take_missed();
        let topics = &self.service.topics;
        let mut ids = Vec::new();
        for topic in &missed.topics {
            ids.extend_from_slice(topics.members(topic));
        }
        if missed.any_topic {
            ids.extend(topics.subscribers());
        }
        if missed.all {
            all(&mut ids);
        }
        ids
    }
}

pub(crate) struct WsConnection<P: WsHandlerRef, T> {
    link: Link<T>,
    peer: Peer<ConnOf<P>>,
    /// The first bytes of an incomplete frame or message, if they are few.
    stash: Option<Box<Stash>>,
    /// A larger buffer for them.
    input: Option<Box<WsInput>>,
    phase: WsPhase,
    /// The last write took less than it was offered. The next write waits for the poller.
    full: bool,
    /// Whether it is in [`WsThreadState::dirty`].
    dirty: bool,
    /// More messages are in the input already. Nothing is read before they are handled.
    busy: bool,
    /// The backlog that was last published for other threads.
    shown: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WsPhase {
    /// Open, until the disconnect hook was called.
    Serving,
    /// The output is sent, then the connection ends.
    Ending,
    Lingering(Lingering),
}

impl<P: WsHandlerRef, T: Transport> WsConnection<P, T> {
    pub(crate) fn new(arrival: WsArrival<ConnOf<P>, T>, now: Seconds) -> Self {
        let WsArrival {
            mut moved,
            accepted,
        } = arrival;
        moved.socket.set_client(accepted.client);
        // Messages are whole, and the largest should be sent in one write. In pieces, an echo of 1 MiB costs
        // twice as much.
        moved
            .socket
            .stream
            .take_unsent(accepted.limits.backlog_bytes);
        let ws = WsConn::new(now, accepted.limits, accepted.deflate, moved.output);
        WsConnection {
            link: Link::new(moved.socket),
            peer: Peer {
                ws,
                conn: accepted.conn,
                id: WsId::from_u64(0),
            },
            stash: Stash::of(moved.rest),
            input: None,
            phase: WsPhase::Serving,
            full: false,
            dirty: false,
            busy: false,
            shown: 0,
        }
    }

    pub(crate) fn ws(&mut self) -> &mut WsConn {
        &mut self.peer.ws
    }

    /// The connection's own state.
    pub(crate) fn conn(&mut self) -> &mut ConnOf<P> {
        &mut self.peer.conn
    }

    /// Reads once, and handles the bytes that arrived.
    fn read(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        let mut input = self.take_input(shared);
        match self.link.read(input.space()) {
            Ok(Some(0)) => self.peer.ws.eof(),
            Ok(Some(n)) => {
                shared.counters.bytes_read.add(n as u64);
                input.filled(n);
                self.peer.ws.heard(shared.service.now);
            }
            Ok(None) => {}
            Err(error) => {
                shared.inputs.give(input);
                return self.broken(error, shared);
            }
        }
        self.serve(Some(input), shared)
    }

    fn take_input(&mut self, shared: &mut WsThreadState<P>) -> Box<WsInput> {
        self.input.take().unwrap_or_else(|| {
            let mut input = shared.inputs.take();
            if let Some(stash) = self.stash.take() {
                input.unstash(*stash);
            }
            input
        })
    }

    /// Handles the messages that have arrived and sends the output, for as long as the socket has room.
    fn serve(&mut self, input: Option<Box<WsInput>>, shared: &mut WsThreadState<P>) -> Fate {
        let is_kept = self.input.is_some() || self.stash.is_some();
        let mut input = input.or_else(|| is_kept.then(|| self.take_input(shared)));
        self.busy = false;
        loop {
            if let Some(input) = &mut input {
                let most = shared.limits.turn_time;
                let service = &mut shared.service;
                let pumped = service.pump(&mut self.peer, input, most, &mut self.link.socket);
                shared.counters.ws_received.add(pumped.messages);
                self.busy = pumped.is_late;
            }
            // Messages that the hooks published come to this connection too. Then all are sent together.
            if !shared.service.later.is_empty() && !self.peer.ws.is_crowded() {
                break;
            }
            let stopped = self.peer.ws.is_crowded();
            if let Err(error) = self.send(shared) {
                if let Some(input) = input {
                    shared.inputs.give(input);
                }
                return self.broken(error, shared);
            }
            let is_done = !stopped || self.busy;
            if is_done || self.peer.ws.is_crowded() || self.peer.ws.is_over() {
                break;
            }
        }
        let mut unread = false;
        if let Some(input) = input {
            if shared.tally.is_over() {
                self.refuse_memory(&input, shared);
            }
            unread = !input.raw().is_empty();
            if !input.is_empty() && !self.peer.ws.is_over() {
                self.stash = input.stash();
                if self.stash.is_none() {
                    self.input = Some(shared.inputs.keep(input));
                    return self.fate();
                }
            }
            shared.inputs.give(input);
        }
        match self.peer.ws.is_over() {
            true => self.over(unread, shared),
            false => self.fate(),
        }
    }

    fn fate(&self) -> Fate {
        match self.busy {
            true => Fate::Again,
            false => Fate::Open,
        }
    }

    /// The memory budget is exceeded: the connection does not get a larger buffer.
    #[cold]
    fn refuse_memory(&mut self, input: &WsInput, shared: &mut WsThreadState<P>) {
        if input.needs_memory() && self.peer.ws.is_open() {
            shared.counters.overloaded.add(1);
            let now = shared.service.now;
            self.peer.ws.fail(FrameError::Overloaded, now);
        }
    }

    /// Sends the output. Calls the hook for a backlog that has fallen, which may add messages.
    fn send(&mut self, shared: &mut WsThreadState<P>) -> io::Result<()> {
        while !self.full {
            let Some(output) = self.peer.ws.output() else {
                break;
            };
            match self.link.send(output)? {
                Some(Wrote { bytes, full }) => {
                    self.full = full;
                    shared.counters.bytes_written.add(bytes as u64);
                    output.advance(bytes);
                    let service = &mut shared.service;
                    if self.peer.ws.taken(bytes, &mut service.kit, service.now) {
                        service.hook(&mut self.peer, &mut self.link.socket, |handler, ws| {
                            handler.handle_ws_drain(ws);
                        });
                    }
                }
                None => self.full = true,
            }
        }
        Ok(())
    }

    /// Another thread sends to this connection. It is flushed at the end of the wake-up.
    pub(crate) fn deliver(&mut self, message: &PreparedMessage, shared: &mut WsThreadState<P>) {
        let waits = self.peer.ws.backlog();
        let flush = match shared.service.kit.short {
            true => 0,
            false => FLUSH,
        };
        if waits > 0 && waits + message.frame_len() > flush && !self.full {
            // The write fails again at the end of the wake-up, where the error is handled.
            let _ = self.send(shared);
        }
        let service = &mut shared.service;
        let kit = &mut service.kit;
        let _ = self.peer.ws.send_prepared(message, kit, service.now);
        self.flush_later(shared);
    }

    fn flush_later(&mut self, shared: &mut WsThreadState<P>) {
        if !std::mem::replace(&mut self.dirty, true) {
            shared.dirty.push(self.peer.id.conn());
        }
    }

    /// A message for it was dropped. By its policy, this may close the connection.
    pub(crate) fn lose(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        self.peer.ws.lose();
        self.flush(shared)
    }

    /// The bytes of the incomplete message.
    fn meter(&self) -> Option<RateMeter> {
        match (&self.input, &self.stash) {
            (Some(input), _) => input.meter(),
            (None, stash) => stash.as_ref()?.meter(),
        }
    }

    /// A read or a write has failed.
    fn broken(&mut self, error: io::Error, shared: &mut WsThreadState<P>) -> Fate {
        if self.phase == WsPhase::Serving {
            shared.counters.connection_errors.add(1);
            // After the close frames a reset is a normal end.
            let why = match self.peer.ws.ended() {
                Some(end) => Disconnect::new(end),
                None => Disconnect::Io(error),
            };
            self.peer.ws.end(End::Gone);
            self.tell(&why, shared);
        }
        Fate::Closed
    }

    fn tell(&mut self, why: &Disconnect, shared: &mut WsThreadState<P>) {
        self.phase = WsPhase::Ending;
        shared
            .service
            .disconnect(&mut self.peer, &mut self.link.socket, why);
    }

    /// If the connection is over: calls the disconnect hook, and sends the rest of the output.
    fn over(&mut self, unread: bool, shared: &mut WsThreadState<P>) -> Fate {
        let Some(end) = self.peer.ws.ended().cloned() else {
            return Fate::Open;
        };
        match end {
            End::Failed(_) => shared.counters.refused.add(1),
            End::Closed { .. } => {}
            _ => shared.counters.connection_errors.add(1),
        }
        self.tell(&Disconnect::new(&end), shared);
        match end {
            End::Failed(_) => self.finish(shared),
            End::Closed { .. } if unread => self.finish(shared),
            End::Closed { .. } | End::Gone => {
                let fate = self.finish(shared);
                match self.phase {
                    WsPhase::Lingering(_) => Fate::Closed,
                    _ => fate,
                }
            }
            // The time to linger has passed.
            End::CloseTimeout => Fate::Closed,
            // Otherwise the system would keep the unsent bytes for as long as the client wants.
            End::Backlog | End::Silent | End::WriteTimeout | End::Overloaded => {
                self.link.socket.stream.reset();
                Fate::Closed
            }
        }
    }

    /// Sends the rest, then closes or lingers. A close while the client still sends would be a reset, and the
    /// client might never see the close frame.
    fn finish(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        self.link.socket.stream.near_end();
        if self.send(shared).is_err() {
            return Fate::Closed;
        }
        // A connection that lingers continues to linger, whatever other threads send to it.
        if self.peer.ws.output().is_some() || matches!(self.phase, WsPhase::Lingering { .. }) {
            return Fate::Open;
        }
        self.link.socket.stream.end_write();
        let lingering = match self.peer.ws.lingers() {
            true => Lingering::begin(&mut self.link, shared.limits.linger_bytes),
            false => None,
        };
        let Some(lingering) = lingering else {
            return Fate::Closed;
        };
        self.peer.ws.await_peer(shared.service.now);
        self.phase = WsPhase::Lingering(lingering);
        Fate::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::handler::Handler;
    use crate::http::request::Request;
    use crate::http::response::{Done, Response};
    use crate::websocket::WebSocketHandler;
    use crate::websocket::upgrade::Upgrade;
    use crate::websocket::ws::Ws;
    use peregrine_protocol::ws::frame::Message;

    struct Stateless;

    impl Handler for Stateless {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("")
        }
    }

    impl WebSocketHandler for Stateless {
        type Conn = ();

        fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
            None
        }

        fn handle_ws_frame(&self, _: &mut Ws<'_, ()>, _: Message<'_>) {}
    }

    /// The memory of an idle connection, beside 8 bytes in the slab, its row in the peer table, and the state
    /// of its handler.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_idle_connection_is_small() {
        assert!(size_of::<WsConnection<Arc<Stateless>, crate::runtime::transport::Plain>>() <= 152);
    }
}
