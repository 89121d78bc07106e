//! The end of a WebSocket connection: its handler is told, and its client may read why.

use super::{Fate, Phase, WsConnection, WsShared};
use crate::conn::{
    panic_guard::{Panic, drop_quietly},
    ws::End,
};
use crate::drive::report;
use crate::handler::ConnectionError;
use crate::io::poll::Poll;
use crate::io::transport::Transport;
use crate::protocol::frame::FrameError;
use crate::websocket::{Disconnect, WebSocketHandler};
use std::io;

impl<C: Send + 'static, T: Transport> WsConnection<C, T> {
    /// Reading or writing has failed.
    pub(super) fn broken<H>(&mut self, error: io::Error, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        if self.phase == Phase::Serving {
            shared.counters.connection_errors.add(1);
            // After the close frames, a reset is as good an end as any.
            let why = match self.peer.ws.ended() {
                Some(end) => Disconnect::new(end),
                None => Disconnect::Io(error),
            };
            self.peer.ws.end(End::Gone);
            self.tell(&why, shared);
        }
        Fate::Closed
    }

    fn tell<H>(&mut self, why: &Disconnect, shared: &mut WsShared<'_, H>)
    where
        H: WebSocketHandler<Conn = C>,
    {
        self.phase = Phase::Ending;
        shared.service.disconnect(&mut self.peer, &self.socket, why);
    }

    /// It is over: the handler is told, and what the client shall still read is sent.
    pub(super) fn over<H>(&mut self, unread: bool, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
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
                    Phase::Lingering(_) => Fate::Closed,
                    _ => fate,
                }
            }
            // It has had its time.
            End::CloseTimeout => Fate::Closed,
            // Or the system would keep what is unsent for as long as the client wants it to.
            End::Backlog | End::Silent | End::WriteTimeout | End::Overloaded => {
                self.socket.stream.reset();
                Fate::Closed
            }
        }
    }

    /// Memory is short, and it has made no progress: closes, and says why where nothing waits for the
    /// client before that.
    pub(crate) fn give_memory<H>(&mut self, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        shared.counters.stalled_closed.add(1);
        if self.phase != Phase::Serving {
            self.socket.stream.reset();
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

    /// Sends the rest, then closes, or gives the client time to read it: a close while it still
    /// sends would be a reset, and it might never see the close frame.
    pub(super) fn finish<H>(&mut self, shared: &mut WsShared<'_, H>) -> Fate
    where
        H: WebSocketHandler<Conn = C>,
    {
        if self.send(shared).is_err() {
            return Fate::Closed;
        }
        // Who lingers does so from the first time on, whatever others try to send meanwhile.
        if self.peer.ws.output().is_some() || matches!(self.phase, Phase::Lingering { .. }) {
            return Fate::Open;
        }
        if !self.peer.ws.lingers() || self.socket.stream.shutdown_write().is_err() {
            return Fate::Closed;
        }
        self.peer.ws.await_answer(shared.service.now);
        let most = shared.limits.linger_bytes;
        self.phase = Phase::Lingering(u32::try_from(most).unwrap_or(u32::MAX));
        Fate::Open
    }

    /// Reads what a client still sends after the end, and forgets it.
    pub(super) fn discard<H>(&mut self, left: u32, shared: &mut WsShared<'_, H>) -> Fate {
        let mut scratch = shared.inputs.take();
        let stream = &mut self.socket.stream;
        let read = stream.discard(scratch.space(), left, &mut self.starved);
        shared.inputs.give(scratch);
        let Some(n) = read else {
            return Fate::Closed;
        };
        shared.counters.bytes_read.add(n.into());
        self.phase = Phase::Lingering(left.saturating_sub(n));
        Fate::Open
    }

    /// A panic has ended its turn: what it was at is thrown away, its buffers included, and its handler
    /// is told of the end, if it was not before.
    #[cold]
    pub(crate) fn abandon<H>(mut self, panic: &Panic, shared: &mut WsShared<'_, H>)
    where
        H: WebSocketHandler<Conn = C>,
    {
        shared.tally.count(self.counted, 0);
        shared.counters.connection_errors.add(1);
        shared.counters.internal_errors.add(1);
        self.socket.stream.reset();
        if Poll::must_remove() && self.watched.is_some() {
            self.socket.unwatch(&shared.poll);
        }
        let error = ConnectionError::Internal(panic.message());
        report(&*shared.service.handler, &error, &self.socket);
        if self.phase == Phase::Serving {
            self.peer.ws.end(End::Gone);
            self.tell(
                &Disconnect::Io(io::Error::other("the library panicked")),
                shared,
            );
        }
        drop_quietly(self.peer.conn);
    }

    /// Gives back what it holds. It may have been cut.
    pub(crate) fn close<H>(mut self, shared: &mut WsShared<'_, H>)
    where
        H: WebSocketHandler<Conn = C>,
    {
        if self.phase == Phase::Serving {
            let why = self.peer.ws.ended().map(Disconnect::new);
            self.peer.ws.end(End::Gone);
            self.tell(&why.unwrap_or(Disconnect::Stopped), shared);
        }
        shared.tally.count(self.counted, 0);
        if Poll::must_remove() && self.watched.is_some() {
            self.socket.unwatch(&shared.poll);
        }
        if let Some(input) = self.input.take() {
            shared.inputs.give(input);
        }
        self.peer.ws.release(&mut shared.service.kit);
        drop_quietly(self.peer.conn);
    }
}
