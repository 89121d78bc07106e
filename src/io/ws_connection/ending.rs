//! The end of a WebSocket connection: its handler is told, and its client may read why.

use super::{Fate, Phase, WsConnection, WsShared};
use crate::conn::ws::End;
use crate::io::linger::Lingering;
use crate::io::transport::Transport;
use crate::websocket::Disconnect;
use crate::ws_drive::WsHandlerRef;
use std::io;

impl<P: WsHandlerRef, T: Transport> WsConnection<P, T> {
    /// Reading or writing has failed.
    pub(super) fn broken(&mut self, error: io::Error, shared: &mut WsShared<P>) -> Fate {
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

    pub(super) fn tell(&mut self, why: &Disconnect, shared: &mut WsShared<P>) {
        self.phase = Phase::Ending;
        shared
            .service
            .disconnect(&mut self.peer, &mut self.link.socket, why);
    }

    /// It is over: the handler is told, and what the client shall still read is sent.
    pub(super) fn over(&mut self, unread: bool, shared: &mut WsShared<P>) -> Fate {
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
                self.link.socket.stream.reset();
                Fate::Closed
            }
        }
    }

    /// Sends the rest, then closes, or gives the client time to read it: a close while it still
    /// sends would be a reset, and it might never see the close frame.
    pub(super) fn finish(&mut self, shared: &mut WsShared<P>) -> Fate {
        if self.send(shared).is_err() {
            return Fate::Closed;
        }
        // Who lingers does so from the first time on, whatever others try to send meanwhile.
        if self.peer.ws.output().is_some() || matches!(self.phase, Phase::Lingering { .. }) {
            return Fate::Open;
        }
        let lingering = match self.peer.ws.lingers() {
            true => Lingering::begin(&mut self.link, shared.limits.linger_bytes),
            false => None,
        };
        let Some(lingering) = lingering else {
            return Fate::Closed;
        };
        self.peer.ws.await_answer(shared.service.now);
        self.phase = Phase::Lingering(lingering);
        Fate::Open
    }
}
