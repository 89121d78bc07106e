//! Requests of a worker that wait for their response.
//!
//! A request gets an identifier when its handler makes something that other threads may use: a responder, the
//! sender of a body, or the resumer of a sink. A connection may have several such requests; an HTTP/1
//! connection has one at a time. A request with a response at once has no identifier.

use crate::shared::id::{ConnId, RequestId, Slot, StreamId};
use crate::shared::slot_table::SlotTable;
use std::sync::atomic::{AtomicU64, Ordering};

/// Set while the request is pending.
const PENDING: u64 = 1;
/// Set when its client has sent its last byte.
const EOF: u64 = 2;
const GENERATION: u32 = 32;

/// The table of pending requests, which all threads can read. A row has a generation and the bits above. The
/// generation grows when the request is over, so that later commands for it cannot reach another request.
#[derive(Default)]
pub(crate) struct Pending(SlotTable<AtomicU64>);

/// Assigns the rows of a [`Pending`]. It belongs to the thread of the worker.
#[derive(Debug, Default)]
pub(crate) struct StreamIds {
    free: Vec<Slot>,
    /// The number of rows, in use or free.
    count: usize,
}

fn row(generation: u32, bits: u64) -> u64 {
    u64::from(generation) << GENERATION | bits
}

impl Pending {
    /// Adds a pending request of this connection.
    pub(crate) fn enter(&self, conn: ConnId, ids: &mut StreamIds) -> RequestId {
        let slot = ids.free.pop().unwrap_or_else(|| {
            ids.count += 1;
            Slot::new(ids.count - 1)
        });
        let entry = self.0.get_or_make(slot);
        let generation = (entry.load(Ordering::Relaxed) >> GENERATION) as u32;
        entry.store(row(generation, PENDING), Ordering::Release);
        let stream = StreamId::new(slot, generation);
        RequestId { conn, stream }
    }

    /// Removes a request.
    pub(crate) fn leave(&self, id: RequestId, ids: &mut StreamIds) {
        debug_assert!(self.contains(id), "it has left before");
        let slot = id.stream.slot();
        if let Some(entry) = self.0.get(slot) {
            let next = id.stream.generation().wrapping_add(1);
            entry.store(row(next, 0), Ordering::Release);
            // A generation is never assigned twice. A row that has used all generations is not used again.
            if next != 0 {
                ids.free.push(slot);
            }
        }
    }

    /// Notes that its client has sent its last byte. Only for the thread of the worker.
    pub(crate) fn client_eof(&self, id: RequestId) {
        if let Some(entry) = self.0.get(id.stream.slot()) {
            entry.fetch_or(EOF, Ordering::AcqRel);
        }
    }

    pub(crate) fn contains(&self, id: RequestId) -> bool {
        self.row(id) & !EOF == row(id.stream.generation(), PENDING)
    }

    /// Whether it is pending, and its client is not known to have closed the connection or its sending half.
    pub(crate) fn has_client(&self, id: RequestId) -> bool {
        self.row(id) == row(id.stream.generation(), PENDING)
    }

    fn row(&self, id: RequestId) -> u64 {
        let entry = self.0.get(id.stream.slot());
        entry.map_or(0, |entry| entry.load(Ordering::Acquire))
    }

    /// The number of pending requests.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let rows = (0..).map_while(|slot| self.0.get(Slot::new(slot)));
        let pending = rows.filter(|entry| entry.load(Ordering::Acquire) & PENDING != 0);
        pending.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Several requests of one connection, which end in any order.
    #[test]
    fn requests_of_one_connection_have_different_identifiers() {
        let (pending, mut ids) = (Pending::default(), StreamIds::default());
        let conn = ConnId::of(7);
        let [a, b, c] = [(); 3].map(|()| pending.enter(conn, &mut ids));
        assert_eq!(pending.len(), 3);
        pending.client_eof(c);
        assert!(pending.has_client(a) && !pending.has_client(c) && pending.contains(c));
        pending.leave(b, &mut ids);
        assert!(!pending.contains(b) && !pending.has_client(b));
        let d = pending.enter(conn, &mut ids);
        assert!(d != b && !pending.contains(b) && pending.has_client(d));
        for id in [d, a, c] {
            assert!(pending.contains(id));
            pending.leave(id, &mut ids);
            assert!(!pending.contains(id));
        }
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn an_old_identifier_never_names_a_new_request() {
        let (pending, mut ids) = (Pending::default(), StreamIds::default());
        let mut old = Vec::new();
        for _ in 0..100 {
            let id = pending.enter(ConnId::default(), &mut ids);
            pending.client_eof(id);
            assert!(old.iter().all(|&old| old != id && !pending.contains(old)));
            pending.leave(id, &mut ids);
            old.push(id);
        }
        assert_eq!(ids.count, 1);
        assert!(!pending.contains(RequestId::NONE));
    }
}
