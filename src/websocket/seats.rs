//! What any thread can see of a connection: whether it is there, and how much waits for it.

use super::hub::{SLOT_BITS, WsId};
use crate::protocol::ws_limits::{BacklogPolicy, WsLimits};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The places of a thread's connections, for all to see. They are made as they are needed and never
/// moved, so that nobody needs a lock to look.
#[derive(Default)]
pub(crate) struct Seats {
    /// 64 places, 64, 128, 256 ...
    rows: [OnceLock<Box<[Seat]>>; ROWS],
}

const FIRST_ROW: usize = 64;
const ROWS: usize = (SLOT_BITS - FIRST_ROW.ilog2()) as usize + 1;

#[derive(Default)]
pub(crate) struct Seat {
    /// See [`occupant`].
    occupant: AtomicU64,
    /// Bytes on their way in the mailbox.
    queued: AtomicUsize,
    /// Bytes that the connection had not sent when it was last looked at.
    unsent: AtomicUsize,
    limit: AtomicUsize,
}

/// Who sits there, beside the policy in the lowest bits: 0 is nobody.
fn occupant(generation: u32) -> u64 {
    u64::from(generation) << 3 | 4
}

const POLICY: u64 = 3;
const CLOSES: u64 = 1;
const DROPS_OLDEST: u64 = 2;

impl Seats {
    /// Row and place.
    fn at(slot: usize) -> (usize, usize) {
        match (slot / FIRST_ROW).checked_ilog2() {
            None => (0, slot),
            Some(row) => (row as usize + 1, slot - (FIRST_ROW << row)),
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Seat> {
        let (row, place) = Seats::at(slot);
        self.rows.get(row)?.get()?.get(place)
    }

    /// A connection sits down. For the owning thread.
    pub(crate) fn enter(&self, id: WsId, limits: &WsLimits) {
        let (row, place) = Seats::at(id.slot());
        let size = FIRST_ROW << row.saturating_sub(1);
        let seats = self.rows[row].get_or_init(|| (0..size).map(|_| Seat::default()).collect());
        let seat = &seats[place];
        let policy = match limits.backlog_policy {
            BacklogPolicy::Close => CLOSES,
            BacklogPolicy::DropOldest => DROPS_OLDEST,
            BacklogPolicy::DropNewest => 0,
        };
        seat.limit.store(limits.backlog_bytes, Ordering::Relaxed);
        seat.unsent.store(0, Ordering::Relaxed);
        seat.occupant
            .store(occupant(id.generation()) | policy, Ordering::Release);
    }

    /// A connection has got up. For the owning thread.
    pub(crate) fn leave(&self, id: WsId) {
        if let Some(seat) = self.get(id.slot()) {
            seat.occupant.store(0, Ordering::Release);
        }
    }

    pub(crate) fn set_unsent(&self, id: WsId, bytes: usize) {
        if let Some(seat) = self.get(id.slot()) {
            seat.unsent.store(bytes, Ordering::Relaxed);
        }
    }
}

impl Seat {
    /// It may get up at any moment.
    pub(super) fn holds(&self, id: WsId) -> bool {
        self.occupant.load(Ordering::Acquire) & !POLICY == occupant(id.generation())
    }

    fn policy(&self) -> u64 {
        self.occupant.load(Ordering::Relaxed) & POLICY
    }

    /// Whether a message that does not fit is the end of the connection.
    pub(super) fn closes(&self) -> bool {
        self.policy() == CLOSES
    }

    /// A message has arrived, or was not sent after all.
    pub(super) fn give_room(&self, size: usize) {
        self.queued.fetch_sub(size, Ordering::AcqRel);
    }

    pub(super) fn backlog(&self) -> usize {
        self.queued.load(Ordering::Acquire) + self.unsent.load(Ordering::Relaxed)
    }

    /// Takes room for a message on its way. A connection that drops its oldest messages makes room
    /// for it then.
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

#[cfg(test)]
mod tests {
    use super::super::hub::MAX_SLOTS;
    use super::*;

    #[test]
    fn every_slot_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for slot in 0..if cfg!(miri) { 200 } else { 1 << 14 } {
            assert_eq!(Seats::at(slot), next);
            let size = FIRST_ROW << next.0.saturating_sub(1);
            next = match next.1 + 1 == size {
                true => (next.0 + 1, 0),
                false => (next.0, next.1 + 1),
            };
        }
        assert_eq!(Seats::at(MAX_SLOTS - 1).0, ROWS - 1);
    }
}
