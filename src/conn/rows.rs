//! A table of the connections of one thread that others can look into without a lock.

use std::sync::OnceLock;

/// Places by slot. They are made as they are needed and never moved.
pub(crate) struct Rows<T> {
    /// 64 places, 64, 128, 256 ...
    rows: [OnceLock<Box<[T]>>; ROWS],
}

const FIRST_ROW: usize = 64;
/// For slots of 32 bits.
const ROWS: usize = (32 - FIRST_ROW.ilog2()) as usize + 1;

impl<T> Default for Rows<T> {
    fn default() -> Rows<T> {
        Rows {
            rows: [const { OnceLock::new() }; ROWS],
        }
    }
}

/// Row and place.
fn at(slot: usize) -> (usize, usize) {
    match (slot / FIRST_ROW).checked_ilog2() {
        None => (0, slot),
        Some(row) => (row as usize + 1, slot - (FIRST_ROW << row)),
    }
}

impl<T> Rows<T> {
    /// `None` if there has never been a connection in that slot, nor in its neighbours.
    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        let (row, place) = at(slot);
        self.rows.get(row)?.get()?.get(place)
    }
}

impl<T: Default> Rows<T> {
    pub(crate) fn get_or_make(&self, slot: usize) -> &T {
        let (row, place) = at(slot);
        let size = FIRST_ROW << row.saturating_sub(1);
        &self.rows[row].get_or_init(|| (0..size).map(|_| T::default()).collect())[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for slot in 0..if cfg!(miri) { 200 } else { 1 << 14 } {
            assert_eq!(at(slot), next);
            let size = FIRST_ROW << next.0.saturating_sub(1);
            next = match next.1 + 1 == size {
                true => (next.0 + 1, 0),
                false => (next.0, next.1 + 1),
            };
        }
        assert_eq!(at(u32::MAX as usize).0, ROWS - 1);
    }

    #[test]
    fn places_stay_where_they_are() {
        let rows = Rows::<std::sync::atomic::AtomicU64>::default();
        assert!(rows.get(70).is_none());
        let place: *const _ = rows.get_or_make(70);
        rows.get_or_make(100_000);
        assert!(std::ptr::eq(rows.get(70).expect("made"), place));
        assert!(rows.get(1000).is_none());
    }
}
