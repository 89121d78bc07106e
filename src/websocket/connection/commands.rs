//! What other threads want of a WebSocket connection.

use super::{WsConnection, WsPhase, WsThreadState};
use crate::runtime::event_loop::Fate;
use crate::runtime::transport::Transport;
use crate::websocket::service::WsHandlerRef;
use crate::websocket::thread_handle::{Join, WsCommand};

/// The close code of a connection for which there was no room (RFC 6455 section 7.4.1, registered with IANA).
const TRY_AGAIN_LATER: u16 = 1013;

impl<P: WsHandlerRef, T: Transport> WsConnection<P, T> {
    /// Carries out a command of another thread for this connection.
    pub(crate) fn obey(&mut self, command: WsCommand, shared: &mut WsThreadState<P>) -> Fate {
        let topics = &mut shared.service.topics;
        let id = self.peer.id.conn();
        match command {
            WsCommand::Overflow(_) => return self.lose(shared),
            WsCommand::Expel(_) => {
                return self.close_with(TRY_AGAIN_LATER, "try again later", shared);
            }
            WsCommand::Join(join) if self.peer.ws.is_open() => {
                let Join {
                    seat,
                    topic,
                    messages,
                    ticket,
                } = *join;
                topics.join(seat, topic, ticket);
                for message in messages {
                    self.deliver(&message, shared);
                }
            }
            WsCommand::Reading(_) => return self.set_paused(shared),
            WsCommand::Close(_, code, reason) => return self.close_with(code, &reason, shared),
            WsCommand::Subscribe(_, topic) if self.peer.ws.is_open() => {
                // Above the limits the call has no effect.
                let _ = topics.subscribe(id, &topic);
            }
            WsCommand::Unsubscribe(_, topic) => {
                topics.unsubscribe(id, &topic);
            }
            WsCommand::Subscribe(..) | WsCommand::Join(_) => {}
            // Sends a message that goes to several connections, or is flushed together with others.
            WsCommand::Send(..)
            | WsCommand::Publish(..)
            | WsCommand::PublishToOthers(_)
            | WsCommand::Missed => {}
        }
        Fate::Open
    }

    /// Pauses or resumes the reading, as other threads want it.
    fn set_paused(&mut self, shared: &mut WsThreadState<P>) -> Fate {
        let now = shared.service.now;
        match shared.handle.take_paused(self.peer.id) {
            Some(true) => self.peer.ws.pause(now),
            Some(false) if self.peer.ws.is_paused() => {
                self.peer.ws.resume(now);
                return self.flush_from(true, shared);
            }
            _ => {}
        }
        Fate::Open
    }

    /// Begins the close handshake.
    pub(crate) fn close_with(
        &mut self,
        code: u16,
        reason: &str,
        shared: &mut WsThreadState<P>,
    ) -> Fate {
        let was_stopped = !self.peer.ws.reads();
        self.peer.ws.close(code, reason, shared.service.now);
        self.flush_from(was_stopped, shared)
    }

    /// Sends the output, and continues with the steps that waited for room, or for the end of a pause. `was_stopped`: nothing
    /// was read before.
    pub(super) fn flush_from(&mut self, was_stopped: bool, shared: &mut WsThreadState<P>) -> Fate {
        self.dirty = false;
        if self.phase != WsPhase::Serving {
            return self.finish(shared);
        }
        if let Err(error) = self.send(shared) {
            return self.broken(error, shared);
        }
        match was_stopped || self.peer.ws.is_over() {
            // A busy connection gets its next turn in the next wake-up.
            true if self.peer.ws.reads() && !self.busy => self.serve(None, shared),
            true if self.peer.ws.is_over() => self.over(false, shared),
            _ => Fate::Open,
        }
    }
}
