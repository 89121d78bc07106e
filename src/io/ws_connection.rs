//! One WebSocket connection of a thread: its socket, its state, and what an event does to them.

mod ending;

use super::LOOKS;
use super::poll::{Interest, Poll};
use super::relief::{Stall, stall};
use super::socket::Socket;
use super::transport::{Sent as Wrote, Transport, can_wait};
use super::ws_mode::Arrival;
use crate::conn::{
    Seconds,
    budget::Tally,
    prepared::Prepared,
    rate::Tempo,
    ws::WsConn,
    ws_input::{Stash, WsInput, WsInputs},
};
use crate::protocol::{frame::FrameError, limits::Limits};
use crate::request::Ends;
use crate::stats::WorkerCounters;
use crate::websocket::{WebSocketHandler, hub::WsId};
use crate::ws_drive::{Peer, WsService};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A connection that others send to is flushed when this much waits, not only at the end of the
/// wake-up: a client that takes it must not be taken for a slow one.
const FLUSH: usize = 64 << 10;

/// What the connections of one WebSocket thread share.
pub(crate) struct WsShared<'a, H> {
    pub(super) service: WsService<Arc<H>>,
    pub(super) inputs: WsInputs,
    pub(super) poll: Poll,
    pub(super) counters: &'a WorkerCounters,
    pub(super) limits: Limits,
    pub(super) tally: Tally,
}

/// What becomes of a connection after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    /// It has more to do as soon as others have had their turn.
    Again,
    /// Drop it.
    Closed,
}

pub(crate) struct WsConnection<C, T> {
    socket: Socket<T>,
    peer: Peer<C>,
    /// A few bytes of an incomplete frame or message.
    stash: Option<Box<Stash>>,
    /// More of them.
    input: Option<Box<WsInput>>,
    watched: Option<Interest>,
    phase: Phase,
    /// The last write took less than it was offered: no use in trying before the poller says so.
    full: bool,
    /// The system had no memory for the last call: it is made again in the next second, and the poller,
    /// which would say at once that the socket is ready, is not asked before.
    starved: bool,
    /// Waits in the list of those to be flushed at the end of the wake-up.
    pub(super) dirty: bool,
    /// More messages are in the input already; nothing is read before they are handled.
    busy: bool,
    /// What others last saw of the backlog, as far as it can be counted here.
    shown: u32,
    /// Bytes that the tally has for it.
    counted: u32,
}

impl<H> WsShared<'_, H> {
    /// Bytes of all connections, in and out.
    fn moved(&self) -> u64 {
        self.counters.bytes_read.get() + self.counters.bytes_written.get()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until it is over and the handler has been told.
    Serving,
    /// What is in the output goes out, then the connection ends.
    Ending,
    /// All is sent. What the client still sends is thrown away, this many bytes at most.
    Lingering(u32),
}

impl<C: Send + 'static, T: Transport> WsConnection<C, T> {
    pub(crate) fn new(arrival: Arrival<C, T>, now: Seconds) -> WsConnection<C, T> {
        let Arrival {
            mut moved,
            accepted,
        } = arrival;
        // Messages are whole, and the largest should leave in one write: in pieces, an echo of 1 MiB
        // costs twice as much.
        moved
            .socket
            .stream
            .take_unsent(accepted.limits.backlog_bytes);
        let ws = WsConn::new(now, accepted.limits, accepted.deflate, moved.output);
        WsConnection {
            socket: moved.socket,
            peer: Peer {
                ws,
                conn: accepted.conn,
                id: WsId::from_u64(0),
            },
            stash: Stash::of(moved.rest),
            input: None,
            watched: None,
            phase: Phase::Serving,
            full: false,
            starved: false,
            dirty: false,
            busy: false,
            shown: 0,
            counted: 0,
        }
    }

    /// It has its place.
    pub(crate) fn seat(&mut self, id: WsId) {
        self.peer.id = id;
    }

    pub(crate) fn id(&self) -> WsId {
        self.peer.id
    }

    pub(crate) fn ws(&mut self) -> &mut WsConn {
        &mut self.peer.ws
    }

    /// The client's address.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer_addr()
    }

    /// It begins: the handler is told, and gets what came behind the handshake.
    pub(crate) fn open<H>(&mut self, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        shared
            .service
            .hook(&mut self.peer, &self.socket, |handler, ws| {
                handler.handle_ws_conn(ws);
            });
        self.serve(None, shared)
    }

    /// The socket is ready.
    pub(crate) fn ready<H>(
        &mut self,
        readable: bool,
        writable: bool,
        shared: &mut WsShared<'_, H>,
    ) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        self.starved = false;
        if writable {
            self.full = false;
        }
        match self.phase {
            Phase::Serving if readable && !self.busy && !self.peer.ws.is_crowded() => {
                self.read(shared)
            }
            Phase::Serving | Phase::Ending if writable => self.flush(shared),
            Phase::Lingering(left) if readable || left == 0 => self.discard(left, shared),
            _ => Fate::Open,
        }
    }

    /// One read, and all that follows from what it has brought.
    fn read<H>(&mut self, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        let mut input = self.take_input(shared);
        match self.socket.stream.read(input.space()) {
            Ok(0) => self.peer.ws.eof(),
            Ok(n) => {
                shared.counters.bytes_read.add(n as u64);
                input.filled(n);
                self.peer.ws.heard(shared.service.now);
            }
            Err(error) if can_wait(&error, &mut self.starved) => {}
            Err(error) => {
                shared.inputs.give(input);
                return self.broken(error, shared);
            }
        }
        self.serve(Some(input), shared)
    }

    fn take_input<H>(&mut self, shared: &mut WsShared<'_, H>) -> Box<WsInput> {
        self.input.take().unwrap_or_else(|| {
            let mut input = shared.inputs.take();
            if let Some(stash) = self.stash.take() {
                input.unstash(*stash);
            }
            input
        })
    }

    /// Handles what has arrived and sends what that brings, for as long as the client takes it.
    fn serve<H>(&mut self, input: Option<Box<WsInput>>, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        let mut input = match input {
            Some(input) => Some(input),
            None if self.input.is_some() || self.stash.is_some() => Some(self.take_input(shared)),
            None => None,
        };
        self.busy = false;
        loop {
            if let Some(input) = &mut input {
                let most = shared.limits.turn_time;
                let service = &mut shared.service;
                let pumped = service.pump(&mut self.peer, input, most, &self.socket);
                shared.counters.ws_received.add(pumped.messages);
                self.busy = pumped.is_late;
            }
            // What the hooks have published comes to this one, too: then all leaves together.
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

    /// The turn comes round again for messages that are in the input already.
    pub(crate) fn again<H>(&mut self, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        match self.phase {
            Phase::Serving if self.busy => self.serve(None, shared),
            _ => Fate::Open,
        }
    }

    /// All connections hold too much: it does not get a larger buffer.
    #[cold]
    fn refuse_memory<H>(&mut self, input: &WsInput, shared: &mut WsShared<'_, H>) {
        if input.needs_memory() && self.peer.ws.is_open() {
            shared.counters.overloaded.add(1);
            let now = shared.service.now;
            self.peer.ws.fail(FrameError::Overloaded, now);
        }
    }

    /// Sends what there is. The handler is told if the backlog has fallen, and may add to it.
    fn send<H>(&mut self, shared: &mut WsShared<'_, H>) -> io::Result<()>
    where
        H: WebSocketHandler<Conn = C>,
    {
        while !self.full {
            let Some(output) = self.peer.ws.output() else {
                break;
            };
            match self.socket.stream.send(output) {
                Ok(Wrote { bytes, full }) => {
                    self.full = full;
                    shared.counters.bytes_written.add(bytes as u64);
                    output.advance(bytes);
                    let service = &mut shared.service;
                    if self.peer.ws.taken(bytes, &mut service.kit, service.now) {
                        service.hook(&mut self.peer, &self.socket, |handler, ws| {
                            handler.handle_ws_drain(ws);
                        });
                    }
                }
                Err(error) if can_wait(&error, &mut self.starved) => self.full = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what waits, and goes on with what waited for that.
    pub(crate) fn flush<H>(&mut self, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        self.dirty = false;
        if self.phase != Phase::Serving {
            return self.finish(shared);
        }
        let crowded = self.peer.ws.is_crowded();
        if let Err(error) = self.send(shared) {
            return self.broken(error, shared);
        }
        match crowded || self.peer.ws.is_over() {
            true if !self.peer.ws.is_crowded() => self.serve(None, shared),
            true if self.peer.ws.is_over() => self.over(false, shared),
            _ => Fate::Open,
        }
    }

    /// Someone else sends to it. True if it is to be flushed at the end of the wake-up.
    pub(crate) fn deliver<H>(&mut self, message: &Prepared, shared: &mut WsShared<'_, H>) -> bool
    where
        H: WebSocketHandler<Conn = C>,
    {
        let waits = self.peer.ws.backlog();
        let flush = match shared.service.kit.short {
            true => 0,
            false => FLUSH,
        };
        if waits > 0 && waits + message.frame_len() > flush && !self.full {
            // It fails again at the end of the wake-up, where it can be seen to.
            let _ = self.send(shared);
        }
        let service = &mut shared.service;
        let kit = &mut service.kit;
        let _ = self.peer.ws.send_prepared(message, kit, service.now);
        !std::mem::replace(&mut self.dirty, true)
    }

    /// A message for it was dropped: by its policy that may be the end.
    pub(crate) fn lose<H>(&mut self, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        self.peer.ws.lose();
        self.flush(shared)
    }

    /// The deadline has passed.
    pub(crate) fn expire<H>(&mut self, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        if std::mem::take(&mut self.starved) && self.deadline(shared) > shared.service.now {
            // The poller is asked again, and tells at once.
            return Fate::Open;
        }
        // What came in time counts, though nobody has looked at it: the process may have been suspended.
        for _ in 0..LOOKS {
            if self.phase != Phase::Serving {
                break;
            }
            let before = shared.moved();
            let fate = self.ready(true, true, shared);
            let is_over = fate == Fate::Closed || self.phase != Phase::Serving;
            if is_over || self.deadline(shared) > shared.service.now {
                return fate;
            }
            if shared.moved() == before {
                break;
            }
        }
        if self.phase != Phase::Serving {
            if self.phase == Phase::Ending {
                self.socket.stream.reset();
            }
            return Fate::Closed;
        }
        self.peer.ws.expire(self.tempo(), shared.service.now);
        self.flush(shared)
    }

    /// Of the message under way.
    fn tempo(&self) -> Option<Tempo> {
        match (&self.input, &self.stash) {
            (Some(input), _) => input.tempo(),
            (None, stash) => stash.as_ref()?.tempo(),
        }
    }

    pub(crate) fn deadline<H>(&self, shared: &WsShared<'_, H>) -> Seconds {
        let limits = self.peer.ws.limits();
        match self.phase {
            _ if self.starved => shared.service.now.next(),
            Phase::Serving => self.peer.ws.deadline(self.tempo()),
            Phase::Ending => self
                .peer
                .ws
                .deadline(None)
                .min(shared.service.now.after(limits.write_time)),
            Phase::Lingering(_) => self.peer.ws.waited(shared.limits.linger_time),
        }
    }

    /// Its place among those that are closed while memory is short.
    pub(crate) fn stall(&self, limit: Duration, now: Seconds) -> Option<Stall> {
        let message = self.tempo().map(|tempo| tempo.moved());
        let moved = message.max(self.peer.ws.moved())?;
        stall(self.counted, moved, limit, now)
    }

    /// Has the poller watch for what the connection waits for now.
    pub(crate) fn watch(&mut self, poll: &Poll) -> io::Result<()> {
        let waits = self.peer.ws.output().is_some();
        let interest = match self.phase {
            _ if self.starved => Interest::Nothing,
            Phase::Ending => Interest::Write,
            Phase::Serving if self.peer.ws.is_crowded() => Interest::Write,
            Phase::Serving if waits => Interest::Both,
            // The poller tells the end of a client even so, where it can.
            Phase::Lingering(0) => Interest::Nothing,
            Phase::Serving | Phase::Lingering(_) => Interest::Read,
        };
        if self.watched == Some(interest) && !poll.is_oneshot() {
            return Ok(());
        }
        let token = self.peer.id.conn().into();
        let before = self.watched.replace(interest);
        self.socket.watch((before, interest), token, poll)
    }

    /// Counts what it keeps, and returns what others are to see of its backlog, if that has changed.
    #[inline]
    pub(crate) fn count<H>(&mut self, shared: &mut WsShared<'_, H>) -> Option<usize> {
        let input = self.input.as_ref().map_or(0, |input| input.held());
        let stash = self.stash.as_ref().map_or(0, |stash| stash.held());
        let held = input + stash + self.peer.ws.held();
        self.counted = shared.tally.count(self.counted, held);
        let backlog = self.peer.ws.backlog();
        let shown = u32::try_from(backlog).unwrap_or(u32::MAX);
        (std::mem::replace(&mut self.shown, shown) != shown).then_some(backlog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection costs while it is idle, beside 8 bytes in the slab, its seat, and what its
    /// handler keeps for it.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_idle_connection_is_small() {
        assert!(size_of::<WsConnection<(), crate::io::transport::Plain>>() <= 152);
    }
}
