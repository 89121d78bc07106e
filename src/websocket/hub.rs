//! Reaching WebSocket connections from anywhere.

use super::seats::{Seat, Seats};
use crate::conn::{mailbox::Mailbox, prepared::Prepared, ws_send::Sent};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Names a WebSocket connection of one server: a small number that can be kept, compared and sent
/// around. When the connection has ended it names nobody, and never someone else: 32 bits of it
/// count how often its place was taken before.
///
/// ```
/// use peregrine::WsId;
///
/// fn kept(id: WsId) -> u64 {
///     id.to_u64()
/// }
/// assert_eq!(kept(WsId::from_u64(7)), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WsId(u64);

/// Bits of the slot, of 64: 8 are the thread's, 32 the generation's.
const SLOT_BITS: u32 = 24;

/// Connections that one thread can tell apart.
pub(crate) const MAX_SLOTS: usize = 1 << SLOT_BITS;

/// Threads that ids can tell apart.
pub(crate) const MAX_THREADS: usize = 256;

impl WsId {
    pub(crate) fn new(thread: usize, slot: usize, generation: usize) -> WsId {
        debug_assert!(thread < MAX_THREADS && slot < MAX_SLOTS);
        let generation = generation as u64 & u64::from(u32::MAX);
        WsId((thread as u64) << 56 | (slot as u64) << 32 | generation)
    }

    /// As a number, for maps or messages to other processes.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// What [`WsId::to_u64`] gave. Any other number is harmless, and most name nobody.
    pub fn from_u64(id: u64) -> WsId {
        WsId(id)
    }

    pub(crate) fn thread(self) -> usize {
        (self.0 >> 56) as usize
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 >> 32) as usize & (MAX_SLOTS - 1)
    }

    pub(crate) fn generation(self) -> u32 {
        self.0 as u32
    }
}

/// Passes on what is published to where this process does not reach: other processes, by way of
/// Redis, NATS or whatever joins them. What comes from there goes to [`Hub::deliver`].
///
/// It is called on the thread that publishes and must not block.
pub trait Relay: Send + Sync + 'static {
    /// `message` was published to `topic`, or to everyone if there is none.
    fn published(&self, topic: Option<&str>, message: &Prepared);
}

/// Reaches the WebSocket connections of a server from any thread; clones reach the same. From
/// [`Server::hub`](crate::Server::hub), [`Running`](crate::Running) or [`Ws::hub`](crate::Ws::hub).
///
/// Messages of one thread to one connection arrive in the order of the calls; those that a
/// connection's own hooks send through [`Ws`](crate::Ws) are not ordered against them. Before the
/// server has started, and when it has stopped, everything is [`Sent::Closed`].
///
/// ```
/// # use peregrine::{Hub, Sent, WsId};
/// fn tell(hub: &Hub, whom: WsId) {
///     match hub.send(whom, "your parcel is here") {
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
    doors: OnceLock<Vec<Arc<Door>>>,
    relay: OnceLock<Box<dyn Relay>>,
}

impl Hub {
    /// Sends a message to one connection.
    ///
    /// [`Sent::Queued`] says that it was there and had room; it may still end before the message
    /// reaches it.
    pub fn send(&self, id: WsId, message: impl Into<Prepared>) -> Sent {
        let Some((door, seat)) = self.find(id) else {
            return Sent::Closed;
        };
        let message = message.into();
        let size = message.frame_len();
        if !seat.take_room(size) {
            door.dropped.fetch_add(1, Ordering::Relaxed);
            if seat.closes() {
                let _ = door.post(0, Command::Overflow(id));
            }
            return Sent::Full;
        }
        let sent = door.post(size, Command::Send(id, message));
        if sent != Sent::Queued {
            seat.give_room(size);
        }
        sent
    }

    /// Begins the close handshake of one connection; see [`Ws::close`](crate::Ws::close).
    pub fn close(&self, id: WsId, code: u16, reason: &str) -> Sent {
        self.post(id, || Command::Close(id, code, reason.into()))
    }

    /// Subscribes one connection to a topic. Beyond its
    /// [`WsLimits::topics`](crate::WsLimits::topics) nothing happens.
    pub fn subscribe(&self, id: WsId, topic: &str) -> Sent {
        self.post(id, || Command::Subscribe(id, topic.into()))
    }

    /// Ends the subscription of one connection to a topic.
    pub fn unsubscribe(&self, id: WsId, topic: &str) -> Sent {
        self.post(id, || Command::Unsubscribe(id, topic.into()))
    }

    /// Sends a message to all who have subscribed to the topic. It is framed once, and costs one
    /// entry in the mailbox of each WebSocket thread.
    ///
    /// [`Sent::Full`] says that the mailbox of at least one thread had no room, and its
    /// connections do not get the message: [`WsLimits::mailbox_bytes`] bounds what a publisher can
    /// be ahead of the threads.
    ///
    /// [`WsLimits::mailbox_bytes`]: crate::WsLimits::mailbox_bytes
    pub fn publish(&self, topic: &str, message: impl Into<Prepared>) -> Sent {
        self.publish_from(None, Some(topic.into()), &message.into())
    }

    /// Sends a message to all connections of the server; as [`Hub::publish`] otherwise.
    pub fn broadcast(&self, message: impl Into<Prepared>) -> Sent {
        self.publish_from(None, None, &message.into())
    }

    /// Publishes, or broadcasts without a topic, what has come through a [`Relay`]: to the
    /// connections of this process alone.
    pub fn deliver(&self, topic: Option<&str>, message: impl Into<Prepared>) -> Sent {
        self.post_all(None, topic.map(Into::into), &message.into())
    }

    /// Has all that is published and broadcast passed on; once. False if there is one already.
    pub fn set_relay(&self, relay: impl Relay) -> bool {
        self.0.relay.set(Box::new(relay)).is_ok()
    }

    /// Whether the connection is there. It may end at any moment.
    pub fn is_open(&self, id: WsId) -> bool {
        self.find(id).is_some()
    }

    /// Bytes that wait to be sent to one connection, as far as is known here; `None` if it is gone.
    pub fn backlog(&self, id: WsId) -> Option<usize> {
        self.find(id).map(|(_, seat)| seat.backlog())
    }

    /// How many WebSocket connections there are.
    pub fn connections(&self) -> usize {
        self.doors().iter().map(|door| door.load()).sum()
    }

    /// Everything but the threads that `own` names, which sees to itself.
    pub(crate) fn publish_from(
        &self,
        own: Option<usize>,
        topic: Option<Arc<str>>,
        message: &Prepared,
    ) -> Sent {
        if let Some(relay) = self.0.relay.get() {
            relay.published(topic.as_deref(), message);
        }
        self.post_all(own, topic, message)
    }

    fn post_all(&self, own: Option<usize>, topic: Option<Arc<str>>, message: &Prepared) -> Sent {
        let doors = self.doors();
        let mut result = match doors.is_empty() {
            true => Sent::Closed,
            false => Sent::Queued,
        };
        for (thread, door) in doors.iter().enumerate() {
            if own != Some(thread) {
                let cost = message.frame_len();
                let command = Command::Publish(topic.clone(), message.clone());
                let sent = door.post(cost, command);
                if sent != Sent::Queued {
                    result = sent;
                }
            }
        }
        result
    }

    fn post(&self, id: WsId, command: impl FnOnce() -> Command) -> Sent {
        match self.find(id) {
            Some((door, _)) => door.post(0, command()),
            None => Sent::Closed,
        }
    }

    fn find(&self, id: WsId) -> Option<(&Door, &Seat)> {
        let door = self.doors().get(id.thread())?;
        let seat = door.seats.get(id.slot())?;
        (seat.holds(id) && !door.is_closed()).then_some((door, seat))
    }

    pub(crate) fn doors(&self) -> &[Arc<Door>] {
        self.0.doors.get().map_or(&[], Vec::as_slice)
    }

    /// The server starts. False if it has before.
    pub(crate) fn open(&self, doors: Vec<Arc<Door>>) -> bool {
        self.0.doors.set(doors).is_ok()
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// What another thread wants of the one that owns a connection.
#[derive(Debug)]
pub(crate) enum Command {
    Send(WsId, Prepared),
    /// It did not fit, and the policy is to close.
    Overflow(WsId),
    Close(WsId, u16, Box<str>),
    Subscribe(WsId, Box<str>),
    Unsubscribe(WsId, Box<str>),
    Publish(Option<Arc<str>>, Prepared),
}

/// What a command costs in a mailbox beside its message.
const COST: usize = 64;

/// A WebSocket thread as others see it.
pub(crate) struct Door {
    mailbox: Mailbox<Command>,
    wake: Box<dyn Fn() + Send + Sync>,
    pub(crate) seats: Seats,
    /// What is in the mailbox, in bytes. `queued <= most`
    queued: AtomicUsize,
    most: usize,
    /// Connections given to the thread, and those that have ended.
    pub(crate) given: AtomicUsize,
    pub(crate) ended: AtomicUsize,
    /// Messages that did not fit and were never posted.
    dropped: AtomicU64,
    closed: AtomicBool,
}

impl Door {
    pub(crate) fn new(most: usize, wake: impl Fn() + Send + Sync + 'static) -> Door {
        Door {
            mailbox: Mailbox::new(),
            wake: Box::new(wake),
            seats: Seats::default(),
            queued: AtomicUsize::new(0),
            most,
            given: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    fn post(&self, size: usize, command: Command) -> Sent {
        if self.is_closed() {
            return Sent::Closed;
        }
        let cost = size + COST;
        if self.queued.fetch_add(cost, Ordering::AcqRel) + cost > self.most {
            self.queued.fetch_sub(cost, Ordering::AcqRel);
            return Sent::Full;
        }
        if self.mailbox.put([command]) {
            self.wake();
        }
        Sent::Queued
    }

    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    /// How much has been sent and not been taken.
    pub(crate) fn len(&self) -> usize {
        self.mailbox.len()
    }

    /// Moves all that has come into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<Command>) {
        if !self.mailbox.is_empty() {
            self.mailbox.take(into);
        }
    }

    /// A command has been taken: there is room again.
    pub(crate) fn taken(&self, command: &Command) {
        let size = match command {
            Command::Send(id, message) => {
                let size = message.frame_len();
                if let Some(seat) = self.seats.get(id.slot()) {
                    seat.give_room(size);
                }
                size
            }
            Command::Publish(_, message) => message.frame_len(),
            _ => 0,
        };
        self.queued.fetch_sub(size + COST, Ordering::AcqRel);
    }

    /// Messages that were dropped here since this was last asked.
    pub(crate) fn take_dropped(&self) -> u64 {
        match self.dropped.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.dropped.swap(0, Ordering::Relaxed),
        }
    }

    /// Connections it has to look after.
    pub(crate) fn load(&self) -> usize {
        let ended = self.ended.load(Ordering::Acquire);
        self.given.load(Ordering::Acquire).saturating_sub(ended)
    }

    /// The thread ends: nothing is taken any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The thread has ended, or is about to.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ws_limits::{BacklogPolicy, WsLimits};

    #[test]
    fn ids_keep_their_parts() {
        for (thread, slot, generation) in [(0, 0, 0), (255, MAX_SLOTS - 1, u32::MAX), (3, 70, 9)] {
            let id = WsId::new(thread, slot, generation as usize);
            assert_eq!(
                (id.thread(), id.slot(), id.generation()),
                (thread, slot, generation)
            );
            assert_eq!(WsId::from_u64(id.to_u64()), id);
        }
    }

    #[test]
    fn an_old_id_names_nobody() {
        let hub = Hub::default();
        let id = WsId::new(0, 70, 1);
        assert_eq!(hub.send(id, "x"), Sent::Closed);
        let door = Arc::new(Door::new(1000, || {}));
        assert!(hub.open(vec![door.clone()]));
        assert_eq!(hub.send(id, "x"), Sent::Closed);
        door.seats.enter(id, &WsLimits::default());
        assert_eq!(hub.send(id, "x"), Sent::Queued);
        assert_eq!(hub.send(WsId::new(0, 70, 2), "x"), Sent::Closed);
        assert_eq!(hub.send(WsId::new(1, 70, 1), "x"), Sent::Closed);
        door.seats.leave(id);
        assert_eq!(hub.send(id, "x"), Sent::Closed);
    }

    #[test]
    fn mailboxes_and_backlogs_are_bounded() {
        let hub = Hub::default();
        let door = Arc::new(Door::new(1000, || {}));
        assert!(hub.open(vec![door.clone()]));
        let id = WsId::new(0, 0, 0);
        let limits = WsLimits {
            backlog_bytes: 50,
            backlog_policy: BacklogPolicy::DropNewest,
            ..WsLimits::default()
        };
        door.seats.enter(id, &limits);
        assert_eq!(hub.send(id, "ten bytes!"), Sent::Queued);
        door.seats.set_unsent(id, 30);
        assert_eq!(hub.send(id, "ten bytes!"), Sent::Full);
        assert_eq!(hub.backlog(id), Some(42));
        let mut commands = Vec::new();
        door.take(&mut commands);
        commands.drain(..).for_each(|command| door.taken(&command));
        assert_eq!((hub.backlog(id), door.take_dropped()), (Some(30), 1));
        let posted = (0..).take_while(|_| hub.publish("t", "0123456789").is_queued());
        assert_eq!(posted.count(), 1000 / (64 + 12));
        door.take(&mut commands);
        commands.drain(..).for_each(|command| door.taken(&command));
        assert_eq!(door.queued.load(Ordering::Relaxed), 0);
        door.close();
        assert_eq!(hub.broadcast("x"), Sent::Closed);
    }
}
