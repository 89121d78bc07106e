//! What other threads can read of a connection: is it open, and its backlog.

use super::id::WsId;
use crate::shared::id::Slot;
use crate::shared::slot_table::SlotTable;
use peregrine_protocol::ws::limits::{BacklogPolicy, WsLimits};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The rows of a thread's connections. All threads can read them.
#[derive(Default)]
pub(crate) struct PeerTable(SlotTable<PeerSlot>);

#[derive(Default)]
pub(crate) struct PeerSlot {
    /// The connection in the row; see [`occupant`].
    occupant: AtomicU64,
    /// Bytes on their way in the mailbox.
    queued: AtomicUsize,
    /// Bytes that the connection had not sent at its last turn.
    unsent: AtomicUsize,
    limit: AtomicUsize,
}

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
        peer.limit.store(limits.backlog_bytes, Ordering::Relaxed);
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
            peer.unsent.store(bytes, Ordering::Relaxed);
        }
    }
}

impl PeerSlot {
    /// Whether the slot belongs to `id`. That can change at any moment.
    pub(super) fn holds(&self, id: WsId) -> bool {
        self.occupant.load(Ordering::Acquire) & !POLICY == occupant(id.generation())
    }

    fn policy(&self) -> u64 {
        self.occupant.load(Ordering::Relaxed) & POLICY
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
        self.queued.fetch_sub(size, Ordering::AcqRel);
    }

    pub(super) fn backlog(&self) -> usize {
        self.queued.load(Ordering::Acquire) + self.unsent.load(Ordering::Relaxed)
    }

    /// Reserves room for a message in the mailbox. A connection that drops its oldest messages makes room for
    /// it when it arrives.
    pub(super) fn take_room(&self, size: usize) -> bool {
        let queued = self.queued.fetch_add(size, Ordering::AcqRel) + size;
        let unsent = match self.policy() {
            DROPS_OLDEST => 0,
            _ => self.unsent.load(Ordering::Relaxed),
        };
        let fits = queued + unsent <= self.limit.load(Ordering::Relaxed);
        if !fits {
            self.queued.fetch_sub(size, Ordering::AcqRel);
        }
        fits
    }
}
