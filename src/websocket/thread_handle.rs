//! Commands for a WebSocket thread from other threads.

use super::id::WsId;
use super::peer_table::{PeerSlot, PeerTable};
use super::state::Sent;
use crate::shared::inbox::Inbox;
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What another thread wants of the one that owns a connection.
#[derive(Debug)]
pub(crate) enum WsCommand {
    Send(WsId, PreparedMessage),
    Close(WsId, u16, Box<str>),
    Subscribe(WsId, Box<str>),
    Unsubscribe(WsId, Box<str>),
    Publish(Option<Arc<str>>, PreparedMessage),
    /// A message for this connection was dropped, and the policy is to close. At most one for each
    /// connection, so that it needs no room.
    Overflow(WsId),
    /// [`WsThreadHandle::take_missed`] has something. One, and at most one more for each [`WsCommand::Subscribe`], so
    /// that it needs no room.
    Missed,
}

/// What a command costs in an inbox beside its message, name or reason.
const COST: usize = 64;

impl WsCommand {
    /// Bytes that it takes of [`WsLimits::mailbox_bytes`](crate::ws::WsLimits::mailbox_bytes).
    fn cost(&self) -> usize {
        match self {
            WsCommand::Send(_, message) => COST + message.frame_len(),
            WsCommand::Close(_, _, reason) => COST + reason.len(),
            WsCommand::Subscribe(_, topic) | WsCommand::Unsubscribe(_, topic) => COST + topic.len(),
            WsCommand::Publish(topic, message) => {
                COST + topic.as_ref().map_or(0, |topic| topic.len()) + message.frame_len()
            }
            WsCommand::Overflow(_) | WsCommand::Missed => 0,
        }
    }
}

/// The topics whose messages were dropped because the inbox of a thread was full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) topics: Vec<Arc<str>>,
    /// More topics than are kept: all that have any.
    pub(crate) any_topic: bool,
    /// A broadcast: all.
    pub(crate) all: bool,
}

/// Topics that are kept apart, and bytes of their names.
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

/// [`Missed`], and where it is told of.
#[derive(Debug, Default)]
struct MissedSoFar {
    missed: Missed,
    /// Of [`WsCommand::Missed`] in the inbox. The last one lies behind all subscriptions that were there
    /// before something was added.
    posted: usize,
    /// A subscription lies behind the last one.
    is_behind: bool,
}

pub(crate) struct WsThreadHandle {
    pub(crate) inbox: Inbox<WsCommand>,
    pub(crate) peers: PeerTable,
    /// What is in the inbox, in bytes. `queued <= most`
    queued: AtomicUsize,
    most: usize,
    /// Connections given to the thread, and those that have ended.
    pub(crate) given: AtomicUsize,
    pub(crate) ended: AtomicUsize,
    /// Messages that did not fit and were never posted.
    dropped: AtomicU64,
    missed: Mutex<MissedSoFar>,
}

impl WsThreadHandle {
    pub(crate) fn new(most: usize, wake: impl Fn() + Send + Sync + 'static) -> WsThreadHandle {
        WsThreadHandle {
            inbox: Inbox::new(wake),
            peers: PeerTable::default(),
            queued: AtomicUsize::new(0),
            most,
            given: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            missed: Mutex::default(),
        }
    }

    /// Makes the calling thread the owner of the inbox. It looks into the inbox before it waits.
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

    /// A message for one connection is dropped. One that is to miss nothing is gone for others from here
    /// on, and is closed with the next turn of its thread.
    fn not_sent(&self, id: WsId, peer: &PeerSlot) -> Sent {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if peer.lose(id) {
            self.inbox.post(WsCommand::Overflow(id));
        }
        Sent::Full
    }

    /// Posts a message for all subscribers of a topic, or all connections.
    pub(super) fn publish(&self, topic: Option<&Arc<str>>, message: &PreparedMessage) -> Sent {
        let sent = self.post(WsCommand::Publish(topic.cloned(), message.clone()));
        if sent == Sent::Full {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            let mut so_far = self.lock_missed();
            so_far.missed.add(topic.cloned());
            // Under the lock: whatever is published by a thread that has added to it comes behind this.
            if so_far.posted == 0 || so_far.is_behind {
                so_far.posted += 1;
                so_far.is_behind = false;
                self.inbox.post(WsCommand::Missed);
            }
        }
        sent
    }

    /// Posts a subscription of one connection: it counts for all that is missed after this.
    pub(super) fn subscribe(&self, id: WsId, topic: &str) -> Sent {
        let sent = self.post(WsCommand::Subscribe(id, topic.into()));
        if sent == Sent::Queued {
            let mut so_far = self.lock_missed();
            so_far.is_behind = so_far.posted > 0;
        }
        sent
    }

    fn lock_missed(&self) -> MutexGuard<'_, MissedSoFar> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been missed, up to now. For each [`WsCommand::Missed`]; it is forgotten with the last one.
    pub(crate) fn take_missed(&self) -> Missed {
        let mut so_far = self.lock_missed();
        so_far.posted = so_far.posted.saturating_sub(1);
        match so_far.posted {
            0 => std::mem::take(&mut *so_far).missed,
            _ => so_far.missed.clone(),
        }
    }

    /// A command has been taken: there is room again.
    pub(crate) fn taken(&self, command: &WsCommand) {
        if let WsCommand::Send(id, message) = command {
            if let Some(peer) = self.peers.get(id.slot()) {
                peer.give_room(message.frame_len());
            }
        }
        self.queued.fetch_sub(command.cost(), Ordering::AcqRel);
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

    /// The thread ends: nothing is taken any more, and what has not been taken is dropped.
    pub(crate) fn close(&self) {
        self.inbox.close();
    }

    /// The thread has ended, or is about to.
    pub(crate) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::id::ConnId;
    use crate::websocket::hub::Hub;
    use peregrine_protocol::ws::limits::WsLimits;

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
    fn commands_cost_what_they_hold() {
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
            // Of a reason no more is kept than a close frame can carry.
            (
                &|| hub.close(id, 1000, &name),
                10 * (COST + 1000) / (COST + 123),
            ),
        ];
        for (number, (post, most)) in all.into_iter().enumerate() {
            // What is dropped closes the connection.
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
    fn what_was_missed_is_kept_within_bounds() {
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
    fn what_is_missed_is_told_behind_subscriptions() {
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
    fn one_that_has_missed_something_is_gone() {
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

    #[test]
    fn a_closed_door_keeps_nothing() {
        let (hub, handle) = hub(1000);
        assert_eq!(hub.broadcast("x"), Sent::Queued);
        handle.close();
        assert_eq!((hub.broadcast("x"), handle.inbox.len()), (Sent::Closed, 0));
    }
}
