//! A table by slot that other threads read without a lock.

use super::id::Slot;
use std::sync::OnceLock;

/// Places by slot. They are made as they are needed and never moved.
pub(crate) struct SlotTable<T> {
    /// Four of 64 places, four of 128, four of 256 ... so that at most a fifth of all is not needed yet.
    rows: [OnceLock<Box<[T]>>; ROWS],
}

const FIRST_ROW: usize = 64;
/// Rows of one size.
const ALIKE: usize = 4;
/// For slots of 32 bits.
const ROWS: usize = ALIKE * (32 - (ALIKE * FIRST_ROW).ilog2() as usize) + 1;

impl<T> Default for SlotTable<T> {
    fn default() -> SlotTable<T> {
        SlotTable {
            rows: [const { OnceLock::new() }; ROWS],
        }
    }
}

/// Row, how many places it has, and which of them.
fn at(slot: usize) -> (usize, usize, usize) {
    // The places before the rows of a size are four times that size, less the first four rows.
    let shifted = slot + ALIKE * FIRST_ROW;
    let exponent = (shifted / (ALIKE * FIRST_ROW)).ilog2();
    let size = FIRST_ROW << exponent;
    let row = ALIKE * exponent as usize + shifted / size - ALIKE;
    (row, size, shifted % size)
}

impl<T> SlotTable<T> {
    /// `None` if there has never been a connection in that slot, nor in its neighbours.
    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        let (row, _, place) = at(slot.index());
        self.rows.get(row)?.get()?.get(place)
    }
}

impl<T: Default> SlotTable<T> {
    pub(crate) fn get_or_make(&self, slot: Slot) -> &T {
        let (row, size, place) = at(slot.index());
        &self.rows[row].get_or_init(|| (0..size).map(|_| T::default()).collect())[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for slot in 0..if cfg!(miri) { 300 } else { 1 << 14 } {
            let (row, size, place) = at(slot);
            assert_eq!((row, place), next);
            assert_eq!(size, FIRST_ROW << (row / ALIKE));
            next = match next.1 + 1 == size {
                true => (next.0 + 1, 0),
                false => (next.0, next.1 + 1),
            };
        }
        #[cfg(target_pointer_width = "64")]
        assert_eq!(at(u32::MAX as usize).0, ROWS - 1);
    }

    #[test]
    fn places_stay_where_they_are() {
        let rows = SlotTable::<std::sync::atomic::AtomicU64>::default();
        assert!(rows.get(Slot::new(70)).is_none());
        let place: *const _ = rows.get_or_make(Slot::new(70));
        rows.get_or_make(Slot::new(100_000));
        assert!(std::ptr::eq(rows.get(Slot::new(70)).expect("made"), place));
        assert!(rows.get(Slot::new(1000)).is_none());
    }
}
