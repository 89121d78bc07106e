//! A table by slot that other threads read without a lock.

use super::id::Slot;
use std::sync::OnceLock;

/// A table of values by slot. Places are allocated when they are needed, and never move.
pub(crate) struct SlotTable<T> {
    /// Four rows of 64 places, four of 128, four of 256, and so on. So at most a fifth of the places is not
    /// needed yet.
    rows: [OnceLock<Box<[T]>>; ROWS],
}

const FIRST_ROW: usize = 64;
/// The number of rows of each size.
const ALIKE: usize = 4;
/// The number of rows for slots of 32 bits.
const ROWS: usize = ALIKE * (32 - (ALIKE * FIRST_ROW).ilog2() as usize) + 1;

impl<T> Default for SlotTable<T> {
    fn default() -> SlotTable<T> {
        SlotTable {
            rows: [const { OnceLock::new() }; ROWS],
        }
    }
}

/// The row of a slot, the number of places in the row, and the index in it.
fn at(slot: usize) -> (usize, usize, usize) {
    const BEFORE: u64 = (ALIKE * FIRST_ROW) as u64;
    // The number of places before the rows of a size is four times that size, less the first four rows. In 64
    // bits, because the largest slot has 32.
    let shifted = slot as u64 + BEFORE;
    let exponent = (shifted / BEFORE).ilog2();
    let size = (FIRST_ROW as u64) << exponent;
    let row = ALIKE * exponent as usize + (shifted / size) as usize - ALIKE;
    (row, size as usize, (shifted % size) as usize)
}

impl<T> SlotTable<T> {
    /// `None` if no connection has used the row of the slot yet.
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
