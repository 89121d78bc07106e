//! A WebSocket between its thread and the loop.

use super::inbox::{Event, Inbox, Place};
use super::senders::mark_thread;
use crate::app::{BUSY, FAILED};
use crate::fields::HeadParts;
use crate::websocket::close_code;
use peregrine::Request;
use peregrine::ws::{Disconnect, Hub, Message, Upgrade, UpgradeResponder, Ws, WsId};
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most messages, and bytes, that wait for the application before nothing more is read from the client.
const MESSAGES: usize = 1024;
const BYTES: usize = 1 << 20;

/// What the application says to a handshake.
pub(super) enum Verdict {
    Accept {
        protocol: Option<String>,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Refuse {
        head: HeadParts,
        body: Vec<u8>,
    },
}

pub(super) enum Received {
    Text(String),
    Binary(Vec<u8>),
}

pub(crate) struct Channel {
    pub(super) number: u64,
    inbox: Arc<Inbox>,
    state: Mutex<ChannelState>,
    /// Until the application has decided. The place is one of those of requests that wait for the application.
    undecided: Mutex<Option<(UpgradeResponder, Place)>>,
}

#[derive(Default)]
pub(super) struct ChannelState {
    /// From the handshake on.
    pub(super) open: Option<(WsId, Hub)>,
    pub(super) received: VecDeque<Received>,
    bytes: usize,
    /// Nothing is read from the client, because too much waits.
    paused: bool,
    /// The application has closed the connection before it was open.
    closing: Option<(u16, String)>,
    pub(super) closed: Option<(u16, String)>,
}

/// The state of a connection that the application may accept. If it never opens, because it is refused, there are too many or its
/// client has gone, the application hears of its end.
pub(crate) struct Accepted(Arc<Channel>);

impl Deref for Accepted {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.0
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.0.end((1006, String::new()));
    }
}

impl Channel {
    fn new(inbox: &Arc<Inbox>, responder: UpgradeResponder, place: Place) -> Arc<Channel> {
        Arc::new(Channel {
            number: inbox.number(),
            inbox: inbox.clone(),
            state: Mutex::default(),
            undecided: Mutex::new(Some((responder, place))),
        })
    }

    /// Leaves the decision about a handshake to the application. The worker goes on meanwhile.
    pub(crate) fn offer(
        inbox: &Arc<Inbox>,
        req: &Request<'_>,
        upgrade: &mut Upgrade<'_>,
    ) -> Option<Accepted> {
        let Some(place) = inbox.place() else {
            upgrade.refuse(503, BUSY);
            return None;
        };
        let channel = Channel::new(inbox, upgrade.defer().ok()?, place);
        inbox.push(Event::WebSocket(req.to_owned_request(), channel.clone()));
        Some(Accepted(channel))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.inbox.push(Event::Changed(self.number));
    }

    /// The connection has ended, or never opens. Only the first call counts.
    fn end(&self, why: (u16, String)) {
        let mut state = self.lock();
        if state.closed.is_none() {
            state.closed = Some(why);
            drop(state);
            self.inbox.tell(Event::Changed(self.number));
        }
    }

    /// Only the first call counts. If the client has gone, the connection has ended, or ends now.
    pub(super) fn decide(&self, verdict: Verdict) {
        let undecided = self
            .undecided
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((mut responder, _place)) = undecided else {
            return;
        };
        let _gone = match verdict {
            Verdict::Accept { protocol, fields } => {
                let chosen = protocol.is_none_or(|protocol| responder.protocol(&protocol).is_ok());
                let are_valid = fields.iter().all(|(name, value)| {
                    std::str::from_utf8(name)
                        .is_ok_and(|name| responder.header(name, value).is_ok())
                });
                match chosen && are_valid {
                    true => responder.accept(),
                    false => responder.respond(|res| res.status(500).text(FAILED)),
                }
            }
            Verdict::Refuse { head, body } => responder.respond(|res| head.apply(res).body(&body)),
        };
    }

    pub(crate) fn opened<C>(&self, ws: &mut Ws<'_, C>) {
        mark_thread();
        let mut state = self.lock();
        state.open = Some((ws.id(), ws.hub().clone()));
        let closing = state.closing.take();
        drop(state);
        self.tell();
        if let Some((code, reason)) = closing {
            ws.close(code, &reason);
        }
    }

    /// The application closes the connection.
    pub(super) fn close(&self, code: u16, reason: &str) {
        let mut state = self.lock();
        match state.open.clone() {
            Some((id, hub)) => {
                drop(state);
                hub.close(id, code, reason);
            }
            None => state.closing = Some((code, reason.to_owned())),
        }
    }

    pub(crate) fn message<C>(&self, ws: &mut Ws<'_, C>, message: Message<'_>) {
        let mut state = self.lock();
        state.bytes += message.as_bytes().len();
        state.received.push_back(match message {
            Message::Text(text) => Received::Text(text.to_owned()),
            Message::Binary(bytes) => Received::Binary(bytes.to_vec()),
        });
        let is_first = state.received.len() == 1;
        if state.received.len() >= MESSAGES || state.bytes >= BYTES {
            state.paused = true;
            ws.pause_reading();
        }
        drop(state);
        if is_first {
            self.tell();
        }
    }

    /// The next message. When few wait, the client may send more.
    pub(super) fn take(&self) -> Option<Received> {
        let mut state = self.lock();
        let received = state.received.pop_front()?;
        state.bytes -= match &received {
            Received::Text(text) => text.len(),
            Received::Binary(bytes) => bytes.len(),
        };
        let has_room = state.received.len() <= MESSAGES / 2 && state.bytes <= BYTES / 2;
        if has_room && std::mem::take(&mut state.paused) {
            let open = state.open.clone();
            drop(state);
            if let Some((id, hub)) = open {
                hub.resume_reading(id);
            }
        }
        Some(received)
    }

    pub(crate) fn closed(&self, why: &Disconnect) {
        self.end(close_code(why));
    }
}
