//! Commands for a WebSocket thread from other threads.

use super::id::WsId;
use super::peer_table::{PeerSlot, PeerTable, Seat};
use super::state::Sent;
use super::topics::{Publication, Ticket};
use crate::shared::id::ConnId;
use crate::shared::inbox::Inbox;
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A command of another thread to the thread of a connection.
#[derive(Debug)]
pub(crate) enum WsCommand {
    Send(WsId, PreparedMessage),
    Close(WsId, u16, Box<str>),
    Subscribe(WsId, Box<str>),
    Unsubscribe(WsId, Box<str>),
    /// A subscription with the messages before it: all of it or nothing.
    Join(Box<Join>),
    Publish(Option<Arc<str>>, PreparedMessage),
    /// One that a connection of this thread does not get. Rare, so it takes no room in the others.
    PublishToOthers(Box<Publication>),
    /// [`WsThreadHandle::take_paused`] says whether reading is paused. There is one such command for each connection, so it
    /// is not counted.
    Reading(WsId),
    /// A message for this connection was dropped, and its policy is to close. There is at most one such
    /// command for each connection, so it is not counted.
    Overflow(WsId),
    /// There was no room for a [`WsCommand::Join`]: a close with 1013 (try again later). As above.
    Expel(WsId),
    /// [`WsThreadHandle::take_missed`] has something. There is one such command, and at most one more for
    /// each [`WsCommand::Subscribe`], so it is not counted.
    Missed,
}

#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) seat: Seat,
    pub(crate) topic: Arc<str>,
    pub(crate) messages: Vec<PreparedMessage>,
    pub(crate) ticket: Ticket,
}

/// The bytes of a command in an inbox, without its message, name or reason.
const COST: usize = 64;

impl WsCommand {
    /// Bytes that it takes of [`Config::ws_mailbox_bytes`](crate::Config::ws_mailbox_bytes).
    fn cost(&self) -> usize {
        match self {
            WsCommand::Send(_, message) => COST + message.frame_len(),
            WsCommand::Close(_, _, reason) => COST + reason.len(),
            WsCommand::Subscribe(_, topic) | WsCommand::Unsubscribe(_, topic) => COST + topic.len(),
            WsCommand::Publish(topic, message) => cost_of(topic, message),
            WsCommand::PublishToOthers(published) => cost_of(&published.topic, &published.message),
            WsCommand::Join(join) => {
                let messages = join.messages.iter();
                let messages = messages.map(|message| COST + message.frame_len());
                COST + join.topic.len() + messages.sum::<usize>()
            }
            WsCommand::Reading(_)
            | WsCommand::Overflow(_)
            | WsCommand::Expel(_)
            | WsCommand::Missed => 0,
        }
    }
}

fn cost_of(topic: &Option<Arc<str>>, message: &PreparedMessage) -> usize {
    COST + topic.as_ref().map_or(0, |topic| topic.len()) + message.frame_len()
}

/// The topics whose messages were dropped because the inbox of a thread was full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) topics: Vec<Arc<str>>,
    /// More topics than are kept: all connections with a topic have missed something.
    pub(crate) any_topic: bool,
    /// A broadcast: all connections have missed something.
    pub(crate) all: bool,
}

/// The most topics that are kept, and the most bytes of their names.
const MISSED_TOPICS: usize = 64;
const MISSED_BYTES: usize = 16 << 10;

impl Missed {
    fn add(&mut self, topic: Option<Arc<str>>) {
        let Some(topic) = topic else {
            self.all = true;
            return;
        };
        if self.any_topic || self.topics.contains(&topic) {
            return;
        }
        self.topics.push(topic);
        let bytes: usize = self.topics.iter().map(|topic| topic.len()).sum();
        if self.topics.len() > MISSED_TOPICS || bytes > MISSED_BYTES {
            (self.topics, self.any_topic) = (Vec::new(), true);
        }
    }
}

/// [`Missed`], and the state of its commands in the inbox.
#[derive(Debug, Default)]
struct MissedSoFar {
    missed: Missed,
    /// The number of [`WsCommand::Missed`] in the inbox. The last one is behind all subscriptions that were
    /// there before something was added.
    posted: usize,
    /// Whether a subscription is behind the last one.
    is_behind: bool,
}

pub(crate) struct WsThreadHandle {
    pub(crate) inbox: Inbox<WsCommand>,
    pub(crate) peers: Arc<PeerTable>,
    /// The bytes in the inbox. `queued <= most`
    queued: AtomicUsize,
    most: usize,
    /// The number of connections given to the thread, and of those that have ended.
    pub(crate) given: AtomicUsize,
    pub(crate) ended: AtomicUsize,
    /// The number of messages that did not fit and were never posted.
    dropped: AtomicU64,
    missed: Mutex<MissedSoFar>,
}

impl WsThreadHandle {
    pub(crate) fn new(most: usize, wake: impl Fn() + Send + Sync + 'static) -> WsThreadHandle {
        WsThreadHandle {
            inbox: Inbox::new(wake),
            peers: Arc::default(),
            queued: AtomicUsize::new(0),
            most,
            given: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            missed: Mutex::default(),
        }
    }

    /// Makes the calling thread the owner of the inbox. The owner reads the inbox before each wait.
    pub(crate) fn adopt(&self) {
        self.inbox.adopt();
    }

    pub(super) fn post(&self, command: WsCommand) -> Sent {
        if self.is_closed() {
            return Sent::Closed;
        }
        let cost = command.cost();
        if self.queued.fetch_add(cost, Ordering::AcqRel) + cost > self.most {
            self.queued.fetch_sub(cost, Ordering::AcqRel);
            return Sent::Full;
        }
        match self.inbox.post(command) {
            true => Sent::Queued,
            false => Sent::Closed,
        }
    }

    /// Posts a message for one connection. `seat` is its row in the table of peers.
    pub(super) fn send(&self, id: WsId, peer: &PeerSlot, message: PreparedMessage) -> Sent {
        let size = message.frame_len();
        let sent = match peer.take_room(size) {
            true => self.post(WsCommand::Send(id, message)),
            false => return self.not_sent(id, peer),
        };
        if sent != Sent::Queued {
            peer.give_room(size);
        }
        match sent {
            Sent::Full => self.not_sent(id, peer),
            sent => sent,
        }
    }

    /// Pauses or resumes the reading of one connection. `peer` is its row in the table of peers.
    pub(super) fn set_paused(&self, id: WsId, peer: &PeerSlot, is_paused: bool) -> Sent {
        match !peer.set_paused(id, is_paused) || self.inbox.post(WsCommand::Reading(id)) {
            true => Sent::Queued,
            false => Sent::Closed,
        }
    }

    /// [`WsCommand::Reading`] was taken: whether reading is paused.
    pub(super) fn take_paused(&self, id: WsId) -> Option<bool> {
        self.peers.get(id.slot())?.take_paused(id)
    }

    /// Drops a message for one connection. If its policy is to close, other threads see it as closed from now
    /// on, and its thread closes it in its next turn.
    fn not_sent(&self, id: WsId, peer: &PeerSlot) -> Sent {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if peer.lose(id) {
            self.inbox.post(WsCommand::Overflow(id));
        }
        Sent::Full
    }

    /// Posts a subscription with the messages before it. Messages for which the connection has no room are dropped, as those
    /// of [`WsThreadHandle::send`]. If there is no room for all of it, the connection is closed.
    pub(super) fn join(&self, peer: &PeerSlot, mut join: Join) {
        let id = join.seat.id();
        let mut dropped = 0;
        join.messages.retain(|message| {
            let is_kept = peer.take_room(message.frame_len());
            dropped += u64::from(!is_kept);
            is_kept
        });
        let rooms: usize = join.messages.iter().map(PreparedMessage::frame_len).sum();
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        if dropped > 0 && peer.lose(id) {
            self.inbox.post(WsCommand::Overflow(id));
        }
        match self.post(WsCommand::Join(Box::new(join))) {
            Sent::Queued => self.is_behind_missed(),
            Sent::Closed => {}
            Sent::Full => {
                peer.give_room(rooms);
                if peer.expel(id) {
                    self.inbox.post(WsCommand::Expel(id));
                }
            }
        }
    }

    /// Posts a message for all subscribers of a topic, or all connections, except one of this thread.
    pub(super) fn publish(
        &self,
        topic: Option<&Arc<str>>,
        message: &PreparedMessage,
        except: Option<ConnId>,
    ) -> Sent {
        let (name, message) = (topic.cloned(), message.clone());
        let sent = self.post(match except {
            None => WsCommand::Publish(name, message),
            Some(_) => WsCommand::PublishToOthers(Box::new(Publication {
                topic: name,
                message,
                except,
            })),
        });
        if sent == Sent::Full {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            let mut so_far = self.lock_missed();
            so_far.missed.add(topic.cloned());
            // Under the lock: everything that this thread publishes later comes after it.
            if so_far.posted == 0 || so_far.is_behind {
                so_far.posted += 1;
                so_far.is_behind = false;
                self.inbox.post(WsCommand::Missed);
            }
        }
        sent
    }

    /// Posts a subscription of one connection. It counts for messages that are missed after this.
    pub(super) fn subscribe(&self, id: WsId, topic: &str) -> Sent {
        let sent = self.post(WsCommand::Subscribe(id, topic.into()));
        if sent == Sent::Queued {
            self.is_behind_missed();
        }
        sent
    }

    /// A subscription was posted.
    fn is_behind_missed(&self) {
        let mut so_far = self.lock_missed();
        so_far.is_behind = so_far.posted > 0;
    }

    fn lock_missed(&self) -> MutexGuard<'_, MissedSoFar> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been missed until now. Called for each [`WsCommand::Missed`]; the last call clears it.
    pub(crate) fn take_missed(&self) -> Missed {
        let mut so_far = self.lock_missed();
        so_far.posted = so_far.posted.saturating_sub(1);
        match so_far.posted {
            0 => std::mem::take(&mut *so_far).missed,
            _ => so_far.missed.clone(),
        }
    }

    /// A command was taken: frees its room.
    pub(crate) fn taken(&self, command: &WsCommand) {
        let (id, messages) = match command {
            WsCommand::Send(id, message) => (*id, std::slice::from_ref(message)),
            WsCommand::Join(join) => (join.seat.id(), &join.messages[..]),
            _ => (WsId::from_u64(0), &[][..]),
        };
        if let (Some(peer), false) = (self.peers.get(id.slot()), messages.is_empty()) {
            let bytes = messages.iter().map(PreparedMessage::frame_len);
            peer.give_room(bytes.sum());
        }
        self.queued.fetch_sub(command.cost(), Ordering::AcqRel);
    }

    /// The number of messages that were dropped here since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        match self.dropped.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.dropped.swap(0, Ordering::Relaxed),
        }
    }

    /// The number of connections of the thread.
    pub(crate) fn load(&self) -> usize {
        let ended = self.ended.load(Ordering::Acquire);
        self.given.load(Ordering::Acquire).saturating_sub(ended)
    }

    /// The thread ends: closes the inbox and drops the commands in it.
    pub(crate) fn close(&self) {
        self.inbox.close();
    }

    /// Whether the thread has ended, or is about to end.
    pub(crate) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::id::ConnId;
    use crate::shared::subscribe_error::SubscribeError;
    use crate::websocket::hub::Hub;
    use peregrine_protocol::ws::limits::{BacklogPolicy, WsLimits};

    fn hub(most: usize) -> (Hub, Arc<WsThreadHandle>) {
        let (hub, handle) = (Hub::default(), Arc::new(WsThreadHandle::new(most, || {})));
        assert!(hub.open(vec![handle.clone()]));
        (hub, handle)
    }

    fn taken(handle: &WsThreadHandle) -> Vec<WsCommand> {
        let mut commands = Vec::new();
        handle.inbox.take(&mut commands);
        commands.iter().for_each(|command| handle.taken(command));
        commands
    }

    #[test]
    fn commands_count_their_bytes() {
        let (hub, handle) = hub(10 * (COST + 1000));
        let id = WsId::new(0, ConnId::default());
        handle.peers.enter(id, &WsLimits::default());
        let name = "n".repeat(1000);
        type Post<'a> = &'a dyn Fn() -> Sent;
        let all: [(Post<'_>, usize); 5] = [
            (&|| hub.subscribe(id, &name), 10),
            (&|| hub.unsubscribe(id, &name), 10),
            (&|| hub.publish(&name, ""), 9),
            (&|| hub.send(id, &name[4..]), 10),
            // Only the part of a reason is kept that a close frame can have.
            (
                &|| hub.close(id, 1000, &name),
                10 * (COST + 1000) / (COST + 123),
            ),
        ];
        for (number, (post, most)) in all.into_iter().enumerate() {
            // A dropped message closes the connection.
            let queued = (0..most).take_while(|_| post().is_queued()).count();
            assert_eq!((queued, post()), (most, Sent::Full), "{number}");
            taken(&handle);
            handle.peers.enter(id, &WsLimits::default());
            taken(&handle);
            assert_eq!(handle.queued.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_reason_ends_at_a_character() {
        let (hub, handle) = hub(1000);
        let id = WsId::new(0, ConnId::default());
        handle.peers.enter(id, &WsLimits::default());
        hub.close(id, 1000, &"é".repeat(100));
        let commands = taken(&handle);
        let [WsCommand::Close(_, 1000, reason)] = &commands[..] else {
            panic!("{commands:?}");
        };
        assert_eq!(**reason, *"é".repeat(61));
    }

    #[test]
    fn missed_topics_are_kept_up_to_a_limit() {
        let (hub, handle) = hub(0);
        assert_eq!(hub.publish("a", ""), Sent::Full);
        assert_eq!(hub.publish("a", ""), Sent::Full);
        assert_eq!(hub.publish("b", ""), Sent::Full);
        assert!(matches!(taken(&handle)[..], [WsCommand::Missed]));
        let missed = handle.take_missed();
        assert_eq!(missed.topics, ["a".into(), "b".into()]);
        assert!(!missed.any_topic && !missed.all);
        assert_eq!(hub.broadcast(""), Sent::Full);
        assert_eq!(hub.publish(&"n".repeat(MISSED_BYTES + 1), ""), Sent::Full);
        (0..=MISSED_TOPICS).for_each(|n| assert_eq!(hub.publish(&n.to_string(), ""), Sent::Full));
        assert!(matches!(taken(&handle)[..], [WsCommand::Missed]));
        let missed = handle.take_missed();
        assert!(missed.topics.is_empty() && missed.any_topic && missed.all);
        assert_eq!(handle.take_dropped(), 3 + 2 + 65);
    }

    #[test]
    fn missed_messages_are_reported_after_subscriptions() {
        let (hub, handle) = hub(COST + 1);
        let id = WsId::new(0, ConnId::default());
        handle.peers.enter(id, &WsLimits::default());
        for topic in ["a", "b", "b", "c"] {
            assert_eq!(hub.publish(topic, "large"), Sent::Full);
        }
        assert_eq!(hub.subscribe(id, "d"), Sent::Queued);
        assert_eq!(hub.subscribe(id, "e"), Sent::Full);
        assert_eq!(hub.publish("d", "large"), Sent::Full);
        assert_eq!(hub.publish("e", "large"), Sent::Full);
        let commands = taken(&handle);
        assert!(matches!(
            commands[..],
            [
                WsCommand::Missed,
                WsCommand::Subscribe(..),
                WsCommand::Missed
            ]
        ));
        let all = ["a", "b", "c", "d", "e"].map(Arc::from);
        assert_eq!(handle.take_missed().topics, all);
        assert_eq!(handle.take_missed().topics, all);
        assert_eq!(hub.subscribe(id, "d"), Sent::Queued);
        assert_eq!(hub.publish("d", "large"), Sent::Full);
        assert!(matches!(
            taken(&handle)[..],
            [WsCommand::Subscribe(..), WsCommand::Missed]
        ));
        assert_eq!(handle.take_missed().topics, ["d".into()]);
    }

    #[test]
    fn a_connection_that_has_missed_a_message_counts_as_closed() {
        let (hub, handle) = hub(COST + 12);
        let id = WsId::new(0, ConnId::default());
        handle.peers.enter(id, &WsLimits::default());
        assert_eq!(hub.send(id, "ten bytes!"), Sent::Queued);
        assert_eq!(hub.send(id, "ten bytes!"), Sent::Full);
        assert!(!hub.is_open(id));
        assert_eq!(hub.send(id, "ten bytes!"), Sent::Closed);
        let commands = taken(&handle);
        assert!(matches!(
            commands[..],
            [WsCommand::Send(..), WsCommand::Overflow(lost)] if lost == id
        ));
        assert_eq!(handle.take_dropped(), 1);
        handle.peers.leave(id);
    }

    /// It costs no room to close it, and other threads see it as closed.
    #[test]
    fn a_connection_without_room_for_a_subscription_is_expelled() {
        for policy in [BacklogPolicy::Close, BacklogPolicy::DropNewest] {
            let (hub, handle) = hub(3 * COST);
            let id = WsId::new(0, ConnId::default());
            let limits = WsLimits::default().backlog_policy(policy).topics(1);
            handle.peers.enter(id, &limits);
            let ticket = Ticket::default();
            let join = |messages: &[&str]| {
                let seat = hub.reserve(id, "topic").expect("a place");
                let messages = messages.iter().map(|text| (*text).into()).collect();
                hub.join(seat, "topic", messages, ticket.clone());
            };
            join(&["x"]);
            assert_eq!(hub.reserve(id, "b").err(), Some(SubscribeError::Topics));
            let commands = taken(&handle);
            assert!(matches!(&commands[..], [WsCommand::Join(_)]));
            assert_eq!(hub.backlog(id), Some(0));
            drop(commands);
            join(&["x", "y"]);
            assert!(matches!(taken(&handle)[..], [WsCommand::Expel(gone)] if gone == id));
            assert_eq!((hub.is_open(id), Ticket::strong_count(&ticket)), (false, 1));
            assert_eq!(hub.reserve(id, "b").err(), Some(SubscribeError::Closed));
        }
    }

    #[test]
    fn a_closed_handle_keeps_nothing() {
        let (hub, handle) = hub(1000);
        assert_eq!(hub.broadcast("x"), Sent::Queued);
        handle.close();
        assert_eq!((hub.broadcast("x"), handle.inbox.len()), (Sent::Closed, 0));
    }
}
