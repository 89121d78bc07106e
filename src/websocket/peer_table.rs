//! What other threads can read of a connection: is it open, its backlog, its free topics.

use super::id::WsId;
use crate::shared::id::{ConnId, Slot};
use crate::shared::slot_table::SlotTable;
use crate::shared::subscribe_error::SubscribeError;
use peregrine_protocol::ws::limits::{BacklogPolicy, WsLimits};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The rows of a thread's connections. All threads can read them.
#[derive(Default)]
pub(crate) struct PeerTable(SlotTable<PeerSlot>);

#[derive(Default)]
pub(crate) struct PeerSlot {
    /// The connection in the row; see [`occupant`].
    occupant: AtomicU64,
    /// The generation of the connection in the upper half, and how many topics more it may have, with [`PAUSED`] and
    /// [`POSTED`]. Each change is for one generation only.
    places: AtomicU64,
    /// Bytes on their way in the mailbox.
    queued: AtomicU32,
    /// Bytes that the connection had not sent at its last turn.
    unsent: AtomicU32,
    /// A limit above 4 GiB is one of 4 GiB.
    limit: AtomicU32,
    topic_bytes: AtomicU32,
}

/// The same number in 32 bits, or the highest one that they have.
fn clamped(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// In the lower half of [`PeerSlot::places`]: other threads want that nothing is read from the connection.
const PAUSED: u32 = 1 << 31;
/// A command for this is on its way.
const POSTED: u32 = 1 << 30;
/// The rest of it: how many topics more.
const FREE: u32 = POSTED - 1;

/// The generation of the connection in this slot, with the policy in the lowest bits. 0: the slot is free.
fn occupant(generation: u32) -> u64 {
    u64::from(generation) << 3 | 4
}

const POLICY: u64 = 3;
const CLOSES: u64 = 1;
const DROPS_OLDEST: u64 = 2;

impl PeerTable {
    pub(super) fn get(&self, slot: Slot) -> Option<&PeerSlot> {
        self.0.get(slot)
    }

    /// Registers a connection. Only for the owning thread.
    pub(crate) fn enter(&self, id: WsId, limits: &WsLimits) {
        let peer = self.0.get_or_make(id.slot());
        let policy = match limits.backlog_policy {
            BacklogPolicy::Close => CLOSES,
            BacklogPolicy::DropOldest => DROPS_OLDEST,
            // `DropNewest`, the only other policy.
            _ => 0,
        };
        let topics = clamped(limits.topics).min(FREE);
        let places = u64::from(id.generation()) << 32 | u64::from(topics);
        peer.places.store(places, Ordering::Relaxed);
        peer.topic_bytes
            .store(clamped(limits.topic_bytes), Ordering::Relaxed);
        peer.limit
            .store(clamped(limits.backlog_bytes), Ordering::Relaxed);
        peer.unsent.store(0, Ordering::Relaxed);
        peer.occupant
            .store(occupant(id.generation()) | policy, Ordering::Release);
    }

    /// Removes a connection. Only for the owning thread.
    pub(crate) fn leave(&self, id: WsId) {
        if let Some(peer) = self.get(id.slot()) {
            peer.occupant.store(0, Ordering::Release);
        }
    }

    pub(crate) fn set_unsent(&self, id: WsId, bytes: usize) {
        if let Some(peer) = self.get(id.slot()) {
            peer.unsent.store(clamped(bytes), Ordering::Relaxed);
        }
    }

    /// Takes a place for a topic of this name.
    pub(crate) fn take_topic(&self, id: ConnId, name: &str) -> Result<(), SubscribeError> {
        let peer = self.get(id.slot()).ok_or(SubscribeError::Closed)?;
        if clamped(name.len()) > peer.topic_bytes.load(Ordering::Relaxed) {
            return Err(SubscribeError::TopicName);
        }
        match peer.change_places(id.generation(), |free| free.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(places) if (places >> 32) as u32 == id.generation() => Err(SubscribeError::Topics),
            Err(_) => Err(SubscribeError::Closed),
        }
    }

    pub(crate) fn give_topic(&self, id: ConnId) {
        if let Some(peer) = self.get(id.slot()) {
            let _ = peer.change_places(id.generation(), |free| free.checked_add(1));
        }
    }
}

/// A place among the topics of a connection, for a subscription that comes later. Its drop gives the place back.
pub(crate) struct Seat {
    peers: Arc<PeerTable>,
    id: WsId,
    is_used: bool,
}

impl Seat {
    pub(super) fn reserve(
        peers: &Arc<PeerTable>,
        id: WsId,
        topic: &str,
    ) -> Result<Seat, SubscribeError> {
        peers.take_topic(id.conn(), topic)?;
        let peers = peers.clone();
        Ok(Seat {
            peers,
            id,
            is_used: false,
        })
    }

    /// The subscription is there, and gives the place back when it ends.
    pub(super) fn keep(mut self) {
        self.is_used = true;
    }

    pub(crate) fn id(&self) -> WsId {
        self.id
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.is_used {
            self.peers.give_topic(self.id.conn());
        }
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seat").field(&self.id).finish()
    }
}

impl PeerSlot {
    /// Whether the slot belongs to `id`. That can change at any moment.
    pub(super) fn holds(&self, id: WsId) -> bool {
        self.occupant.load(Ordering::Acquire) & !POLICY == occupant(id.generation())
    }

    /// Another thread wants that reading is paused, or goes on. True if the thread of the connection has to be told; otherwise
    /// a command is on its way already.
    pub(super) fn set_paused(&self, id: WsId, is_paused: bool) -> bool {
        let flags = match is_paused {
            true => POSTED | PAUSED,
            false => POSTED,
        };
        let before = self.change_lower(id.generation(), |lower| Some(lower & !PAUSED | flags));
        before.is_ok_and(|before| before as u32 & POSTED == 0)
    }

    /// The command has arrived: whether reading is paused.
    pub(super) fn take_paused(&self, id: WsId) -> Option<bool> {
        let before = self.change_lower(id.generation(), |lower| Some(lower & !POSTED));
        before.ok().map(|before| before as u32 & PAUSED != 0)
    }

    fn policy(&self) -> u64 {
        self.occupant.load(Ordering::Relaxed) & POLICY
    }

    /// Changes the number of topics that the connection may still have. The error is what is there.
    fn change_places(
        &self,
        generation: u32,
        change: impl Fn(u32) -> Option<u32>,
    ) -> Result<u64, u64> {
        self.change_lower(generation, |lower| {
            let free = change(lower & FREE).filter(|free| *free <= FREE)?;
            Some(lower & !FREE | free)
        })
    }

    /// Changes the lower half of [`PeerSlot::places`]. The error is what is there.
    fn change_lower(
        &self,
        generation: u32,
        change: impl Fn(u32) -> Option<u32>,
    ) -> Result<u64, u64> {
        let places = &self.places;
        places.fetch_update(Ordering::AcqRel, Ordering::Acquire, |places| {
            let lower = change(places as u32)?;
            let of = places >> 32 << 32;
            (of == u64::from(generation) << 32).then_some(of | u64::from(lower))
        })
    }

    /// The connection is to be closed: the slot is free from now on. True for the first call that frees it.
    pub(super) fn expel(&self, id: WsId) -> bool {
        let there = self.occupant.load(Ordering::Acquire);
        let is_there = there & !POLICY == occupant(id.generation());
        is_there
            && self
                .occupant
                .compare_exchange(there, 0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// A message for the connection was dropped. If the policy is to close it, the slot is free from now on.
    /// True for the first call that frees it.
    pub(super) fn lose(&self, id: WsId) -> bool {
        let there = occupant(id.generation()) | CLOSES;
        let lost = self
            .occupant
            .compare_exchange(there, 0, Ordering::AcqRel, Ordering::Relaxed);
        lost.is_ok()
    }

    /// A message has arrived, or was not sent after all.
    pub(super) fn give_room(&self, size: usize) {
        self.queued.fetch_sub(clamped(size), Ordering::AcqRel);
    }

    pub(super) fn backlog(&self) -> usize {
        let queued = self.queued.load(Ordering::Acquire) as usize;
        queued.saturating_add(self.unsent.load(Ordering::Relaxed) as usize)
    }

    /// Reserves room for a message in the mailbox. A connection that drops its oldest messages makes room for
    /// it when it arrives.
    pub(super) fn take_room(&self, size: usize) -> bool {
        let Ok(size) = u32::try_from(size) else {
            return false;
        };
        let unsent = match self.policy() {
            DROPS_OLDEST => 0,
            _ => self.unsent.load(Ordering::Relaxed),
        };
        let limit = self.limit.load(Ordering::Relaxed);
        let taken = |queued: u32| {
            let queued = queued.checked_add(size)?;
            (queued.checked_add(unsent)? <= limit).then_some(queued)
        };
        let queued = &self.queued;
        queued
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, taken)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_row_is_small() {
        assert_eq!(size_of::<PeerSlot>(), 32);
    }

    #[test]
    fn places_for_topics_are_those_of_one_connection() {
        let peers = Arc::new(PeerTable::default());
        let id = |generation| WsId::new(0, ConnId::new(Slot::new(7), generation));
        let reserve = |id, name| Seat::reserve(&peers, id, name);
        assert_eq!(reserve(id(1), "a").err(), Some(SubscribeError::Closed));
        let limits = WsLimits::default().topics(2).topic_bytes(3);
        peers.enter(id(1), &limits);
        assert_eq!(
            reserve(id(1), "abcd").err(),
            Some(SubscribeError::TopicName)
        );
        let (one, two) = (reserve(id(1), "abc"), reserve(id(1), "b"));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(reserve(id(1), "c").err(), Some(SubscribeError::Topics));
        drop(one);
        assert_eq!(peers.take_topic(id(1).conn(), "c"), Ok(()));
        assert_eq!(reserve(id(1), "d").err(), Some(SubscribeError::Topics));
        // Another connection has come to its slot.
        peers.enter(id(2), &limits);
        assert_eq!(reserve(id(1), "a").err(), Some(SubscribeError::Closed));
        drop(two);
        peers.give_topic(id(1).conn());
        let seats = [(); 3].map(|()| reserve(id(2), "a").ok());
        assert_eq!(seats.iter().flatten().count(), 2);
    }

    #[test]
    fn a_connection_is_expelled_once_whatever_its_policy() {
        for policy in [
            BacklogPolicy::Close,
            BacklogPolicy::DropNewest,
            BacklogPolicy::DropOldest,
        ] {
            let peers = PeerTable::default();
            let id = WsId::new(0, ConnId::new(Slot::new(7), 1));
            peers.enter(id, &WsLimits::default().backlog_policy(policy));
            let peer = peers.get(id.slot()).expect("entered");
            assert!(!peer.expel(WsId::new(0, ConnId::new(Slot::new(7), 2))));
            assert!(peer.holds(id) && peer.expel(id));
            assert!(!peer.holds(id) && !peer.expel(id));
        }
    }

    #[test]
    fn room_is_limited_without_a_limit() {
        let peers = PeerTable::default();
        let id = WsId::new(0, ConnId::new(Slot::new(7), 1));
        peers.enter(id, &WsLimits::default().backlog_bytes(usize::MAX));
        let peer = peers.get(id.slot()).expect("entered");
        peers.set_unsent(id, 1);
        assert!(peer.take_room(u32::MAX as usize - 1));
        assert!(!peer.take_room(1) && !peer.take_room(usize::MAX));
        peer.give_room(1);
        assert!(peer.take_room(1));
        assert_eq!(peer.backlog(), u32::MAX as usize);
    }
}
