//! A WebSocket between its thread and the loop.

use super::inbox::{Event, Inbox};
use super::senders::mark_thread;
use crate::websocket::close_code;
use peregrine::ws::{Disconnect, Hub, Message, Upgrade, Ws, WsId};
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most messages, and bytes, that wait for the application. Above that the connection is closed with 1013.
const MESSAGES: usize = 1024;
const BYTES: usize = 8 << 20;
/// How long an application may take to accept a connection. Its worker serves no other client meanwhile.
const DECISION: Duration = Duration::from_secs(5);
/// The same, if no other worker is free.
const QUICK_DECISION: Duration = Duration::from_millis(100);

/// What the application says to a handshake.
#[derive(Debug)]
pub(super) enum Verdict {
    Accept {
        protocol: Option<String>,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Refuse {
        status: u16,
        text: String,
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
    decided: Condvar,
}

#[derive(Default)]
pub(super) struct ChannelState {
    verdict: Option<Verdict>,
    /// From the handshake on.
    pub(super) open: Option<(WsId, Hub)>,
    pub(super) received: VecDeque<Received>,
    bytes: usize,
    /// The application has closed the connection before it was open.
    closing: Option<(u16, String)>,
    pub(super) closed: Option<(u16, String)>,
}

/// A connection that the application has accepted. If it never opens, because there are too many or its client has gone,
/// the application hears of its end.
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
    pub(crate) fn new(inbox: &Arc<Inbox>) -> Arc<Channel> {
        Arc::new(Channel {
            number: inbox.number(),
            inbox: inbox.clone(),
            state: Mutex::default(),
            decided: Condvar::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.inbox.push(Event::Changed(self.number));
    }

    /// Waits on the worker for the decision of the application.
    pub(crate) fn accept(self: Arc<Channel>, upgrade: &mut Upgrade<'_>) -> Option<Accepted> {
        let is_accepted = self.is_accepted(upgrade);
        if !is_accepted {
            self.end((1006, String::new()));
        }
        is_accepted.then(|| Accepted(self))
    }

    fn is_accepted(&self, upgrade: &mut Upgrade<'_>) -> bool {
        let turn = self.inbox.deciding.begin();
        let most = match turn.is_last() {
            true => QUICK_DECISION,
            false => DECISION,
        };
        let undecided = |state: &mut ChannelState| state.verdict.is_none();
        let waited = self
            .decided
            .wait_timeout_while(self.lock(), most, undecided);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.verdict.take() {
            Some(Verdict::Accept { protocol, fields }) => {
                let chosen = protocol.is_none_or(|protocol| upgrade.protocol(&protocol).is_ok());
                let are_valid = fields.iter().all(|(name, value)| {
                    std::str::from_utf8(name).is_ok_and(|name| upgrade.header(name, value).is_ok())
                });
                if chosen && are_valid {
                    return true;
                }
                upgrade.refuse(500, "internal server error\n");
            }
            Some(Verdict::Refuse { status, text }) => {
                upgrade.refuse(status, text);
            }
            None => upgrade.refuse(503, "the application is busy\n"),
        }
        false
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

    pub(super) fn decide(&self, verdict: Verdict) {
        self.lock().verdict.get_or_insert(verdict);
        self.decided.notify_all();
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
        let len = message.as_bytes().len();
        if state.received.len() >= MESSAGES || state.bytes + len > BYTES {
            drop(state);
            ws.close(1013, "the application is busy");
            return;
        }
        state.bytes += len;
        state.received.push_back(match message {
            Message::Text(text) => Received::Text(text.to_owned()),
            Message::Binary(bytes) => Received::Binary(bytes.to_vec()),
        });
        let is_first = state.received.len() == 1;
        drop(state);
        if is_first {
            self.tell();
        }
    }

    pub(crate) fn closed(&self, why: &Disconnect) {
        self.end(close_code(why));
    }
}

impl ChannelState {
    pub(super) fn pop(&mut self) -> Option<Received> {
        let received = self.received.pop_front()?;
        self.bytes -= match &received {
            Received::Text(text) => text.len(),
            Received::Binary(bytes) => bytes.len(),
        };
        Some(received)
    }
}
