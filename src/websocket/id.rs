//! `WsId`: names a WebSocket connection.

use crate::shared::id::{ConnId, Slot};

/// The id of a WebSocket connection of one server: a small number that can be kept, compared and sent.
///
/// After the connection has ended, the id stands for no connection. It never stands for a later one: 32 of
/// its bits count how often its place was used before.
///
/// ```
/// use peregrine::ws::WsId;
///
/// fn kept(id: WsId) -> u64 {
///     id.to_u64()
/// }
/// assert_eq!(kept(WsId::from_u64(7)), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WsId(u64);

/// The slot has 24 of the 64 bits, the thread 8, the generation 32.
const SLOT_BITS: u32 = 24;

/// Number of connections of one thread that ids can distinguish.
pub(crate) const MAX_SLOTS: usize = 1 << SLOT_BITS;

/// Number of threads that ids can distinguish.
pub(crate) const MAX_THREADS: usize = 256;

impl WsId {
    pub(crate) fn new(thread: usize, conn: ConnId) -> WsId {
        let (slot, generation) = (conn.slot().index(), conn.generation());
        debug_assert!(thread < MAX_THREADS && slot < MAX_SLOTS);
        WsId((thread as u64) << 56 | (slot as u64) << 32 | u64::from(generation))
    }

    /// The id as a number, for maps or for messages to other processes.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// The id from [`WsId::to_u64`]. Any other number is harmless; most stand for no connection.
    pub fn from_u64(id: u64) -> WsId {
        WsId(id)
    }

    pub(crate) fn thread(self) -> usize {
        (self.0 >> 56) as usize
    }

    pub(crate) fn slot(self) -> Slot {
        Slot::new((self.0 >> 32) as usize & (MAX_SLOTS - 1))
    }

    pub(crate) fn generation(self) -> u32 {
        self.0 as u32
    }

    /// The id within its thread.
    #[inline]
    pub(crate) fn conn(self) -> ConnId {
        ConnId::new(self.slot(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_parts() {
        // A system of 32 bits has fewer slots and generations.
        let slot = MAX_SLOTS.min(Slot::COUNT) - 1;
        let generation = ConnId::of(usize::MAX).generation();
        for (thread, slot, generation) in [(0, 0, 0), (255, slot, generation), (3, 70, 9)] {
            let id = WsId::new(thread, ConnId::new(Slot::new(slot), generation));
            assert_eq!(
                (id.thread(), id.slot().index(), id.generation()),
                (thread, slot, generation)
            );
            assert_eq!(WsId::from_u64(id.to_u64()), id);
            assert_eq!(WsId::new(thread, id.conn()), id);
        }
    }
}
