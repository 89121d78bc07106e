//! `Hub`: reaches WebSocket connections from any thread.

use super::id::WsId;
use super::peer_table::{PeerSlot, Seat};
use super::state::Sent;
use super::thread_handle::{Join, WsCommand, WsThreadHandle};
use super::topics::Ticket;
use crate::relay::{LocalHub, RelayError, RelayHandle, RelayKind, RelayMessage, RelayOrder};
use crate::shared::subscribe_error::SubscribeError;
use peregrine_protocol::ws::frame::{self, Message};
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// Sends to the WebSocket connections of a server from any thread. Clones are the same hub.
///
/// For a handler that publishes, make the hub first and connect it with
/// [`Server::with_hub`](crate::Server::with_hub). Otherwise get it from [`Server::hub`](crate::Server::hub)
/// or [`Ws::hub`](crate::ws::Ws::hub).
///
/// Messages of one thread to one connection arrive in the order of the calls. They have no defined order with
/// messages that the hooks of that connection send by [`Ws`](crate::ws::Ws). Before the start of the server and
/// after its stop, no connection of it gets a message, and every call returns [`Sent::Closed`]. A [relay](crate::relay) still
/// passes published messages to other processes then, until its last server has ended. In the order of the broker such a
/// message is [`Sent::Queued`].
///
/// ```
/// # use peregrine::ws::{Hub, Sent, WsId};
/// fn notify(hub: &Hub, id: WsId) {
///     match hub.send(id, "your parcel is here") {
///         Sent::Queued => {}
///         Sent::Full => { /* too slow: try later, or not at all */ }
///         Sent::Closed => { /* gone: forget the id */ }
///     }
///     hub.publish("parcels", "one more");
/// }
/// ```
#[derive(Clone, Default)]
pub struct Hub(Arc<Inner>);

#[derive(Default)]
struct Inner {
    handles: OnceLock<Vec<Arc<WsThreadHandle>>>,
    relay: OnceLock<RelayHandle>,
    /// Held while one of the two is set: no server starts between the look at the one and the set of the other.
    setting: Mutex<()>,
}

impl Hub {
    /// Makes a hub for one server. [`Server::with_hub`](crate::Server::with_hub) connects it.
    ///
    /// ```
    /// use peregrine::{Done, Handler, Request, Response, Server};
    /// use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws};
    ///
    /// struct News {
    ///     hub: Hub,
    /// }
    ///
    /// impl Handler for News {
    ///     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
    ///         self.hub.publish("news", req.body());
    ///         res.text("published")
    ///     }
    /// }
    ///
    /// impl WebSocketHandler for News {
    ///     type Conn = ();
    ///
    ///     fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
    ///         Some(())
    ///     }
    ///
    ///     fn handle_ws_conn(&self, ws: &mut Ws<'_, ()>) {
    ///         ws.subscribe("news");
    ///     }
    ///
    ///     fn handle_ws_frame(&self, _: &mut Ws<'_, ()>, _: Message<'_>) {}
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let hub = Hub::new();
    /// let server = Server::new(News { hub: hub.clone() }).websocket().with_hub(&hub);
    /// let running = server.bind("127.0.0.1:0").start()?;
    /// # running.stop();
    /// # running.wait().map(|_| ())
    /// # }
    /// ```
    pub fn new() -> Hub {
        Hub::default()
    }

    /// Sends a message to one connection.
    ///
    /// [`Sent::Queued`]: the connection exists and the message fits. The connection may still end before the message reaches it.
    /// [`Sent::Full`]: the message is dropped. With [`BacklogPolicy::Close`](crate::ws::BacklogPolicy::Close) the connection is closed
    /// then, and every further call returns [`Sent::Closed`].
    pub fn send(&self, id: WsId, message: impl Into<PreparedMessage>) -> Sent {
        match self.find(id) {
            Some((handle, peer)) => handle.send(id, peer, message.into()),
            None => Sent::Closed,
        }
    }

    /// Begins the close handshake of one connection; see [`Ws::close`](crate::ws::Ws::close).
    pub fn close(&self, id: WsId, code: u16, reason: &str) -> Sent {
        self.post(id, || {
            WsCommand::Close(id, code, frame::close_reason(reason).into())
        })
    }

    /// Reads nothing from one connection until [`Hub::resume_reading`]; see [`Ws::pause_reading`](crate::ws::Ws::pause_reading).
    /// Messages that its thread has read already still reach the handler. It takes no room in the mailbox, and is never
    /// [`Sent::Full`].
    pub fn pause_reading(&self, id: WsId) -> Sent {
        self.set_paused(id, true)
    }

    /// Reads again from one connection. It takes no room in the mailbox, and is never [`Sent::Full`]. Without a pause it
    /// has no effect.
    pub fn resume_reading(&self, id: WsId) -> Sent {
        self.set_paused(id, false)
    }

    fn set_paused(&self, id: WsId, is_paused: bool) -> Sent {
        match self.find(id) {
            Some((handle, peer)) => handle.set_paused(id, peer, is_paused),
            None => Sent::Closed,
        }
    }

    /// Subscribes one connection to a topic. Above its [`WsLimits::topics`](crate::ws::WsLimits::topics) or
    /// [`WsLimits::topic_bytes`](crate::ws::WsLimits::topic_bytes) the call has no effect.
    ///
    /// [`Sent::Full`]: the mailbox of the thread is full. The connection stays open, without the topic.
    pub fn subscribe(&self, id: WsId, topic: &str) -> Sent {
        match self.find(id) {
            Some((handle, _)) => handle.subscribe(id, topic),
            None => Sent::Closed,
        }
    }

    /// A place among the topics of one connection.
    pub(crate) fn reserve(&self, id: WsId, topic: &str) -> Result<Seat, SubscribeError> {
        let (handle, _) = self.find(id).ok_or(SubscribeError::Closed)?;
        Seat::reserve(&handle.peers, id, topic)
    }

    /// Sends messages to one connection and then subscribes it, or closes it with 1013. `ticket` is kept as long as it is
    /// subscribed.
    pub(crate) fn join(
        &self,
        seat: Seat,
        topic: &str,
        messages: Vec<PreparedMessage>,
        ticket: Ticket,
    ) {
        if let Some((handle, peer)) = self.find(seat.id()) {
            let topic = topic.into();
            handle.join(
                peer,
                Join {
                    seat,
                    topic,
                    messages,
                    ticket,
                },
            );
        }
    }

    /// Ends the subscription of one connection to a topic.
    pub fn unsubscribe(&self, id: WsId, topic: &str) -> Sent {
        self.post(id, || WsCommand::Unsubscribe(id, topic.into()))
    }

    /// Sends a message to all connections that have subscribed to the topic. The message is framed once, and
    /// takes one entry in the mailbox of each WebSocket thread.
    ///
    /// [`Sent::Full`]: the mailbox of at least one thread is full, and its connections do not get the message.
    /// [`Config::ws_mailbox_bytes`] limits how far a publisher can be ahead of the threads. The subscribers on
    /// that thread with [`BacklogPolicy::Close`] are closed. If that happens for more than 64 topics, or for
    /// more than 16 KiB of topic names, in one turn of the thread, the subscribers of all topics on it are
    /// closed. It is also returned if the [relay](crate::relay) of the hub has dropped the message, so that other
    /// processes do not get it.
    ///
    /// [`Config::ws_mailbox_bytes`]: crate::Config::ws_mailbox_bytes
    /// [`BacklogPolicy::Close`]: crate::ws::BacklogPolicy::Close
    pub fn publish(&self, topic: &str, message: impl Into<PreparedMessage>) -> Sent {
        self.publish_from(None, None, Some(topic.into()), &message.into())
            .0
    }

    /// Sends a message to all connections of the server; otherwise as [`Hub::publish`].
    pub fn broadcast(&self, message: impl Into<PreparedMessage>) -> Sent {
        self.publish_from(None, None, None, &message.into()).0
    }

    /// Publishes a message to the connections of this process only: its [relay](crate::relay) does not get it. Without a
    /// topic it is a broadcast.
    pub fn deliver(&self, topic: Option<&str>, message: impl Into<PreparedMessage>) -> Sent {
        self.post_all(None, None, topic.map(Into::into), &message.into())
    }

    /// Sets the relay to which all published and broadcast messages are passed, and which hears of topics with
    /// subscribers. It can be set once, before the server of the hub starts.
    ///
    /// # Errors
    ///
    /// [`RelayError::AlreadySet`], or [`RelayError::Started`].
    pub fn set_relay(&self, relay: &RelayHandle) -> Result<(), RelayError> {
        let setting = self.0.setting.lock();
        if self.0.handles.get().is_some() {
            return Err(RelayError::Started);
        }
        let set = self.0.relay.set(relay.clone());
        set.map_err(|_| RelayError::AlreadySet)?;
        drop(setting);
        relay.connect(Local(Arc::downgrade(&self.0)));
        Ok(())
    }

    pub(crate) fn relay(&self) -> Option<&RelayHandle> {
        self.0.relay.get()
    }

    /// Whether the connection exists. It may end at any moment.
    pub fn is_open(&self, id: WsId) -> bool {
        self.find(id).is_some()
    }

    /// Bytes that wait to be sent to one connection, as far as is known on this thread; `None` if the
    /// connection is gone.
    pub fn backlog(&self, id: WsId) -> Option<usize> {
        self.find(id).map(|(_, peer)| peer.backlog())
    }

    /// Number of WebSocket connections.
    pub fn connections(&self) -> usize {
        self.handles().iter().map(|handle| handle.load()).sum()
    }

    /// Publishes to all threads except `own`, which handles its own connections if the second result is true.
    /// `except`: a connection that does not get it.
    pub(crate) fn publish_from(
        &self,
        own: Option<usize>,
        except: Option<WsId>,
        topic: Option<Arc<str>>,
        message: &PreparedMessage,
    ) -> (Sent, bool) {
        let Some(relay) = self.0.relay.get() else {
            return (self.post_all(own, except, topic, message), true);
        };
        let kind = match message.is_text() {
            true => RelayKind::Text,
            false => RelayKind::Binary,
        };
        let passed = RelayMessage::new(kind, message.as_bytes());
        let passed = passed.with_except(except.map(WsId::to_u64));
        let is_queued = relay.publish(topic.as_deref(), passed).is_queued();
        if is_queued && relay.order() == RelayOrder::Broker {
            return (Sent::Queued, false);
        }
        match self.post_all(own, except, topic, message) {
            Sent::Queued if !is_queued => (Sent::Full, true),
            sent => (sent, true),
        }
    }

    fn post_all(
        &self,
        own: Option<usize>,
        except: Option<WsId>,
        topic: Option<Arc<str>>,
        message: &PreparedMessage,
    ) -> Sent {
        let handles = self.handles();
        let mut result = match handles.is_empty() {
            true => Sent::Closed,
            false => Sent::Queued,
        };
        for (thread, handle) in handles.iter().enumerate() {
            if own != Some(thread) {
                let except = except.filter(|id| id.thread() == thread);
                let sent = handle.publish(topic.as_ref(), message, except.map(WsId::conn));
                if sent != Sent::Queued {
                    result = sent;
                }
            }
        }
        result
    }

    fn post(&self, id: WsId, command: impl FnOnce() -> WsCommand) -> Sent {
        match self.find(id) {
            Some((handle, _)) => handle.post(command()),
            None => Sent::Closed,
        }
    }

    fn find(&self, id: WsId) -> Option<(&WsThreadHandle, &PeerSlot)> {
        let handle = self.handles().get(id.thread())?;
        let peer = handle.peers.get(id.slot())?;
        (peer.holds(id) && !handle.is_closed()).then_some((handle, peer))
    }

    pub(crate) fn handles(&self) -> &[Arc<WsThreadHandle>] {
        self.0.handles.get().map_or(&[], Vec::as_slice)
    }

    /// The server starts. False if it has started before.
    pub(crate) fn open(&self, handles: Vec<Arc<WsThreadHandle>>) -> bool {
        let _setting = self.0.setting.lock();
        self.0.handles.set(handles).is_ok()
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// The hub as its relay sees it.
struct Local(Weak<Inner>);

impl LocalHub for Local {
    fn deliver(&self, topic: Option<&str>, message: &RelayMessage<'_>) {
        let Some(hub) = self.0.upgrade().map(Hub) else {
            return;
        };
        let bytes = message.bytes();
        let received = match message.kind() {
            RelayKind::Text => std::str::from_utf8(bytes).map(Message::Text),
            RelayKind::Binary => Ok(Message::Binary(bytes)),
            RelayKind::Event => return,
        };
        if let Ok(received) = received {
            let except = message.except().map(WsId::from_u64);
            hub.post_all(None, except, topic.map(Into::into), &received.into());
        }
    }

    fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::id::{ConnId, Slot};
    use peregrine_protocol::ws::limits::{BacklogPolicy, WsLimits};

    #[test]
    fn an_old_id_names_no_connection() {
        let hub = Hub::default();
        let conn = |generation| ConnId::new(Slot::new(70), generation);
        let id = WsId::new(0, conn(1));
        assert_eq!(hub.send(id, "x"), Sent::Closed);
        let handle = Arc::new(WsThreadHandle::new(1000, || {}));
        assert!(hub.open(vec![handle.clone()]));
        assert_eq!(hub.send(id, "x"), Sent::Closed);
        handle.peers.enter(id, &WsLimits::default());
        assert_eq!(hub.send(id, "x"), Sent::Queued);
        assert_eq!(hub.send(WsId::new(0, conn(2)), "x"), Sent::Closed);
        assert_eq!(hub.send(WsId::new(1, conn(1)), "x"), Sent::Closed);
        handle.peers.leave(id);
        assert_eq!(hub.send(id, "x"), Sent::Closed);
    }

    #[test]
    fn a_relay_that_is_set_during_a_start_is_seen_or_refused() {
        use crate::relay::{Relay, Relayed};
        use std::sync::Barrier;

        struct Drops;
        impl Relay for Drops {
            fn publish(&self, _: Option<&str>, _: RelayMessage<'_>) -> Relayed {
                Relayed::Down
            }
        }

        let (relay, barrier) = (RelayHandle::new(Drops), Barrier::new(2));
        for _ in 0..2000 {
            let hub = Hub::new();
            let (is_set, is_seen) = std::thread::scope(|scope| {
                let setter = scope.spawn(|| {
                    barrier.wait();
                    hub.set_relay(&relay).is_ok()
                });
                barrier.wait();
                assert!(hub.open(Vec::new()));
                // The threads of a server ask it after this.
                let is_seen = hub.relay().is_some();
                (setter.join().expect("no panic"), is_seen)
            });
            assert_eq!(is_set, is_seen);
        }
    }

    #[test]
    fn mailboxes_and_backlogs_are_bounded() {
        let hub = Hub::default();
        let handle = Arc::new(WsThreadHandle::new(1000, || {}));
        assert!(hub.open(vec![handle.clone()]));
        let id = WsId::new(0, ConnId::default());
        let limits = WsLimits::default()
            .backlog_bytes(50)
            .backlog_policy(BacklogPolicy::DropNewest);
        handle.peers.enter(id, &limits);
        assert_eq!(hub.send(id, "ten bytes!"), Sent::Queued);
        handle.peers.set_unsent(id, 30);
        assert_eq!(hub.send(id, "ten bytes!"), Sent::Full);
        assert_eq!(hub.backlog(id), Some(42));
        let mut commands = Vec::new();
        handle.inbox.take(&mut commands);
        commands
            .drain(..)
            .for_each(|command| handle.taken(&command));
        assert_eq!((hub.backlog(id), handle.take_dropped()), (Some(30), 1));
        let posted = (0..).take_while(|_| hub.publish("t", "0123456789").is_queued());
        assert_eq!(posted.count(), 1000 / (64 + 1 + 12));
        handle.inbox.take(&mut commands);
        commands
            .drain(..)
            .for_each(|command| handle.taken(&command));
        handle.close();
        assert_eq!(hub.broadcast("x"), Sent::Closed);
    }
}
